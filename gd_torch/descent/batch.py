"""``descend_many``: many independent runs, each with its start, learning rates and end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.operation_counter import OperationCounter
from gd_torch.descent.compiled_batch import compiled_batch
from gd_torch.descent.cost_model import runs_per_block, runs_per_chunk, should_compile_batch
from gd_torch.descent.driver import Stepper, compile_or_warn, drive
from gd_torch.descent.eager_batch import eager_batch
from gd_torch.descent.fallback import side_effects_of
from gd_torch.descent.plan import MAX_STEPS, BatchPlan, check_stepper
from gd_torch.descent.recorder import BatchRecorder
from gd_torch.descent.result import BatchProgress, Descents
from gd_torch.gradients import evaluate
from gd_torch.typing import Objective, Weights
from gd_torch.validation import check_dense_real, check_integer, check_number, check_start


def descend_many(
    objective: Objective,
    starts: Tensor | Sequence[Tensor],
    learning_rates: float | Sequence[float] | Tensor,
    *,
    steps: int,
    tolerance: float = 0.0,
    stepper: Literal["auto", "eager", "compiled", "fused"] = "auto",
    callback: Callable[[int], object] | None = None,
    total_runs: int | None = None,
) -> Descents:
    """Execute r runs; each equals the run of ``descend`` with the same settings, to rounding.

    Memory use is bounded: eager runs are advanced in blocks, and a run that has ended is replaced
    by the next one.

    Args:
        objective: a torch function of the weights of *one* run that returns one scalar.
        starts: one floating-point, finite tensor of shape (r, *shape) per argument of the
            objective. Not modified.
        learning_rates: positive and finite: one number, one per run, shape (r,), or one per run
            and weight tensor, shape (r, weights).
        steps: maximum number of updates of each run, >= 0.
        tolerance: a run stops if its gradient norm is below this; >= 0, and 0 never stops it.
        stepper: as for ``descend``; "auto" compiles if all runs are estimated to take longer than
            compiling.
        callback: ``callback(finished)``, called when runs have ended, with their number so far.
        total_runs: the total number of runs if these are a part of them: "auto" then decides as
            for all of them, so that every part is executed in the same way.

    Returns:
        :class:`Descents`, in the order of ``starts``.

    Raises:
        TypeError, ValueError: an argument breaks a rule above. Exceptions of the objective and the
            callback are passed on.

    >>> import torch
    >>> from gd_torch import curve
    >>> starts = torch.tensor([1.9, 1.9, 0.0, 1.9], dtype=torch.float64)
    >>> runs = descend_many(curve, starts, [0.1, 0.01, 0.1, 0.5], steps=1000, tolerance=1e-8)
    >>> print(runs.steps.tolist(), runs.stop[3])
    [74, 682, 68, 4] It diverged: the loss is not finite.
    """
    weights = _check_starts(starts)
    stepper_name = check_stepper(stepper)
    runs = len(weights[0])
    rates = _check_rates(learning_rates, weights)
    steps = min(check_integer("steps", steps, 0), MAX_STEPS)
    tolerance = check_number("tolerance", tolerance, minimum=0.0)
    if total_runs is not None:
        runs = max(runs, check_integer("total_runs", total_runs, 1))
    plan = BatchPlan(objective, rates, steps, tolerance, callback)
    first = _evaluate_first(plan, weights, stepper_name)
    recorder = BatchRecorder(weights, first.loss)
    drive(plan, _make_stepper(plan, recorder, weights, stepper_name, runs, first), 0)
    return recorder.finish()


class FirstEvaluation(NamedTuple):
    """Properties of the objective, from one evaluation at the first start.

    Attributes:
        loss: its value there, shape ().
        entries: entries of the largest tensor in the evaluation.
        obstacle: the reason why it must not be compiled, None if there is none.
    """

    loss: Tensor
    entries: int
    obstacle: str | None


def _evaluate_first(plan: BatchPlan, weights: Weights, stepper: str) -> FirstEvaluation:
    """Evaluate the objective at the first start, which also validates it."""
    counter = OperationCounter()
    start, losses = tuple(w[0] for w in weights), []

    def evaluate_once() -> None:
        losses.append(evaluate(counter.counting(plan.objective), start)[0])

    obstacle = None
    if stepper == "eager":
        evaluate_once()
    else:
        obstacle = side_effects_of(plan.objective, evaluate_once)
    entries = max(counter.largest, *(w.numel() for w in start))
    return FirstEvaluation(losses[0], entries, obstacle)


def _make_stepper(
    plan: BatchPlan, recorder: BatchRecorder, weights: Weights, stepper: str, total_runs: int,
    first: FirstEvaluation,
) -> Stepper[BatchProgress]:  # fmt: skip
    """The compiled stepper, if it is chosen and possible, else the eager one."""
    runs, entries = len(weights[0]), first.entries
    size = runs_per_block(runs, entries)
    make_eager = functools.partial(eager_batch, plan, recorder, weights, size)
    on_cpu = weights[0].device.type == "cpu"
    worthwhile = on_cpu and should_compile_batch(total_runs, plan.steps, entries)
    if stepper == "eager" or (stepper == "auto" and not worthwhile):
        return make_eager()

    def compiled() -> Stepper[BatchProgress]:
        if first.obstacle is not None:
            raise Unsupported(first.obstacle)
        chunk = runs_per_chunk(runs, plan.steps, entries)
        return compiled_batch(plan, recorder, weights, chunk, make_eager)

    return compile_or_warn(compiled, make_eager, stacklevel=4)


def _check_starts(starts: Tensor | Sequence[Tensor]) -> Weights:
    """Convert to weights and check that all have one leading axis of runs."""
    weights = check_start(starts, "starts")
    runs = len(weights[0]) if weights[0].dim() else 0
    if runs == 0 or any(w.dim() == 0 or len(w) != runs for w in weights):
        shapes = ", ".join(str(tuple(w.shape)) for w in weights)
        raise ValueError(f"`starts` must have one leading axis of runs, got {shapes}")
    return weights


def _check_rates(learning_rates: float | Sequence[float] | Tensor, weights: Weights) -> Weights:
    """Convert to one tensor of shape (runs,) per weight tensor, in that weight's dtype."""
    runs, count = len(weights[0]), len(weights)
    if isinstance(learning_rates, Tensor):
        check_dense_real("learning_rates", learning_rates)
    try:
        rates = torch.as_tensor(learning_rates, dtype=torch.float64, device=weights[0].device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"`learning_rates` must be numbers, got {learning_rates!r}") from None
    if rates.shape not in ((), (runs,), (runs, count)):
        raise ValueError(
            f"`learning_rates` must be one number, ({runs},) or ({runs}, {count}), "
            f"got {tuple(rates.shape)}"
        )
    invalid = rates[~((rates > 0) & rates.isfinite())]
    if len(invalid):
        raise ValueError(f"`learning_rates` must be positive and finite, got {invalid[0].item():g}")
    table = rates.reshape(-1, 1) if rates.dim() < 2 else rates
    table = table.expand(runs, count)
    return tuple(table[:, i].to(w.dtype) for i, w in enumerate(weights))
