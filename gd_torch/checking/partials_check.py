"""check_partials and assert_partials: compare partials derived by hand with autograd's."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gd_torch.checking.derivation import Derivation, call_derivation
from gd_torch.checking.points import random_points
from gd_torch.checking.preconditions import argument_names, evaluate_first_point
from gd_torch.checking.report import PartialsReport, Result
from gd_torch.checking.verdict import Check, verdict_for
from gd_torch.typing import Objective, Weights
from gd_torch.validation import Number, as_weights, check_integer, check_number

_RTOL = {torch.float64: 1e-7, torch.float32: 2e-4}
_RTOL_OF_HALF = 5e-2  # float16 and bfloat16


def check_partials(
    objective: Objective,
    hand: Derivation,
    at: Number | Sequence[Number],
    *,
    points: int = 4,
    rtol: float | None = None,
    seed: int = 0,
) -> PartialsReport:
    """Compare partials derived by hand with autograd's, and name the mistake in a wrong one.

    The partials are compared entry by entry, at the given point and at random points around it
    (every entry of a weight moves on its own: a symmetric matrix does not stay symmetric). Finite
    differences of the objective tell whether autograd itself can be trusted. For a wrong partial
    the traced operations of the objective are differentiated again with one local rule altered at
    a time; an alteration that reproduces the derived numbers at every point names the mistake.

    Kinds of causes: sign, sign_of_term, constant_factor, factor_of_term, missing_average,
    missing_chain_factor, value_for_derivative, derivative_at_wrong_point, wrong_formula,
    extra_factor, wrong_exponent, dropped_term, treated_as_constant, additive_constant,
    transposed, swapped_partials, wrong_operand, elementwise_vs_matmul, missing_sum.

    Args:
        objective: a torch function of the weights that returns one scalar of shape ().
        hand: a function of the same weights that returns one partial per weight.
        at: one floating, finite tensor per argument; a float or a tensor is short for a tuple.
        points: the number of points compared, the given one among them; at least 1.
        rtol: relative tolerance; None is 1e-7 in float64 and 2e-4 in float32.
        seed: draws the other points and the directions of the finite differences; torch's own
            generator is not used.

    Returns:
        A :class:`PartialsReport`; what ``hand`` or ``objective`` raises becomes a verdict.

    Raises:
        ValueError, TypeError: ``at``, ``points``, ``rtol`` or ``seed`` breaks a rule above, or
            the objective returns something other than one real scalar.

    >>> report = check_partials(lambda w: w**3, lambda w: 3 * w**3, 2.0)
    >>> report.results[0].verdict, report.results[0].causes[0].kind
    ('wrong', 'wrong_exponent')
    """
    weights = _check_point(at)
    check_integer("points", points, 1)
    if check_integer("seed", seed, 0) >= 2**63:
        raise ValueError(f"`seed` must be below 2**63, got {seed}")
    if rtol is None:
        rtol = _RTOL.get(weights[0].dtype, _RTOL_OF_HALF)
    rtol = check_number("rtol", rtol, above=0.0)
    generator = torch.Generator().manual_seed(seed)
    names = argument_names(objective, len(weights))
    first = evaluate_first_point(objective, weights, generator)
    if isinstance(first, str):
        shapes = [tuple(w.shape) for w in weights]
        results = [Result(*r, "objective", note=first) for r in zip(names, shapes, strict=True)]
    else:
        at_points = [first, *random_points(objective, weights, points - 1, generator)]
        derived = [call_derivation(hand, p.weights) for p in at_points]
        check = Check(objective, hand, names, at_points, derived, rtol, generator)
        results = [verdict_for(check, i) for i in range(len(weights))]
    label = getattr(objective, "__name__", "f").replace("<lambda>", "f")
    dtype = str(weights[0].dtype).removeprefix("torch.")
    return PartialsReport(label, dtype, tuple(results))


def assert_partials(
    objective: Objective,
    hand: Derivation,
    at: Number | Sequence[Number],
    *,
    points: int = 4,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Raise AssertionError, the report as its message, unless every partial is "ok".

    Args and Raises: as for :func:`check_partials`.

    >>> assert_partials(lambda w: w**3, lambda w: 3 * w**2, 2.0)
    """
    report = check_partials(objective, hand, at, points=points, rtol=rtol, seed=seed)
    if not report.ok:
        raise AssertionError(f"partials are not right\n{report}")


def _check_point(at: Number | Sequence[Number]) -> Weights:
    """The given point as weights, or an error that names the rule it breaks."""
    weights = as_weights(at, "at")
    for i, w in enumerate(weights):
        if w.numel() == 0 or w.is_meta or not bool(torch.isfinite(w).all()):
            raise ValueError(
                f"`at` must hold finite numbers, its tensor {i} of shape {tuple(w.shape)} does not"
            )
    return weights
