"""Terms of a gradient that are missing or have a wrong constant: derived = sum of c times term."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.comparison import fit_coefficients
from gd_torch.checking.diagnosis.constants import describe_average, format_constant, is_simple
from gd_torch.checking.diagnosis.hypotheses import Cotangents, Match, Term
from gd_torch.checking.diagnosis.matcher import Matcher
from gd_torch.checking.replay import Edge, Replay
from gd_torch.checking.trace import Node

_SUMS = ("add", "sub", "rsub")
_MAX_PAIRED = 40  # terms that are tried in pairs
_PAIR_MISTAKES = (
    (
        0.0,
        "treated_as_constant",
        "the gradient through two uses is missing, as if both were constant",
    ),
    (-1.0, "sign_of_term", "the signs of two terms are wrong"),
)
"""Factor of both terms, kind, message."""


def gradient_terms(replay: Replay) -> list[Term]:
    """The part of the gradient that comes through every use, and through all uses, of a value."""
    terms = []
    for node in replay.trace.nodes:
        for position in node.inputs:
            if replay.edge_cotangent(Edge(node.index, position)) is not None:
                terms.append(_term_of_use(node, position))
    for v, uses in replay.uses.items():
        if len(uses) > 1 and v in replay.cotangents and v in replay.producer:
            node = replay.producer[v]
            terms.append(Term(f"{node.name}, {node.location}", 2.2, _all_uses(v), False))
    return terms


def _term_of_use(node: Node, position: int) -> Term:
    value = node.inputs[position]

    def cotangents(replay: Replay) -> Cotangents | None:
        correct = replay.edge_cotangent(Edge(node.index, position))
        return None if correct is None else {value: correct}

    several = len(node.inputs) > 1
    is_summand = node.name in ("where", "cat", "stack") or (several and node.name in _SUMS)
    rank = 2.0 if is_summand else 2.1 if several else 2.4
    return Term(f"{node.name}, {node.location}", rank, cotangents, is_summand)


def _all_uses(v: int) -> Callable[[Replay], Cotangents | None]:
    return lambda replay: {v: replay.cotangents[v]} if v in replay.cotangents else None


class TermMatcher:
    """Finds terms with a wrong constant, from the projections of all terms at every point."""

    def __init__(self, matcher: Matcher) -> None:
        self._matcher = matcher
        argument = matcher.argument
        self._whole = matcher.project_partials([e.autograd[argument] for e in matcher.evidence])
        self._projected: list[tuple[Term, Tensor]] = []
        for term in gradient_terms(matcher.replays[0]):
            projections = matcher.project_all(map(term.cotangents, matcher.replays))
            if projections is not None and _is_relevant(projections, self._whole):
                self._projected.append((term, projections))

    def match_single(self) -> Iterator[Match]:
        """One term times a constant."""
        for term, projections in self._projected:
            c = fit_coefficients([projections], self._matcher.differences)
            if c is None or _is_close(projections, self._whole):
                continue
            error = self._error([term], c)
            if error is not None:
                yield from _name_scaled_term(term, 1 + c[0], error, self._matcher.sizes)

    def match_pairs(self) -> Iterator[Match]:
        """The same mistake in two terms: both missing, or both with the wrong sign.

        Mean and variance treated as constants are such a pair. Two different constants are not
        tried: too many mistakes of other kinds are equal to such a pair.
        """
        for (a, column_a), (b, column_b) in combinations(self._projected[:_MAX_PAIRED], 2):
            pair = column_a + column_b
            size = torch.maximum(column_a.abs(), column_b.abs()).amax(1)
            for factor, kind, what in _PAIR_MISTAKES:
                rest = (self._matcher.differences - (factor - 1) * pair).abs().amax(1)
                if bool((rest > 1e-4 * size).any()):
                    continue
                error = self._error([a, b], [factor - 1, factor - 1])
                if error is not None:
                    yield Match(6.0, kind, f"{what} ({a.name} and {b.name})", error)

    def _error(self, terms: list[Term], coefficients: list[float]) -> float | None:
        parts = [[term.cotangents(r) for r in self._matcher.replays] for term in terms]
        return self._matcher.match_scaled(parts, coefficients)


def _is_relevant(projections: Tensor, whole: Tensor) -> bool:
    return bool(projections.abs().amax() > 1e-12 * whole.abs().amax())


def _is_close(projections: Tensor, whole: Tensor) -> bool:
    return bool((projections - whole).abs().amax() <= 1e-9 * whole.abs().amax())


def _name_scaled_term(term: Term, c: float, error: float, sizes: dict[int, str]) -> Iterator[Match]:
    """The mistakes that a factor ``c`` of one term may be."""
    rank, where = term.rank, f"({term.name})"
    if abs(c) < 1e-7:
        dropped = f"a term is missing {where}"
        constant = f"the gradient through one use is missing, as if it were constant {where}"
        preferred = 0.0 if term.is_summand else 2.0
        yield Match(rank + preferred, "dropped_term", dropped, error)
        yield Match(rank + 2.0 - preferred, "treated_as_constant", constant, error)
    elif abs(c + 1) < 1e-7:
        yield Match(rank, "sign_of_term", f"the sign of one term is wrong {where}", error)
    elif c > 0 and (average := describe_average(c, sizes)):
        # a factor of 2 is more likely a constant, any other size an average
        preferred = 0.2 if abs(c - 2) < 1e-7 or abs(c - 0.5) < 1e-7 else 0.0
        message = f"in one term: {average} {where}"
        yield Match(rank + preferred, "missing_average", message, error)
        message = f"one term times {format_constant(c)} {where}"
        yield Match(rank + 0.2 - preferred, "factor_of_term", message, error)
    else:
        rank += 0.0 if is_simple(c, sizes) else 1.0
        message = f"one term times {format_constant(c)} {where}"
        yield Match(rank, "factor_of_term", message, error)
