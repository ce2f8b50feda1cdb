"""Fit unknown constants to the paths of a gradient: hand = sum of c times each path's share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.factors import scalings, solve_split, splits
from gd_torch.checking.diagnosis.hypotheses import Scaling, Seeds
from gd_torch.checking.diagnosis.matcher import Matcher
from gd_torch.checking.diagnosis.numeric_patterns import Found
from gd_torch.checking.diagnosis.products import pool
from gd_torch.checking.evidence import all_same, average, plain, simple


class Paths:
    """The share of every path at every point, seen along the matcher's directions."""

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher
        self.scalings: list[Scaling] = []
        self.shares: list[Tensor] = []
        w = torch.tensor(matcher.wanted, dtype=torch.float64)  # (points, directions)
        i = matcher.i
        whole = [
            [float((d * p.autograd[i]).sum()) for d in matcher.directions] for p in matcher.points
        ]
        self.wanted, self.whole = w, torch.tensor(whole, dtype=torch.float64)
        for s in scalings(matcher.replays[0]):
            share = self._share(s)
            if share is not None and bool(share.abs().amax() > 1e-12 * self.whole.abs().amax()):
                self.scalings.append(s)
                self.shares.append(share)

    def _share(self, s: Scaling) -> Tensor | None:
        rows = []
        for k, replay in enumerate(self.matcher.replays):
            seeds = s.path(replay)
            row = None if seeds is None else self.matcher.shadow(k, seeds)
            if row is None:
                return None
            rows.append(row)
        return torch.tensor(rows, dtype=torch.float64)

    def single(self) -> Iterator[Found]:
        """One path times c."""
        for s, share in zip(self.scalings, self.shares, strict=True):
            c = _fit([share], self.wanted)
            if c is None or _close(share, self.whole):
                continue
            error = self._exact([s], [c[0]])
            if error is not None:
                yield from _named(s, 1 + c[0], error, self.matcher.counts)

    def pairs(self, most: int = 40) -> Iterator[Found]:
        """Two paths at once, each left out, turned round or times a simple constant."""
        order = range(min(len(self.scalings), most))
        for a, b in combinations(order, 2):
            c = _fit([self.shares[a], self.shares[b]], self.wanted)
            if c is None or not all(_tidy(1 + x, self.matcher.counts) for x in c):
                continue
            error = self._exact([self.scalings[a], self.scalings[b]], c)
            if error is not None:
                kind = _pair_kind(c)
                names = f"{self.scalings[a].name} and {self.scalings[b].name}"
                yield (
                    6.0,
                    kind,
                    f"two paths times {plain(1 + c[0])}, {plain(1 + c[1])} ({names})",
                    error,
                )

    def _exact(self, parts: Sequence[Scaling], c: Sequence[float]) -> float | None:
        """The worst error over every entry and point."""
        m, guesses = self.matcher, []
        for p, replay in zip(m.points, m.replays, strict=True):
            guess = p.autograd[m.i]
            for s, x in zip(parts, c, strict=True):
                flow = replay.pull(s.path(replay) or {})[m.i]
                guess = guess if flow is None else guess + x * flow
            guesses.append(guess)
        return all_same(guesses, m.points, m.i)


def _named(s: Scaling, c: float, error: float, counts: dict[int, str]) -> Iterator[Found]:
    """The kinds that a single path's constant stands for."""
    where = f"({s.name})"
    if abs(c) < 1e-7:
        term, constant = (
            ("dropped_term", f"a term is missing {where}"),
            (
                "treated_as_constant",
                f"the gradient through one use is missing, as if it were constant {where}",
            ),
        )
        first, second = (term, constant) if s.is_sum else (constant, term)
        yield s.rank, *first, error
        yield s.rank + 2, *second, error
    elif abs(c + 1) < 1e-7:
        yield s.rank, "sign_of_term", f"the sign of one term is wrong {where}", error
    elif c > 0 and (text := average(c, counts)):
        small = abs(c - 2) < 1e-7 or abs(c - 0.5) < 1e-7
        yield (
            s.rank + (0.2 if small else 0),
            "missing_average",
            f"in one term: {text} {where}",
            error,
        )
        yield (
            s.rank + (0 if small else 0.2),
            "factor_of_term",
            f"one term times {plain(c)} {where}",
            error,
        )
    else:
        yield (
            s.rank + (0 if simple(c, counts) else 1),
            "factor_of_term",
            (f"one term times {plain(c)} {where}"),
            error,
        )


def _pair_kind(c: Sequence[float]) -> str:
    if all(abs(1 + x) < 1e-6 for x in c):
        return "treated_as_constant"
    if all(abs(2 + x) < 1e-6 for x in c):
        return "sign_of_term"
    return "factor_of_term"


def _tidy(c: float, counts: dict[int, str]) -> bool:
    return abs(c) < 1e-7 or simple(c, counts)


def _close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().amax() <= 1e-9 * b.abs().amax())


def _fit(columns: Sequence[Tensor], wanted: Tensor) -> list[float] | None:
    """Least squares over points and directions; None unless it fits with equations to spare."""
    if wanted.numel() < len(columns) + 3:
        return None
    scale = torch.stack([wanted, *columns]).abs().amax(0).clamp_min(1e-300)
    A = torch.stack([(c / scale).reshape(-1) for c in columns], 1)
    y = (wanted / scale).reshape(-1)
    gram = A.T @ A
    if not bool(torch.isfinite(gram).all()) or bool(
        torch.linalg.det(gram) <= 1e-12 * gram.diagonal().prod()
    ):
        return None
    c = torch.linalg.solve(gram, A.T @ y)
    miss = (A @ c - y).abs().amax()
    return [float(x) for x in c] if bool(miss <= 1e-4 * y.abs().amax()) else None


def from_splits(matcher: Matcher) -> Iterator[Found]:
    """A cotangent alpha s + beta t of which one part is missing, turned round or scaled."""
    for u, s, t in splits(matcher.replays[0]):
        shares: list[list[list[float]]] = [[], []]
        for k in range(len(matcher.replays)):
            seeds = _parts(matcher, k, u, s, t)
            rows = None if seeds is None else [matcher.shadow(k, x) for x in seeds]
            if rows is None or rows[0] is None or rows[1] is None:
                break
            shares[0].append(rows[0])
            shares[1].append(rows[1])
        else:
            columns = [torch.tensor(x, dtype=torch.float64) for x in shares]
            c = _fit(columns, torch.tensor(matcher.wanted, dtype=torch.float64))
            if c is not None:
                yield from _named_split(matcher, u, s, t, c)


def _parts(matcher: Matcher, k: int, u: int, s: str, t: str) -> tuple[Seeds, Seeds] | None:
    replay = matcher.replays[k]
    named = pool(replay, replay.values[u].shape)
    both = (
        solve_split(replay.cotangents[u], named[s], named[t]) if s in named and t in named else None
    )
    return None if both is None else ({u: both[0] * named[s]}, {u: both[1] * named[t]})


def _named_split(matcher: Matcher, u: int, s: str, t: str, c: list[float]) -> Iterator[Found]:
    guesses = []
    for k, p in enumerate(matcher.points):
        seeds = _parts(matcher, k, u, s, t)
        guess = p.autograd[matcher.i]
        for x, part in zip(c, seeds or (), strict=False):
            flow = matcher.replays[k].pull(part)[matcher.i]
            guess = guess if flow is None else guess + x * flow
        guesses.append(guess)
    error = all_same(guesses, matcher.points, matcher.i)
    kept = [1 + x for x in c]
    if error is None or min(abs(x - 1) for x in kept) > 1e-6:
        return
    changed, name = (kept[0], s) if abs(kept[1] - 1) <= 1e-6 else (kept[1], t)
    if abs(changed) < 1e-6:
        yield 2.6, "dropped_term", f"the part {name} of a difference is missing", error
    elif abs(changed + 1) < 1e-6:
        yield 2.6, "sign_of_term", f"the part {name} of a difference has the wrong sign", error
    else:
        yield (
            3.6,
            "factor_of_term",
            f"the part {name} of a difference times {plain(changed)}",
            error,
        )
