"""What a hypothesis is: an altered backward pass and the name of the mistake it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gd_torch.checking.replay import Edge, Replay, Rule

Seeds = dict[int, Tensor]
"""Cotangents of some values of a trace."""


@dataclass(frozen=True)
class Hypothesis:
    """One altered rule: what the true pass sends is removed, what the mistake sends is added.

    Attributes:
        kind, message: the cause it stands for.
        rank: 0 is the most specific.
        removed: replay -> the true cotangents that the alteration takes away.
        added: replay -> the cotangents put in their place.
        free: whether a simple constant before ``added`` is allowed.
    """

    kind: str
    message: str
    rank: float
    removed: Callable[[Replay], Seeds | None]
    added: Callable[[Replay], Seeds | None]
    free: bool = False


@dataclass(frozen=True)
class Group:
    """The same altered rule at several nodes at once, in one whole backward pass."""

    kind: str
    message: str
    rank: float
    rules: Callable[[Replay], dict[Edge, Rule]]
    shortcuts: Callable[[Replay], dict[int, tuple[int, Tensor]] | None]


@dataclass(frozen=True)
class Scaling:
    """One path multiplied by an unknown constant: its true cotangents; ``name`` tells the kind."""

    name: str
    rank: float
    path: Callable[[Replay], Seeds | None]
    is_sum: bool
