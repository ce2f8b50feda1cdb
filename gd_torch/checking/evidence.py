"""Evidence for a diagnosis: derived and autograd's partials, and a replay, at several points."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gd_torch.checking.derivation import Derivation, call_derivation
from gd_torch.checking.points import Point, random_points
from gd_torch.checking.replay import Replay
from gd_torch.checking.trace import trace_objective
from gd_torch.typing import Objective, Weights

_POINTS = 6
_LEAST_ALIKE = 3  # points with the same operations below which the replays are not used


@dataclass(frozen=True)
class Evidence:
    """What is known at one point.

    Attributes:
        weights: the point.
        derived: the derived partials; an empty tensor for a partial that is not a tensor.
        autograd: autograd's partials.
        replay: the replay of the objective, None if it has none that agrees with autograd.
    """

    weights: Weights
    derived: tuple[Tensor, ...]
    autograd: Weights
    replay: Replay | None


def collect_evidence(
    objective: Objective,
    derivation: Derivation,
    weights: Weights,
    argument: int,
    names: tuple[str, ...],
    generator: torch.Generator,
) -> list[Evidence]:
    """Evidence at random points around ``weights``, for a wrong partial of one argument.

    Points where that partial is not finite are left out. If every point has a replay, only those
    with the most common operations are kept, or no replay at all if these are too few.
    """
    evidence: list[Evidence] = []
    for point in random_points(objective, weights, _POINTS, generator):
        tensors = [d.tensor for d in call_derivation(derivation, point.weights)]
        wrong = tensors[argument]
        if wrong is None or not bool(torch.isfinite(wrong).all()):
            continue
        derived = tuple(torch.zeros(0) if t is None else t for t in tensors)
        replay = _verified_replay(objective, point, names)
        evidence.append(Evidence(point.weights, derived, point.autograd, replay))
    signatures = [e.replay.trace.signature for e in evidence if e.replay is not None]
    if not evidence or len(signatures) < len(evidence):
        return evidence
    most_common, count = Counter(signatures).most_common(1)[0]
    if count >= _LEAST_ALIKE:
        return [e for e, s in zip(evidence, signatures, strict=True) if s == most_common]
    return [replace(e, replay=None) for e in evidence]


def _verified_replay(objective: Objective, point: Point, names: tuple[str, ...]) -> Replay | None:
    """The replay of the objective at a point; None unless its gradient is autograd's."""
    try:
        trace = trace_objective(objective, point.weights)
        replay = None if trace is None else Replay(trace, names)
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    if replay is None:
        return None
    for d, autograd, noise in zip(replay.gradient, point.autograd, point.noise, strict=True):
        difference = autograd if d is None else d - autograd
        if bool((difference.abs() > 1e-9 * autograd.abs().amax() + noise).any()):
            return None
    return replay
