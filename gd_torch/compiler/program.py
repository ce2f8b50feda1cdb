"""A compiled objective: its C functions, their buffers, and calls of them."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.build import CompilerError, load
from gd_torch.compiler.elementary import elementary
from gd_torch.compiler.emit import Buffers, Emitter
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import contiguous
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.prelude import c_text, prelude
from gd_torch.compiler.recording import record
from gd_torch.compiler.rules import KNOWN
from gd_torch.compiler.schedule import Schedule
from gd_torch.objectives import Objective, Weights

MAX_LOCAL_WEIGHTS = 64
"""Up to this many weights are kept in variables of the C function, more in memory."""

MAX_RUN_ENTRIES = 256
"""Entries of all buffers of a run that is a lane of vectors, at most."""

RUNS_PER_CALL = 64
"""Runs that a thread takes from the queue at a time."""

LIMITS = {
    torch.float32: ("0x1p-90f", "0x1p90f"),
    torch.float64: ("0x1p-800", "0x1p800"),
}
"""Between these a sum of squares has lost nothing."""

CODES = {"LOSS": 1, "GRADIENT": 2, "TOLERANCE": 3, "STEPS": 4, "WEIGHT": 5}
"""The numbers of Stop (descent/result.py) in C; a test compares them."""


@dataclass(frozen=True, eq=False)
class Source:
    """C text with the data that it reads.

    Attributes:
        text: the whole source. statements: how many were generated. rows: some run along rows.
        buffers: what the functions read. count: entries of all weights.
    """

    text: str
    statements: int
    rows: bool
    buffers: Buffers
    count: int


@dataclass(frozen=True, eq=False)
class Result:
    """Where a run is: the updates made, the number of Stop, and the values there."""

    step: int
    code: int
    loss: float
    gradient_norm: float


@dataclass(eq=False)
class Record:
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

    def __init__(self, objective: Objective, weights: Weights, *, along_runs: bool = False) -> None:
        self.source = generate(objective, weights, along_runs=along_runs)
        self.along_runs = along_runs
        self.dtype = weights[0].dtype
        self.shapes = [tuple(w.shape) for w in weights]
        self.sizes = [w.numel() for w in weights]
        self.count = self.source.count
        try:
            self.library = load(self.source.text, optimization=optimization(self.source))
        except CompilerError as error:
            raise Unsupported(str(error)) from None
        buffers = self.source.buffers
        self._data = _row_data(buffers, self.dtype)
        self._uniform = _flat(buffers.uniform, self.dtype)
        self._scalars = torch.tensor([*buffers.scalars, 0.0], dtype=self.dtype)
        self._tables = torch.cat([*buffers.tables, torch.zeros(1, dtype=torch.int32)])
        self._work = torch.zeros(buffers.work, dtype=self.dtype)
        number = ctypes.c_float if self.dtype == torch.float32 else ctypes.c_double
        self._run_type = _run_type(number)
        self.partials = torch.zeros(self.count, dtype=self.dtype)

    def same_code(self, other: Program) -> bool:
        """Whether two programs differ in their data alone."""
        return self.source.text == other.source.text

    # ------------------------------------------------ one run

    def run(
        self, weights: Tensor, rates: Tensor, tolerance: float, step: int, limit: int,
        record: Record | None = None,
    ) -> Result:  # fmt: skip
        """Steps from ``step`` to ``limit``, or to where the run stops; evaluated there.

        Args:
            weights: all entries in a row, shape (count,); moved in place.
            rates: the learning rate of each entry, shape (count,).
            record: where to store the points left that are due, if anywhere.

        Returns:
            Where it stopped; the partials there are in ``partials``.
        """
        state = self._run_type(
            weights=weights.data_ptr(), partials=self.partials.data_ptr(), rates=rates.data_ptr(),
            step=step, limit=limit, tolerance=tolerance,
        )  # fmt: skip
        if record is not None:
            state.period, state.slot = record.every, record.used
            state.losses, state.norms = record.losses.data_ptr(), record.norms.data_ptr()
            state.path = record.path.data_ptr()
        self.library.run(ctypes.byref(state), *self._pointers(self._work))
        if record is not None:
            record.used = state.slot
        return Result(state.step, state.code, state.loss, state.norm)

    def evaluate(self, weights: Weights) -> tuple[Tensor, Weights]:
        """The objective's value and its partials, as ``partials.evaluate`` gives them."""
        flat = self.flatten(weights)
        result = self.run(flat, torch.zeros_like(flat), 0.0, 0, 0)
        return torch.tensor(result.loss, dtype=self.dtype), self.split(self.partials.clone())

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

    # ------------------------------------------------ many runs

    def run_many(
        self, weights: Tensor, rates: Tensor, tolerance: float, steps: int, threads: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Every run to its own end; the number of threads changes no bit.

        Args:
            weights: shape (runs, count); moved in place. rates: of the same shape.
            steps: the most updates of each run.

        Returns:
            Per run the updates made, the number of Stop, the loss and the gradient norm.
        """
        if self.along_runs:
            return self._run_lanes(weights, rates, tolerance, steps, threads)
        runs, item = len(weights), weights.element_size()
        size = ctypes.sizeof(self._run_type)
        states = torch.zeros((runs, size // 8), dtype=torch.int64)
        partials = torch.empty_like(weights)
        row = torch.arange(runs) * (self.count * item)
        for name, tensor in (("weights", weights), ("partials", partials), ("rates", rates)):
            states[:, getattr(self._run_type, name).offset // 8] = tensor.data_ptr() + row
        states[:, self._run_type.limit.offset // 8] = steps
        limit = torch.tensor([tolerance], dtype=torch.float64).view(torch.int64)
        states[:, self._run_type.tolerance.offset // 8] = limit

        def work(queue: Iterator[int]) -> None:
            own = torch.zeros_like(self._work)  # alive as long as its address is used
            pointers = self._pointers(own)
            for first in queue:
                end = min(first + RUNS_PER_CALL, runs)
                self.library.run_many(
                    ctypes.c_void_p(states.data_ptr()), ctypes.c_long(first), ctypes.c_long(end),
                    *pointers,
                )  # fmt: skip

        in_threads(work, range(0, runs, RUNS_PER_CALL), threads)
        numbers = states.view(self.dtype)
        loss = self._run_type.loss.offset // item
        return (
            states[:, self._run_type.step.offset // 8].clone(),
            states[:, self._run_type.code.offset // 8].clone(),
            numbers[:, loss].clone(),
            numbers[:, loss + 1].clone(),
        )

    def _run_lanes(
        self, weights: Tensor, rates: Tensor, tolerance: float, steps: int, threads: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        runs = len(weights)
        block = 4 * 64 // weights.element_size()  # a multiple of every U
        padded = -(-runs // block) * block
        columns = [torch.cat([x.T, x.T[:, -1:].expand(-1, padded - runs)], 1).contiguous()
                   for x in (weights, rates)]  # fmt: skip
        whole = torch.int32 if self.dtype == torch.float32 else torch.int64
        counts = [torch.zeros(padded, dtype=whole) for _ in range(2)]
        numbers = [torch.zeros(padded, dtype=self.dtype) for _ in range(2)]
        given = [ctypes.c_void_p(t.data_ptr()) for t in (*columns, *counts, *numbers)]
        piece = max(1, padded // block // 64) * block

        def work(queue: Iterator[int]) -> None:
            constants = self._pointers(self._work)[1:4]
            for first in queue:
                end = min(first + piece, padded)
                self.library.run_lanes(
                    *given, *(ctypes.c_long(x) for x in (first, end, padded, steps)),
                    ctypes.c_double(tolerance), *constants,
                )  # fmt: skip

        in_threads(work, range(0, padded, piece), threads)
        weights.copy_(columns[0][:, :runs].T)
        made, codes = (count[:runs].long() for count in counts)
        return made, codes, numbers[0][:runs].clone(), numbers[1][:runs].clone()

    def _pointers(self, work: Tensor) -> list[ctypes.c_void_p]:
        tensors = (self._data, self._uniform, self._scalars, self._tables, work)
        return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def in_threads(work: Callable[[Iterator[int]], None], pieces: Iterable[int], threads: int) -> None:
    """Call ``work`` with a queue of pieces that the threads share."""
    queue, lock = iter(pieces), threading.Lock()

    def taken() -> Iterator[int]:
        while True:
            with lock:
                piece = next(queue, None)
            if piece is None:
                return
            yield piece

    others = [threading.Thread(target=work, args=(taken(),)) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    work(taken())
    for thread in others:
        thread.join()


def generate(objective: Objective, weights: Weights, *, along_runs: bool = False) -> Source:
    """Record an objective and write it as C.

    Raises:
        Unsupported: it cannot be recorded, or has no compiled form.
    """
    if any(w.device.type != "cpu" for w in weights):
        raise Unsupported("compiled steps are for the CPU so far")
    if any(w.dtype not in LIMITS or w.dtype != weights[0].dtype for w in weights):
        raise Unsupported("its weights are not all float32 or all float64")
    recording = record(objective, weights, KNOWN)
    lowering = Lowering(recording)
    dtype, count = weights[0].dtype, sum(w.numel() for w in weights)
    outputs = [lowering.value, *lowering.partials]
    schedule = Schedule(
        lowering.graph.statements, outputs, weights[0].element_size(), along_runs=along_runs
    )
    emitter = Emitter(schedule, dtype, count, lowering.value, lowering.partials)
    emitter.emit()
    statements = sum(1 for _ in schedule.all_placed())
    text = (program_of_runs if along_runs else program_of_rows)(emitter)
    rows = any(kernel.rows for kernel in schedule.kernels)
    return Source(text, statements, rows, emitter.buffers, count)


def program_of_rows(emitter: Emitter) -> str:
    """The source of a program whose vectors run along rows, or that has none."""
    results, base = [], 0
    for view in emitter.partials:
        names = [f"a{i}" for i in range(len(view.shape))]
        loops = " ".join(
            f"for (int {n} = 0; {n} < {s}; {n}++)" for n, s in zip(names, view.shape, strict=True)
        )
        at = " + ".join([
            str(base), *(f"{n} * {s}" for n, s in zip(names, contiguous(view.shape), strict=True))
        ])  # fmt: skip
        results.append(f"  {loops} g[{at}] = {emitter.result(view, names)};")
        base += math.prod(view.shape)
    if emitter.count <= MAX_LOCAL_WEIGHTS:
        local = "#define LOCAL(x) x[COUNT]"
    else:
        at = emitter.buffers.work
        room = -(-emitter.count // 64) * 64 + 1024
        emitter.buffers.work += 3 * room
        local = "\n".join([
            f"enum {{ AT_w = {at}, AT_g = {at + room}, AT_m = {at + 2 * room} }};",
            "#define LOCAL(x) *const x = work + AT_##x",
        ])  # fmt: skip
    evaluate = [
        "static inline __attribute__((always_inline)) T evaluate(const T *w, T *g, const T *data, "
        "const T *uni, const T *sca, const int *tab, T *work) {",
        *emitter.body,
        *results,
        f"  return {emitter.result(emitter.value, [])};",
        "}",
    ]
    return _assemble(emitter, [local, *emitter.kernels, *evaluate], "run.c")


def program_of_runs(emitter: Emitter) -> str:
    """The source of a program whose vectors run along independent runs."""
    buffers, size = [], 0
    for storage in emitter.schedule.storage.values():
        if storage.where != "register":
            kind = "I" if storage.node.mask else "V"
            buffers.append(f"  {kind} t{storage.number}[{storage.node.numel} * U * H];")
            size += storage.node.numel
    if size + 3 * emitter.count > MAX_RUN_ENTRIES:
        raise Unsupported("one run needs too much memory to be a lane of vectors")
    results, base = [], 0
    for view in emitter.partials:
        names = [f"a{i}" for i in range(len(view.shape))]
        loops = " ".join(
            f"for (int {n} = 0; {n} < {s}; {n}++)" for n, s in zip(names, view.shape, strict=True)
        )
        at = " + ".join([
            str(base), *(f"{n} * {s}" for n, s in zip(names, contiguous(view.shape), strict=True))
        ])  # fmt: skip
        value = emitter.result(view, names)
        results.append(
            f"  {loops} for (int u = 0; u < U * H; u++) g[({at}) * U * H + u] = {value};"
        )
        base += math.prod(view.shape)
    evaluate = [
        f"enum {{ U = {4 if size <= 32 else 2} }};",
        "static inline __attribute__((always_inline)) void evaluate(const V *w, V *g, V *l, "
        "const T *uni, const T *sca, const int *tab) {",
        *buffers,
        *emitter.body,
        *results,
        f"  for (int u = 0; u < U * H; u++) l[u] = {emitter.result(emitter.value, [])};",
        "}",
    ]
    return _assemble(emitter, evaluate, "run_lanes.c")


def _assemble(emitter: Emitter, parts: Sequence[str], driver: str) -> str:
    tiny, huge = LIMITS[emitter.dtype]
    constants = [f"#define COUNT {emitter.count}L", f"#define TINY_SQUARE {tiny}"]
    constants.append(f"#define HUGE_SQUARE {huge}")
    constants.append("enum { " + ", ".join(f"{k} = {v}" for k, v in CODES.items()) + " };")
    return "\n".join([
        prelude(emitter.dtype), elementary(sorted(emitter.functions), emitter.dtype),
        *constants, c_text("program.h"), *parts, c_text(driver),
    ])  # fmt: skip


def optimization(source: Source) -> int:
    """The compiler's level: less for long sources, whose compile time grows."""
    return 3 if source.statements <= 150 else 2 if source.statements <= 600 else 1


def _row_data(buffers: Buffers, dtype: torch.dtype) -> Tensor:
    """The blocks of ``data``, tile by tile; rows of padding repeat the last row."""
    blocks = []
    for view, padded, width in buffers.rows:
        rows = view.shape[-1]
        flat = view.reshape(-1, rows)  # (places, rows)
        values = _as_numbers(flat, dtype)
        if padded > rows:
            values = torch.cat([values, values[:, -1:].expand(-1, padded - rows)], 1)
        blocks.append(
            values.reshape(len(values), padded // width, width).transpose(0, 1).reshape(-1)
        )
    return torch.cat([*blocks, torch.zeros(64, dtype=dtype)])


def _flat(blocks: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    return torch.cat([
        *(_as_numbers(block.reshape(-1), dtype) for block in blocks), torch.zeros(64, dtype=dtype)
    ])  # fmt: skip


def _as_numbers(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the program's dtype; truth values as masks of all or no bits."""
    if values.dtype != torch.bool:
        values = values.to(dtype)
        if dtype == torch.float32:  # rows are computed with subnormal numbers flushed to zero
            values = torch.where(values.abs() < torch.finfo(dtype).tiny, 0.0, values)
        return values
    whole = torch.int32 if dtype == torch.float32 else torch.int64
    return (-values.to(whole)).view(dtype)


def _run_type(number: Any) -> Any:
    """The C struct Run as a ctypes type."""
    pointers = ("weights", "partials", "rates", "losses", "norms", "path")
    whole = ("step", "limit", "period", "slot", "code")
    fields = [(name, ctypes.c_void_p) for name in pointers]
    fields += [(name, ctypes.c_longlong) for name in whole]
    fields += [("tolerance", ctypes.c_double), ("loss", number), ("norm", number)]
    return type("Run", (ctypes.Structure,), {"_fields_": fields})
