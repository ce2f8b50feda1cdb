"""Mistakes that the partial as a whole shows: ratios, offsets, transposes, exchanges, shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.comparison import (
    are_equal,
    common_ratio,
    match_error,
    worst_match_error,
)
from gd_torch.checking.diagnosis.constants import describe_average, format_constant
from gd_torch.checking.diagnosis.hypotheses import Match
from gd_torch.checking.evidence import Evidence


def match_numeric_patterns(
    evidence: Sequence[Evidence], argument: int, names: Sequence[str], sizes: dict[int, str]
) -> Iterator[Match]:
    """Every pattern that fits the partial of one argument at every point; no trace is needed."""
    first = evidence[0]
    if first.derived[argument].shape == first.autograd[argument].shape:
        yield from _constant_factor(evidence, argument, sizes)
        yield from _offset(evidence, argument)
    else:
        yield from _missing_sum(evidence, argument)
    yield from _transposed(evidence, argument)
    yield from _swapped(evidence, argument, names)


def _constant_factor(
    evidence: Sequence[Evidence], argument: int, sizes: dict[int, str]
) -> Iterator[Match]:
    """derived = c autograd at every point."""
    c = common_ratio(
        [e.derived[argument] for e in evidence], [e.autograd[argument] for e in evidence]
    )
    if not c:
        return
    error = worst_match_error([c * e.autograd[argument] for e in evidence], evidence, argument)
    if error is None:
        return
    if abs(c + 1) < 1e-7:
        yield Match(0.0, "sign", "the sign is wrong: the partial times -1", error)
        return
    first = evidence[0].autograd[argument]
    constant = all(are_equal(e.autograd[argument], first) for e in evidence)
    mean = describe_average(abs(c), sizes)
    written = format_constant(c)
    halved_or_doubled = written in ("2", "1/2", "-2", "-1/2")
    if mean and c > 0:
        likely = not halved_or_doubled and _is_average(evidence[0], c)
        yield Match(0.3 if likely else 0.6, "missing_average", mean, error)
    if not constant or len(written) <= 4:  # a constant partial is a multiple of any other one
        text = f"the partial times {written}"
        if abs(c) < 1 and "/" in written:
            text += f": a factor {format_constant(1 / c)} is missing"
        yield Match(0.5, "constant_factor", text, error)


def _is_average(evidence: Evidence, c: float) -> bool:
    """Whether a factor is more likely an average than a constant.

    It is if it is far from 1, or if the objective averages (c > 1) or adds up (c < 1).
    """
    replay = evidence.replay
    if replay is None or max(c, 1 / c) > 6.5:
        return True
    operations = {n.name for n in replay.trace.nodes}
    return "mean" in operations or ("div" if c > 1 else "sum") in operations


def _offset(evidence: Sequence[Evidence], argument: int) -> Iterator[Match]:
    """derived - autograd is one number, in every entry and at every point."""
    first = evidence[0]
    offset = (first.derived[argument] - first.autograd[argument]).mean()
    guesses = [e.autograd[argument] + offset for e in evidence]
    error = worst_match_error(guesses, evidence, argument)
    varies = any(not are_equal(e.derived[argument], first.derived[argument]) for e in evidence)
    if error is not None and varies:
        c = format_constant(float(offset))
        text = f"derived minus autograd's partial is {c} in every entry at every point"
        yield Match(2.05, "additive_constant", text, error)


def _transposed(evidence: Sequence[Evidence], argument: int) -> Iterator[Match]:
    """derived = autograd^T."""
    if evidence[0].autograd[argument].dim() >= 2:
        guesses = [e.autograd[argument].mT for e in evidence]
        error = worst_match_error(guesses, evidence, argument)
        if error is not None:
            yield Match(0.2, "transposed", "the partial is transposed", error)


def _swapped(evidence: Sequence[Evidence], argument: int, names: Sequence[str]) -> Iterator[Match]:
    """derived = autograd's partial for another argument."""
    for other, name in enumerate(names):
        guesses = [e.autograd[other] for e in evidence]
        if other != argument and any(bool(g.any()) for g in guesses):
            error = worst_match_error(guesses, evidence, argument)
            if error is not None:
                yield Match(0.1, "swapped_partials", f"this is the partial for {name}", error)


def _missing_sum(evidence: Sequence[Evidence], argument: int) -> Iterator[Match]:
    """The derived entries add up to autograd's: a sum over a broadcast axis is missing."""
    derived, autograd = evidence[0].derived[argument], evidence[0].autograd[argument]
    if derived.numel() <= autograd.numel():
        return
    for text, reduce in _reductions(derived.dim(), autograd):
        error = _error_after(reduce, evidence, argument)
        if error is not None:
            message = f"not summed over {text}: shape {tuple(derived.shape)}"
            yield Match(0.1, "missing_sum", message, error)
            return


def _error_after(
    reduce: Callable[[Tensor], Tensor], evidence: Sequence[Evidence], argument: int
) -> float | None:
    """The largest error of the reduced derived partial, None where it is not autograd's."""
    worst = 0.0
    for e in evidence:
        try:
            total = reduce(e.derived[argument])
        except (RuntimeError, IndexError):
            return None
        error = match_error(total, e.autograd[argument], torch.zeros_like(total))
        if error is None:
            return None
        worst = max(worst, error)
    return worst


def _reductions(dim: int, autograd: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Sums that may bring a derived partial to the right shape: (the axes in words, the sum)."""
    for axis in range(dim):
        yield f"axis {axis}", partial(torch.sum, dim=axis)
        yield f"axis {axis}", partial(torch.sum, dim=axis, keepdim=True)
    yield "the broadcast axes", lambda d: d.sum_to_size(autograd.shape)
    yield "all axes", lambda d: d.sum().reshape(autograd.shape)
