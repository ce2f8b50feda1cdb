"""Part 1: the curve, brute force, divergence and the learning rate (A1 to A10)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from gd_torch import CURVE, Descent, brute_force, curve, curve_partials, descend, partials
from gd_torch.grid_search import GridResult, search_cost
from gd_torch.tutorial.section import Section, Source, as_printed

RATES = (0.001, 0.01, 0.1, 0.5)
TOLERANCE = 1e-8


@dataclass(frozen=True)
class Curve:
    """Every computed result of part 1."""

    grids: dict[int, GridResult]
    diverged: Descent
    runs: dict[float, Descent]
    first: Descent


def compute() -> Curve:
    """Grids of 1 to 4 decimals on [-2, 2], a diverging run, and a run for every learning rate."""
    start = CURVE.start[0]
    runs = {
        rate: descend(curve, start, learning_rate=rate, steps=10_000, tolerance=TOLERANCE)
        for rate in RATES
    }
    return Curve(
        grids={decimals: brute_force(curve, grid(decimals)) for decimals in (1, 2, 3, 4)},
        diverged=descend(curve, start, learning_rate=1.0, steps=1000),
        runs=runs,
        first=descend(curve, start, learning_rate=0.01, steps=2),
    )


def grid(decimals: int) -> torch.Tensor:
    """All numbers with this many decimals from -2 to 2."""
    scale: int = 10**decimals
    return torch.arange(-2 * scale, 2 * scale + 1, dtype=torch.float64) / scale


def section(computed: Curve) -> Section:
    """The report of part 1."""
    part = Section("1. One weight: y = w^6/6 + w^2/2 - w")
    _brute_force(part, computed.grids)
    _divergence(part, computed.diverged)
    _learning_rates(part, computed.runs)
    _first_steps(part, computed.first)
    _approximation(part, computed.runs[0.1])
    return part


def _brute_force(part: Section, grids: dict[int, GridResult]) -> None:
    minimiser = CURVE.minimiser[0]
    found = {d: (low.weights[0].item(), low.value.item()) for d, low in grids.items()}
    part.number("A2", "lowest w on a grid of 2 decimals", "0.75", found[2][0])
    part.number("A3", "lowest w on a grid of 3 decimals", "0.755", found[3][0], "derived")
    part.number("A3", "lowest w on a grid of 4 decimals", "0.7549", found[4][0], "derived")
    values = [y for _, y in found.values()]
    lower = all(a > b for a, b in itertools.pairwise(values))
    part.fact("A3", "more decimals find a lower y", "lower every time", values[-1], lower)
    part.table(
        "Brute force: ten times the work for one more decimal",
        ("decimals", "evaluations", "w", "y", "w - w*"),
        [
            (d, grids[d].evaluations, w, f"{y:.9f}", f"{w - minimiser:.1e}")
            for d, (w, y) in found.items()
        ],
    )
    for weights, power in ((14, 28), (28, 56)):
        axis = torch.linspace(-5, 5, 100, dtype=torch.float64)
        cost = search_cost(lambda *w: torch.stack(w).square().sum(), *[axis] * weights)
        what = f"evaluations: 100 values for each of {weights} weights"
        same = cost.evaluations == 10**power
        source: Source = "text" if weights == 14 else "derived"
        part.fact("A4", what, f"100^{weights}", f"{float(cost.evaluations):.0e}", same, source)


def _divergence(part: Section, run: Descent) -> None:
    path, slopes = run.path[0].tolist(), [partials(curve)(w)[0].item() for w in run.path[0]]
    part.number("A5", "slope at w = 1.9", "25.66", slopes[0])
    part.fact("A6", "step without a learning rate: w - slope", "far left", path[1], path[1] < -20)
    part.fact("A6", "y there", "extremely high", run.losses[1].item(), bool(run.losses[1] > 1e6))
    other = slopes[1] < 0 and abs(slopes[1]) > slopes[0]
    part.fact("A6", "next slope", "larger, other sign", slopes[1], other)
    diverged = run.stop.diverged and run.steps == 4
    part.fact("A6", "and so on", "escalates", f"{run.steps} updates, then inf", diverged)
    part.table(
        "The diverging run at learning rate 1",
        ("step", "w", "y", "slope"),
        [
            (i, f"{w:.8g}", f"{y:.8g}", f"{d:.8g}")
            for i, (w, y, d) in enumerate(zip(path, run.losses.tolist(), slopes, strict=True))
        ],
    )


def _learning_rates(part: Section, runs: dict[float, Descent]) -> None:
    small, medium, large = (runs[rate] for rate in (0.001, 0.01, 0.1))
    converged = all(run.converged for run in (small, medium, large))
    slower = converged and small.steps > 5 * medium.steps > 25 * large.steps
    steps = f"{large.steps}, {medium.steps}, {small.steps}"
    what = "steps to slope 1e-8 at rates 0.1, 0.01, 0.001"
    part.fact("A7", what, "too small crawls", steps, slower)
    part.fact(
        "A7", "learning rate 0.5", "diverges", runs[0.5].stop.sentence, runs[0.5].stop.diverged
    )
    part.table(
        "From 1.9 with four learning rates, until the slope is below 1e-8",
        ("rate", "steps", "w", "y", "outcome"),
        [
            (rate, run.steps, run.weights[0].item(), run.losses[-1].item(), run.stop.sentence)
            for rate, run in runs.items()
        ],
    )


def _first_steps(part: Section, run: Descent) -> None:
    """The text rounds after every step, so its second step starts from 1.64."""
    exact = run.path[0].tolist()
    part.number("A8", "first update at learning rate 0.01", "1.64", exact[1])
    shown = torch.tensor(1.64, dtype=torch.float64)
    slope = curve_partials(shown)[0].item()
    part.number("A9", "slope at the rounded 1.64", "12.5", slope)
    by_hand = float(as_printed(slope, "12.5"))
    part.number("A9", "1.64 - 0.01 * 12.5", "1.52", round(1.64 - 0.01 * by_hand, 12))
    part.number("A9", "second update without rounding", "1.52", exact[2])
    unrounded = partials(curve)(exact[1])[0].item()
    part.table(
        "The text's numbers, rounded after every step, and the exact ones",
        ("", "by hand", "exact"),
        [
            ("w1", 1.64, exact[1]),
            ("slope there", by_hand, unrounded),
            ("w2", 1.52, exact[2]),
        ],
    )


def _approximation(part: Section, run: Descent) -> None:
    lengths = run.path[0].diff().abs()
    shrinking = bool((lengths.diff() < 0).all())
    ends = f"{lengths[0].item():.3g} to {lengths[-1].item():.3g}"
    part.fact("A10", "steps at learning rate 0.1", "shrink as the slope does", ends, shrinking)
    error = abs(run.weights[0].item() - CURVE.minimiser[0])
    part.fact("A10", "distance to w* at the end", "an approximation", error, 0 < error < TOLERANCE)
    plastic = CURVE.minimiser[0]
    residual = abs(math.fsum((plastic**5, plastic, -1)))
    part.fact(
        "A10", "closed form w* = 1/rho: slope there", "0", residual, residual < 1e-15, "derived"
    )
