"""What a hypothesis is: an altered backward pass, and the kind of mistake it stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gd_torch.checking.replay import Edge, Replay, Rule, Shortcut

Cotangents = dict[int, Tensor]
"""Cotangents of some values of a trace: value -> a tensor of its shape."""


class Match(NamedTuple):
    """A mistake that reproduces the derived numbers.

    Attributes:
        rank: the smaller, the more specific; 0 is the most specific.
        kind: one of the names listed in :func:`gd_torch.check_partials`.
        message: one line that describes the mistake.
        error: the largest relative error of the reproduced numbers.
    """

    rank: float
    kind: str
    message: str
    error: float


class WrongRule(NamedTuple):
    """A wrong local rule for one use of a value.

    Attributes:
        kind, message, rank: as in :class:`Match`; kind and message identify it at every point.
        rule: what takes the place of the correct rule.
        repeatable: whether the same mistake can be made at other nodes of the same operation.
    """

    kind: str
    message: str
    rank: float
    rule: Rule
    repeatable: bool = True


class WrongDerivative(NamedTuple):
    """What may stand, by mistake, in the place of the derivative of a pointwise function.

    Attributes:
        kind, message, rank: as in :class:`Match`; kind and message identify it at every point.
        derivative: its values, entry by entry.
        repeatable: whether the same mistake can be made for every use of the function.
    """

    kind: str
    message: str
    rank: float
    derivative: Tensor
    repeatable: bool = True


@dataclass(frozen=True)
class Hypothesis:
    """One altered rule: correct cotangents are removed, those of the mistake are added.

    Attributes:
        kind, message, rank: as in :class:`Match`.
        removed: replay -> the correct cotangents that the mistake leaves out.
        added: replay -> the cotangents that take their place.
        scalable: whether ``added`` may be multiplied by a simple constant.
    """

    kind: str
    message: str
    rank: float
    removed: Callable[[Replay], Cotangents | None]
    added: Callable[[Replay], Cotangents | None]
    scalable: bool = False


@dataclass(frozen=True)
class RepeatedMistake:
    """The same mistake at several nodes, as one backward pass with all their rules altered.

    Attributes:
        kind, message, rank: as in :class:`Match`.
        rules: replay -> the altered rules.
        shortcuts: replay -> the altered pointwise functions.
    """

    kind: str
    message: str
    rank: float
    rules: Callable[[Replay], dict[Edge, Rule]]
    shortcuts: Callable[[Replay], dict[int, Shortcut]]


@dataclass(frozen=True)
class Term:
    """One term of the gradient: the part that comes through one use, or all uses, of a value.

    Attributes:
        name: the operation and its line, for messages.
        rank: as in :class:`Match`.
        cotangents: replay -> the correct cotangents of the term.
        is_summand: whether the term belongs to one summand of a sum in the objective.
    """

    name: str
    rank: float
    cotangents: Callable[[Replay], Cotangents | None]
    is_summand: bool
