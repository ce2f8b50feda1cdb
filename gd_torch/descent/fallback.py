"""Reasons to run eagerly instead of compiled, and the warning that names them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable

from gd_torch.compiler.side_effects import fingerprint, hidden_inputs
from gd_torch.descent.verification import side_effect_reason
from gd_torch.typing import Objective


def side_effects_of(objective: Objective, evaluate_once: Callable[[], object]) -> str | None:
    """The reason why an objective must not be compiled, from one evaluation; None if there is none.

    Args:
        objective: the objective.
        evaluate_once: evaluates it, exactly once.
    """
    before = fingerprint(objective)
    evaluate_once()
    change = before.difference(fingerprint(objective))
    return hidden_inputs(objective) or side_effect_reason(change)


def warn(message: str) -> None:
    """Issue a RuntimeWarning for the line that called the library."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").startswith("gd_torch."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, RuntimeWarning, stacklevel=level)
