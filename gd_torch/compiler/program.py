"""A compiled objective: its loaded C functions and their buffers."""

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
"""Target time of one call of the C function; interrupts are handled between calls."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """The state of a run after a call.

    Attributes:
        step: number of updates.
        code: value of ``Stop``.
        loss, gradient_norm: at the present weights.
    """

    step: int
    code: int
    loss: float
    gradient_norm: float


@dataclass(eq=False)
class RecordBuffer:
    """Buffers for the points that a run records.

    Attributes:
        every: the period in steps.
        losses, norms: shape (slots,).
        path: shape (slots, entries of all weights).
        used: number of points stored.
    """

    every: int
    losses: Tensor
    norms: Tensor
    path: Tensor
    used: int = 0


class Program:
    """An objective, traced and compiled to C functions.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: the point at which it is traced; they determine shapes and dtype.
        along_runs: vectorise over independent runs; only :meth:`run_many` can then be called.

    Raises:
        Unsupported: it cannot be traced or compiled; the message gives the reason.
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
        """Whether two programs differ at most in their constants."""
        return self.source.text == other.source.text

    def run(
        self, weights: Tensor, rates: Tensor, tolerance: float, step: int, limit: int,
        record: RecordBuffer | None = None,
    ) -> RunResult:  # fmt: skip
        """Execute steps from ``step`` to ``limit`` or until the run stops, and evaluate that point.

        Args:
            weights: all entries, shape (count,); modified in place.
            rates: the learning rate of each entry, shape (count,).
            tolerance: the run stops if the gradient norm is below this.
            step: number of updates so far.
            limit: the run stops at this step.
            record: buffers for the points to be recorded; None records nothing.

        Returns:
            The state at the last point, whose partials are stored in ``partials``.
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
        """Execute steps up to ``limit`` in several calls; interrupts are handled between calls."""
        pointers = self.pointers(self.arrays.work)
        while True:
            state.limit = min(limit, state.step + self._steps_per_call)
            started = time.perf_counter()
            self.library.run(ctypes.byref(state), *pointers)
            if state.code != CODES["STEPS"] or state.step != state.limit or state.step == limit:
                return
            if time.perf_counter() - started < CALL_SECONDS:
                self._steps_per_call *= 2
            elif self._steps_per_call > 1:
                self._steps_per_call //= 2

    def run_many(
        self, weights: Tensor, rates: Tensor, tolerance: float, steps: int, threads: int
    ) -> RunEnds:
        """Execute many runs; the results do not depend on the number of threads.

        Args:
            weights: shape (runs, count); modified in place.
            rates: the learning rates, of the same shape.
            tolerance: a run stops if its gradient norm is below this.
            steps: maximum number of updates of each run.
            threads: number of threads.

        Returns:
            The final points of the runs.
        """
        batch = RunBatch(weights, rates, tolerance, steps, threads)
        return (run_as_lanes if self.runs_as_lanes else run_each)(self, batch)

    def evaluate(self, weights: Weights) -> tuple[Tensor, Weights]:
        """The objective's value and partials, as from :func:`gd_torch.gradients.evaluate`."""
        flat = self.flatten(weights)
        result = self.run(flat, torch.zeros_like(flat), 0.0, 0, 0)
        return torch.tensor(result.loss, dtype=self.dtype), self.split(self.partials.clone())

    # ------------------------------------------------ weights as one tensor

    def flatten(self, weights: Weights) -> Tensor:
        """Concatenate the entries of all weights into a new tensor, shape (count,)."""
        return torch.cat([w.detach().reshape(-1) for w in weights])

    def split(self, flat: Tensor) -> Weights:
        """The inverse of :meth:`flatten` along the last axis: views in the weights' shapes."""
        parts = torch.split(flat, self.sizes, dim=-1)
        return tuple(
            part.reshape((*flat.shape[:-1], *shape))
            for part, shape in zip(parts, self.shapes, strict=True)
        )

    def rates_per_entry(self, rates: Sequence[float]) -> Tensor:
        """Expand one rate per weight tensor to one per entry, shape (count,)."""
        return torch.cat([
            torch.full((size,), rate, dtype=self.dtype)
            for size, rate in zip(self.sizes, rates, strict=True)
        ])  # fmt: skip

    def pointers(self, work: Tensor) -> list[ctypes.c_void_p]:
        """The last arguments of the C functions: data, uni, sca, tab, work."""
        arrays = self.arrays
        tensors = (arrays.data, arrays.uniform, arrays.scalars, arrays.tables, work)
        return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def _run_type(dtype: torch.dtype) -> Any:
    """The C struct Run as a ctypes type."""
    number = ctypes.c_float if dtype == torch.float32 else ctypes.c_double
    pointers = ("weights", "partials", "rates", "losses", "norms", "path")
    integers = ("step", "limit", "period", "slot", "code")
    fields: list[tuple[str, Any]] = [(name, ctypes.c_void_p) for name in pointers]
    fields += [(name, ctypes.c_longlong) for name in integers]
    fields += [("tolerance", ctypes.c_double), ("loss", number), ("norm", number)]
    return type("Run", (ctypes.Structure,), {"_fields_": fields})
