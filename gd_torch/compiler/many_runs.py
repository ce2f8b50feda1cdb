"""Execute many runs of a program in threads; the results do not depend on their number."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gd_torch.compiler.program import Program

RUNS_PER_CALL = 8
"""Runs that a thread takes from the queue at once."""

STEPS_PER_CALL = 4000
"""Steps of each of these runs per call; interrupts are handled between calls."""

MAX_VECTORS = 4
"""Largest number of vectors of runs advanced together (U in the C text)."""

TARGET_BLOCKS = 64
"""Approximate number of blocks that runs as lanes are divided into."""


@dataclass(frozen=True)
class RunBatch:
    """The arguments of many runs.

    Attributes:
        weights: shape (runs, entries of all weights); modified in place.
        rates: learning rates, of the same shape.
        tolerance: a run stops if its gradient norm is below this.
        steps: maximum number of updates of each run.
        threads: number of threads.
    """

    weights: Tensor
    rates: Tensor
    tolerance: float
    steps: int
    threads: int


class RunEnds(NamedTuple):
    """The final points of runs.

    Attributes:
        steps: number of updates, int64, shape (runs,).
        codes: values of ``Stop``, int64, shape (runs,).
        losses, norms: shape (runs,).
        partials: shape (runs, entries of all weights).
    """

    steps: Tensor
    codes: Tensor
    losses: Tensor
    norms: Tensor
    partials: Tensor


def run_each(program: Program, batch: RunBatch) -> RunEnds:
    """Execute one run after the other; vectors extend along rows."""
    partials = torch.empty_like(batch.weights)
    states = _states(program, batch, partials)

    def work(queue: Iterator[int]) -> None:
        """Execute the runs of one thread."""
        own = torch.zeros_like(program.arrays.work)  # referenced while its address is in use
        pointers = program.pointers(own)
        for first in queue:
            end = min(first + RUNS_PER_CALL, len(states))
            for limit in (*range(STEPS_PER_CALL, batch.steps, STEPS_PER_CALL), batch.steps):
                states[first:end, program.run_type.limit.offset // 8] = limit
                program.library.run_many(
                    ctypes.c_void_p(states.data_ptr()), ctypes.c_long(first), ctypes.c_long(end),
                    *pointers,
                )  # fmt: skip

    share_among_threads(work, range(0, len(states), RUNS_PER_CALL), batch.threads)
    run_type, numbers = program.run_type, states.view(program.dtype)
    loss = run_type.loss.offset // batch.weights.element_size()
    return RunEnds(
        states[:, run_type.step.offset // 8].clone(),
        states[:, run_type.code.offset // 8].clone(),
        numbers[:, loss].clone(),
        numbers[:, loss + 1].clone(),
        partials,
    )


def _states(program: Program, batch: RunBatch, partials: Tensor) -> Tensor:
    """The C struct Run of each run as int64 words, shape (runs, words)."""
    runs, run_type = len(batch.weights), program.run_type
    states = torch.zeros((runs, ctypes.sizeof(run_type) // 8), dtype=torch.int64)
    row = torch.arange(runs) * (program.count * batch.weights.element_size())
    arguments = {"weights": batch.weights, "partials": partials, "rates": batch.rates}
    for name, tensor in arguments.items():
        states[:, getattr(run_type, name).offset // 8] = tensor.data_ptr() + row
    tolerance = torch.tensor([batch.tolerance], dtype=torch.float64).view(torch.int64)
    states[:, run_type.tolerance.offset // 8] = tolerance
    return states


def run_as_lanes(program: Program, batch: RunBatch) -> RunEnds:
    """Execute runs as lanes of vectors."""
    runs = len(batch.weights)
    block = MAX_VECTORS * 64 // batch.weights.element_size()  # a multiple of every U
    padded = -(-runs // block) * block
    weights, rates = _columns(batch.weights, padded), _columns(batch.rates, padded)
    partials = torch.empty_like(weights)
    integer = torch.int32 if program.dtype == torch.float32 else torch.int64
    steps, codes = (torch.zeros(padded, dtype=integer) for _ in range(2))
    losses, norms = (torch.zeros(padded, dtype=program.dtype) for _ in range(2))
    arguments = [
        ctypes.c_void_p(tensor.data_ptr())
        for tensor in (weights, rates, partials, steps, codes, losses, norms)
    ]
    constants = program.pointers(program.arrays.work)[1:4]
    first_run = max(1, padded // block // TARGET_BLOCKS) * block

    def work(queue: Iterator[int]) -> None:
        """Execute the runs of one thread."""
        for first in queue:
            end = min(first + first_run, padded)
            program.library.run_lanes(
                *arguments, *(ctypes.c_long(x) for x in (first, end, padded, batch.steps)),
                ctypes.c_double(batch.tolerance), *constants,
            )  # fmt: skip

    share_among_threads(work, range(0, padded, first_run), batch.threads)
    batch.weights.copy_(weights[:, :runs].T)
    numbers = (losses[:runs].clone(), norms[:runs].clone(), partials[:, :runs].T.contiguous())
    return RunEnds(steps[:runs].long(), codes[:runs].long(), *numbers)


def _columns(rows: Tensor, padded: int) -> Tensor:
    """Transpose (runs, count) to (count, padded); the last run is repeated."""
    columns = rows.T
    missing = padded - len(rows)
    return torch.cat([columns, columns[:, -1:].expand(-1, missing)], 1).contiguous()


def share_among_threads(
    work: Callable[[Iterator[int]], None], blocks: Iterable[int], threads: int
) -> None:
    """Call ``work`` in every thread with an iterator over a shared queue of blocks."""
    queue, lock, stopped = iter(blocks), threading.Lock(), threading.Event()

    def take() -> Iterator[int]:
        """Yield the blocks taken by one thread."""
        while not stopped.is_set():
            with lock:
                first_run = next(queue, None)
            if first_run is None:
                return
            yield first_run

    others = [threading.Thread(target=work, args=(take(),)) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    try:
        work(take())
    except BaseException:
        stopped.set()  # the other threads end after their current block
        raise
    finally:
        for thread in others:
            thread.join()
