"""Mistakes at the cotangent of one value: an extra or a missing factor, another cotangent used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import Cotangents, Hypothesis
from gd_torch.checking.diagnosis.pointwise import pointwise_functions
from gd_torch.checking.diagnosis.tensors import tensors_of_shape, value_name
from gd_torch.checking.replay import Replay


def factor_hypotheses(replay: Replay) -> Iterator[Hypothesis]:
    """The cotangent of a value times or divided by a tensor, or that of another value."""
    for value, g in replay.cotangents.items():
        for name in _factors(replay, g.shape):
            yield _extra_factor(value, g.shape, name)
            yield _missing_factor(value, g.shape, name)
        for other in replay.cotangents:
            if other != value and replay.values[other].shape == g.shape:
                yield _other_cotangent(replay, value, other)


def _extra_factor(value: int, shape: torch.Size, name: str) -> Hypothesis:
    def added(replay: Replay) -> Cotangents | None:
        factor = _factors(replay, shape).get(name)
        return None if factor is None else {value: replay.cotangents[value] * factor}

    return _hypothesis(value, "extra_factor", f"an extra factor {name}", 5.0, added)


def _missing_factor(value: int, shape: torch.Size, name: str) -> Hypothesis:
    def added(replay: Replay) -> Cotangents | None:
        factor = _factors(replay, shape).get(name)
        return None if factor is None else {value: replay.cotangents[value] / factor}

    return _hypothesis(value, "missing_chain_factor", f"the factor {name} is missing", 5.0, added)


def _other_cotangent(first: Replay, value: int, other: int) -> Hypothesis:
    kind = "missing_chain_factor" if _depends_on(first, other, value) else "wrong_operand"
    names = value_name(first, other), value_name(first, value)
    message = f"the cotangent of {names[0]} used where that of {names[1]} belongs"

    def added(replay: Replay) -> Cotangents | None:
        return {value: replay.cotangents[other]} if other in replay.cotangents else None

    return _hypothesis(value, kind, message, 3.5, added)


def _hypothesis(
    value: int, kind: str, message: str, rank: float, added: Callable[[Replay], Cotangents | None]
) -> Hypothesis:
    """The cotangent of a value replaced by another one."""
    return Hypothesis(kind, message, rank, lambda replay: {value: replay.cotangents[value]}, added)


def _depends_on(replay: Replay, later: int, earlier: int) -> bool:
    """Whether a value is computed from another one."""
    reached = {earlier}
    for node in replay.trace.nodes:
        if reached & set(node.inputs.values()):
            reached |= {o for o in node.outputs if o is not None}
    return later in reached - {earlier}


def _factors(replay: Replay, shape: torch.Size) -> dict[str, Tensor]:
    """What may be a factor too many or too few, by its text; computed once per shape."""
    key = ("factors", shape)
    if key not in replay.cache:
        found: dict[str, Tensor] = {}
        for name, x in tensors_of_shape(replay, shape).items():
            s = torch.sigmoid(x)
            found |= {
                name: x,
                f"x (1 - x), x = {name}": x * (1 - x),
                f"1 - x^2, x = {name}": 1 - x * x,
                f"1 - x, x = {name}": 1 - x,
                f"s'(x), s = sigmoid, x = {name}": s * (1 - s),
                f"sigmoid(x), x = {name}": s,
                f"x > 0, x = {name}": (x > 0).to(x.dtype),
            }
        for f in pointwise_functions(replay):
            if replay.values[f.z].shape == shape and not f.inner:
                text = f"f'(z), f(z) = {value_name(replay, f.a)}"
                found[text] = replay.pointwise_derivative(f.z, f.a)
        replay.cache[key] = found
    factors: dict[str, Tensor] = replay.cache[key]
    return factors
