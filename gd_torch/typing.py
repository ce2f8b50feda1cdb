"""The types that public functions share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Weights = tuple[Tensor, ...]
"""One tensor per argument of an objective."""

Objective = Callable[..., Tensor]
"""A torch function of the weights that returns one scalar tensor of shape ()."""
