"""Interactive pages: the surface to be rotated, its paths switched on and off, a descent by hand."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import torch

from gd_torch.objectives import Objective
from gd_torch.partials import partials, value_and_partials
from gd_torch.plots import style
from gd_torch.plots.bowl import path_of, tangents
from gd_torch.plots.curve import points
from gd_torch.plots.grid import Grid, Range, line
from gd_torch.plots.page import page, table
from gd_torch.record import Descent

Trace = dict[str, Any]

KEYS = (
    "Drag or use the arrow keys to rotate, + and − to zoom, 0 to go back. "
    "The buttons and the legend switch each path off and on."
)
PALE = [[0, "#AFC3D6"], [1, "#EDF2F6"]]
EYE = {"x": 1.15, "y": -1.55, "z": 1.15}
SHOWN_STEPS = 200


def surface_page(
    objective: Objective,
    grid: Grid,
    runs: Mapping[str, Descent],
    *,
    minimum: tuple[float, float],
    tangents_at: tuple[float, float] | None = None,
    title: str,
    summary: str,
    alt: str,
) -> str:
    """Pages 08 and 09: what :func:`~gd_torch.plots.surface` draws, to be rotated.

    Args:
        objective, grid, runs, minimum, tangents_at: as for ``surface``.
        title, summary, alt: the finding, what to do, and the picture in words.

    Raises:
        ImportError: plotly is not installed.
    """
    switched = _paths(runs) if runs else []
    if tangents_at:
        switched += _tangents(objective, tangents_at)
    first = tangents_at or tuple(float(w[0]) for w in next(iter(runs.values())).path)
    marks = [
        _mark(objective, first, "start", "circle-open", "bottom center"),
        _mark(objective, minimum, "minimum", "x", "top center"),
    ]
    data = [*_surface(grid), *marks, *switched]
    names = style.symbols(objective)
    buttons = [
        _button(place, trace) for place, trace in enumerate(data) if trace.get("showlegend", True)
    ]
    controls = '<div class="controls" role="group" aria-label="Paths">' + "".join(buttons)
    controls += '<button type="button" id="reset">Reset view</button></div>'
    rows = [
        [trace["name"], *(style.number(trace[axis][end], 6) for end in (0, -1) for axis in "xyz")]
        for trace in switched
    ]
    head = ["path", *(f"{end} {name}" for end in ("first", "last") for name in (*names, "y"))]
    return page(
        title=title, summary=summary, alt=alt, keys=KEYS, controls=controls,
        table=table(head, rows), script="scene.js",
        data={
            "data": data,
            "layout": _scene_layout(names),
            "axes": ["scene.xaxis", "scene.yaxis", "scene.zaxis"],
            "inked": [place for place, trace in enumerate(data) if "text" in trace],
        },
    )  # fmt: skip


def _surface(grid: Grid) -> list[Trace]:
    """The pale surface, and every fifth ring on it as a thin line."""
    x, y, z = (part.tolist() for part in grid)
    flat = {"showscale": False, "hoverinfo": "skip", "showlegend": False, "opacity": 0.92}
    light = {"ambient": 0.95, "diffuse": 0.15, "specular": 0.0}
    shell = {"type": "surface", "x": x, "y": y, "z": z, "colorscale": PALE, "lighting": light, **flat}
    rings: list[list[float | None]] = [[], [], []]
    for row in range(4, len(z), 4):
        for ring, part in zip(rings, (x, y, z), strict=True):
            ring += [*part[row], None]
    lines = dict(zip("xyz", rings, strict=True))
    thin = {"mode": "lines", "line": {"color": "#8FA6BC", "width": 1.5}}
    return [shell, {"type": "scatter3d", **lines, **thin, "hoverinfo": "skip", "showlegend": False}]


def _paths(runs: Mapping[str, Descent]) -> list[Trace]:
    """One trace per path, in the house's colours, dashes and markers; the joint step wide."""
    return [
        {
            "type": "scatter3d",
            "name": f"{name}: y = {style.value(runs[name].losses[-1])}",
            **{axis: part.tolist() for axis, part in zip("xyz", path_of(runs[name]), strict=True)},
            "mode": "lines+markers",
            "line": {"color": look.color, "width": 3 * look.width, "dash": look.web_dash},
            "marker": {"color": look.color, "symbol": look.web_marker, "size": 5},
            "hovertemplate": "(%{x:.3f}, %{y:.3f})<br>y = %{z:.3f}",
        }
        for name, look in style.path_styles(runs).items()
    ]


def _tangents(objective: Objective, at: tuple[float, float]) -> list[Trace]:
    """The tangent along each weight, named with its slope."""
    slopes = value_and_partials(objective)(*at)[1]
    looks = (style.PATHS["w₁ only"], style.PATHS["w₂ only"])
    return [
        {
            "type": "scatter3d",
            "name": f"slope {style.number(slope)} along {name}",
            **dict(zip("xyz", ends.T.tolist(), strict=True)),
            "mode": "lines",
            "line": {"color": look.color, "width": 9, "dash": look.web_dash},
            "hoverinfo": "name",
        }
        for ends, slope, name, look in zip(
            tangents(objective, at), slopes, style.symbols(objective), looks, strict=True
        )
    ]


def _mark(
    objective: Objective, at: tuple[float, ...], name: str, symbol: str, side: str
) -> Trace:
    """A named point on the surface."""
    y = float(objective(*torch.tensor(at).double()))
    place = ", ".join(style.number(w) for w in at)
    return {
        "type": "scatter3d", "x": [at[0]], "y": [at[1]], "z": [y], "mode": "markers+text",
        "marker": {"color": style.INK, "symbol": symbol, "size": 6, "line": {"width": 3}},
        "text": [f"{name} ({place})"], "textposition": side, "showlegend": False,
        "hoverinfo": "skip",
    }  # fmt: skip


def _scene_layout(names: tuple[str, ...]) -> dict[str, Any]:
    """Axes named with symbols and words, the legend below the scene."""
    axis = {"showbackground": False, "zeroline": False}
    labels = [*(f"weight {name}" for name in names), "value y"]
    scene: dict[str, Any] = {
        f"{letter}axis": {**axis, "title": {"text": label}}
        for letter, label in zip("xyz", labels, strict=True)
    }
    scene |= {"camera": {"eye": EYE}, "aspectratio": {"x": 1, "y": 1, "z": 0.8}}
    return {
        "scene": scene,
        "uirevision": "kept",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "top", "itemdoubleclick": False},
    }


def _button(place: int, trace: Trace) -> str:
    """A real button that says whether its path is shown."""
    line = trace["line"]
    border = {"solid": "solid", "dash": "dashed", "dot": "dotted"}[line["dash"]]
    swatch = f'<span class="swatch" style="border-top-style:{border};border-color:{line["color"]}"></span>'
    return (
        f'<button type="button" aria-pressed="true" data-trace="{place}">'
        f"{swatch}{html.escape(trace['name'])}</button>"
    )


def descent_page(
    objective: Objective,
    runs: Mapping[float, Descent],
    limits: Range,
    *,
    minimiser: float,
    shown: float,
    title: str,
    summary: str,
    alt: str,
) -> str:
    """Page 05: a descent of one weight, with sliders for the step and the learning rate.

    Args:
        objective: a function of one weight.
        runs: per learning rate a run that recorded every step; the first 200 steps can be shown.
        limits: the weights shown.
        minimiser: where to put the cross.
        shown: the learning rate shown first, one of ``runs``.
        title, summary, alt: the finding, what to do, and the picture in words.

    Raises:
        ImportError: plotly is not installed.
    """
    (symbol,) = style.symbols(objective)
    data, layout = _curve_picture(objective, limits, minimiser, symbol)
    found = [_shown_run(objective, rate, run) for rate, run in runs.items()]
    rows = [[style.number(run["rate"]), run["outcome"]] for run in found]
    last = len(found) - 1
    controls = (
        '<div class="controls"><button type="button" id="play" aria-pressed="false">Play</button>'
        '<label>step <input type="range" id="step" min="0" max="1" value="0"></label>'
        '<output id="step-value" for="step"></output>'
        '<label>learning rate α <input type="range" id="rate" min="0" '
        f'max="{last}" value="{list(runs).index(shown)}"></label>'
        '<output id="rate-value" for="rate"></output></div>'
    )
    return page(
        title=title, summary=summary, alt=alt, controls=controls,
        keys="Tab moves between the sliders and the button; the arrow keys move a slider, the "
        "space bar plays and pauses.",
        table=table(["learning rate α", "how the run ends"], rows), script="steps.js",
        data={
            "data": data, "layout": layout, "runs": found, "limits": limits,
            "moving": [place for place, trace in enumerate(data) if not trace["x"]],
            "axes": ["xaxis", "yaxis", "xaxis2", "yaxis2"], "inked": [],
        },
    )  # fmt: skip


def _shown_run(objective: Objective, rate: float, run: Descent) -> dict[str, Any]:
    """The first points of a run with their slopes, and how the whole of it ended."""
    slope = partials(objective)
    path = [(w, y, float(slope(w)[0])) for w, y in points(objective, run)[: SHOWN_STEPS + 1]]
    path = [at for at in path if all(map(math.isfinite, at))]  # the last one of a diverged run
    ending = "converges" if run.converged else "diverges" if run.stop.diverged else "is not done"
    return {
        "rate": rate,
        **{name: [at[i] for at in path] for i, name in enumerate(("w", "y", "slope"))},
        "outcome": f"{ending} after {run.steps} steps, w = {style.number(run.weights[0], 6)}.",
    }


def _curve_picture(
    objective: Objective, limits: Range, minimiser: float, symbol: str
) -> tuple[list[Trace], dict[str, Any]]:
    """The curve with its minimum, and empty traces for what moves."""
    w, y = line(objective, limits, 241)
    lowest = float(objective(w.new_tensor(minimiser)))
    red, ink = style.VERMILION, {"color": style.VERMILION}
    empty: Trace = {"x": [], "y": []}
    right = {"xaxis": "x2", "yaxis": "y2", "mode": "lines"}
    data: list[Trace] = [
        {"x": w.tolist(), "y": y.tolist(), "mode": "lines", "name": f"y({symbol})", "line": {"color": style.GREY, "width": 3}},
        {"x": [minimiser], "y": [lowest], "mode": "markers", "name": "minimum", "marker": {"symbol": "x-thin", "size": 13, "line": {"width": 3, "color": style.GREY}}},
        {**empty, "mode": "lines", "name": "tangent", "line": {"color": "#56B4E9", "width": 2, "dash": "dash"}},
        {**empty, "mode": "lines+markers", "name": "descent", "line": {**ink, "width": 1.5}, "marker": {**ink, "size": 6}},
        {**empty, "mode": "markers", "name": "now", "marker": {"color": "white", "size": 13, "line": {"color": red, "width": 3}}},
        {**empty, **right, "name": "all steps", "line": {"color": style.GREY, "width": 2}},
        {**empty, **right, "name": "steps made", "line": {**ink, "width": 4}},
    ]  # fmt: skip
    low, high = float(y.min()), float(y.max())
    layout = {
        "xaxis": {"domain": [0, 0.56], "range": limits, "title": {"text": f"weight {symbol}"}, "zeroline": False},
        "yaxis": {"range": [low - 0.1 * (high - low), high], "title": {"text": "value y"}, "zeroline": False},
        "xaxis2": {"domain": [0.68, 1], "title": {"text": "step"}, "zeroline": False},
        "yaxis2": {"anchor": "x2", "type": "log", "exponentformat": "power", "title": {"text": f"step length |Δ{symbol}|"}},
        "margin": {"l": 60, "r": 15, "t": 10, "b": 50},
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }  # fmt: skip
    return data, layout
