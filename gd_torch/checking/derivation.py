"""What the hand derivation returned, and what is wrong with its form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.checking.points import copies
from gd_torch.typing import Weights

Hand = Callable[..., object]
"""The hand derivation: a function of the weights that returns one partial per weight."""


@dataclass(frozen=True)
class Given:
    """One argument's partial as the hand gave it, or what is wrong with its form.

    Attributes:
        tensor: the partial in its weight's dtype and on its device, None if it is no tensor.
        fault: the rule that it breaks, "" if none.
    """

    tensor: Tensor | None
    fault: str


def ask(hand: Hand, weights: Weights) -> list[Given]:
    """The hand's partials at one point, never an exception."""
    try:
        with torch.no_grad():
            given = hand(*copies(weights))
    except Exception as error:  # whatever the derivation raises is its own mistake
        fault = f"the derivation raised {type(error).__name__}: {error}".splitlines()[0]
        return [Given(None, fault)] * len(weights)
    if len(weights) == 1 and not isinstance(given, tuple | list):
        given = (given,)
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(weights):
        what = (
            f"{len(given)} of them"
            if isinstance(given, tuple | list)
            else f"a {type(given).__name__}"
        )
        return [Given(None, f"one partial per weight ({len(weights)}) expected, got {what}")] * len(
            weights
        )
    return [_one(d, w) for d, w in zip(given, weights, strict=True)]


def _one(d: object, w: Tensor) -> Given:
    if isinstance(d, int) and abs(d) > sys.float_info.max:
        return Given(None, "a partial must be finite, got a whole number beyond every float")
    if isinstance(d, float | int) and not isinstance(d, bool) and w.dim() == 0:
        return Given(torch.tensor(float(d), dtype=w.dtype, device=w.device), "")
    if not isinstance(d, Tensor):
        return Given(None, f"a partial must be a tensor, got {type(d).__name__}")
    d = d.detach()
    if d.is_meta or d.layout != torch.strided or d.is_complex():
        return Given(None, f"a partial must hold real numbers, got {d.dtype} on {d.device}")
    faults = []
    if d.shape != w.shape:
        faults.append(
            f"a partial must have its weight's shape {tuple(w.shape)}, got {tuple(d.shape)}"
        )
    if d.dtype != w.dtype:
        faults.append(f"a partial must have its weight's dtype {w.dtype}, got {d.dtype}")
    if d.device != w.device:
        faults.append(f"a partial must be on its weight's device {w.device}, got {d.device}")
    d = d.to(w.device, w.dtype)
    if not bool(torch.isfinite(d).all()):
        faults.append("a partial must be finite, got NaN or infinity")
    return Given(d, "; ".join(faults))
