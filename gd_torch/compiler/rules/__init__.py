"""Rules for torch's operations; importing this package registers all of them."""

from __future__ import annotations

from typing import Any

from gd_torch.compiler.registry import RULES, aten
from gd_torch.compiler.rules import (  # noqa: F401
    activations,
    arithmetic,
    creation,
    indexing,
    joining,
    losses,
    norms,
    piecewise,
    products,
    reductions,
    scattering,
    selection,
    softmax,
)


def _in_place() -> set[Any]:
    """The overloads that write the result of a known operation into their first argument."""
    overloads = {aten.copy_.default, aten.zero_.default, aten.fill_.Scalar, aten.fill_.Tensor}
    for function in RULES:
        name = function._schema.name.removeprefix("aten::") + "_"
        packet = getattr(aten, name, None)
        if packet is not None and function._overloadname in packet.overloads():
            overloads.add(getattr(packet, function._overloadname))
    return overloads


KNOWN = frozenset(RULES) | frozenset(_in_place())
"""The overloads that have a compiled form."""
