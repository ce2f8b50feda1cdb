"""Try hypotheses against the hand's numbers: a cheap screen first, then every entry and point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import Group, Hypothesis, Seeds
from gd_torch.checking.diagnosis.numeric_patterns import Found
from gd_torch.checking.evidence import Evidence, all_same, ratio, simple
from gd_torch.checking.replay import Replay

_DIRECTIONS = 3


class Matcher:
    """What is known about one wrong argument ``i``: its points and their tangents.

    The screen rests on <d, J^T g> = <J d, g>: with the tangents J d of every value along a few
    directions d, a hypothesis costs one inner product instead of one backward pass.
    """

    def __init__(self, points: Sequence[Evidence], i: int, counts: dict[int, str]) -> None:
        self.points, self.i, self.counts = points, i, counts
        self.replays = [p.replay for p in points if p.replay is not None]
        generator = torch.Generator().manual_seed(0)
        w = points[0].weights[i]
        several = _DIRECTIONS if w.numel() > 1 else 1
        drawn = [torch.randn(w.shape, generator=generator) for _ in range(several)]
        self.directions = [d.to(w.device, w.dtype) for d in drawn]
        self.tangents: dict[int, dict[int, Tensor]] = {}
        self.wanted: list[list[float]] = []
        for p in points:
            apart = p.hand[i] - p.autograd[i]
            self.wanted.append([float((d * apart).sum()) for d in self.directions])

    def shadow(self, k: int, seeds: Seeds) -> list[float] | None:
        """<J d, seeds> at point ``k`` for every direction; None where shapes do not meet."""
        several = len(self.directions)
        if k not in self.tangents:
            each = [self.replays[k].tangents({self.i: d}) for d in self.directions]
            self.tangents[k] = {v: torch.stack([moved[v] for moved in each]) for v in each[0]}
        moved = self.tangents[k]  # by value, shape (directions, *shape)
        total = torch.zeros(several, dtype=torch.float64, device=self.directions[0].device)
        for v, g in seeds.items():
            if v not in moved:
                continue
            if moved[v].shape[1:] != g.shape:
                return None
            total += (moved[v].reshape(several, -1) * g.reshape(-1)).sum(1)
        found: list[float] = total.tolist()
        return found

    def test(self, h: Hypothesis) -> Found | None:
        """The hypothesis as a cause, if it reproduces the hand's numbers everywhere."""
        removed, added = h.removed(self.replays[0]), h.added(self.replays[0])
        if removed is None or added is None:
            return None
        out, into = self.shadow(0, removed), self.shadow(0, added)
        if out is not None and into is not None:
            exact = _near([b - a for a, b in zip(out, into, strict=True)], self.wanted[0])
            if not exact and not (h.free and self._proportional(h, out, into)):
                return None
        return self._verify(h)

    def _proportional(self, h: Hypothesis, out: list[float], into: list[float]) -> bool:
        """Whether one constant fits the first points' shadows, three numbers at least.

        ``out`` and ``into`` are the first point's.
        """
        target: list[float] = []
        source: list[float] = []
        for k, replay in enumerate(self.replays[:_DIRECTIONS]):
            if k > 0:
                removed, added = h.removed(replay), h.added(replay)
                if removed is None or added is None:
                    return False
                gone, come = self.shadow(k, removed), self.shadow(k, added)
                if gone is None or come is None:
                    return True
                out, into = gone, come
            target += [w + a for w, a in zip(self.wanted[k], out, strict=True)]
            source += into
            if len(source) >= _DIRECTIONS:
                break
        return _proportional(target, source)

    def _verify(self, h: Hypothesis) -> Found | None:
        """Every entry at every point, with a simple constant before the wrong term if allowed."""
        rest, wrong = [], []
        for p, replay in zip(self.points, self.replays, strict=True):
            removed, added = h.removed(replay), h.added(replay)
            if removed is None or added is None:
                return None
            try:
                gone, come = (replay.pull(seeds)[self.i] for seeds in (removed, added))
            except RuntimeError:
                return None
            rest.append(p.autograd[self.i] - (0 if gone is None else gone))
            wrong.append(torch.zeros_like(rest[-1]) if come is None else come)
        c: float | None = 1.0
        error = self._error(rest, wrong, 1.0)
        if error is None and h.free:
            c = ratio([p.hand[self.i] - r for p, r in zip(self.points, rest, strict=True)], wrong)
            if c is None or not simple(c, self.counts):
                return None
            error = self._error(rest, wrong, c)
        if all(_negligible(f, p.autograd[self.i]) for f, p in zip(wrong, self.points, strict=True)):
            return None  # nothing was put in the place of what was removed: a path left out
        if error is None or c is None:
            return None
        text = h.message if c == 1 else f"{h.message}, times {c:.4g}"
        return h.rank + (0 if c == 1 else 4), h.kind, text, error

    def _error(self, rest: list[Tensor], wrong: list[Tensor], c: float) -> float | None:
        try:
            return all_same(
                [r + c * f for r, f in zip(rest, wrong, strict=True)], self.points, self.i
            )
        except RuntimeError:  # a cotangent of another shape that reached the weight
            return None

    def test_group(self, g: Group) -> Found | None:
        """A group as a cause: whole altered passes, the first point alone as a screen."""
        guesses: list[Tensor | None] = []
        for p, replay in zip(self.points, self.replays, strict=True):
            guess = altered_gradient(g, replay, self.i)
            guesses.append(guess)
            if guess is None or all_same([guess], [p], self.i) is None:
                return None
        error = all_same(guesses, self.points, self.i)
        return None if error is None else (g.rank, g.kind, g.message, error)


def altered_gradient(g: Group, replay: Replay, i: int) -> Tensor | None:
    """The gradient for argument ``i`` with all of a group's rules altered; cached per group."""
    key = ("group", id(g))
    if key not in replay.memo:
        rules, shortcuts = g.rules(replay), g.shortcuts(replay)
        one = {replay.trace.result: replay.cotangents[replay.trace.result]}
        try:
            found = replay.pull(one, rules, shortcuts=shortcuts) if rules or shortcuts else None
        except RuntimeError:
            found = None
        replay.memo[key] = g, found  # g is kept: an id is only good while its object lives
    found = replay.memo[key][1]
    return None if found is None else found[i]


def _negligible(flow: Tensor, gradient: Tensor) -> bool:
    return bool(flow.abs().amax() <= 1e-10 * gradient.abs().amax())


def _near(found: Sequence[float], wanted: Sequence[float]) -> bool:
    size = max(max(map(abs, wanted)), max(map(abs, found)))
    return all(abs(f - w) <= 1e-3 * size for f, w in zip(found, wanted, strict=True))


def _proportional(target: Sequence[float], source: Sequence[float]) -> bool:
    below = sum(s * s for s in source)
    if not below > 0:
        return False
    c = sum(t * s for t, s in zip(target, source, strict=True)) / below
    return _near([c * s for s in source], target)


def tested(matcher: Matcher, hypotheses: Iterable[Hypothesis]) -> list[Found]:
    """Every hypothesis that holds."""
    return [found for h in hypotheses if (found := matcher.test(h)) is not None]
