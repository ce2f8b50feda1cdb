"""Search for the mistakes that reproduce a wrong partial, from specific to general ones."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.checking.diagnosis.constants import axis_sizes
from gd_torch.checking.diagnosis.cotangent_sums import match_cotangent_sums
from gd_torch.checking.diagnosis.factors import factor_hypotheses
from gd_torch.checking.diagnosis.hypotheses import Match
from gd_torch.checking.diagnosis.matcher import Matcher
from gd_torch.checking.diagnosis.numeric_patterns import match_numeric_patterns
from gd_torch.checking.diagnosis.pointwise import pointwise_hypotheses
from gd_torch.checking.diagnosis.products import product_hypotheses
from gd_torch.checking.diagnosis.repeated_mistakes import repeated_mistakes
from gd_torch.checking.diagnosis.terms import TermMatcher
from gd_torch.checking.evidence import Evidence
from gd_torch.checking.report import Cause

_LEAST_POINTS = 3  # that must agree before a mistake is named
_RANK_RANGE = 2.4  # how much larger than the best rank that of a listed cause may be


def diagnose(
    evidence: Sequence[Evidence], argument: int, names: Sequence[str]
) -> tuple[Cause, ...]:
    """Name the mistakes that reproduce the derived partial of one argument at every point.

    Args:
        evidence: the points.
        argument: the argument whose partial is wrong.
        names: the names of all arguments.

    Returns:
        One cause per kind, the most specific first; none where nothing reproduces the numbers.
    """
    if len(evidence) < _LEAST_POINTS:
        return ()
    first = evidence[0]
    sizes = axis_sizes(first.replay, first.weights)
    matches = list(match_numeric_patterns(evidence, argument, names, sizes))
    same_shape = first.derived[argument].shape == first.autograd[argument].shape
    if same_shape and all(e.replay is not None for e in evidence):
        matches += _match_alterations(Matcher(evidence, argument, sizes), bool(matches))
    return _rank_causes(matches)


def _match_alterations(matcher: Matcher, explained: bool) -> list[Match]:
    """Alterations of the backward pass; the general ones only if nothing else explains it."""
    replay = matcher.replays[0]
    matches = matcher.match_all(pointwise_hypotheses(replay))
    matches += matcher.match_all(product_hypotheses(replay))
    terms = TermMatcher(matcher)
    matches += terms.match_single()
    matches += match_cotangent_sums(matcher)
    if matches or explained:
        return matches
    matches = matcher.match_all(factor_hypotheses(replay))
    if matches:
        return matches
    repeated = map(matcher.match_repeated, repeated_mistakes(replay))
    return [m for m in repeated if m is not None] or list(terms.match_pairs())


def _rank_causes(matches: list[Match]) -> tuple[Cause, ...]:
    """The best match of every kind, without those far less specific than the best of all."""
    best: dict[str, Match] = {}
    for match in sorted(matches, key=lambda m: m.rank):
        if match.rank <= min(m.rank for m in matches) + _RANK_RANGE:
            best.setdefault(match.kind, match)
    return tuple(
        Cause(m.kind, m.message, f"this reproduces your numbers to {m.error:.0e}")
        for m in best.values()
    )
