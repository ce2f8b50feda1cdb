"""One function for each figure: run the computation, draw it, and state the result in the title."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import torch
from matplotlib.figure import Figure

from gd_torch import BOWL, CURVE, bowl, curve, plots, value_and_partials
from gd_torch.plots.style import fixed, number
from gd_torch.tutorial import figure_data as runs
from gd_torch.tutorial import trainability_data

(MINIMISER,) = CURVE.minimiser
CURVE_LIMITS = (-1.6, 2.15)
FRAMES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 28, 36, 46, 60, 80, 105, 140, 190, 260, 350, 470)
FRAME_TIMES = (1500, *[500] * (len(FRAMES) - 1), 3000)
"""The time of each frame in milliseconds; the first and the last one are longer."""


def brute_force() -> Figure:
    """Figure 01."""
    evaluations = {weights: 100**weights for weights in (1, 2, 14, 28)}
    title = (
        "A finer grid ends lower, yet still beside the minimum; 14 weights "
        "would take 10²⁸ evaluations"
    )
    return plots.brute_force_grids(curve, runs.grids(), MINIMISER, evaluations, title=title)


def tangent() -> Figure:
    """Figure 02."""
    run = runs.curve_run(0.01)
    slope = float(value_and_partials(curve)(*CURVE.start)[1][0])
    title = (
        f"At w = {CURVE.start[0]} the slope is {fixed(slope, 2)}: down is to the left, and steep"
    )
    return plots.tangent(curve, run, (-1.6, 2.5), minimiser=MINIMISER, title=title)


def overshoot() -> Figure:
    """Figure 03."""
    run = runs.curve_run(1.0)
    w = run.path[0]
    title = (
        f"Learning rate 1 overshoots, each time further: {number(w[0])} "
        f"→ {number(w[1])} → {number(w[2])}"
    )
    return plots.overshoot(curve, run, title=title)


def first_steps() -> Figure:
    """Figure 04."""
    noted, run = runs.by_hand(), runs.curve_run(0.01)
    first, second = (run.path[0][:3].diff().abs()).tolist()
    path = " → ".join(f"{w:g}" for w, _ in noted)
    title = (
        f"Two steps with α = 0.01: {path}, the second {100 * second / first:.0f} "
        "% as long as the first"
    )
    return plots.first_steps(curve, run, noted, (1.35, 2.02), title=title)


def descent() -> Iterator[Figure]:
    """Figure 05, frame by frame."""
    run = runs.curve_run(0.01)
    title = f"The steps shrink as the slope does: {run.steps} of them with α = 0.01"
    for step in (*FRAMES, run.steps):
        yield plots.descent_on_curve(
            curve, run, CURVE_LIMITS, minimiser=MINIMISER, step=step, title=title
        )


def learning_rates() -> Figure:
    """Figure 06."""
    tried = {rate: runs.curve_run(rate) for rate in (0.001, 0.01, 0.1, 0.5)}
    counts = ", ".join(str(run.steps) for run in tried.values() if run.converged)
    title = f"Too small crawls, too big diverges: {counts} steps, and no end at 0.5"
    return plots.learning_rates(curve, tried, (-1.6, 2.15), MINIMISER, title=title)


def learning_rate_map() -> Figure:
    """Figure 07."""
    starts = torch.linspace(-3, 3, runs.CURVE_POINTS, dtype=torch.float64)
    rates = torch.logspace(-3, 0.5, runs.CURVE_POINTS, dtype=torch.float64)
    most = 1000
    outcomes, steps = runs.learning_rate_outcomes(starts, rates, most)
    title = "The further out the start, the smaller the largest learning rate that converges"
    return plots.learning_rate_map(
        starts, rates, outcomes, steps, most, mark=(CURVE.start[0], 0.1), title=title
    )


@cache
def _basin() -> plots.Grid:
    return plots.basin(bowl, BOWL.minimiser, height=200.0)


def surface() -> Figure:
    """Figure 08."""
    slopes = [number(d) for d in value_and_partials(bowl)(*BOWL.start)[1]]
    title = f"At (−8, 7) the slope is {slopes[0]} along w₁ and {slopes[1]} along w₂"
    return plots.surface(
        bowl, _basin(), {}, minimum=runs.BOWL_MINIMUM, tangents_at=runs.BOWL_START, title=title
    )


def paths() -> Figure:
    """Figure 09."""
    found = runs.bowl_runs()
    title = (
        f"One step of both weights ends lowest; {found['descent'].steps} steps end near the minimum"
    )
    return plots.surface(bowl, _basin(), found, minimum=runs.BOWL_MINIMUM, title=title)


def paths_from_above() -> Figure:
    """Figure 10."""
    found = runs.bowl_runs()
    ends = {
        name: fixed(found[name].losses[-1], 2) for name in ("both weights", "w₁ only", "w₂ only")
    }
    title = (
        f"One step: both weights end at {ends['both weights']}, w₁ only "
        f"at {ends['w₁ only']}, w₂ only at {ends['w₂ only']}"
    )
    return plots.paths_from_above(
        bowl,
        found,
        (-9.5, 3.5),
        (-2.5, 8.5),
        minimum=runs.BOWL_MINIMUM,
        arrow="both weights",
        title=title,
    )


def one_at_a_time() -> Figure:
    """Figure 11."""
    paths = {
        "both weights at once": runs.all_at_once(),
        "one weight at a time": runs.one_weight_at_a_time(),
    }
    ends = [number(found.losses[-1], 2) for found in paths.values()]
    title = (
        f"After {int(paths['both weights at once'].gradients[-1])} gradient "
        f"evaluations: {ends[0]} with both weights at once, {ends[1]} "
        "one at a time"
    )
    return plots.one_at_a_time(
        bowl, paths, (-9, 2), (-2, 8.5), minimum=runs.BOWL_MINIMUM, title=title
    )


def directions() -> Figure:
    """Figure 12."""
    scans, chosen = runs.direction_scans(), 2
    scan = scans[chosen]
    off = abs(float(scan.degrees[scan.best]))
    title = (
        "Steepest at the point is not best at a distance: for a step "
        f"of {number(scan.length)} the best direction is {off:.0f}° off"
    )
    start_loss = float(bowl(*torch.tensor(BOWL.start, dtype=torch.float64)))
    return plots.directions(scans, start_loss, chosen, title=title)


def convergence() -> Figure:
    """Figure 13."""
    nets = {14: runs.losses_by_seed(2), 28: runs.losses_by_seed(4)}
    low = [f"{int((losses[-1] < 0.02).sum())} of {losses.shape[1]}" for _, losses in nets.values()]
    title = (
        f"A lucky seed tells nothing: {low[0]} seeds end below 0.02 with "
        f"14 weights, {low[1]} with 28"
    )
    return plots.convergence(nets, title=title)


def learning_rate_by_seed() -> Figure:
    """Figure 14."""
    rates, seeds = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0), 10
    losses = runs.losses_by_rate(rates, seeds)
    best = int(losses.quantile(0.5, dim=1).argmin())
    row = losses[best]
    title = (
        f"Luck against learning rate: even the best, α = {rates[best]:g}, "
        f"ends between {row.min():.3f} and {row.max():.3f}"
    )
    return plots.learning_rate_by_seed(rates, range(seeds), losses, title=title)


def loss_landscape() -> Figure:
    """Figure 15."""
    run, mse = runs.network_run(), runs.iris_mse()
    plane = plots.path_plane(mse, run)
    title = (
        f"Two of 14 dimensions hold {100 * float(plane.explained.sum()):.0f} "
        "% of the path, yet the start looks lower than it is"
    )
    return plots.landscape(run, plane, plots.plane_losses(mse, run, plane), title=title)


def matrices() -> Figure:
    """Figure 16."""
    nets = {14: runs.scalars_against_matrices(2), 28: runs.scalars_against_matrices(4)}
    title = (
        "Two matrix partials hold the same numbers as 14 or 28 scalar "
        "ones, in a fraction of the time"
    )
    return plots.matrices(nets, title=title)


def trainability() -> Figure:
    """Figure 17."""
    whole, zoom = trainability_data.trainability()
    title = "Where a net learns ends in a cloud of single runs; enlarged, it is a cloud still"
    return plots.trainability_map(whole, zoom, trainability_data.learnt_threshold(), title=title)


DRAWINGS: dict[str, Callable[[], Figure | Iterator[Figure]]] = {
    "01_brute_force": brute_force,
    "02_tangent": tangent,
    "03_overshoot": overshoot,
    "04_first_steps": first_steps,
    "05_descent": descent,
    "06_learning_rates": learning_rates,
    "07_learning_rate_map": learning_rate_map,
    "08_surface": surface,
    "09_paths": paths,
    "10_paths_from_above": paths_from_above,
    "11_one_at_a_time": one_at_a_time,
    "12_directions": directions,
    "13_convergence": convergence,
    "14_learning_rate_by_seed": learning_rate_by_seed,
    "15_loss_landscape": loss_landscape,
    "16_matrices": matrices,
    "17_trainability": trainability,
}
