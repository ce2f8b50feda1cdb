"""What an example of the collection is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Wrong:
    """A wrong derivation: the kinds that name it (the same numbers), and the wrong arguments."""

    label: str
    kinds: tuple[str, ...]
    arguments: tuple[int, ...]
    hand: Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Example:
    """An objective at a point, its correct partials, and wrong ones."""

    objective: Callable[..., Tensor]
    hand: Callable[..., tuple[Tensor, ...]]
    at: tuple[Tensor, ...]
    wrong: tuple[Wrong, ...]


def drawn(seed: int):
    """Normal tensors in float64 from one seed."""
    generator = torch.Generator().manual_seed(1000 + seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return normal


def example(objective, hand, at, *mistakes) -> Example:
    """An example with its own mistakes (kinds, argument, partial) and three common ones.

    ``partial`` returns the one wrong partial; the others stay correct.
    """
    wrong = []
    for n, (kinds, i, partial) in enumerate(mistakes):
        kinds = (kinds,) if isinstance(kinds, str) else kinds
        wrong.append(Wrong(f"{n} {kinds[0]}", kinds, (i,), _one(hand, i, partial)))
    last = len(at) - 1
    for label, kinds, i, change in (
        ("sign", ("sign",), 0, lambda d: -d),
        ("twice", ("constant_factor",), last, lambda d: 2 * d),
        ("offset", ("additive_constant",), last, lambda d: d + 0.7),
    ):
        wrong.append(Wrong(label, kinds, (i,), _changed(hand, i, change)))
    return Example(objective, hand, at, tuple(wrong))


def _one(hand, i, partial):
    def mistaken(*weights):
        right = list(hand(*weights))
        right[i] = partial(*weights)
        return tuple(right)

    return mistaken


def _changed(hand, i, change):
    def mistaken(*weights):
        right = list(hand(*weights))
        right[i] = change(right[i])
        return tuple(right)

    return mistaken
