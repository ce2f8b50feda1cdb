"""The verdict on one argument: hand against autograd, autograd against the referee."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.checking.derivation import Given, Hand, ask
from gd_torch.checking.diagnosis import diagnose
from gd_torch.checking.evidence import Evidence
from gd_torch.checking.finite_differences import Slope, basis, entry, inner, random_direction, slope
from gd_torch.checking.points import Point, moved_points
from gd_torch.checking.replay import Replay
from gd_torch.checking.report import Cause, Result, Worst
from gd_torch.checking.trace import record
from gd_torch.typing import Objective, Weights

_NAMING_POINTS = 6


@dataclass(frozen=True)
class Case:
    """One check: the two functions, the points (the given one first) and what the hand said."""

    objective: Objective
    hand: Hand
    names: tuple[str, ...]
    points: list[Point]
    hands: list[list[Given]]
    rtol: float
    generator: torch.Generator


def judge(case: Case, i: int) -> Result:
    """The verdict on argument ``i``."""
    name, shape = case.names[i], tuple(case.points[0].weights[i].shape)
    slopes = [_referee(case, p, i) for p in case.points]
    kink = any(s.kink for s, _ in slopes[0])
    blamed = [
        any(_apart(s, true, p, i) for s, true in found if not s.kink)
        for p, found in zip(case.points, slopes, strict=True)
    ]
    if (blamed[0] and not kink) or sum(blamed[1:]) >= 2:
        found = next(x for x, bad in zip(slopes, blamed, strict=True) if bad)
        s, true = next((s, t) for s, t in found if not s.kink)
        note = (
            f"autograd's slope {true:.6g} is not the objective's, {s.value:.6g} +- {s.error:.0e}: "
            "the objective is at fault (a detach, .data or .item()?), the hand is not judged"
        )
        return Result(name, shape, "objective", note=note)
    wrong = _wrong(case, i)
    if wrong is not None:
        return wrong
    judged = len(case.points)
    error = max(_error(p, g[i], i) for p, g in zip(case.points, case.hands, strict=True))
    if kink:
        note = "the slopes from the two sides differ at the given point: not judged there"
        return Result(name, shape, "kink", note=note, points=judged - 1, relative_error=0.0)
    if not any(bool(p.autograd[i].any()) for p in case.points):
        return Result(name, shape, "undecided", note="the gradient is zero at every point")
    if not any(s.error < 0.5 * abs(s.value) for found in slopes for s, _ in found):
        return Result(name, shape, "undecided", note="too noisy: the referee sees no slope")
    return Result(name, shape, "ok", points=judged, relative_error=error)


def _referee(case: Case, point: Point, i: int) -> list[tuple[Slope, float]]:
    """(referee, autograd) along random directions of argument ``i``; two at the given point."""
    found = []
    for _ in range(2 if point is case.points[0] else 1):
        d = random_direction(point.weights, i, case.generator)
        s = _slope(case.objective, point.weights, d)
        if s is not None:
            found.append((s, inner(point.autograd, d)))
    return found


def _slope(objective: Objective, weights: Weights, direction: Weights) -> Slope | None:
    try:
        return slope(objective, weights, direction)
    except Exception:  # the objective may raise a step away from a point at which it does not
        return None


def _apart(s: Slope, true: float, point: Point, i: int) -> bool:
    """Whether referee and autograd disagree beyond the referee's own error."""
    d = point.autograd[i]
    typical = float(torch.linalg.vector_norm(d)) / d.numel() ** 0.5
    share = 1e-5 if d.dtype == torch.float64 else 2e-2
    return bool(abs(s.value - true) > 10 * s.error + share * max(abs(true), abs(s.value), typical))


def _bad(point: Point, given: Given, i: int, rtol: float) -> Tensor | None:
    """Which entries differ; None where numbers cannot be compared."""
    true = point.autograd[i]
    if given.tensor is None or given.tensor.shape != true.shape:
        return None
    apart = (given.tensor - true).abs()
    return ~(apart <= rtol * true.abs() + point.noise[i])


def _error(point: Point, given: Given, i: int) -> float:
    true, largest = point.autograd[i], float(point.autograd[i].abs().amax())
    if given.tensor is None or given.tensor.shape != true.shape or largest == 0:
        return 0.0
    return float((given.tensor - true).abs().amax()) / largest


def _wrong(case: Case, i: int) -> Result | None:
    """The result for a wrong partial, None if no judged point shows a difference."""
    shape = tuple(case.points[0].weights[i].shape)
    worst: tuple[float, Worst, int] | None = None
    fault = next((g[i].fault for g in case.hands if g[i].fault), "")
    points = len(case.points)
    for p, g in zip(case.points, case.hands, strict=True):
        bad = _bad(p, g[i], i, case.rtol)
        if bad is None or not bool(bad.any()):
            continue
        seen = _look(case, p, g[i], i, bad)
        if seen is None:
            points -= 1
            continue
        size = _error(p, g[i], i)
        if worst is None or not size <= worst[0]:
            worst = size, seen, int(bad.sum())
    if worst is None and not fault:
        return None
    causes: tuple[Cause, ...] = ()
    if worst is not None or any(
        _bad(p, g[i], i, 1.0) is None for p, g in zip(case.points, case.hands, strict=True)
    ):
        causes = _causes(case, i)
    return Result(
        case.names[i], shape, "wrong", causes,
        worst=None if worst is None else worst[1], note=fault,
        differing=0 if worst is None else worst[2], points=points,
        relative_error=float("inf") if worst is None else worst[0],
    )  # fmt: skip


def _look(case: Case, point: Point, given: Given, i: int, bad: Tensor) -> Worst | None:
    """The worst entry with the referee's view of it; None where the point is a kink there."""
    if given.tensor is None:
        return None
    index = entry((given.tensor - point.autograd[i]).where(bad, torch.zeros_like(given.tensor)))
    s = _slope(case.objective, point.weights, basis(point.weights, i, index))
    if s is not None and s.kink:
        return None
    return Worst(
        index,
        float(given.tensor[index]),
        float(point.autograd[i][index]),
        None if s is None else s.value,
        None if s is None else s.error,
    )


def _causes(case: Case, i: int) -> tuple[Cause, ...]:
    """Named mistakes: in float64 where both functions can run in it, else as given."""
    weights = case.points[0].weights
    if weights[i].dtype != torch.float64:
        finer = tuple(w.double() for w in weights)
        if (evidence := _evidence(case, i, finer)) is not None:
            return diagnose(evidence, i, case.names)
    evidence = _evidence(case, i, weights)
    return () if evidence is None else diagnose(evidence, i, case.names)


def _evidence(case: Case, i: int, weights: Weights) -> list[Evidence] | None:
    """Hand, autograd and replay at moved points that share one trace."""
    found: list[Evidence] = []
    for p in moved_points(case.objective, weights, _NAMING_POINTS, case.generator):
        given = ask(case.hand, p.weights)
        tensors = [g.tensor for g in given]
        if tensors[i] is None or not bool(torch.isfinite(tensors[i]).all()):  # type: ignore[arg-type]
            continue
        hand = tuple(torch.zeros(0) if t is None else t for t in tensors)
        found.append(Evidence(p.weights, hand, p.autograd, _replay(case.objective, p)))
    if not found:
        return None
    first = found[0].replay
    if first is None or any(e.replay is None for e in found):
        return found
    alike = [
        e
        for e in found
        if e.replay is not None and e.replay.trace.signature == first.trace.signature
    ]
    return (
        alike if len(alike) >= 3 else [Evidence(e.weights, e.hand, e.autograd, None) for e in found]
    )


def _replay(objective: Objective, point: Point) -> Replay | None:
    """The objective's replay at a point, None unless it gives autograd's own partials."""
    try:
        trace = record(objective, point.weights)
        replay = None if trace is None else Replay(trace)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    if replay is None:
        return None
    for d, true, noise in zip(replay.gradient, point.autograd, point.noise, strict=True):
        apart = true if d is None else d - true
        if bool((apart.abs() > 1e-9 * true.abs().amax() + noise).any()):
            return None
    return replay
