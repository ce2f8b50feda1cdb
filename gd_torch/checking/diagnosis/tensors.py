"""Names for the tensors of a trace, the same at every point."""

from __future__ import annotations

import torch
from torch import Tensor

from gd_torch.checking.replay import Replay


def value_name(replay: Replay, value: int) -> str:
    """A name for messages: the argument's name, or "the result of sigmoid (net.py:12)"."""
    if "value names" not in replay.cache:
        replay.cache["value names"] = _name_values(replay)
    names: list[str] = replay.cache["value names"]
    return names[value]


def _name_values(replay: Replay) -> list[str]:
    names = list(replay.names)
    count: dict[str, int] = {}
    for value in range(len(names), len(replay.values)):
        node = replay.producer[value]
        name = f"{node.name} ({node.location})"
        count[name] = count.get(name, 0) + 1
        which = "the result" if count[name] == 1 else f"result {count[name]}"
        names.append(f"{which} of {name}")
    return names


def tensors_of_shape(replay: Replay, shape: torch.Size) -> dict[str, Tensor]:
    """Every value and every constant of the trace with this shape, by name."""
    found = {value_name(replay, i): v for i, v in enumerate(replay.values) if v.shape == shape}
    constants: list[Tensor] = []
    for node in replay.trace.nodes:
        for position, leaf in enumerate(node.leaves):
            if position in node.inputs or not isinstance(leaf, Tensor) or leaf.shape != shape:
                continue
            if leaf.is_floating_point() and not any(leaf is c for c in constants):
                constants.append(leaf)
                name = f"operand {position + 1} of {node.name} ({node.location})"
                same = sum(k.startswith(name) for k in found)
                found[f"{name}, no. {same + 1}" if same else name] = leaf
    return found
