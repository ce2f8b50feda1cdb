"""One function for each interactive page: run the computation and build the page."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gd_torch import BOWL, CURVE, bowl, curve, value_and_partials
from gd_torch.plots import basin, descent_page, surface_page
from gd_torch.plots.style import number
from gd_torch.tutorial import figure_data as runs
from gd_torch.tutorial.catalogue import FIGURES

ALT = {spec.name: spec.alt for spec in FIGURES}
RIM = 200.0


def descent() -> str:
    """Page 05: descents of the curve with 40 learning rates from 0.001 to 1."""
    tried = {0.01, *(round(rate, 5) for rate in torch.logspace(-3, 0, 39).tolist())}
    return descent_page(
        curve,
        {rate: runs.curve_run(rate) for rate in sorted(tried)},
        (-1.6, 2.15),
        minimiser=CURVE.minimiser[0],
        shown=0.01,
        title="The steps shrink as the slope does",
        summary="Move the step slider or press Play to follow the descent; move the other slider "
        "to choose a learning rate, from one that converges slowly to one that diverges.",
        alt=ALT["05_descent"],
    )


def surface() -> str:
    """Page 08: the surface of the bowl with tangents at the start."""
    slopes = [number(d) for d in value_and_partials(bowl)(*BOWL.start)[1]]
    return surface_page(
        bowl,
        basin(bowl, BOWL.minimiser, RIM),
        {},
        minimum=runs.BOWL_MINIMUM,
        tangents_at=runs.BOWL_START,
        title=f"At (−8, 7) the slope is {slopes[0]} along w₁ and {slopes[1]} along w₂",
        summary="The surface y = 2w₁² + w₂². Each partial derivative is the slope along one axis "
        "while the other weight is held constant.",
        alt=ALT["08_surface"],
    )


def paths() -> str:
    """Page 09: the surface of the bowl with four paths."""
    return surface_page(
        bowl,
        basin(bowl, BOWL.minimiser, RIM),
        runs.bowl_runs(),
        minimum=runs.BOWL_MINIMUM,
        title="One step of both weights ends lower than a step of either alone",
        summary=f"Four paths from (−8, 7) on y = 2w₁² + w₂², learning rate {runs.BOWL_RATE}: the "
        "whole descent, and one step of both weights, of w₁ only and of w₂ only.",
        alt=ALT["09_paths"],
    )


PAGES: dict[str, Callable[[], str]] = {
    "05_descent": descent,
    "08_surface": surface,
    "09_paths": paths,
}
