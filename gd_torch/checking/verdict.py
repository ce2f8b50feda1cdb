"""The verdict on one argument: derived against autograd's partial, autograd against differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.checking.derivation import Derivation, DerivedPartial
from gd_torch.checking.diagnosis import diagnose
from gd_torch.checking.evidence import collect_evidence
from gd_torch.checking.finite_differences import (
    SlopeEstimate,
    entry_direction,
    estimate_slope,
    inner_product,
    largest_entry,
    random_direction,
)
from gd_torch.checking.points import Point
from gd_torch.checking.report import Cause, Result, Worst
from gd_torch.typing import Objective, Weights


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        objective: the function that is differentiated.
        derivation: what returns the derived partials.
        names: one name per argument.
        points: the points, the given one first.
        derived: per point, the derived partials.
        rtol: relative tolerance for an entry of a partial.
        generator: draws directions and further points.
    """

    objective: Objective
    derivation: Derivation
    names: tuple[str, ...]
    points: list[Point]
    derived: list[list[DerivedPartial]]
    rtol: float
    generator: torch.Generator

    def shape(self, argument: int) -> tuple[int, ...]:
        """The shape of one argument."""
        return tuple(self.points[0].weights[argument].shape)

    def pairs(self, argument: int) -> list[tuple[Point, DerivedPartial]]:
        """Every point with the derived partial of one argument there."""
        return [(p, d[argument]) for p, d in zip(self.points, self.derived, strict=True)]


class _Slopes(NamedTuple):
    """The slope along one direction by finite differences and by autograd."""

    estimate: SlopeEstimate
    autograd: float


class _Difference(NamedTuple):
    """How a derived partial differs from autograd's at one point."""

    relative_error: float
    worst: Worst
    differing: int


def verdict_for(check: Check, argument: int) -> Result:
    """The verdict on the derived partial of one argument."""
    name, shape = check.names[argument], check.shape(argument)
    slopes = [_directional_slopes(check, p, argument) for p in check.points]
    kink = any(s.estimate.kink for s in slopes[0])
    fault = _autograd_fault(check, argument, slopes, kink)
    if fault:
        return Result(name, shape, "objective", note=fault)
    wrong = _wrong_result(check, argument)
    if wrong is not None:
        return wrong
    count = len(check.points)
    if kink:
        note = "the one-sided slopes differ at the given point: not compared there"
        return Result(name, shape, "kink", note=note, points=count - 1, relative_error=0.0)
    if not any(bool(p.autograd[argument].any()) for p in check.points):
        return Result(name, shape, "undecided", note="the gradient is zero at every point")
    estimates = [s.estimate for at_point in slopes for s in at_point]
    if not any(s.error < 0.5 * abs(s.value) for s in estimates):
        note = "rounding noise hides the finite-difference slope"
        return Result(name, shape, "undecided", note=note)
    error = max(_relative_error(p, d, argument) for p, d in check.pairs(argument))
    return Result(name, shape, "ok", points=count, relative_error=error)


def _directional_slopes(check: Check, point: Point, argument: int) -> list[_Slopes]:
    """Slopes along random directions of one argument: two at the given point, one at others."""
    slopes = []
    for _ in range(2 if point is check.points[0] else 1):
        direction = random_direction(point.weights, argument, check.generator)
        estimate = _try_slope(check.objective, point.weights, direction)
        if estimate is not None:
            slopes.append(_Slopes(estimate, inner_product(point.autograd, direction)))
    return slopes


def _try_slope(objective: Objective, weights: Weights, direction: Weights) -> SlopeEstimate | None:
    try:
        return estimate_slope(objective, weights, direction)
    except Exception:  # the objective may raise near a point at which it does not
        return None


def _autograd_fault(check: Check, argument: int, slopes: list[list[_Slopes]], kink: bool) -> str:
    """Why autograd's partial cannot be trusted, "" if it can.

    One disagreement at the given point is enough, unless that is a kink; of the other points two
    must disagree, as one of them may lie near a kink.
    """
    disagreeing = [
        any(_disagree(s, p, argument) for s in at_point if not s.estimate.kink)
        for p, at_point in zip(check.points, slopes, strict=True)
    ]
    if not ((disagreeing[0] and not kink) or sum(disagreeing[1:]) >= 2):
        return ""
    first = slopes[disagreeing.index(True)]
    estimate, autograd = next(s for s in first if not s.estimate.kink)
    return (
        f"autograd's slope is {autograd:.6g}, the finite-difference slope {estimate.value:.6g} "
        f"+- {estimate.error:.0e}: the objective hides operations from autograd (a detach, .data "
        "or .item()?), the derivation was not checked"
    )


def _disagree(slopes: _Slopes, point: Point, argument: int) -> bool:
    """Whether autograd and finite differences differ by more than the latter's error."""
    estimate, autograd = slopes
    d = point.autograd[argument]
    typical = float(torch.linalg.vector_norm(d)) / math.sqrt(d.numel())
    rtol = 1e-5 if d.dtype == torch.float64 else 2e-2
    size = max(abs(autograd), abs(estimate.value), typical)
    return abs(estimate.value - autograd) > 10 * estimate.error + rtol * size


def _differing_entries(
    point: Point, derived: DerivedPartial, argument: int, rtol: float
) -> Tensor | None:
    """A mask of the entries that differ; None where the shapes do."""
    autograd = point.autograd[argument]
    if derived.tensor is None or derived.tensor.shape != autograd.shape:
        return None
    difference = (derived.tensor - autograd).abs()
    return ~(difference <= rtol * autograd.abs() + point.noise[argument])


def _relative_error(point: Point, derived: DerivedPartial, argument: int) -> float:
    """The largest difference over the largest entry; 0 where nothing can be compared."""
    autograd = point.autograd[argument]
    largest = float(autograd.abs().amax())
    if derived.tensor is None or derived.tensor.shape != autograd.shape or largest == 0:
        return 0.0
    return float((derived.tensor - autograd).abs().amax()) / largest


def _wrong_result(check: Check, argument: int) -> Result | None:
    """The result for a wrong partial, None if no compared point shows a difference."""
    fault = next((d.fault for _, d in check.pairs(argument) if d.fault), "")
    points = len(check.points)
    comparable = True
    worst: _Difference | None = None
    for point, derived in check.pairs(argument):
        mask = _differing_entries(point, derived, argument, check.rtol)
        comparable &= mask is not None
        if mask is None or derived.tensor is None or not bool(mask.any()):
            continue
        entry = _worst_entry(check, point, derived.tensor, argument, mask)
        if entry is None:
            points -= 1
            continue
        error = _relative_error(point, derived, argument)
        if worst is None or not error <= worst.relative_error:  # not: NaN counts as the largest
            worst = _Difference(error, entry, int(mask.sum()))
    if worst is None and not fault:
        return None
    causes = _find_causes(check, argument) if worst is not None or not comparable else ()
    return Result(
        check.names[argument], check.shape(argument), "wrong", causes,
        worst=None if worst is None else worst.worst, note=fault,
        differing=0 if worst is None else worst.differing, points=points,
        relative_error=float("inf") if worst is None else worst.relative_error,
    )  # fmt: skip


def _worst_entry(
    check: Check, point: Point, derived: Tensor, argument: int, mask: Tensor
) -> Worst | None:
    """The entry that differs most, with its finite difference; None where the point is a kink."""
    autograd = point.autograd[argument]
    index = largest_entry((derived - autograd).where(mask, torch.zeros_like(derived)))
    direction = entry_direction(point.weights, argument, index)
    estimate = _try_slope(check.objective, point.weights, direction)
    if estimate is not None and estimate.kink:
        return None
    return Worst(
        index,
        float(derived[index]),
        float(autograd[index]),
        None if estimate is None else estimate.value,
        None if estimate is None else estimate.error,
    )


def _find_causes(check: Check, argument: int) -> tuple[Cause, ...]:
    """The named mistakes: from float64 numbers where both functions accept them, else as given."""
    weights = check.points[0].weights
    precisions = [weights]
    if weights[argument].dtype != torch.float64:
        precisions.insert(0, tuple(w.double() for w in weights))
    for converted in precisions:
        evidence = collect_evidence(
            check.objective, check.derivation, converted, argument, check.names, check.generator
        )
        if evidence:
            return diagnose(evidence, argument, check.names)
    return ()
