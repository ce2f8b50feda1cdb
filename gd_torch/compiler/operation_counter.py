"""Estimate the time of an eager step from counts of operations, which are reproducible."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gd_torch.typing import Objective

SECONDS_PER_STEP = 5e-5
SECONDS_PER_OPERATION = 8e-6
SECONDS_PER_ENTRY = 1.6e-9
SECONDS_PER_MULTIPLICATION = 1e-10
"""Coefficients of the estimate: per step, per operation of the objective, per entry of a result,
and per multiplication in a matrix product. They include the backward pass and the update."""


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the torch operations of an objective.

    Attributes:
        operations: number of operations.
        entries: total entries of their results, without views.
        multiplications: multiplications in matrix products.
        largest: entries of the largest result.

    >>> counter = OperationCounter()
    >>> value = counter.counting(lambda w: (w * 2).sum())(torch.ones(3))
    >>> counter.operations, counter.entries, counter.largest
    (2, 4, 3)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.entries = self.multiplications = self.largest = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler, which takes a second

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.detach.default:  # called by autograd when it saves a result
            return out
        self.operations += 1
        results = out if isinstance(out, tuple | list) else (out,)
        sizes = [tensor.numel() for tensor in results if isinstance(tensor, Tensor)]
        self.largest = max([self.largest, *sizes])
        if not func.is_view:
            self.entries += sum(sizes)
        if func._schema.name in ("aten::mm", "aten::bmm"):
            self.multiplications += sum(sizes) * args[0].shape[-1]
        return out

    def counting(self, objective: Objective) -> Objective:
        """The objective, wrapped so that its torch operations are counted."""

        def counted(*weights: Tensor) -> Tensor:
            with self:
                return objective(*weights)

        return counted

    @property
    def seconds(self) -> float:
        """Estimated time of an eager step in seconds, accurate to a factor of about two."""
        return (
            SECONDS_PER_STEP
            + SECONDS_PER_OPERATION * self.operations
            + SECONDS_PER_ENTRY * self.entries
            + SECONDS_PER_MULTIPLICATION * self.multiplications
        )
