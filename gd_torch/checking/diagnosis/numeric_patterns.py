"""Causes that the numbers alone give away: ratios, transposes, other partials, sums, offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from gd_torch.checking.evidence import Evidence, all_same, average, plain, ratio, same

Found = tuple[float, str, str, float]
"""(rank, kind, message, relative error)."""


def from_numbers(
    points: Sequence[Evidence], i: int, names: Sequence[str], counts: dict[int, str]
) -> Iterator[Found]:
    """Every cause that fits argument ``i`` at every point."""
    if points[0].hand[i].shape == points[0].autograd[i].shape:
        yield from _constant(points, i, counts)
        yield from _offset(points, i)
    else:
        yield from _missing_sum(points, i)
    yield from _transposed(points, i)
    yield from _swapped(points, i, names)


def _constant(points: Sequence[Evidence], i: int, counts: dict[int, str]) -> Iterator[Found]:
    """hand = c autograd everywhere."""
    c = ratio([p.hand[i] for p in points], [p.autograd[i] for p in points])
    if not c:
        return
    error = all_same([c * p.autograd[i] for p in points], points, i)
    if error is None:
        return
    if abs(c + 1) < 1e-7:
        yield 0.0, "sign", "the sign is wrong: the partial times -1", error
        return
    steady = all(
        same(p.autograd[i], points[0].autograd[i], 0 * p.autograd[i]) is not None for p in points
    )
    mean = average(abs(c), counts)
    small = plain(c) in ("2", "1/2", "-2", "-1/2")
    if mean and c > 0:
        likely = not small and _averages(points, c)
        yield (0.3 if likely else 0.6), "missing_average", mean, error
    if not steady or len(plain(c)) <= 4:  # a constant partial is a multiple of every other one
        text = f"the partial times {plain(c)}"
        if abs(c) < 1 and "/" in plain(c):
            text += f": a factor {plain(1 / c)} is missing"
        yield 0.5, "constant_factor", text, error


def _averages(points: Sequence[Evidence], c: float) -> bool:
    """Whether the objective averages (c > 1) or adds up (c < 1), or the count speaks for itself."""
    replay = points[0].replay
    if replay is None or max(c, 1 / c) > 6.5:
        return True
    names = {n.name for n in replay.trace.nodes}
    return "mean" in names or (c > 1 and "div" in names) or (c < 1 and "sum" in names)


def _offset(points: Sequence[Evidence], i: int) -> Iterator[Found]:
    """hand - autograd is one number, the same in every entry and at every point."""
    first = points[0]
    offset = (first.hand[i] - first.autograd[i]).mean()
    error = all_same([p.autograd[i] + offset for p in points], points, i)
    moving = any(
        same(p.hand[i], first.hand[i], torch.zeros_like(first.hand[i])) is None for p in points
    )
    if error is not None and moving:
        text = f"hand minus autograd is {plain(float(offset))} in every entry at every point"
        yield 2.05, "additive_constant", text, error


def _transposed(points: Sequence[Evidence], i: int) -> Iterator[Found]:
    """hand = autograd^T."""
    if points[0].autograd[i].dim() >= 2:
        error = all_same([p.autograd[i].mT for p in points], points, i)
        if error is not None:
            yield 0.2, "transposed", "the partial is transposed", error


def _swapped(points: Sequence[Evidence], i: int, names: Sequence[str]) -> Iterator[Found]:
    """hand is another argument's partial."""
    for j, name in enumerate(names):
        if j != i:
            error = all_same([p.autograd[j] for p in points], points, i)
            if error is not None and any(bool(p.autograd[j].any()) for p in points):
                yield 0.1, "swapped_partials", f"this is the partial for {name}", error


def _missing_sum(points: Sequence[Evidence], i: int) -> Iterator[Found]:
    """The hand's entries add up to autograd's: a broadcast axis was not summed over."""
    hand, like = points[0].hand[i], points[0].autograd[i]
    for text, collapse in _collapses(hand.dim(), like):
        worst = 0.0
        for p in points:
            try:
                total = collapse(p.hand[i])
            except (RuntimeError, IndexError):
                break
            error = same(total, p.autograd[i], torch.zeros_like(total))
            if error is None:
                break
            worst = max(worst, error)
        else:
            if hand.numel() > like.numel():
                yield (
                    0.1,
                    "missing_sum",
                    f"not summed over {text}: shape {tuple(hand.shape)}",
                    worst,
                )
                return


def _collapses(axes: int, like: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    for axis in range(axes):
        yield f"axis {axis}", partial(torch.sum, dim=axis)
        yield f"axis {axis}", partial(torch.sum, dim=axis, keepdim=True)
    yield "the broadcast axes", lambda x: x.sum_to_size(like.shape)
    yield "all axes", lambda x: x.sum().reshape(like.shape)
