"""Test hypotheses against the derived numbers: first along a few directions, then every entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.comparison import common_ratio, worst_match_error
from gd_torch.checking.diagnosis.constants import is_simple
from gd_torch.checking.diagnosis.hypotheses import (
    Cotangents,
    Hypothesis,
    Match,
    RepeatedMistake,
)
from gd_torch.checking.evidence import Evidence
from gd_torch.checking.replay import Replay

_DIRECTIONS = 3
_SCALED_RANK = 4.0  # added to the rank of a hypothesis that needs a constant


class Matcher:
    """Tests hypotheses about the wrong partial of one argument.

    A backward pass per hypothesis would be slow. By <d, J^T g> = <J d, g> an inner product with
    the tangents J d, computed once, gives the projection of the altered partial onto a direction
    d. Only a hypothesis whose projections fit is tested with backward passes at every point.

    Attributes:
        evidence: the points, each with a replay.
        argument: the argument whose partial is wrong.
        sizes: what an average could divide by.
        replays: per point, its replay.
        directions: tensors of the argument's shape.
        differences: derived minus autograd's partial, projected onto the directions,
            shape (points, directions).
    """

    def __init__(self, evidence: Sequence[Evidence], argument: int, sizes: dict[int, str]) -> None:
        self.evidence, self.argument, self.sizes = evidence, argument, sizes
        self.replays = [e.replay for e in evidence if e.replay is not None]
        generator = torch.Generator().manual_seed(0)
        w = evidence[0].weights[argument]
        count = _DIRECTIONS if w.numel() > 1 else 1
        drawn = [torch.randn(w.shape, generator=generator) for _ in range(count)]
        self.directions = [d.to(w.device, w.dtype) for d in drawn]
        self._tangents: dict[int, dict[int, Tensor]] = {}
        self.differences = self.project_partials(
            [e.derived[argument] - e.autograd[argument] for e in evidence]
        )
        self._difference_rows: list[list[float]] = self.differences.tolist()

    def project_partials(self, partials: Sequence[Tensor]) -> Tensor:
        """One partial per point, projected onto every direction: shape (points, directions)."""
        rows = [[float((d * partial).sum()) for d in self.directions] for partial in partials]
        return torch.tensor(rows, dtype=torch.float64)

    def project(self, point: int, cotangents: Cotangents) -> list[float] | None:
        """The partial that cotangents bring about at one point, projected onto every direction.

        Returns:
            One number per direction; None where a cotangent has another shape than its value.
        """
        count = len(self.directions)
        if point not in self._tangents:
            passes = [self.replays[point].jvp({self.argument: d}) for d in self.directions]
            self._tangents[point] = {v: torch.stack([t[v] for t in passes]) for v in passes[0]}
        tangents = self._tangents[point]  # value -> (directions, *shape)
        total = torch.zeros(count, dtype=torch.float64, device=self.directions[0].device)
        for value, g in cotangents.items():
            if value not in tangents:
                continue
            if tangents[value].shape[1:] != g.shape:
                return None
            total += (tangents[value].reshape(count, -1) * g.reshape(-1)).sum(1)
        projections: list[float] = total.tolist()
        return projections

    def project_all(self, cotangents: Iterable[Cotangents | None]) -> Tensor | None:
        """One set of cotangents per point, projected: (points, directions); None if one cannot."""
        rows = []
        for point, here in enumerate(cotangents):
            row = None if here is None else self.project(point, here)
            if row is None:
                return None
            rows.append(row)
        return torch.tensor(rows, dtype=torch.float64)

    def match_all(self, hypotheses: Iterable[Hypothesis]) -> list[Match]:
        """Every hypothesis that reproduces the derived numbers."""
        return [m for h in hypotheses if (m := self.match(h)) is not None]

    def match(self, h: Hypothesis) -> Match | None:
        """The hypothesis as a match, if it reproduces the derived numbers at every point."""
        removed, added = h.removed(self.replays[0]), h.added(self.replays[0])
        if removed is None or added is None:
            return None
        before, after = self.project(0, removed), self.project(0, added)
        if before is not None and after is not None:
            change = [a - b for a, b in zip(after, before, strict=True)]
            fits = _is_near(change, self._difference_rows[0])
            if not fits and not (h.scalable and self._fits_with_constant(h, before, after)):
                return None
        return self._match_exactly(h)

    def _fits_with_constant(self, h: Hypothesis, before: list[float], after: list[float]) -> bool:
        """Whether one constant before the added cotangents fits three projections at least.

        Args:
            h: the hypothesis.
            before, after: the projections of what it removes and adds at the first point.
        """
        targets: list[float] = []
        sources: list[float] = []
        for point, replay in enumerate(self.replays[:_DIRECTIONS]):
            if point > 0:
                removed, added = h.removed(replay), h.added(replay)
                if removed is None or added is None:
                    return False
                projections = self.project(point, removed), self.project(point, added)
                if projections[0] is None or projections[1] is None:
                    return True
                before, after = projections[0], projections[1]
            differences = self._difference_rows[point]
            targets += [d + b for d, b in zip(differences, before, strict=True)]
            sources += after
            if len(sources) >= _DIRECTIONS:
                break
        return _are_proportional(targets, sources)

    def _match_exactly(self, h: Hypothesis) -> Match | None:
        """Compare every entry at every point; find the constant if the hypothesis allows one."""
        rest, wrong = [], []
        for e, replay in zip(self.evidence, self.replays, strict=True):
            removed, added = h.removed(replay), h.added(replay)
            if removed is None or added is None:
                return None
            try:
                before, after = (replay.vjp(c)[self.argument] for c in (removed, added))
            except RuntimeError:  # a cotangent whose shape does not fit
                return None
            autograd = e.autograd[self.argument]
            rest.append(autograd if before is None else autograd - before)
            wrong.append(torch.zeros_like(autograd) if after is None else after)
        if self._all_negligible(wrong):
            return None  # nothing is added: a missing term, which other hypotheses name
        error = self._error(rest, wrong, 1.0)
        if error is not None:
            return Match(h.rank, h.kind, h.message, error)
        if not h.scalable:
            return None
        derived = [e.derived[self.argument] for e in self.evidence]
        c = common_ratio([d - r for d, r in zip(derived, rest, strict=True)], wrong)
        if c is None or not is_simple(c, self.sizes):
            return None
        error = self._error(rest, wrong, c)
        if error is None:
            return None
        return Match(h.rank + _SCALED_RANK, h.kind, f"{h.message}, times {c:.4g}", error)

    def _all_negligible(self, partials: list[Tensor]) -> bool:
        autograd = [e.autograd[self.argument] for e in self.evidence]
        pairs = zip(partials, autograd, strict=True)
        return all(bool(p.abs().amax() <= 1e-10 * a.abs().amax()) for p, a in pairs)

    def _error(self, rest: list[Tensor], wrong: list[Tensor], c: float) -> float | None:
        try:
            guesses = [r + c * w for r, w in zip(rest, wrong, strict=True)]
        except RuntimeError:  # the altered partial has a shape that does not fit
            return None
        return worst_match_error(guesses, self.evidence, self.argument)

    def match_repeated(self, mistake: RepeatedMistake) -> Match | None:
        """The mistake as a match; the first point where it differs ends the test."""
        worst = 0.0
        for e, replay in zip(self.evidence, self.replays, strict=True):
            guess = self._altered_partial(mistake, replay)
            error = worst_match_error([guess], [e], self.argument)
            if error is None:
                return None
            worst = max(worst, error)
        return Match(mistake.rank, mistake.kind, mistake.message, worst)

    def _altered_partial(self, mistake: RepeatedMistake, replay: Replay) -> Tensor | None:
        """The partial with all of the mistake's rules altered, None where it has none."""
        rules, shortcuts = mistake.rules(replay), mistake.shortcuts(replay)
        if not rules and not shortcuts:
            return None
        result = replay.trace.result
        try:
            one = {result: replay.cotangents[result]}
            return replay.vjp(one, rules, shortcuts)[self.argument]
        except RuntimeError:  # a cotangent whose shape does not fit
            return None

    def match_scaled(
        self, parts: Sequence[Sequence[Cotangents | None]], coefficients: Sequence[float]
    ) -> float | None:
        """The error of autograd's partial plus some of its parts times coefficients.

        Args:
            parts: per part and point, the cotangents of the part.
            coefficients: one per part.
        """
        guesses = []
        for point, (e, replay) in enumerate(zip(self.evidence, self.replays, strict=True)):
            guess = e.autograd[self.argument]
            for part, c in zip(parts, coefficients, strict=True):
                partial = replay.vjp(part[point] or {})[self.argument]
                guess = guess if partial is None else guess + c * partial
            guesses.append(guess)
        return worst_match_error(guesses, self.evidence, self.argument)


def _is_near(found: Sequence[float], wanted: Sequence[float]) -> bool:
    size = max(max(map(abs, wanted)), max(map(abs, found)))
    return all(abs(f - w) <= 1e-3 * size for f, w in zip(found, wanted, strict=True))


def _are_proportional(target: Sequence[float], source: Sequence[float]) -> bool:
    norm = sum(s * s for s in source)
    if not norm > 0:
        return False
    c = sum(t * s for t, s in zip(target, source, strict=True)) / norm
    return _is_near([c * s for s in source], target)
