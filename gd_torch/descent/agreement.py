"""Whether compiled results equal eager ones to rounding, judged entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from gd_torch.compiler.rounding import RoundingNoise
from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights

Evaluation = tuple[Tensor, Weights]
"""An objective's value and its partials at one point."""

FAST = 256
"""Entries that differ by less than this many units of rounding agree without further question."""

FACTOR = 40
"""How much larger than the largest deviation seen under noise a difference may be."""

SAMPLES = 6
"""Evaluations under noise. The smallest of 10 000 entries' largest deviations of six is about a
fifth of a typical one, which FACTOR leaves room for."""


def agree(objective: Objective, weights: Weights, eager: Evaluation, compiled: Evaluation) -> bool:
    """Whether compiled results equal eager ones to rounding.

    An entry agrees if it differs by no more than 256 eps times its size, or by no more than what
    rounding does to it: the objective is evaluated with noise of the size of a rounding error on
    the weights and on the result of each operation, forward and backward, and an entry may differ
    by 40 times the largest deviation. NaN equals NaN. A loss that is not finite asks only for one
    that is not finite either.

    Args:
        objective: a deterministic function of the weights.
        weights: the point, one tensor per weight.
        eager: value, a scalar tensor, and partials, one per weight and of its shape.
        compiled: what is compared with them.

    Returns:
        False also where the objective fails under noise, or does not repeat ``eager``.

    >>> square, w = torch.square, (torch.tensor(3.0),)
    >>> eager = evaluate(square, w)
    >>> agree(square, w, eager, (torch.tensor(9.0), (torch.tensor(6.0),)))
    True
    >>> agree(square, w, eager, (torch.tensor(9.0), (torch.tensor(6.001),)))
    False
    """
    old, new = _flat(eager), _flat(compiled)
    if [_kind(x) for x in old] != [_kind(x) for x in new]:
        return False
    if not bool(old[0].isfinite()):
        return not bool(new[0].isfinite())
    if _within(old, new, [fast_tolerance(x) for x in old]):
        return True
    try:
        growing = rounding_tolerances(partial(evaluate, objective), weights, eager)
        return any(_within(old, new, tolerances) for tolerances in growing)
    except Exception:  # the user's function, under a mode that it may not support
        return False


def fast_tolerance(x: Tensor) -> Tensor:
    """What an entry may differ by without further question; subnormal numbers may become zero."""
    info = torch.finfo(x.dtype)
    return FAST * info.eps * x.abs() + info.tiny * max(x.numel(), 1)


def rounding_tolerances(
    evaluation: Callable[[Weights], Evaluation], weights: Weights, eager: Evaluation
) -> Iterator[list[Tensor]]:
    """What the entries of value and partials may differ by, after one evaluation under noise, two,
    and so on: they only grow. Nothing if ``eager`` is not repeated.

    Args:
        evaluation: gives value and partials of one run, or values and partials of many.
        weights: the point or points.
        eager: what ``evaluation`` gives there.
    """
    old = _flat(eager)
    fast = [fast_tolerance(x) for x in old]
    if not _within(old, _flat(evaluation(weights)), fast):
        return
    largest = [torch.zeros_like(x) for x in old]
    for seed in range(SAMPLES):
        noise = RoundingNoise(seed)
        perturbed = tuple([noise.perturb(w.detach()) for w in weights])
        with noise:
            noisy = _flat(evaluation(perturbed))
        deviations = [
            (x - y).abs().nan_to_num(nan=0.0, posinf=0.0) for x, y in zip(old, noisy, strict=True)
        ]
        largest = [torch.maximum(a, b) for a, b in zip(largest, deviations, strict=True)]
        yield [FACTOR * d + f for d, f in zip(largest, fast, strict=True)]


def _flat(evaluation: Evaluation) -> list[Tensor]:
    value, partials = evaluation
    return [value, *partials]


def _kind(x: Tensor) -> tuple[torch.Size, torch.dtype]:
    return x.shape, x.dtype


def _within(old: Sequence[Tensor], new: Sequence[Tensor], tolerances: Sequence[Tensor]) -> bool:
    """Whether all entries agree; infinities agree with themselves, NaN with NaN."""
    for x, y, tolerance in zip(old, new, tolerances, strict=True):
        if bool(((x - y).abs() < tolerance).all()):  # never true of NaN and infinities
            continue
        near = (x - y).abs() <= tolerance
        same = (x == y) | (x.isnan() & y.isnan())
        if not bool((same | (near & x.isfinite() & y.isfinite())).all()):
            return False
    return True
