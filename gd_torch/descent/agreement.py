"""Compare compiled with eager results by entry, with tolerances from their rounding errors."""

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

FAST_TOLERANCE_EPS = 256
"""Relative tolerance in eps; entries within it agree without further evaluations."""

NOISE_FACTOR = 40
"""Tolerance in multiples of the largest deviation under noise."""

NOISE_SAMPLES = 6
"""Evaluations with noise. Among 10 000 entries, the smallest maximum of six deviations is about a
fifth of a typical deviation; ``NOISE_FACTOR`` allows for that."""


def results_agree(
    objective: Objective, weights: Weights, eager: Evaluation, compiled: Evaluation
) -> bool:
    """Whether compiled results equal eager ones to rounding.

    An entry agrees if the difference is at most 256 eps times its size, or at most 40 times its
    largest deviation under rounding noise: the objective is evaluated with noise of the size of a
    rounding error on the weights and on the result of every operation, forward and backward. NaN
    equals NaN. If the eager loss is not finite, the compiled loss must not be finite either; the
    partials are then not compared.

    Args:
        objective: a deterministic function of the weights.
        weights: the point, one tensor per weight.
        eager: value, a scalar tensor, and partials, one per weight and of its shape.
        compiled: the same quantities from compiled code.

    Returns:
        False also if the objective raises under noise, or does not reproduce ``eager``.

    >>> square, w = torch.square, (torch.tensor(3.0),)
    >>> eager = evaluate(square, w)
    >>> results_agree(square, w, eager, (torch.tensor(9.0), (torch.tensor(6.0),)))
    True
    >>> results_agree(square, w, eager, (torch.tensor(9.0), (torch.tensor(6.001),)))
    False
    """
    expected, actual = _flat(eager), _flat(compiled)
    if [_kind(x) for x in expected] != [_kind(x) for x in actual]:
        return False
    if not bool(expected[0].isfinite()):
        return not bool(actual[0].isfinite())
    if _within(expected, actual, [fast_tolerance(x) for x in expected]):
        return True
    try:
        samples = rounding_tolerances(partial(evaluate, objective), weights, eager)
        return any(_within(expected, actual, tolerances) for tolerances in samples)
    except Exception:  # from the user's function, under a dispatch mode that it may not support
        return False


def fast_tolerance(x: Tensor) -> Tensor:
    """The tolerance that needs no further evaluations; subnormal numbers may be flushed to zero."""
    info = torch.finfo(x.dtype)
    return FAST_TOLERANCE_EPS * info.eps * x.abs() + info.tiny * max(x.numel(), 1)


def rounding_tolerances(
    evaluation: Callable[[Weights], Evaluation], weights: Weights, eager: Evaluation
) -> Iterator[list[Tensor]]:
    """Yield tolerances of value and partials after each evaluation with noise; they only grow.

    Args:
        evaluation: returns value and partials of one run, or values and partials of many.
        weights: the point or points.
        eager: the result of ``evaluation`` there.

    Yields:
        One tensor for the value and one per partial, of their shapes. Nothing if ``evaluation``
        does not reproduce ``eager``.
    """
    expected = _flat(eager)
    fast = [fast_tolerance(x) for x in expected]
    if not _within(expected, _flat(evaluation(weights)), fast):
        return
    largest = [torch.zeros_like(x) for x in expected]
    for seed in range(NOISE_SAMPLES):
        noise = RoundingNoise(seed)
        perturbed = tuple([noise.perturb(w.detach()) for w in weights])
        with noise:
            noisy = _flat(evaluation(perturbed))
        deviations = [
            (x - y).abs().nan_to_num(nan=0.0, posinf=0.0)
            for x, y in zip(expected, noisy, strict=True)
        ]
        largest = [torch.maximum(a, b) for a, b in zip(largest, deviations, strict=True)]
        yield [NOISE_FACTOR * d + f for d, f in zip(largest, fast, strict=True)]


def _flat(evaluation: Evaluation) -> list[Tensor]:
    value, partials = evaluation
    return [value, *partials]


def _kind(x: Tensor) -> tuple[torch.Size, torch.dtype]:
    return x.shape, x.dtype


def _within(
    expected: Sequence[Tensor], actual: Sequence[Tensor], tolerances: Sequence[Tensor]
) -> bool:
    """Whether all entries agree; infinities equal themselves, NaN equals NaN."""
    for x, y, tolerance in zip(expected, actual, tolerances, strict=True):
        if bool(((x - y).abs() < tolerance).all()):  # False if there are NaN or infinities
            continue
        near = (x - y).abs() <= tolerance
        same = (x == y) | (x.isnan() & y.isnan())
        if not bool((same | (near & x.isfinite() & y.isfinite())).all()):
            return False
    return True


def flatten_runs(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate tensors of shape (runs, *shape) to shape (runs, entries)."""
    return torch.cat([t.reshape(len(t), -1) for t in tensors], 1)


def entries_agree(compiled: Tensor, eager: Tensor) -> Tensor:
    """Whether entries are equal to rounding, or both not finite; bool, of their shape."""
    eager = eager.to(compiled.dtype)
    within = (compiled - eager).abs() <= fast_tolerance(eager)
    return within | ~(compiled.isfinite() | eager.isfinite())
