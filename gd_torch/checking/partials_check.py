"""Judge partials derived by hand against autograd, with a referee that trusts neither."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from gd_torch.checking.derivation import Hand, ask
from gd_torch.checking.points import copies, moved_points, point_at
from gd_torch.checking.report import PartialsReport, Result
from gd_torch.checking.verdict import Case, judge
from gd_torch.typing import Objective, Weights
from gd_torch.validation import Number, as_weights, check_integer, check_number, check_scalar

_DRAWS = 40  # calls that must agree where the objective draws random numbers
_RTOL = {torch.float64: 1e-7, torch.float32: 2e-4}


def check_partials(
    objective: Objective,
    hand: Hand,
    at: Number | Sequence[Number],
    *,
    points: int = 4,
    rtol: float | None = None,
    seed: int = 0,
) -> PartialsReport:
    """Is my derivation right, and if not, what did I do wrong?

    The hand's partials are compared with autograd's, entry by entry, at the given point and at
    points moved from it (every entry of a weight on its own: a symmetric matrix does not stay
    so). Differences of the objective's values decide whether autograd itself can be trusted. For
    wrong partials the objective's recorded operations are replayed backwards with one local rule
    altered at a time; an alteration that reproduces the hand's numbers at every point names the
    mistake.

    Kinds of causes: sign, sign_of_term, constant_factor, factor_of_term, missing_average,
    missing_chain_factor, value_for_derivative, derivative_at_wrong_point, wrong_formula,
    extra_factor, wrong_exponent, dropped_term, treated_as_constant, additive_constant,
    transposed, swapped_partials, wrong_operand, elementwise_vs_matmul, missing_sum.

    Args:
        objective: a torch function of the weights that returns one scalar of shape ().
        hand: a function of the same weights that returns one partial per weight.
        at: one floating, finite tensor per argument; a float or a tensor is short for a tuple.
        points: how many points are judged, the given one among them; at least 1.
        rtol: relative tolerance; None is 1e-7 in float64 and 2e-4 in float32.
        seed: draws the moved points and the referee's directions; torch's own generator is left
            alone.

    Returns:
        A :class:`PartialsReport`; what ``hand`` or ``objective`` raises becomes a verdict.

    Raises:
        ValueError, TypeError: ``at``, ``points``, ``rtol`` or ``seed`` breaks a rule above, or
            the objective returns something other than one real scalar.

    >>> report = check_partials(lambda w: w**3, lambda w: 3 * w**3, 2.0)
    >>> report.results[0].verdict, report.results[0].causes[0].kind
    ('wrong', 'wrong_exponent')
    """
    weights = _checked(at)
    check_integer("points", points, 1)
    if check_integer("seed", seed, 0) >= 2**63:
        raise ValueError(f"`seed` must be below 2**63, got {seed}")
    if rtol is None:
        rtol = _RTOL.get(weights[0].dtype, 5e-2)
    rtol = check_number("rtol", rtol, above=0.0)
    label, names = _names(objective, len(weights))
    dtype = str(weights[0].dtype).removeprefix("torch.")
    generator = torch.Generator().manual_seed(seed)

    fault = _fault(objective, weights)
    given = None
    if not fault:
        try:
            given = point_at(objective, weights, generator)
        except (RuntimeError, ValueError) as error:
            fault = f"autograd cannot follow the objective: {error}".splitlines()[0]
        if given is None and not fault:
            fault = "the objective or its gradient is not finite at the given point"
    if given is None:
        faulty = [
            Result(n, tuple(w.shape), "objective", note=fault)
            for n, w in zip(names, weights, strict=True)
        ]
        return PartialsReport(label, dtype, tuple(faulty))
    where = [given, *moved_points(objective, weights, points - 1, generator)]
    hands = [ask(hand, p.weights) for p in where]
    case = Case(objective, hand, names, where, hands, rtol, generator)
    return PartialsReport(label, dtype, tuple(judge(case, i) for i in range(len(weights))))


def assert_partials(
    objective: Objective,
    hand: Hand,
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


def _checked(at: Number | Sequence[Number]) -> Weights:
    """The given point as weights, or an error that names the rule it breaks."""
    weights = as_weights(at, "at")
    for i, w in enumerate(weights):
        if w.numel() == 0 or w.is_meta or not bool(torch.isfinite(w).all()):
            raise ValueError(
                f"`at` must hold finite numbers, its tensor {i} of shape {tuple(w.shape)} does not"
            )
    return weights


def _names(objective: Objective, count: int) -> tuple[str, tuple[str, ...]]:
    """The objective's name and its arguments' names."""
    label = getattr(objective, "__name__", "f")
    label = "f" if label == "<lambda>" else label
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    numbered = tuple(f"w{i + 1}" for i in range(count))
    return label, tuple(plain[:count]) if len(plain) >= count else numbered


def _fault(objective: Objective, weights: Weights) -> str:
    """Why the objective cannot be judged at all, "" if it can."""
    passed, state = copies(weights), _random_state(weights)
    try:
        with torch.no_grad():
            first = objective(*passed)
            drew = not torch.equal(state, _random_state(weights))
            again = [objective(*copies(weights)) for _ in range(_DRAWS if drew else 1)]
    except Exception as error:  # whatever it raises is the objective's fault
        return f"the objective raised {type(error).__name__}: {error}".splitlines()[0]
    for value in (first, *again):
        check_scalar(value)
    if any(not torch.equal(a, b) for a, b in zip(passed, weights, strict=True)):
        return "the objective edits its argument in place: copy it first"
    for second in again:
        if not torch.allclose(first, second, rtol=1e-12, atol=0.0, equal_nan=True):
            return (
                f"two calls at the same point gave {float(first):.9g} and {float(second):.9g}: "
                "randomness (dropout?) or an in-place edit"
            )
    return ""


def _random_state(weights: Weights) -> Tensor:
    """The state of the generator that a random operation on the weights' device draws from."""
    device = weights[0].device
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
