"""Compare guesses with derived partials: equality up to rounding, and least-squares constants."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.checking.evidence import Evidence


def match_error(derived: Tensor, guess: Tensor, autograd: Tensor) -> float | None:
    """The relative error of a guess of the derived partial, None where they differ.

    The guess must agree to rounding, and at least 100 times better than autograd's partial does:
    otherwise any small alteration would explain a small difference from autograd.
    """
    if derived.shape != guess.shape or not bool(torch.isfinite(guess).all()):
        return None
    size = max(_largest(derived), _largest(guess), _largest(autograd))
    if size == 0:
        return 0.0
    error = _largest(derived - guess) / size
    comparable = derived.shape == autograd.shape
    difference = _largest(derived - autograd) / size if comparable else 1.0
    bound = 2e-9 if derived.dtype == torch.float64 else 2e-4
    return error if error <= bound and error <= 1e-2 * difference else None


def are_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal to rounding."""
    return match_error(a, b, torch.zeros_like(a)) is not None


def worst_match_error(
    guesses: Sequence[Tensor | None], evidence: Sequence[Evidence], argument: int
) -> float | None:
    """The largest relative error over all points, None where a guess differs or is None."""
    worst = 0.0
    for guess, e in zip(guesses, evidence, strict=True):
        if guess is None:
            return None
        error = match_error(e.derived[argument], guess, e.autograd[argument])
        if error is None:
            return None
        worst = max(worst, error)
    return worst


def _largest(x: Tensor) -> float:
    return float(x.abs().amax()) if x.numel() else 0.0


def common_ratio(target: Sequence[Tensor], source: Sequence[Tensor]) -> float | None:
    """The constant c with target = c * source, by least squares over all points.

    Every point is divided by its own largest entry first, so that all count the same.
    """
    numerator = denominator = 0.0
    for t, s in zip(target, source, strict=True):
        size = max(_largest(s), _largest(t))
        if t.shape != s.shape:
            return None
        if size > 0:
            numerator += float((t / size * (s / size)).sum())
            denominator += float(((s / size) ** 2).sum())
    return numerator / denominator if denominator > 0 else None


def fit_coefficients(columns: Sequence[Tensor], target: Tensor) -> list[float] | None:
    """Coefficients c with target = sum of c times column, by least squares.

    Args:
        columns: tensors of one shape.
        target: a tensor of that shape, with three entries more than there are columns at least.

    Returns:
        One coefficient per column; None where the columns are dependent or do not fit.
    """
    if target.numel() < len(columns) + 3:
        return None
    scale = torch.stack([target, *columns]).abs().amax(0).clamp_min(1e-300)
    A = torch.stack([(c / scale).reshape(-1) for c in columns], 1)
    y = (target / scale).reshape(-1)
    gram = A.T @ A
    if not bool(torch.isfinite(gram).all()) or bool(
        torch.linalg.det(gram) <= 1e-12 * gram.diagonal().prod()
    ):
        return None
    c = torch.linalg.solve(gram, A.T @ y)
    residual = (A @ c - y).abs().amax()
    return [float(x) for x in c] if bool(residual <= 1e-4 * y.abs().amax()) else None
