"""An interactive page: a surface that can be rotated, with paths that can be hidden and shown."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gd_torch.descent import Descent
from gd_torch.gradients import value_and_partials
from gd_torch.plots import style
from gd_torch.plots.objective_grid import Grid
from gd_torch.plots.page import build_page, html_table
from gd_torch.plots.two_weights import path_of, tangents
from gd_torch.typing import Objective

Trace = dict[str, Any]

KEYS = (
    "Drag or use the arrow keys to rotate, + and − to zoom, 0 to reset the view. "
    "The buttons and the legend hide and show each path."
)
PALE = [[0, "#AFC3D6"], [1, "#EDF2F6"]]
EYE = {"x": 0.7, "y": -0.9, "z": 1.25}
EYE_OUTSIDE = {"x": -1.35, "y": 0.75, "z": 0.75}
CENTER = {"x": 0, "y": 0, "z": -0.14}
OFFSET = 0.012
"""The surface is drawn lower, or for tangents higher, by this share of its height: its facets would
hide paths, which lie above a bowl, and tangents, which lie below it."""


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
    """A page (HTML) with what :func:`~gd_torch.plots.surface` draws, which can be rotated.

    Args:
        objective, grid, runs, minimum, tangents_at: as for ``surface``.
        title: of the page. summary: what it shows. alt: the plot in words.


    Raises:
        ImportError: plotly is not installed.
    """
    paths = _paths(runs) + (_tangents(objective, tangents_at) if tangents_at else [])
    first = tangents_at or tuple(float(w[0]) for w in next(iter(runs.values())).path)
    marks = [
        _mark(objective, first, "start", "circle-open"),
        _mark(objective, minimum, "minimum", "x"),
    ]
    data = [*_surface(grid, -OFFSET if tangents_at else OFFSET), *marks, *paths]
    names = style.symbols(objective)
    return build_page(
        title=title, summary=summary, alt=alt, keys=KEYS,
        controls=_controls(data), table=_ends(names, paths), script="surface_page.js",
        data={
            "data": data,
            "layout": _scene_layout(names, marks, EYE_OUTSIDE if tangents_at else EYE),
            "axes": ["scene.xaxis", "scene.yaxis", "scene.zaxis"],
        },
    )  # fmt: skip


def _controls(data: list[Trace]) -> str:
    """A button for each path, and one that resets the view."""
    shown = [(index, trace) for index, trace in enumerate(data) if trace.get("showlegend", True)]
    return (
        '<div class="controls" role="group" aria-label="Paths">'
        + "".join(_button(index, trace) for index, trace in shown)
        + '<button type="button" id="reset">Reset view</button></div>'
    )


def _ends(names: tuple[str, ...], paths: list[Trace]) -> str:
    """A table of the first and the last point of every path."""
    head = ["path", *(f"{end} {name}" for end in ("first", "last") for name in (*names, "y"))]
    rows = [
        [trace["name"], *(style.number(trace[axis][end], 6) for end in (0, -1) for axis in "xyz")]
        for trace in paths
    ]
    return html_table(head, rows)


def _surface(grid: Grid, share: float) -> list[Trace]:
    """The surface, lower by a share of its height, and every fourth ring as a thin line."""
    lower = share * float(grid.y.max() - grid.y.min())
    x, y, z = (part.tolist() for part in (grid.w1, grid.w2, grid.y - lower))
    flat = {"showscale": False, "hoverinfo": "skip", "showlegend": False}
    light = {"ambient": 0.95, "diffuse": 0.15, "specular": 0.0}
    shell = {
        "type": "surface",
        "x": x,
        "y": y,
        "z": z,
        "colorscale": PALE,
        "lighting": light,
        **flat,
    }
    rings: list[list[float | None]] = [[], [], []]
    for row in range(4, len(z), 4):
        for ring, part in zip(rings, (x, y, z), strict=True):
            ring += [*part[row], None]
    lines = dict(zip("xyz", rings, strict=True))
    thin = {"mode": "lines", "line": {"color": "#8FA6BC", "width": 1.5}}
    return [shell, {"type": "scatter3d", **lines, **thin, "hoverinfo": "skip", "showlegend": False}]


def _paths(runs: Mapping[str, Descent]) -> list[Trace]:
    """One trace for each path, in the style of the figures.

    At equal depth the first trace is drawn in front, so thin paths come before wide ones.
    """
    return [
        _line(
            f"{name}: y = {style.value(runs[name].losses[-1])}",
            torch.stack(path_of(runs[name])),
            look,
            width=3 * look.width,
            size=12,
        )
        for name, look in style.path_styles(runs).items()
    ]


def _line(name: str, path: Tensor, look: style.PathStyle, width: float, size: float) -> Trace:
    """A path of shape (3, n) with a marker at each point and the dashes of the style.

    The dashes are separate pieces of the path: plotly's dashes are hardly visible in three
    dimensions.
    """
    cuts = {"-": 0, "--": 8, ":": 15}[look.dash]  # every other piece of a segment is left out
    shown: list[list[float | None]] = [[], [], []]
    sizes: list[float] = []
    for tail, head in zip(path.T[:-1], path.T[1:], strict=True):
        share = torch.linspace(0, 1, 2 * cuts + 2)[:, None].to(path.dtype)
        for index, at in enumerate((tail + share * (head - tail)).tolist()):
            ends = index in (0, 2 * cuts + 1)
            gap = [None] if index % 2 and not ends else []
            for axis, value in zip(shown, at, strict=True):
                axis += [value, *gap]
            sizes += [size if ends else 0.0, *(0.0 for _ in gap)]
    return {
        "type": "scatter3d",
        "name": name,
        **dict(zip("xyz", shown, strict=True)),
        "mode": "lines+markers",
        "line": {"color": look.color, "width": width},
        "marker": {
            "color": look.color, "symbol": look.web_marker, "size": sizes, "opacity": 1,
            "line": {"width": 0},
        },
        "hovertemplate": "(%{x:.3f}, %{y:.3f})<br>y = %{z:.3f}",
    }  # fmt: skip


def _tangents(objective: Objective, at: tuple[float, float]) -> list[Trace]:
    """The tangent along each weight, labelled with its slope."""
    slopes = value_and_partials(objective)(*at)[1]
    looks = (style.PATHS["w₁ only"], style.PATHS["w₂ only"])
    return [
        _line(f"slope {style.number(slope)} along {name}", ends.T, look, width=9, size=0)
        for ends, slope, name, look in zip(
            tangents(objective, at), slopes, style.symbols(objective), looks, strict=True
        )
    ]


def _mark(objective: Objective, at: tuple[float, ...], name: str, symbol: str) -> Trace:
    """A labelled point on the surface."""
    y = float(objective(*torch.tensor(at, dtype=torch.float64)))
    weights = ", ".join(style.number(w) for w in at)
    return {
        "type": "scatter3d", "x": [at[0]], "y": [at[1]], "z": [y], "mode": "markers",
        "marker": {"color": style.INK, "symbol": symbol, "size": 6, "line": {"width": 3}},
        "name": f"{name} ({weights})", "showlegend": False, "hoverinfo": "name",
    }  # fmt: skip


def _scene_layout(
    names: tuple[str, ...], marks: list[Trace], eye: dict[str, float]
) -> dict[str, Any]:
    """The layout: labelled axes, the camera, labels of the marks, the legend below the surface."""
    axis = {"showbackground": False, "zeroline": False}
    labels = [*(f"weight {name}" for name in names), "value y"]
    scene: dict[str, Any] = {
        f"{letter}axis": {**axis, "title": {"text": label}}
        for letter, label in zip("xyz", labels, strict=True)
    }
    scene |= {"camera": {"eye": eye, "center": CENTER}, "aspectratio": {"x": 1, "y": 1, "z": 0.55}}
    scene["annotations"] = [
        {
            **{axis: mark[axis][0] for axis in "xyz"},
            "text": mark["name"], "ax": 70 * side, "ay": 26 * side,
            "font": {"color": style.INK}, "bgcolor": "rgba(255,255,255,0.85)",
            "arrowcolor": style.INK,
        }
        for mark, side in zip(marks, (-1, 1), strict=True)
    ]  # fmt: skip
    return {
        "scene": scene,
        "uirevision": "kept",
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "top", "itemdoubleclick": False},
    }


def _button(index: int, trace: Trace) -> str:
    """A button that hides and shows a path and states whether it is shown."""
    color = trace["line"]["color"]
    dash = next(look.dash for look in style.PATHS.values() if look.color == color)
    border = {"-": "solid", "--": "dashed", ":": "dotted"}[dash]
    swatch = f'<span class="swatch" style="border-top-style:{border};border-color:{color}"></span>'
    return (
        f'<button type="button" aria-pressed="true" data-trace="{index}">'
        f"{swatch}{html.escape(trace['name'])}</button>"
    )
