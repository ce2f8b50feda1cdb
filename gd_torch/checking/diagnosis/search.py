"""Which mistake makes these numbers: ranked causes for one wrong argument."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.checking.diagnosis.factors import extra_factors, groups
from gd_torch.checking.diagnosis.matcher import Matcher, tested
from gd_torch.checking.diagnosis.numeric_patterns import Found, from_numbers
from gd_torch.checking.diagnosis.pointwise import pointwise_hypotheses
from gd_torch.checking.diagnosis.products import product_hypotheses
from gd_torch.checking.diagnosis.terms import Paths, from_splits
from gd_torch.checking.evidence import Evidence, sizes
from gd_torch.checking.report import Cause

_LEAST = 3  # points that must agree before a cause is named
_REACH = 2.4  # how much less specific than the best a cause may be and still be listed


def diagnose(points: Sequence[Evidence], i: int, names: Sequence[str]) -> tuple[Cause, ...]:
    """The causes that reproduce the hand's partial ``i`` at every point, the most specific first.

    The search goes from specific to general and stops at the first stage that explains the
    numbers; within a stage everything that fits is listed.
    """
    if len(points) < _LEAST:
        return ()
    counts = sizes(points[0].replay, points[0].weights)
    found = list(from_numbers(points, i, names, counts))
    if points[0].hand[i].shape == points[0].autograd[i].shape:
        found += _by_replay(points, i, counts, bool(found))
    return _ranked(found)


def _by_replay(
    points: Sequence[Evidence], i: int, counts: dict[int, str], explained: bool
) -> list[Found]:
    if any(p.replay is None for p in points):
        return []
    matcher = Matcher(points, i, counts)
    replay = matcher.replays[0]
    found = tested(matcher, pointwise_hypotheses(replay))
    found += tested(matcher, product_hypotheses(replay))
    paths = Paths(matcher)
    found += paths.single()
    found += from_splits(matcher)
    if found or explained:
        return found
    found = tested(matcher, extra_factors(replay))
    if found:
        return found
    found = [f for g in groups(replay) if (f := matcher.test_group(g)) is not None]
    return found or list(paths.pairs())


def _ranked(found: list[Found]) -> tuple[Cause, ...]:
    """Sorted by rank; one cause per kind, the best."""
    best: dict[str, Found] = {}
    for f in sorted(found, key=lambda f: f[0]):
        if f[0] <= min(g[0] for g in found) + _REACH:
            best.setdefault(f[1], f)
    return tuple(
        Cause(kind, message, f"this reproduces your numbers to {error:.0e}")
        for _, kind, message, error in best.values()
    )
