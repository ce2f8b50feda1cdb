"""Many runs together: starts and learning rates of their own, ends of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.operation_counter import OperationCounter
from gd_torch.descent.compiled import side_effects_of
from gd_torch.descent.compiled_batch import compiled_batch
from gd_torch.descent.cost_model import compiling_batch_pays, runs_per_block, runs_per_chunk
from gd_torch.descent.driver import Stepper, compile_or_warn, drive
from gd_torch.descent.eager_batch import eager_batch
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
    """Make r runs; each is the run that ``descend`` makes alone, to rounding.

    Memory is bounded: eager runs make their steps together in blocks, and a run that has converged
    or diverged makes room for the next one.

    Args:
        objective: a torch function of the weights of *one* run that returns one scalar.
        starts: one floating, finite tensor of shape (r, *shape) per argument of the objective.
        learning_rates: positive and finite: one number, one per run, shape (r,), or one per run
            and weight tensor, shape (r, weights).
        steps: the most updates of each run, 0 or more.
        tolerance: a run stops once its gradient norm is below this; 0 never does.
        stepper: as for ``descend``; "auto" compiles if the work of all runs is worth it.
        callback: ``callback(finished)`` whenever runs have finished, with their number so far.
        total_runs: how many runs there are in all, if these are a part of them: "auto" then decides
            as it would for all, so that every part is executed in the same way.

    Returns:
        :class:`Descents`, in the order of ``starts``.

    Raises:
        ValueError, TypeError: an argument breaks a rule above.

    >>> import torch
    >>> from gd_torch import curve
    >>> starts = torch.tensor([1.9, 1.9, 0.0, 1.9], dtype=torch.float64)
    >>> runs = descend_many(curve, starts, [0.1, 0.01, 0.1, 0.5], steps=1000, tolerance=1e-8)
    >>> print(runs.steps.tolist(), runs.stop[3])
    [74, 682, 68, 4] It diverged: the loss is not finite.
    """
    weights = check_start(starts, "starts")
    runs = len(weights[0]) if weights[0].dim() else 0
    if runs == 0 or any(w.dim() == 0 or len(w) != runs for w in weights):
        shapes = ", ".join(str(tuple(w.shape)) for w in weights)
        raise ValueError(f"`starts` must have one leading axis of runs, got {shapes}")
    rates = _check_rates(learning_rates, weights)
    steps = min(check_integer("steps", steps, 0), MAX_STEPS)
    tolerance = check_number("tolerance", tolerance, minimum=0.0)
    stepper_name = check_stepper(stepper)
    total_runs = max(
        runs, check_integer("total_runs", runs if total_runs is None else total_runs, 1)
    )

    counter = OperationCounter()
    first, losses = tuple(w[0] for w in weights), []

    def evaluate_first() -> None:  # which validates the objective, too
        losses.append(evaluate(counter.counting(objective), first)[0])

    why_not = None
    if stepper_name == "eager":
        evaluate_first()
    else:
        why_not = side_effects_of(objective, evaluate_first)
    entries = max(counter.largest, *(w[0].numel() for w in weights))
    plan = BatchPlan(objective, rates, steps, tolerance, callback)
    recorder = BatchRecorder(weights, losses[0])
    size = runs_per_block(runs, entries)
    make_eager = functools.partial(eager_batch, plan, recorder, weights, size)
    pays = weights[0].device.type == "cpu" and compiling_batch_pays(total_runs, steps, entries)
    if stepper_name == "compiled" or (stepper_name == "auto" and pays):

        def compiled() -> Stepper[BatchProgress]:
            if why_not is not None:
                raise Unsupported(why_not)
            chunk = runs_per_chunk(runs, steps, entries)
            return compiled_batch(plan, recorder, weights, chunk, make_eager)

        batch = compile_or_warn(compiled, make_eager, stacklevel=3)
    else:
        batch = make_eager()
    drive(plan, batch, 0)
    return recorder.finish()


def _check_rates(given: float | Sequence[float] | Tensor, weights: Weights) -> Weights:
    """One tensor of shape (runs,) per weight tensor, in that weight's dtype."""
    runs, count = len(weights[0]), len(weights)
    if isinstance(given, Tensor):
        check_dense_real("learning_rates", given)
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
