"""The runs and other computations whose results the figures show."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from functools import cache

import torch
from torch import Tensor

from gd_torch import (
    BOWL,
    CURVE,
    Descent,
    bowl,
    brute_force,
    curve,
    descend,
    descend_many,
    init_weights,
    load_iris,
    network_mse,
    partials,
)
from gd_torch.grid_search import GridResult
from gd_torch.plots import Comparison, CostedPath, DirectionScan
from gd_torch.tutorial.outcomes import classify_runs
from gd_torch.typing import Objective, Weights

BOWL_RATE = 0.1
BOWL_START = BOWL.start[0], BOWL.start[1]
BOWL_MINIMUM = BOWL.minimiser[0], BOWL.minimiser[1]
STEPS = 3000
SEEDS = 200
CURVE_POINTS = 1024
"""The number of starts, and of learning rates, of the map of the curve."""

INPUTS, OUTPUTS = 4, 3


def grids() -> dict[int, GridResult]:
    """Brute force on -1 <= w <= 2 with 1 to 4 decimals."""
    return {
        decimals: brute_force(
            curve, torch.arange(-(10**decimals), 2 * 10**decimals + 1).double() / 10**decimals,
            keep="all",
        )
        for decimals in (1, 2, 3, 4)
    }  # fmt: skip


@cache
def curve_run(rate: float, steps: int = 20_000) -> Descent:
    """A descent of the curve from the tutorial's start."""
    return descend(curve, CURVE.start, learning_rate=rate, steps=steps, tolerance=1e-8)


def by_hand(steps: int = 2, rate: float = 0.01) -> list[tuple[float, float]]:
    """(w, slope) of each step as computed by hand: rounded half up to two decimals."""
    noted = []
    w = Decimal(str(CURVE.start[0]))
    for _ in range(steps + 1):
        slope = _two_decimals(Decimal(float(partials(curve)(float(w))[0])))
        noted.append((float(w), float(slope)))
        w = _two_decimals(w - Decimal(str(rate)) * slope)
    return noted


def _two_decimals(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def learning_rate_outcomes(starts: Tensor, rates: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The outcome and the number of steps of every run, both of shape (rates, starts).

    A run has converged when abs(slope) < 1e-8.
    """
    alpha, start = (t.flatten() for t in torch.meshgrid(rates, starts, indexing="ij"))
    runs = descend_many(curve, start, alpha, steps=limit, tolerance=1e-8)
    outcomes = classify_runs(runs, alpha)
    return outcomes.reshape(len(rates), -1), runs.steps.reshape(len(rates), -1)


@cache
def bowl_runs() -> dict[str, Descent]:
    """The tutorial's four paths: single steps of w1, of w2 and of both, and the whole descent."""
    single = {
        "both weights": bowl,
        "w₁ only": lambda w1, w2: bowl(w1, w2.detach()),
        "w₂ only": lambda w1, w2: bowl(w1.detach(), w2),
    }
    paths = {
        name: descend(objective, BOWL.start, learning_rate=BOWL_RATE, steps=1)
        for name, objective in single.items()
    }
    whole = descend(bowl, BOWL.start, learning_rate=BOWL_RATE, tolerance=1e-3)
    return {"descent": whole} | paths


def one_weight_at_a_time(gradients: int = 24) -> CostedPath:
    """Alternating updates of w1 and w2 on the bowl, one gradient evaluation for each update."""
    here = torch.tensor(BOWL.start, dtype=torch.float64)
    path = [here]
    for step in range(gradients):
        d = torch.stack(partials(bowl)(*here))
        here = here.clone()
        here[step % 2] -= BOWL_RATE * d[step % 2]
        path.append(here)
    w1, w2 = torch.stack(path).T
    return CostedPath((w1, w2), bowl(w1, w2), torch.arange(gradients + 1))


def all_at_once(gradients: int = 24) -> CostedPath:
    """Updates of both weights at once, one gradient evaluation for each update."""
    run = descend(bowl, BOWL.start, learning_rate=BOWL_RATE, steps=gradients)
    return CostedPath((run.path[0], run.path[1]), run.losses, run.recorded_steps)


def direction_scans(rates: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2)) -> list[DirectionScan]:
    """Steps from the start on the bowl in all directions, as long as a step at each rate."""
    start = torch.tensor(BOWL.start, dtype=torch.float64)
    down = -torch.stack(partials(bowl)(*start))
    degrees = torch.arange(-180, 180.25, 0.25).double()
    angle = torch.atan2(down[1], down[0]) + degrees.deg2rad()
    found = []
    for rate in rates:
        length = rate * float(down.norm())
        w1, w2 = start[0] + length * angle.cos(), start[1] + length * angle.sin()
        found.append(DirectionScan(length, degrees, bowl(w1, w2)))
    return found


def iris_mse() -> Objective:
    """MSE(W1, W2) on the iris data, raw centimetres."""
    X, Y, _ = load_iris()
    return network_mse(X, Y)


def stacked_starts(hidden: int, seeds: range) -> Weights:
    """The start weights of many seeds, stacked along a first dimension."""
    drawn = [init_weights((INPUTS, hidden, OUTPUTS), seed=seed) for seed in seeds]
    return tuple(torch.stack(w) for w in zip(*drawn, strict=True))


def losses_by_seed(hidden: int) -> tuple[Tensor, Tensor]:
    """Losses of all seeds at learning rate 1, at steps about evenly spaced on a log scale.

    The runs are one descent on the sum of their losses: the partials of each run depend on its own
    weights alone. Steps are compiled because those have the same bits on every processor; some
    runs do not converge, and amplify differences of the last bit.

    Returns:
        The steps + 1, shape (t,), and the losses, shape (t, seeds).
    """
    many = torch.func.vmap(iris_mse())
    starts = stacked_starts(hidden, range(SEEDS))
    total = lambda W1, W2: many(W1, W2).sum()  # noqa: E731
    run = descend(total, starts, learning_rate=1.0, steps=STEPS, stepper="compiled")
    shown = torch.linspace(0, 1, 120).mul(torch.tensor(STEPS + 1.0).log()).exp().round().long() - 1
    shown = torch.unique_consecutive(shown)
    losses = torch.stack([many(*(w[step] for w in run.path)) for step in shown])
    return run.recorded_steps[shown] + 1, losses


def losses_by_rate(rates: tuple[float, ...], seeds: int) -> Tensor:
    """The final MSE of the 14-weight net, shape (rates, seeds), for the seeds from 0.

    Steps are compiled, as in :func:`losses_by_seed`.
    """
    starts = tuple(w.repeat(len(rates), 1, 1) for w in stacked_starts(2, range(seeds)))
    each = torch.tensor(rates, dtype=torch.float64).repeat_interleave(seeds)
    runs = descend_many(iris_mse(), starts, each, steps=STEPS, stepper="compiled")
    return runs.losses.reshape(len(rates), seeds)


def network_run(seed: int = 0) -> Descent:
    """One run of the 14-weight net with every step recorded."""
    start = init_weights((INPUTS, 2, OUTPUTS), seed=seed)
    return descend(iris_mse(), start, learning_rate=1.0, steps=STEPS, stepper="compiled")


def scalars_against_matrices(hidden: int) -> Comparison:
    """The gradient at the weights of seed 0 by autograd, one weight at a time and as matrices."""
    mse = iris_mse()
    whole = partials(mse)
    weights = init_weights((INPUTS, hidden, OUTPUTS), seed=0)

    def scalar_partial(matrix: int, position: tuple[int, ...]) -> Tensor:
        """The partial for one entry; every other entry is held constant."""

        def along(w: Tensor) -> Tensor:
            index = tuple(torch.tensor(i) for i in position)
            changed = list(weights)
            changed[matrix] = weights[matrix].index_put(index, w)
            return mse(*changed)

        return partials(along)(weights[matrix][position])[0]

    entries = [
        (matrix, tuple(position))
        for matrix, W in enumerate(weights)
        for position in torch.ones_like(W).nonzero().tolist()
    ]
    return Comparison(
        torch.stack([scalar_partial(*entry) for entry in entries]),
        torch.cat([d.flatten() for d in whole(*weights)]),
        _seconds(lambda: [scalar_partial(*entry) for entry in entries]),
        _seconds(lambda: whole(*weights)),
    )


def _seconds(work: Callable[[], object], repeats: int = 30) -> float:
    """The median time of one call, after a call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)
