"""One job over the processes of torch.distributed: its runs in parts, or the rows of its data.

The caller starts the processes and their group; without a group the job is that of one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from gd_torch.arguments import check_whole
from gd_torch.ensemble import Descents, descend_many
from gd_torch.objectives import Objective, Weights
from gd_torch.partials import evaluate


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) without a process group.

    >>> rank_and_size()
    (0, 1)
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


# ---------------------------------------------------------------- runs


def parts(runs: int, size: int) -> list[range]:
    """The runs 0 to ``runs`` - 1 cut into ranges of ``size``; the last one may be shorter.

    >>> parts(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    check_whole("size", size, 1)
    return [range(first, min(first + size, runs)) for first in range(0, runs, size)]


def descend_parts(
    objective: Objective,
    starts: Weights,
    rates: Tensor,
    todo: list[range],
    *,
    steps: int,
    tolerance: float = 0.0,
    stepper: Literal["auto", "eager", "fused"] = "auto",
    callback: Callable[[int], object] | None = None,
) -> Iterator[tuple[range, Descents]]:
    """Make the runs of a job part by part, as many parts at a time as there are processes.

    What a part gives depends on the job and its range alone, at one thread to a process: not on
    the number of processes, nor on which parts are to do.

    Args:
        objective: a torch function of the weights of one run that returns one scalar.
        starts: of all runs of the job, shape (r, *shape) each. rates: shape (r,) or (r, weights).
        todo: the parts to make, the same on all processes.
        steps, tolerance, stepper: as for ``descend_many``.
        callback: as for ``descend_many``, of the part that this process is making.

    Yields:
        On rank 0 every part with its :class:`Descents`, in order, as soon as it is there; elsewhere
        nothing. All processes must exhaust it.

    Raises:
        ConnectionError: another process has ended.

    >>> import torch
    >>> from gd_torch import curve
    >>> starts, rates = (torch.tensor([1.9, 1.0, 0.0]).double(),), torch.full((3,), 0.1).double()
    >>> made = descend_parts(curve, starts, rates, parts(3, 2), steps=100, tolerance=1e-8)
    >>> [(part, runs.steps.tolist()) for part, runs in made]
    [(range(0, 2), [74, 58]), (range(2, 3), [68])]
    """
    rank, size = rank_and_size()
    options: dict[str, Any] = {"steps": steps, "tolerance": tolerance, "stepper": stepper}
    for first in range(0, len(todo), size):
        together = todo[first : first + size]
        mine = None
        if rank < len(together):
            cut = slice(together[rank].start, together[rank].stop)
            own = tuple(w[cut] for w in starts)
            mine = descend_many(
                objective, own, rates[cut], job=len(starts[0]), callback=callback, **options
            )
        with _others():
            received = _handed_over(together, mine, rank, starts)
        yield from zip(together, received, strict=True) if rank == 0 else ()


def joined(ends: list[Descents]) -> Descents:
    """The runs of all parts in a row."""
    flat = [torch.cat(column) for column in zip(*(end.tensors() for end in ends), strict=True)]
    return Descents.of(flat)


def _handed_over(
    together: list[range], mine: Descents | None, rank: int, starts: Weights
) -> list[Descents]:
    """What every process has made, on rank 0; the others send theirs to it."""
    if mine is None:
        return []
    if rank:
        for tensor in mine.tensors():
            dist.send(tensor.cpu().contiguous(), 0)
        return []
    got = [mine]
    for source, part in enumerate(together[1:], 1):
        like = mine.tensors()
        empty = [torch.empty((len(part), *t.shape[1:]), dtype=t.dtype) for t in like]
        for tensor in empty:
            dist.recv(tensor, source)
        got.append(Descents.of([tensor.to(starts[0].device) for tensor in empty]))
    return got


def agreed(todo: list[range]) -> list[range]:
    """What rank 0 says is to do, on every process."""
    told = [todo]
    if rank_and_size()[1] > 1:
        with _others():
            dist.broadcast_object_list(told, 0)
    return told[0]


# ---------------------------------------------------------------- rows


def own_rows(rows: int) -> slice:
    """The rows that this process holds: a contiguous share, none larger by more than one.

    Raises:
        ValueError: there are fewer rows than processes.

    >>> own_rows(150)
    slice(0, 150, None)
    """
    rank, size = rank_and_size()
    if rows < size:
        raise ValueError(f"{rows} rows cannot be shared by {size} processes")
    return slice(rows * rank // size, rows * (rank + 1) // size)


def over_rows(mean: Objective, rows: int) -> Objective:
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
    total = float(added(count))

    def objective(*weights: Tensor) -> Tensor:
        value: Tensor = _OverRows.apply(mean, rows / total, *weights)  # type: ignore[no-untyped-call]
        return value

    return objective


def added(share: Tensor) -> Tensor:
    """The sum of a tensor over all processes, the same bits on each."""
    total = share.detach().clone()
    if rank_and_size()[1] > 1:
        with _others():
            dist.all_reduce(total)
    return total


class _OverRows(torch.autograd.Function):
    """Value and partials added up in the forward pass, so that one exchange is enough."""

    @staticmethod
    def forward(ctx: Any, mean: Objective, share: float, *weights: Tensor) -> Tensor:
        value, slopes = evaluate(mean, weights)
        flat = torch.cat([value.reshape(1), *(d.flatten() for d in slopes)])
        sizes = [1, *(w.numel() for w in weights)]
        total, *entries = torch.split(added(flat * share), sizes)
        ctx.slopes = [d.reshape(w.shape) for d, w in zip(entries, weights, strict=True)]
        return total[0]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return None, None, *(slope * d for d in ctx.slopes)


@contextmanager
def _others() -> Iterator[None]:
    """An exchange; if it fails, another process has ended, whose own error says why."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError("another process of this job has ended") from error
