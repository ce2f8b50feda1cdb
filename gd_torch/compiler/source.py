"""The whole C source of a compiled objective: prelude, functions, evaluation and driver."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gd_torch.compiler.buffers import Buffers
from gd_torch.compiler.elementary import elementary
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.evaluation import Evaluation
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.prelude import c_text, prelude
from gd_torch.compiler.recording import record
from gd_torch.compiler.rules import KNOWN
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.strides import contiguous
from gd_torch.typing import Objective, Weights

MAX_LOCAL_WEIGHTS = 64
"""Up to this many weights are kept in variables of the C function, more in memory."""

MAX_RUN_ENTRIES = 256
"""Entries of all buffers of a run that is a lane of vectors, at most."""

SHORT_BUFFERS = 32
"""Up to so many entries of buffers, four vectors of runs are advanced together; beyond, two."""

LIMITS = {
    torch.float32: ("0x1p-90f", "0x1p90f"),
    torch.float64: ("0x1p-800", "0x1p800"),
}
"""Between these a sum of squares has lost nothing."""

LEVELS = ((3, 80), (2, 600), (1, 3000))
"""(level of the compiler, statements up to which it is used)."""

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


def generate(objective: Objective, weights: Weights, *, along_runs: bool = False) -> Source:
    """Record an objective and write it as C.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: where it is recorded; they fix shapes and dtype.
        along_runs: vectorise over independent runs.

    Raises:
        Unsupported: it cannot be recorded, or has no compiled form.
    """
    if any(w.device.type != "cpu" for w in weights):
        raise Unsupported("compiled steps are for the CPU so far")
    if any(w.dtype not in LIMITS or w.dtype != weights[0].dtype for w in weights):
        raise Unsupported("its weights are not all float32 or all float64")
    try:
        return _generated(objective, weights, along_runs)
    except Unsupported:
        raise
    except Exception as error:  # TorchScript changes the type of what is raised in it, for one
        reason = str(error).strip().split("\n")[0]
        raise Unsupported(f"recording it failed with {type(error).__name__}: {reason}") from error


def _generated(objective: Objective, weights: Weights, along_runs: bool) -> Source:
    """The same, after the checks."""
    lowering = Lowering(record(objective, weights, KNOWN))
    dtype, count = weights[0].dtype, sum(w.numel() for w in weights)
    outputs = [lowering.value, *lowering.partials]
    schedule = Schedule(
        lowering.graph.statements, outputs, weights[0].element_size(), along_runs=along_runs
    )
    evaluation = Evaluation(schedule, dtype, count, lowering.value, lowering.partials)
    text = (_text_of_runs if along_runs else _text_of_rows)(evaluation)
    statements = sum(1 for _ in schedule.all_placed())
    rows = any(kernel.rows for kernel in schedule.kernels)
    return Source(text, statements, rows, evaluation.buffers, count)


def optimization(source: Source) -> int:
    """The compiler's level, which changes no bit: less for long sources, where time grows."""
    return next((level for level, most in LEVELS if source.statements <= most), 0)


def _text_of_rows(evaluation: Evaluation) -> str:
    """The source of a program whose vectors run along rows, or that has none."""
    results = [f"  {loops} g[{entry}] = {value};" for loops, entry, value in _partials(evaluation)]
    function = [
        "static inline __attribute__((always_inline)) T evaluate(const T *w, T *g, const T *data, "
        "const T *uni, const T *sca, const int *tab, T *work) {",
        *evaluation.body,
        *results,
        f"  return {evaluation.result(evaluation.value, [])};",
        "}",
    ]
    return _assembled(
        evaluation, [_local_weights(evaluation), *evaluation.kernels, *function], "run.c"
    )


def _local_weights(evaluation: Evaluation) -> str:
    """Where the driver keeps weights, partials and moved weights: in variables or in memory."""
    if evaluation.count <= MAX_LOCAL_WEIGHTS:
        return "#define LOCAL(x) x[COUNT]"
    room = -(-evaluation.count // 64) * 64 + 1024
    place = evaluation.buffers.work
    evaluation.buffers.work += 3 * room
    return (
        f"enum {{ AT_w = {place}, AT_g = {place + room}, AT_m = {place + 2 * room} }};\n"
        "#define LOCAL(x) *const x = work + AT_##x"
    )


def _text_of_runs(evaluation: Evaluation) -> str:
    """The source of a program whose vectors run along independent runs."""
    storages = evaluation.schedule.storage.values()
    kept = [storage for storage in storages if storage.where != "register"]
    size = sum(storage.node.numel for storage in kept)
    if size + 3 * evaluation.count > MAX_RUN_ENTRIES:
        raise Unsupported("one run needs too much memory to be a lane of vectors")
    buffers = [
        f"  {'I' if storage.node.mask else 'V'} t{storage.number}[{storage.node.numel} * U * H];"
        for storage in kept
    ]
    each = "for (int u = 0; u < U * H; u++)"
    results = [
        f"  {loops} {each} g[({entry}) * U * H + u] = {value};"
        for loops, entry, value in _partials(evaluation)
    ]
    function = [
        f"enum {{ U = {4 if size <= SHORT_BUFFERS else 2} }};",
        "static inline __attribute__((always_inline)) void evaluate(const V *w, V *g, V *l, "
        "const T *uni, const T *sca, const int *tab) {",
        *buffers,
        *evaluation.body,
        *results,
        f"  {each} l[u] = {evaluation.result(evaluation.value, [])};",
        "}",
    ]
    return _assembled(evaluation, function, "run_lanes.c")


def _partials(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Per weight: loops over its axes, the entry among all weights' partials, and the partial."""
    base = 0
    for view in evaluation.partials:
        names = [f"a{i}" for i in range(len(view.shape))]
        loops = " ".join(
            f"for (int {name} = 0; {name} < {size}; {name}++)"
            for name, size in zip(names, view.shape, strict=True)
        )
        strides = contiguous(view.shape)
        steps = [f"{name} * {stride}" for name, stride in zip(names, strides, strict=True)]
        yield loops, " + ".join([str(base), *steps]), evaluation.result(view, names)
        base += math.prod(view.shape)


def _assembled(evaluation: Evaluation, parts: Sequence[str], driver: str) -> str:
    """The whole source.

    Args:
        parts: the evaluation with its functions. driver: the file of c/ that calls it.
    """
    tiny, huge = LIMITS[evaluation.dtype]
    return "\n".join([
        prelude(evaluation.dtype),
        elementary(sorted(evaluation.functions), evaluation.dtype),
        f"#define COUNT {evaluation.count}L",
        f"#define TINY_SQUARE {tiny}",
        f"#define HUGE_SQUARE {huge}",
        "enum { " + ", ".join(f"{name} = {code}" for name, code in CODES.items()) + " };",
        c_text("program.h"),
        *parts,
        c_text(driver),
    ])  # fmt: skip
