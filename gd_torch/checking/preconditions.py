"""What must hold before partials can be compared: a repeatable objective that autograd follows."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from gd_torch.checking.points import Point, copy_weights, evaluate_point
from gd_torch.typing import Objective, Weights
from gd_torch.validation import check_scalar

_CALLS_IF_RANDOM = 40  # calls that must agree where the objective draws random numbers


def argument_names(objective: Objective, count: int) -> tuple[str, ...]:
    """The names of the first ``count`` arguments; "w1", "w2", ... where they are not known."""
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(named[:count]) if len(named) >= count else tuple(f"w{i + 1}" for i in range(count))


def evaluate_first_point(
    objective: Objective, weights: Weights, generator: torch.Generator
) -> Point | str:
    """The given point with autograd's partials, or why the objective cannot be checked there.

    Raises:
        ValueError, TypeError: the objective returns something other than one real scalar.
    """
    fault = _call_fault(objective, weights)
    if fault:
        return fault
    try:
        point = evaluate_point(objective, weights, generator)
    except (RuntimeError, ValueError) as error:
        return f"autograd cannot follow the objective: {error}".splitlines()[0]
    return point or "the objective or its gradient is not finite at the given point"


def _call_fault(objective: Objective, weights: Weights) -> str:
    """What is wrong with the objective as a function: it raises, edits its arguments or varies."""
    passed, state = copy_weights(weights), _random_state(weights)
    try:
        with torch.no_grad():
            first = objective(*passed)
            random = not torch.equal(state, _random_state(weights))
            calls = _CALLS_IF_RANDOM if random else 1
            others = [objective(*copy_weights(weights)) for _ in range(calls)]
    except Exception as error:  # whatever it raises is a fault of the objective
        return f"the objective raised {type(error).__name__}: {error}".splitlines()[0]
    for value in (first, *others):
        check_scalar(value)
    if any(not torch.equal(a, b) for a, b in zip(passed, weights, strict=True)):
        return "the objective edits its argument in place: copy it first"
    for other in others:
        if not torch.allclose(first, other, rtol=1e-12, atol=0.0, equal_nan=True):
            return (
                f"two calls at the same point returned {float(first):.9g} and {float(other):.9g}: "
                "randomness (dropout?) or an in-place edit in the objective"
            )
    return ""


def _random_state(weights: Weights) -> Tensor:
    """The state of the generator that a random operation on the weights' device draws from."""
    device = weights[0].device
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
