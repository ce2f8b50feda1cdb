"""One job over the processes of torch.distributed: its runs in chunks, or the rows of its data.

The caller starts the processes and their group; without a group the job is that of one process.
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
    """This process's number and how many there are; (0, 1) without a process group.

    >>> rank_and_size()
    (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


# ---------------------------------------------------------------- runs


def chunk_ranges(runs: int, size: int) -> list[range]:
    """The runs 0 to ``runs`` - 1 cut into ranges of ``size``; the last one may be shorter.

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
    """Make the runs of a job chunk by chunk, as many chunks at a time as there are processes.

    The results of a chunk depend on the job and its range alone, at one thread to a process: not
    on the number of processes, nor on which chunks are given.

    Args:
        objective: a torch function of the weights of one run that returns one scalar.
        starts: of all runs of the job, shape (r, *shape) each.
        learning_rates: shape (r,) or (r, weights).
        chunks: the runs to make, the same on all processes.
        steps, tolerance, stepper: as for ``descend_many``.
        callback: as for ``descend_many``, of the chunk that this process is making.

    Yields:
        On rank 0 every chunk with its :class:`Descents`, in order, as soon as it is there;
        elsewhere nothing. All processes must exhaust it.

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
        with _exchange():
            received = _gather_on_rank0(round_of_chunks, ends, starts[0].device)
        yield from zip(round_of_chunks, received, strict=True) if rank == 0 else ()


def concatenate(ends: list[Descents]) -> Descents:
    """The runs of all chunks in a row."""
    columns = zip(*(end.to_tensors() for end in ends), strict=True)
    return Descents.from_tensors([torch.cat(column) for column in columns])


def _gather_on_rank0(
    chunks: list[range], ends: Descents | None, device: torch.device
) -> list[Descents]:
    """The ends of these chunks, one from each rank, on rank 0; an empty list on the others.

    ``ends`` are this rank's, None if it had no chunk.
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
    """The argument of rank 0, on every process."""
    box = [chunks]
    if rank_and_size()[1] > 1:
        with _exchange():
            dist.broadcast_object_list(box, 0)
    return box[0]


# ---------------------------------------------------------------- rows


def local_rows(rows: int) -> slice:
    """The rows that this process holds: a contiguous share, none larger by more than one.

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
    """The mean over the rows of all processes, from the mean over this one's.

    (1/n) sum_i f_i = sum over ranks r of (n_r/n) mean_r. At every evaluation the processes add up
    their losses and partials, all in one exchange; all of them then see the same bits and stop at
    the same step. The weights are those of every process; only eager steps can be made.

    Args:
        mean: a torch function of the weights, such as ``network_mse(X[own], Y[own])``.
        rows: how many rows this process holds.

    Returns:
        An objective of the same weights, to be called by all processes.

    Raises:
        ConnectionError: from the objective, when another process has ended.
    """
    count = torch.tensor(float(rows), dtype=torch.float64)
    total = float(all_reduce_sum(count))

    def objective(*weights: Tensor) -> Tensor:
        value: Tensor = _DataParallelMean.apply(mean, rows / total, *weights)  # type: ignore[no-untyped-call]
        return value

    return objective


def all_reduce_sum(share: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same bits on each."""
    total = share.detach().clone()
    if rank_and_size()[1] > 1:
        with _exchange():
            dist.all_reduce(total)
    return total


class _DataParallelMean(torch.autograd.Function):
    """Value and partials added up in the forward pass, so that one exchange is enough."""

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
def _exchange() -> Iterator[None]:
    """Turn the error of a failed exchange into one that says why: another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError("another process of this job has ended") from error
