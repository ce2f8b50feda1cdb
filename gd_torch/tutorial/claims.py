"""Section 4: the claims of the text, each with a measurement."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gd_torch import (
    BOWL,
    CURVE,
    bowl,
    curve,
    descend,
    init_weights,
    load_iris,
    network_mse,
    partials,
)
from gd_torch.grid_search import GridCost, search_cost
from gd_torch.tutorial.matrices import relative_error
from gd_torch.tutorial.one_weight import Curve
from gd_torch.tutorial.section import Section
from gd_torch.tutorial.two_weights import ALPHA, Bowl


def section(one: Curve, two: Bowl) -> Section:
    """The report of section 4."""
    part = Section("4. The claims, measured")
    _approximation(part, one)
    _shrinking(part, one, two)
    _learning_rates(part)
    _all_at_once(part, two)
    _fastest(part, two)
    _two_for_many(part)
    _grid_search(part)
    return part


def _approximation(part: Section, one: Curve) -> None:
    minimiser = CURVE.minimiser[0]
    grid = abs(one.grids[4].weights[0].item() - minimiser)
    errors = [
        grid,
        *(abs(r.weights[0].item() - minimiser) for r in one.runs.values() if r.converged),
    ]
    part.fact(
        "1", "a result is an approximation: errors", "never exact", max(errors), min(errors) > 0
    )


def _shrinking(part: Section, one: Curve, two: Bowl) -> None:
    path = torch.stack(two.run.path, 1)
    ratios = []
    for points, norms in (
        (one.runs[0.1].path[0][:, None], one.runs[0.1].gradient_norms),
        (path, two.run.gradient_norms),
    ):
        lengths = points.diff(dim=0).norm(dim=1)
        ratios.append((lengths / norms[:-1] / ALPHA - 1).abs().max().item())
    part.fact(
        "2", "step = learning rate x slope: error", "proportional", max(ratios), max(ratios) < 1e-6
    )


def _learning_rates(part: Section) -> None:
    """Which of 401 learning rates from 0.001 to 1 converge from the tutorial's start."""
    rates = [10 ** (-3 + 3 * i / 400) for i in range(401)]
    runs = [
        descend(curve, CURVE.start[0], learning_rate=rate, steps=200, tolerance=1e-3, record="last")
        for rate in rates
    ]
    good = [rate for rate, run in zip(rates, runs, strict=True) if run.converged]
    too_large = [rate for rate, run in zip(rates, runs, strict=True) if run.stop.diverged]
    too_small = [rate for rate in rates if rate < good[0]]
    ordered = bool(too_small) and bool(too_large) and max(good) < 1 and rates[-1] in too_large
    part.fact(
        "3",
        "rates that reach slope 1e-3 in 200 steps",
        "not too big, not too small",
        f"{good[0]:.4f} to {good[-1]:.3f}; diverges from {too_large[0]:.3f}",
        ordered,
    )


def _all_at_once(part: Section, two: Bowl) -> None:
    joint = two.run.losses[1].item()
    gain = min(point[2] for point in two.single) - joint
    part.fact(
        "4", "all weights beat the better single", "lower", f"by {gain:.2f} after a step", gain > 0
    )
    together, alternating = two.run.steps, _alternating_steps()
    part.fact(
        "4",
        "steps to gradient norm 1e-8: all / one by one",
        "fewer",
        f"{together} / {alternating}",
        together < alternating,
    )


def _alternating_steps() -> int:
    """Updates of one weight at a time, in turn, each with its own gradient evaluation."""
    slopes = partials(bowl)
    w = list(torch.tensor(BOWL.start, dtype=torch.float64))
    for step in range(10_000):
        d = slopes(*w)
        if torch.stack(d).norm() < 1e-8:
            return step
        w[step % 2] = w[step % 2] - ALPHA * d[step % 2]
    raise RuntimeError("the alternating descent did not converge")


def _fastest(part: Section, two: Bowl) -> None:
    full, tiny = two.scans
    gain = full.along_gradient - full.lowest
    part.fact(
        "5",
        "the gradient is the fastest way: off the best by",
        "at the point only",
        f"{abs(tiny.off):.2f} deg (tiny step), "
        f"{abs(full.off):.2f} deg (full step, y {gain:.2f} too high)",
        abs(tiny.off) < 0.01 and abs(full.off) > 1,
        "derived",
    )


def _two_for_many(part: Section) -> None:
    """Compare two matrix arguments with one scalar argument, and one partial, per weight."""
    X, Y, _ = load_iris()
    mse = network_mse(X, Y)
    for hidden in (2, 4):
        matrices = init_weights((4, hidden, 3))
        scalars = torch.cat([W.flatten() for W in matrices]).unbind()
        by_matrix, by_scalar = partials(mse), partials(_of_scalars(mse, hidden))
        found = torch.stack(by_scalar(*scalars))
        exact = torch.cat([d.flatten() for d in by_matrix(*matrices)])
        error = relative_error([found], [exact])
        many = _median_time(functools.partial(by_scalar, *scalars))
        few = _median_time(functools.partial(by_matrix, *matrices))
        part.fact(
            "6",
            f"one backward pass, 2 matrices for {len(scalars)} scalars",
            "same numbers",
            f"largest error {error:.0e}; {few * 1e6:.0f} us against {many * 1e6:.0f} us",
            error <= 1e-12,
        )


def _of_scalars(mse: Callable[..., Tensor], hidden: int) -> Callable[..., Tensor]:
    def objective(*w: Tensor) -> Tensor:
        W1, W2 = torch.stack(w[: 4 * hidden]), torch.stack(w[4 * hidden :])
        return mse(W1.reshape(4, hidden), W2.reshape(hidden, 3))

    return objective


def _median_time(call: Callable[[], object], repeats: int = 100) -> float:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _grid_search(part: Section) -> None:
    cost = network_grid_cost()
    part.fact(
        "7",
        "brute force over 14 weights, 100 values each",
        "cannot finish",
        f"{cost.years:.1e} years at {cost.per_second:,.0f} evaluations a second",
        cost.years > 1e9,
    )


def network_grid_cost() -> GridCost:
    """The cost of a grid of 100^14 points over the weights of the 4-2-3 net."""
    X, Y, _ = load_iris()
    axis = torch.linspace(-5, 5, 100, dtype=torch.float64)
    return search_cost(_of_scalars(network_mse(X, Y), 2), *[axis] * 14)
