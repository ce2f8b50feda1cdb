"""The table of rules, which express aten overloads by operations on views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from gd_torch.compiler.views import View

Rule = Callable[..., Any]
Registered = TypeVar("Registered", bound=Rule)

RULES: dict[Any, Rule] = {}
"""By overload: rule(lowering, result, *arguments, **options) -> view or tuple of views.

``result`` is the tensor, or tuple of tensors, that torch returned; the arguments are torch's."""

Operand = Tensor | View | float
"""The type of a rule's argument that may be a tensor."""

aten = torch.ops.aten


def rule(*overloads: Any) -> Callable[[Registered], Registered]:
    """Register a rule for overloads."""

    def register(function: Registered) -> Registered:
        """Add the entries to the table."""
        for overload in overloads:
            RULES[overload] = function
        return function

    return register
