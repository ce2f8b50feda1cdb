"""A compiled objective: its C functions, their buffers, and calls of them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.buffers import fill_buffers
from gd_torch.compiler.c_compiler import CompilerError
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.library import load_library
from gd_torch.compiler.many_runs import RunBatch, RunEnds, run_as_lanes, run_each
from gd_torch.compiler.source import CODES, Source, generate, optimization
from gd_torch.typing import Objective, Weights

__all__ = ["Program", "RecordBuffer", "RunEnds", "RunResult", "Source", "generate"]


CALL_SECONDS = 0.03
"""How long a call of compiled steps should take; their number changes no bit."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """Where a run is: the updates made, the number of Stop, and the values there."""

    step: int
    code: int
    loss: float
    gradient_norm: float


@dataclass(eq=False)
class RecordBuffer:
    """Room for recorded points.

    Attributes:
        every: the period in steps. used: points stored so far.
        losses, norms: shape (slots,). path: shape (slots, entries of all weights).
    """

    every: int
    losses: Tensor
    norms: Tensor
    path: Tensor
    used: int = 0


class Program:
    """A recorded objective as C functions.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: where it is recorded; they fix shapes and dtype.
        along_runs: vectorise over independent runs (for :meth:`run_many` alone).

    Raises:
        Unsupported: it cannot be recorded or compiled; the message says why.
    """

    def __init__(
        self, objective: Objective, weights: Weights, *, runs_as_lanes: bool = False
    ) -> None:
        self.source = generate(objective, weights, runs_as_lanes=runs_as_lanes)
        self.runs_as_lanes = runs_as_lanes
        self.dtype = weights[0].dtype
        self.shapes = [tuple(w.shape) for w in weights]
        self.sizes = [w.numel() for w in weights]
        self.count = self.source.count
        try:
            self.library = load_library(self.source.text, optimization=optimization(self.source))
        except CompilerError as error:
            raise Unsupported(str(error)) from None
        self.arrays = fill_buffers(self.source.buffers, self.dtype)
        self.run_type = _run_type(self.dtype)
        self.partials = torch.zeros(self.count, dtype=self.dtype)
        self._steps_per_call = 64

    def same_code(self, other: Program) -> bool:
        """Whether two programs differ in their data alone."""
        return self.source.text == other.source.text

    def run(
        self, weights: Tensor, rates: Tensor, tolerance: float, step: int, limit: int,
        record: RecordBuffer | None = None,
    ) -> RunResult:  # fmt: skip
        """Steps from ``step`` to ``limit``, or to where the run stops; evaluated there.

        Args:
            weights: all entries in a row, shape (count,); moved in place.
            rates: the learning rate of each entry, shape (count,).
            record: where to store the points left that are due, if anywhere.

        Returns:
            Where it stopped; the partials there are in ``partials``.
        """
        state = self.run_type(
            weights=weights.data_ptr(), partials=self.partials.data_ptr(), rates=rates.data_ptr(),
            step=step, limit=limit, tolerance=tolerance,
        )  # fmt: skip
        if record is not None:
            state.period, state.slot = record.every, record.used
            state.losses, state.norms = record.losses.data_ptr(), record.norms.data_ptr()
            state.path = record.path.data_ptr()
        self._run_in_calls(state, limit)
        if record is not None:
            record.used = state.slot
        return RunResult(state.step, state.code, state.loss, state.norm)

    def _run_in_calls(self, state: Any, limit: int) -> None:
        """Steps up to ``limit`` in several calls: an interrupt is noticed between two of them."""
        pointers = self.pointers(self.arrays.work)
        while True:
            state.limit = min(limit, state.step + self._steps_per_call)
            begin = time.perf_counter()
            self.library.run(ctypes.byref(state), *pointers)
            if state.code != CODES["STEPS"] or state.step != state.limit or state.step == limit:
                return
            if time.perf_counter() - begin < CALL_SECONDS:
                self._steps_per_call *= 2
            elif self._steps_per_call > 1:
                self._steps_per_call //= 2

    def run_many(
        self, weights: Tensor, rates: Tensor, tolerance: float, steps: int, threads: int
    ) -> RunEnds:
        """Every run to its own end; the number of threads changes no bit.

        Args:
            weights: shape (runs, count); moved in place. rates: of the same shape.
            steps: the most updates of each run.

        Returns:
            Where the runs ended.
        """
        batch = RunBatch(weights, rates, tolerance, steps, threads)
        return (run_as_lanes if self.runs_as_lanes else run_each)(self, batch)

    def evaluate(self, weights: Weights) -> tuple[Tensor, Weights]:
        """The objective's value and its partials, as ``partials.evaluate`` gives them."""
        flat = self.flatten(weights)
        result = self.run(flat, torch.zeros_like(flat), 0.0, 0, 0)
        return torch.tensor(result.loss, dtype=self.dtype), self.split(self.partials.clone())

    # ------------------------------------------------ weights as one row of entries

    def flatten(self, weights: Weights) -> Tensor:
        """All entries in a row, a copy."""
        return torch.cat([w.detach().reshape(-1) for w in weights])

    def split(self, flat: Tensor) -> Weights:
        """Entries in a row (their last axis) as tensors of the weights' shapes; views."""
        parts = torch.split(flat, self.sizes, dim=-1)
        return tuple(
            part.reshape((*flat.shape[:-1], *shape))
            for part, shape in zip(parts, self.shapes, strict=True)
        )

    def spread(self, rates: Sequence[float]) -> Tensor:
        """One rate per weight tensor as one per entry."""
        return torch.cat([
            torch.full((size,), rate, dtype=self.dtype)
            for size, rate in zip(self.sizes, rates, strict=True)
        ])  # fmt: skip

    def pointers(self, work: Tensor) -> list[ctypes.c_void_p]:
        """What the C functions take after their own arguments: data, uni, sca, tab, work."""
        arrays = self.arrays
        tensors = (arrays.data, arrays.uniform, arrays.scalars, arrays.tables, work)
        return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def _run_type(dtype: torch.dtype) -> Any:
    """The C struct Run as a ctypes type."""
    number = ctypes.c_float if dtype == torch.float32 else ctypes.c_double
    pointers = ("weights", "partials", "rates", "losses", "norms", "path")
    whole = ("step", "limit", "period", "slot", "code")
    fields: list[tuple[str, Any]] = [(name, ctypes.c_void_p) for name in pointers]
    fields += [(name, ctypes.c_longlong) for name in whole]
    fields += [("tolerance", ctypes.c_double), ("loss", number), ("norm", number)]
    return type("Run", (ctypes.Structure,), {"_fields_": fields})
