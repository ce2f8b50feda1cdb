"""Generate the C source of an objective: header, functions, evaluation and driver."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.c_header import c_header, read_c_file
from gd_torch.compiler.elementary import elementary_functions
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.evaluate_code import EvaluateCode
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.rules import KNOWN
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.strides import contiguous
from gd_torch.compiler.tracing import trace
from gd_torch.typing import Objective, Weights

MAX_LOCAL_WEIGHTS = 64
"""Largest number of weight entries in local arrays of the C function; others are in ``work``."""

MAX_RUN_ENTRIES = 256
"""Largest number of buffer entries of a run that is a lane of vectors."""

MAX_FOUR_VECTOR_ENTRIES = 32
"""Buffer entries per run up to which four vectors of runs are advanced together, else two."""

SAFE_SQUARES = {
    torch.float32: ("0x1p-90f", "0x1p90f"),
    torch.float64: ("0x1p-800", "0x1p800"),
}
"""Range in which a sum of squares is exact to rounding, without overflow or underflow."""

OPTIMIZATION_LEVELS = ((3, 80), (2, 600), (1, 3000))
"""(optimization level of the C compiler, largest number of statements for it)."""

CODES = {"LOSS": 1, "GRADIENT": 2, "TOLERANCE": 3, "STEPS": 4, "WEIGHT": 5}
"""The values of ``Stop`` (descent/result.py) in C; a test compares them."""


@dataclass(frozen=True, eq=False)
class Source:
    """C text with the constants that it reads.

    Attributes:
        text: the complete source.
        statements: number of statements.
        rows: whether a kernel loops over rows.
        buffers: the constants that the functions read.
        count: number of entries of all weights.
    """

    text: str
    statements: int
    rows: bool
    buffers: Buffers
    count: int


def generate(objective: Objective, weights: Weights, *, runs_as_lanes: bool = False) -> Source:
    """Trace an objective and generate its C source.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: the point at which it is traced; they determine shapes and dtype.
        along_runs: vectorise over independent runs.

    Raises:
        Unsupported: it cannot be traced, or has no compiled form.
    """
    if any(w.device.type != "cpu" for w in weights):
        raise Unsupported("compiled steps support only the CPU")
    if any(w.dtype not in SAFE_SQUARES or w.dtype != weights[0].dtype for w in weights):
        raise Unsupported("its weights are not all float32 or all float64")
    try:
        return _generate(objective, weights, runs_as_lanes)
    except Unsupported:
        raise
    except Exception as error:  # TorchScript, for example, changes the type of exceptions
        reason = str(error).strip().split("\n")[0]
        raise Unsupported(f"tracing it failed with {type(error).__name__}: {reason}") from error


def _generate(objective: Objective, weights: Weights, runs_as_lanes: bool) -> Source:
    """Generate the source; the weights have been checked."""
    lowering = Lowering(trace(objective, weights, KNOWN))
    dtype, count = weights[0].dtype, sum(w.numel() for w in weights)
    outputs = [lowering.value, *lowering.partials]
    schedule = Schedule(
        lowering.graph.statements, outputs, weights[0].element_size(), runs_as_lanes=runs_as_lanes
    )
    evaluate_code = EvaluateCode(schedule, dtype, count, lowering.value, lowering.partials)
    text = (_lanes_text if runs_as_lanes else _rows_text)(evaluate_code)
    statements = sum(1 for _ in schedule.all_scheduled())
    rows = any(kernel.rows for kernel in schedule.kernels)
    return Source(text, statements, rows, evaluate_code.buffers, count)


def optimization(source: Source) -> int:
    """The optimization level: lower for long sources; results are bit-identical at all levels."""
    return next((level for level, most in OPTIMIZATION_LEVELS if source.statements <= most), 0)


def _rows_text(evaluate_code: EvaluateCode) -> str:
    """The source of a program that executes one run, with vectors along rows, if any."""
    results = [
        f"  {loops} g[{entry}] = {value};" for loops, entry, value in _partials(evaluate_code)
    ]
    function = [
        "static inline __attribute__((always_inline)) T evaluate(const T *w, T *g, const T *data, "
        "const T *uni, const T *sca, const int *tab, T *work) {",
        *evaluate_code.body,
        *results,
        f"  return {evaluate_code.result(evaluate_code.value, [])};",
        "}",
    ]
    return _join_source(
        evaluate_code, [_local_weights(evaluate_code), *evaluate_code.kernels, *function], "run.c"
    )


def _local_weights(evaluate_code: EvaluateCode) -> str:
    """C text that allocates weights, partials and updated weights of the driver."""
    if evaluate_code.count <= MAX_LOCAL_WEIGHTS:
        return "#define LOCAL(x) x[COUNT]"
    size = -(-evaluate_code.count // 64) * 64 + 1024
    offset = evaluate_code.buffers.work
    evaluate_code.buffers.work += 3 * size
    return (
        f"enum {{ AT_w = {offset}, AT_g = {offset + size}, AT_m = {offset + 2 * size} }};\n"
        "#define LOCAL(x) *const x = work + AT_##x"
    )


def _lanes_text(evaluate_code: EvaluateCode) -> str:
    """The source of a program that executes independent runs as lanes of vectors."""
    allocations = evaluate_code.schedule.allocations.values()
    buffered = [allocation for allocation in allocations if allocation.where != "register"]
    size = sum(allocation.node.numel for allocation in buffered)
    if size + 3 * evaluate_code.count > MAX_RUN_ENTRIES:
        raise Unsupported("one run needs too much memory to be a lane of vectors")
    buffers = [
        f"  {'I' if a.node.mask else 'V'} t{a.number}[{a.node.numel} * U * H];" for a in buffered
    ]
    each = "for (int u = 0; u < U * H; u++)"
    results = [
        f"  {loops} {each} g[({entry}) * U * H + u] = {value};"
        for loops, entry, value in _partials(evaluate_code)
    ]
    function = [
        f"enum {{ U = {4 if size <= MAX_FOUR_VECTOR_ENTRIES else 2} }};",
        "static inline __attribute__((always_inline)) void evaluate(const V *w, V *g, V *l, "
        "const T *uni, const T *sca, const int *tab) {",
        *buffers,
        *evaluate_code.body,
        *results,
        f"  {each} l[u] = {evaluate_code.result(evaluate_code.value, [])};",
        "}",
    ]
    return _join_source(evaluate_code, function, "run_lanes.c")


def _partials(evaluate_code: EvaluateCode) -> Iterator[tuple[str, str, str]]:
    """Per weight: loops over its axes, the index of an entry of all partials, and its value."""
    base = 0
    for view in evaluate_code.partials:
        names = [f"a{i}" for i in range(len(view.shape))]
        loops = " ".join(
            f"for (int {name} = 0; {name} < {size}; {name}++)"
            for name, size in zip(names, view.shape, strict=True)
        )
        strides = contiguous(view.shape)
        steps = [f"{name} * {stride}" for name, stride in zip(names, strides, strict=True)]
        yield loops, " + ".join([str(base), *steps]), evaluate_code.result(view, names)
        base += math.prod(view.shape)


def _join_source(evaluate_code: EvaluateCode, parts: Sequence[str], driver: str) -> str:
    """The complete source.

    Args:
        parts: the text of the evaluation with its functions.
        driver: the file in ``c/`` that calls it.
    """
    tiny, huge = SAFE_SQUARES[evaluate_code.dtype]
    return "\n".join([
        c_header(evaluate_code.dtype),
        elementary_functions(sorted(evaluate_code.functions), evaluate_code.dtype),
        f"#define COUNT {evaluate_code.count}L",
        f"#define TINY_SQUARE {tiny}",
        f"#define HUGE_SQUARE {huge}",
        "enum { " + ", ".join(f"{name} = {code}" for name, code in CODES.items()) + " };",
        read_c_file("program.h"),
        *parts,
        read_c_file(driver),
    ])  # fmt: skip
