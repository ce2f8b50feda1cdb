"""Parts of error messages: the name of an operation and the user's source line."""

from __future__ import annotations

import sys
from typing import Any


def operation_name(function: Any) -> str:
    """The name of an overload, without ".default": "aten.linalg_inv_ex"."""
    return str(function).removesuffix(".default")


def no_rule_message(function: Any) -> str:
    """The error message for an operation without a rule."""
    return f"{operation_name(function)} has no compiled form{user_line()}"


def user_line() -> str:
    """The line of the objective that called torch: of the innermost frame outside torch and the
    library."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torch", "gd_torch.")) or module.startswith(
            "gd_torch.objectives."
        ):
            return f" ({frame.f_code.co_filename}, line {frame.f_lineno})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
