"""Many descents side by side: starts and learning rates of their own, stops of their own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gd_torch.arguments import check_held, check_number, check_start, check_whole
from gd_torch.block import Block, Queue
from gd_torch.descent import descend
from gd_torch.gauge import Gauge
from gd_torch.kernel import Untraceable
from gd_torch.objectives import Objective, Weights
from gd_torch.record import Stop
from gd_torch.transition import CODES

ENTRIES = 1 << 17
"""Entries of the largest intermediate, over all runs of a block, that stay in the cache."""

ROOM = 1 << 24
"""The same where blocks only have to fit in memory."""

EAGER_LAUNCH, EAGER_ENTRY, COMPILING = 4e-4, 1.5e-8, 5.0
"""Rough seconds: of a step of a block run eagerly, per entry of it, and of compiling."""


@dataclass(frozen=True, eq=False)
class Descents:
    """The ends of r finished runs; all tensors are detached.

    Attributes:
        weights: the last finite weights, one tensor of shape (r, *shape) per argument.
        losses: the objective there, shape (r,).
        gradient_norms: the Euclidean norm over the partials of all weights there, shape (r,).
        steps: how many updates each run made, int64, shape (r,).
        codes: why each run ended, int64, shape (r,): the place in ``gd_torch.transition.CODES``.
    """

    weights: Weights
    losses: Tensor
    gradient_norms: Tensor
    steps: Tensor
    codes: Tensor

    def tensors(self) -> list[Tensor]:
        """All tensors in a row."""
        return [*self.weights, self.losses, self.gradient_norms, self.steps, self.codes]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Descents:
        """The inverse of :meth:`tensors`."""
        return cls(tuple(tensors[:-4]), *tensors[-4:])

    @property
    def stop(self) -> tuple[Stop, ...]:
        """Why each run ended."""
        return tuple(CODES[code] for code in self.codes.tolist())  # type: ignore[misc]

    @property
    def converged(self) -> Tensor:
        """Which runs ended below the tolerance, bool, shape (r,)."""
        return self.codes == CODES.index(Stop.TOLERANCE)

    @property
    def diverged(self) -> Tensor:
        """Which runs left the finite numbers, bool, shape (r,)."""
        gone = [CODES.index(stop) for stop in Stop if stop.diverged]
        return torch.isin(self.codes, torch.tensor(gone, device=self.codes.device))


def descend_many(
    objective: Objective,
    starts: Tensor | Sequence[Tensor],
    learning_rates: float | Sequence[float] | Tensor,
    *,
    steps: int,
    tolerance: float = 0.0,
    stepper: Literal["auto", "eager", "fused"] = "auto",
    callback: Callable[[int], object] | None = None,
    job: int | None = None,
) -> Descents:
    """Make r descents in lockstep; each is the run that ``descend`` makes alone, to rounding.

    Runs wait in a queue for a place in a block of bounded size; a run that has converged or
    diverged gives its place to the next one and costs nothing more.

    Args:
        objective: a torch function of the weights of *one* run that returns one scalar.
        starts: one floating, finite tensor of shape (r, *shape) per argument of the objective.
        learning_rates: positive and finite: one number, one per run, shape (r,), or one per run
            and weight tensor, shape (r, weights).
        steps: the most updates of each run, 0 or more.
        tolerance: a run stops once its gradient norm is below this; 0 never does.
        stepper: as for ``descend``; "auto" compiles if the work of all runs is worth it.
        callback: ``callback(finished)`` whenever runs have finished, with their number so far.
        job: how many runs the whole job has, if these are a part of it: "auto" then decides as it
            would for the whole, so that every part is executed in the same way.

    Returns:
        :class:`Descents`, in the order of ``starts``.

    Raises:
        ValueError, TypeError: an argument breaks a rule above.

    >>> import torch
    >>> from gd_torch import curve
    >>> starts = torch.tensor([1.9, 1.9, 0.0, 1.9], dtype=torch.float64)
    >>> runs = descend_many(curve, starts, [0.1, 0.01, 0.1, 0.5], steps=1000, tolerance=1e-8)
    >>> runs.steps.tolist(), runs.stop[3]
    ([74, 682, 68, 4], <Stop.LOSS: 'It diverged: the loss is not finite.'>)
    """
    weights = check_start(starts, "starts")
    runs = len(weights[0]) if weights[0].dim() else 0
    if runs == 0 or any(w.dim() == 0 or len(w) != runs for w in weights):
        shapes = ", ".join(str(tuple(w.shape)) for w in weights)
        raise ValueError(f"`starts` must have one leading axis of runs, got {shapes}")
    rates = _check_rates(learning_rates, weights)
    check_whole("steps", steps, 0)
    check_number("tolerance", tolerance, least=0.0)
    if stepper not in ("auto", "eager", "fused"):
        raise ValueError(f"`stepper` must be 'auto', 'eager' or 'fused', got {stepper!r}")
    first = tuple(w[0] for w in weights)
    one = descend(objective, first, learning_rate=1.0, steps=0, stepper="eager")  # validates it
    queue = Queue(weights, rates, steps, float(tolerance), one.losses[0], callback)
    if not _maps(objective, weights):
        _one_by_one(objective, queue)
    else:
        whole = max(runs, check_whole("job", runs if job is None else job, 1))
        _side_by_side(objective, queue, stepper, _largest(objective, first), whole)
    *ends, counts, codes, losses, norms = queue.results
    return Descents(tuple(ends), losses, norms, counts, codes)


def _side_by_side(objective: Objective, queue: Queue, stepper: str, entries: int, job: int) -> None:
    """In blocks: compiled ones that fit the cache, or eager ones that fit the memory."""
    places = _places(job, ENTRIES, entries)
    launches = math.ceil(job / _places(job, ROOM, entries)) * queue.steps
    eager = launches * EAGER_LAUNCH + job * queue.steps * entries * EAGER_ENTRY
    on_cpu = queue.weights[0].device.type == "cpu"
    if stepper == "fused" or (stepper == "auto" and on_cpu and eager > COMPILING):
        try:
            Block(objective, queue, places, compiled=True).run()
            return
        except Untraceable as why:
            message = f"the objective cannot be compiled, its runs go on eagerly: {why}"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
    Block(objective, queue, _places(queue.runs, ROOM, entries), compiled=False).run()


def _one_by_one(objective: Objective, queue: Queue) -> None:
    """For an objective that cannot be mapped, such as one with a Python branch on a weight."""
    for i in range(queue.runs):
        run = descend(
            objective,
            tuple(w[i] for w in queue.weights),
            learning_rate=[float(rate[i]) for rate in queue.rates],
            steps=queue.steps,
            tolerance=queue.tolerance,
            record="last",
            stepper="eager",
        )
        code = torch.tensor([CODES.index(run.stop)])
        ends = (*(w[None] for w in run.weights), torch.tensor([run.steps]), code)
        queue.put(torch.tensor([i]), (*ends, run.losses, run.gradient_norms))


def _places(runs: int, room: int, entries: int) -> int:
    """A power of two of places for runs whose largest intermediate has so many entries."""
    fitting = max(1, room // max(entries, 8))
    return min(1 << (fitting.bit_length() - 1), runs)


def _maps(objective: Objective, weights: Weights) -> bool:
    """Whether the objective can be evaluated for many runs at once."""
    try:
        torch.func.vmap(objective)(*(w[:1] for w in weights))
    except RuntimeError:
        return False
    return True


def _largest(objective: Objective, weights: Weights) -> int:
    """Entries of the largest tensor that one evaluation makes."""
    gauge = Gauge()
    with gauge, torch.no_grad():
        objective(*weights)
    return max(gauge.largest, *(w.numel() for w in weights))


def _check_rates(given: float | Sequence[float] | Tensor, weights: Weights) -> Weights:
    """One tensor of shape (runs,) per weight tensor, in that weight's dtype."""
    runs, count = len(weights[0]), len(weights)
    if isinstance(given, Tensor):
        check_held("learning_rates", given)
    try:
        rates = torch.as_tensor(given, dtype=torch.float64, device=weights[0].device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"`learning_rates` must be numbers, got {given!r}") from None
    if rates.shape not in ((), (runs,), (runs, count)):
        raise ValueError(
            f"`learning_rates` must be one number, ({runs},) or ({runs}, {count}), "
            f"got {tuple(rates.shape)}"
        )
    wrong = rates[~((rates > 0) & rates.isfinite())]
    if len(wrong):
        raise ValueError(f"`learning_rates` must be positive and finite, got {wrong[0].item():g}")
    table = rates.reshape(-1, 1) if rates.dim() < 2 else rates
    table = table.expand(runs, count)
    return tuple(table[:, i].to(w.dtype) for i, w in enumerate(weights))
