"""Call a derivation and check the form of what it returns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.checking.points import copy_weights
from gd_torch.typing import Weights

Derivation = Callable[..., object]
"""Partials derived by hand: a function of the weights that returns one partial per weight."""


@dataclass(frozen=True)
class DerivedPartial:
    """What a derivation returned for one argument.

    Attributes:
        tensor: the partial in its weight's dtype and on its device; None if it is not a tensor of
            real numbers.
        fault: the rule that it breaks, "" if none.
    """

    tensor: Tensor | None
    fault: str


def call_derivation(derivation: Derivation, weights: Weights) -> list[DerivedPartial]:
    """The derived partials at one point, one per weight; an exception becomes a fault."""
    try:
        with torch.no_grad():
            returned = derivation(*copy_weights(weights))
    except Exception as error:  # whatever the derivation raises is a mistake in it
        fault = f"the derivation raised {type(error).__name__}: {error}".splitlines()[0]
        return [DerivedPartial(None, fault)] * len(weights)
    if len(weights) == 1 and not isinstance(returned, tuple | list):
        returned = (returned,)
    if (
        isinstance(returned, str)
        or not isinstance(returned, Sequence)
        or len(returned) != len(weights)
    ):
        got = f"a {type(returned).__name__}"
        if isinstance(returned, tuple | list):
            got = f"{len(returned)} of them"
        fault = f"one partial per weight ({len(weights)}) expected, got {got}"
        return [DerivedPartial(None, fault)] * len(weights)
    return [_check_form(d, w) for d, w in zip(returned, weights, strict=True)]


def _check_form(d: object, w: Tensor) -> DerivedPartial:
    """One partial, converted to its weight's dtype and device, with the rules that it breaks."""
    if isinstance(d, int) and abs(d) > sys.float_info.max:
        return DerivedPartial(None, "a partial must be finite, got an integer beyond every float")
    if isinstance(d, float | int) and not isinstance(d, bool) and w.dim() == 0:
        return DerivedPartial(torch.tensor(float(d), dtype=w.dtype, device=w.device), "")
    if not isinstance(d, Tensor):
        return DerivedPartial(None, f"a partial must be a tensor, got {type(d).__name__}")
    d = d.detach()
    if d.is_meta or d.layout != torch.strided or d.is_complex():
        fault = f"a partial must hold real numbers, got {d.dtype} on {d.device}"
        return DerivedPartial(None, fault)
    faults = [
        f"a partial must {rule} {wanted}, got {got}"
        for rule, wanted, got in (
            ("have its weight's shape", tuple(w.shape), tuple(d.shape)),
            ("have its weight's dtype", w.dtype, d.dtype),
            ("be on its weight's device", w.device, d.device),
        )
        if wanted != got
    ]
    d = d.to(w.device, w.dtype)
    if not bool(torch.isfinite(d).all()):
        faults.append("a partial must be finite, got NaN or infinity")
    return DerivedPartial(d, "; ".join(faults))
