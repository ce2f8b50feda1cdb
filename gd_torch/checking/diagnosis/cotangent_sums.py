"""Cotangents that are a sum of two tensors of the trace, such as P - Y, with one of them wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.comparison import fit_coefficients
from gd_torch.checking.diagnosis.constants import format_constant
from gd_torch.checking.diagnosis.hypotheses import Cotangents, Match
from gd_torch.checking.diagnosis.matcher import Matcher
from gd_torch.checking.diagnosis.tensors import tensors_of_shape
from gd_torch.checking.replay import Replay


class CotangentSum(NamedTuple):
    """The cotangent of ``value`` is alpha times the tensor ``first`` plus beta times ``second``."""

    value: int
    first: str
    second: str


def match_cotangent_sums(matcher: Matcher) -> Iterator[Match]:
    """One of the two parts is missing, has the wrong sign or is multiplied by a constant."""
    for parts in cotangent_sums(matcher.replays[0]):
        pairs = [_split(replay, parts) for replay in matcher.replays]
        columns = []
        for part in (0, 1):
            column = matcher.project_all(None if p is None else p[part] for p in pairs)
            if column is not None:
                columns.append(column)
        c = fit_coefficients(columns, matcher.differences) if len(columns) == 2 else None
        if c is not None:
            cotangents = [[None if p is None else p[part] for p in pairs] for part in (0, 1)]
            error = matcher.match_scaled(cotangents, c)
            if error is not None:
                yield from _name_part(parts, 1 + c[0], 1 + c[1], error)


def _name_part(parts: CotangentSum, first: float, second: float, error: float) -> Iterator[Match]:
    """The mistake that changes one part by a factor and leaves the other as it is."""
    if min(abs(first - 1), abs(second - 1)) > 1e-6:
        return
    c, name = (first, parts.first) if abs(second - 1) <= 1e-6 else (second, parts.second)
    summand = "one summand of a cotangent"
    if abs(c) < 1e-6:
        yield Match(2.6, "dropped_term", f"{summand} is missing: {name}", error)
    elif abs(c + 1) < 1e-6:
        yield Match(2.6, "sign_of_term", f"{summand} has the wrong sign: {name}", error)
    else:
        message = f"{summand} is multiplied by {format_constant(c)}: {name}"
        yield Match(3.6, "factor_of_term", message, error)


def cotangent_sums(replay: Replay) -> Iterator[CotangentSum]:
    """Every value whose cotangent is a sum of two tensors of the trace, each times a constant."""
    for value, g in replay.cotangents.items():
        if g.numel() < 4:
            continue
        tensors = tensors_of_shape(replay, g.shape)
        names = list(tensors)
        for i, first in enumerate(names):
            for second in names[:i]:
                if solve_sum(g, tensors[first], tensors[second]) is not None:
                    yield CotangentSum(value, first, second)


def _split(replay: Replay, parts: CotangentSum) -> tuple[Cotangents, Cotangents] | None:
    """The two parts of a cotangent, None where it is not that sum."""
    value = parts.value
    tensors = tensors_of_shape(replay, replay.values[value].shape)
    first, second = tensors.get(parts.first), tensors.get(parts.second)
    if first is None or second is None:
        return None
    solution = solve_sum(replay.cotangents[value], first, second)
    if solution is None:
        return None
    alpha, beta = solution
    return {value: alpha * first}, {value: beta * second}


def solve_sum(g: Tensor, first: Tensor, second: Tensor) -> tuple[float, float] | None:
    """alpha and beta with g = alpha first + beta second to rounding, None where there are none."""
    basis = torch.stack([first.reshape(-1), second.reshape(-1)], 1)
    gram, right = basis.T @ basis, basis.T @ g.reshape(-1)
    if not bool(torch.isfinite(gram).all()) or float(torch.linalg.det(gram)) <= 1e-9 * float(
        gram[0, 0] * gram[1, 1]
    ):
        return None
    c = torch.linalg.solve(gram, right)
    residual = float((basis @ c - g.reshape(-1)).abs().amax())
    size = float(g.abs().amax())
    if size == 0 or residual > 1e-10 * size:
        return None
    if float(c.abs().amin()) < 1e-6 * float(c.abs().amax()):
        return None  # one tensor alone is enough
    alpha, beta = c.tolist()
    return alpha, beta
