"""Distribute runs in chunks, or rows of data, over the processes of torch.distributed.

The caller starts the processes and initialises the process group. Without a group all functions
work on one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from gd_torch.descent.batch import descend_many
from gd_torch.descent.result import Descents
from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights
from gd_torch.validation import check_integer


def rank_and_size() -> tuple[int, int]:
    """The rank of this process and the number of processes; (0, 1) without a process group.

    >>> rank_and_size()
    (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


# ---------------------------------------------------------------- runs


def chunk_ranges(runs: int, size: int) -> list[range]:
    """Split the runs 0 to ``runs`` - 1 into ranges of ``size``; the last one may be shorter.

    Raises:
        TypeError, ValueError: ``size`` is not an int >= 1.

    >>> chunk_ranges(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    check_integer("size", size, 1)
    return [range(first, min(first + size, runs)) for first in range(0, runs, size)]


def descend_chunks(
    objective: Objective,
    starts: Weights,
    learning_rates: Tensor,
    chunks: list[range],
    *,
    steps: int,
    tolerance: float = 0.0,
    stepper: Literal["auto", "eager", "compiled", "fused"] = "auto",
    callback: Callable[[int], object] | None = None,
) -> Iterator[tuple[range, Descents]]:
    """Execute chunks of runs, as many chunks at a time as there are processes.

    With one thread per process, the results of a chunk depend only on its range and the other
    arguments, not on the number of processes or the selection of chunks.

    Args:
        objective: a torch function of the weights of one run that returns one scalar.
        starts: the starts of all runs, shape (r, *shape) each.
        learning_rates: of all runs, shape (r,) or (r, weights).
        chunks: ranges of the runs to execute, the same on all processes.
        steps, tolerance, stepper: as for ``descend_many``.
        callback: as for ``descend_many``, for the chunk of this process.

    Yields:
        On rank 0 every chunk with its :class:`Descents`, in order, as soon as it is complete; on
        other ranks nothing. All processes must exhaust the iterator.

    Raises:
        ConnectionError: another process has ended.

    >>> import torch
    >>> from gd_torch import curve
    >>> starts, rates = (torch.tensor([1.9, 1.0, 0.0]).double(),), torch.full((3,), 0.1).double()
    >>> ends = descend_chunks(curve, starts, rates, chunk_ranges(3, 2), steps=100, tolerance=1e-8)
    >>> [(chunk, runs.steps.tolist()) for chunk, runs in ends]
    [(range(0, 2), [74, 58]), (range(2, 3), [68])]
    """
    rank, size = rank_and_size()
    options: dict[str, Any] = {"steps": steps, "tolerance": tolerance, "stepper": stepper}
    options |= {"total_runs": len(starts[0]), "callback": callback}
    for first in range(0, len(chunks), size):
        round_of_chunks = chunks[first : first + size]
        ends = None
        if rank < len(round_of_chunks):
            rows = slice(round_of_chunks[rank].start, round_of_chunks[rank].stop)
            chunk_starts = tuple(w[rows] for w in starts)
            ends = descend_many(objective, chunk_starts, learning_rates[rows], **options)
        with _communication():
            received = _gather_on_rank0(round_of_chunks, ends, starts[0].device)
        yield from zip(round_of_chunks, received, strict=True) if rank == 0 else ()


def concatenate(ends: list[Descents]) -> Descents:
    """Concatenate the results of chunks."""
    columns = zip(*(end.to_tensors() for end in ends), strict=True)
    return Descents.from_tensors([torch.cat(column) for column in columns])


def _gather_on_rank0(
    chunks: list[range], ends: Descents | None, device: torch.device
) -> list[Descents]:
    """Gather the results of the chunks, one per rank, on rank 0; an empty list on other ranks.

    Args:
        chunks: the chunk of each rank.
        ends: the results of this rank, None if it had no chunk.
        device: device of the gathered tensors.
    """
    if ends is None:
        return []
    if rank_and_size()[0] > 0:
        for tensor in ends.to_tensors():
            dist.send(tensor.cpu().contiguous(), 0)
        return []
    gathered = [ends]
    for source, chunk in enumerate(chunks[1:], 1):
        received = [
            torch.empty((len(chunk), *t.shape[1:]), dtype=t.dtype) for t in ends.to_tensors()
        ]
        for tensor in received:
            dist.recv(tensor, source)
        gathered.append(Descents.from_tensors([tensor.to(device) for tensor in received]))
    return gathered


def broadcast_from_rank0(chunks: list[range]) -> list[range]:
    """Return the argument of rank 0 on every process."""
    objects = [chunks]
    if rank_and_size()[1] > 1:
        with _communication():
            dist.broadcast_object_list(objects, 0)
    return objects[0]


# ---------------------------------------------------------------- rows


def local_rows(rows: int) -> slice:
    """The contiguous range of rows of this process; the ranges differ in size by at most one.

    Args:
        rows: total number of rows.

    Raises:
        ValueError: there are fewer rows than processes.

    >>> local_rows(150)
    slice(0, 150, None)
    """
    rank, size = rank_and_size()
    if rows < size:
        raise ValueError(f"{rows} rows cannot be shared by {size} processes")
    return slice(rows * rank // size, rows * (rank + 1) // size)


def data_parallel_mean(mean: Objective, rows: int) -> Objective:
    """The mean over the rows of all processes, from the mean over the rows of this process.

    (1/n) sum_i f_i = sum over ranks r of (n_r/n) mean_r. Every evaluation adds the losses and
    partials of all processes in one all-reduce. The result has the same bits on all processes, so
    they stop at the same step. The weights must be equal on all processes. Only eager steps are
    possible.

    Args:
        mean: a torch function of the weights, such as ``network_mse(X[own], Y[own])``.
        rows: number of rows of this process.

    Returns:
        An objective of the same weights, which all processes must evaluate together.

    Raises:
        ConnectionError: from the objective: another process has ended.
    """
    count = torch.tensor(float(rows), dtype=torch.float64)
    total = float(all_reduce_sum(count))

    def objective(*weights: Tensor) -> Tensor:
        value: Tensor = _DataParallelMean.apply(mean, rows / total, *weights)  # type: ignore[no-untyped-call]
        return value

    return objective


def all_reduce_sum(share: Tensor) -> Tensor:
    """The sum of a tensor over all processes, with the same bits on each.

    Raises:
        ConnectionError: another process has ended.
    """
    total = share.detach().clone()
    if rank_and_size()[1] > 1:
        with _communication():
            dist.all_reduce(total)
    return total


class _DataParallelMean(torch.autograd.Function):
    """Adds value and partials in the forward pass, in a single all-reduce."""

    @staticmethod
    def forward(ctx: Any, mean: Objective, share: float, *weights: Tensor) -> Tensor:
        value, partials = evaluate(mean, weights)
        flat = torch.cat([value.reshape(1), *(d.flatten() for d in partials)])
        sizes = [1, *(w.numel() for w in weights)]
        total, *entries = torch.split(all_reduce_sum(flat * share), sizes)
        ctx.partials = [d.reshape(w.shape) for d, w in zip(entries, weights, strict=True)]
        return total[0]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return None, None, *(upstream * d for d in ctx.partials)


@contextmanager
def _communication() -> Iterator[None]:
    """Convert the RuntimeError of a failed communication to a ConnectionError."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError("another process has ended") from error
