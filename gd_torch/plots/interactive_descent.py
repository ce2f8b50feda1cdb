"""An interactive page: the steps of a descent of one weight, for many learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gd_torch.descent import Descent
from gd_torch.gradients import partials
from gd_torch.plots import style
from gd_torch.plots.objective_grid import Range, line
from gd_torch.plots.one_weight import points
from gd_torch.plots.page import build_page, html_table
from gd_torch.typing import Objective

Trace = dict[str, Any]

SHOWN_STEPS = 200
KEYS = (
    "Tab moves between the sliders and the button; the arrow keys move a slider, the space bar "
    "plays and pauses."
)
CONTROLS = """<div class="controls">
<button type="button" id="play" aria-pressed="false">Play</button>
<label>step <input type="range" id="step" min="0" max="1" value="0">
<output id="step-value" for="step"></output></label>
<label>learning rate α <input type="range" id="rate" min="0" max="{last}" value="{shown}">
<output id="rate-value" for="rate"></output></label>
</div>"""


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
    """A page (HTML) of descents of one weight, with sliders for the step and the learning rate.

    Args:
        objective: a function of one weight.
        runs: learning rate -> a run that recorded every step; its first 200 steps can be shown.
        limits: the weights shown.
        minimiser: the weight at the minimum, marked with a cross.
        shown: the learning rate shown first, one of ``runs``.
        title: of the page. summary: what it shows. alt: the plot in words.


    Raises:
        ImportError: plotly is not installed.
    """
    (symbol,) = style.symbols(objective)
    data = _traces(objective, limits, minimiser, symbol)
    found = [_shown_run(objective, rate, run) for rate, run in runs.items()]
    return build_page(
        title=title, summary=summary, alt=alt, keys=KEYS,
        controls=CONTROLS.format(last=len(found) - 1, shown=list(runs).index(shown)),
        table=_endings(found), script="descent_page.js",
        data={
            "data": data, "layout": _layout(data[0]["y"], limits, symbol),
            "runs": found, "limits": limits,
            "moving": [index for index, trace in enumerate(data) if not trace["x"]],
            "axes": ["xaxis", "yaxis", "xaxis2", "yaxis2"],
        },
    )  # fmt: skip


def _endings(runs: list[dict[str, Any]]) -> str:
    """A table of the learning rates and the outcomes of their runs."""
    rows = [[style.number(run["rate"]), run["outcome"]] for run in runs]
    return html_table(["learning rate α", "how the run ends"], rows)


def _shown_run(objective: Objective, rate: float, run: Descent) -> dict[str, Any]:
    """The first points of a run with their slopes, and how the run ended."""
    slope = partials(objective)
    path = [(w, y, float(slope(w)[0])) for w, y in points(objective, run)[: SHOWN_STEPS + 1]]
    path = [at for at in path if all(map(math.isfinite, at))]  # the last one of a diverged run
    ending = "converges" if run.converged else "diverges" if run.stop.diverged else "is not done"
    return {
        "rate": rate,
        **{name: [at[i] for at in path] for i, name in enumerate(("w", "y", "slope"))},
        "outcome": f"{ending} after {run.steps} steps, w = {style.number(run.weights[0], 6)}.",
    }


def _traces(objective: Objective, limits: Range, minimiser: float, symbol: str) -> list[Trace]:
    """The curve with its minimum, and empty traces that the script fills."""
    w, y = line(objective, limits, 241)
    lowest = float(objective(w.new_tensor(minimiser)))
    grey, red = {"color": style.GREY}, {"color": style.VERMILION}
    now = {"color": "white", "size": 13, "line": {**red, "width": 3}}
    cross = {"symbol": "x-thin", "size": 13, "line": {**grey, "width": 3}}
    dashed = {"color": "#56B4E9", "width": 2, "dash": "dash"}
    right = {"xaxis": "x2", "yaxis": "y2"}

    def trace(name: str, mode: str, x: list[float], y: list[float], **look: Any) -> Trace:
        return {"name": name, "mode": mode, "x": x, "y": y, **look}

    return [
        trace(f"y({symbol})", "lines", w.tolist(), y.tolist(), line={**grey, "width": 3}),
        trace("minimum", "markers", [minimiser], [lowest], marker=cross),
        trace("tangent", "lines", [], [], line=dashed),
        trace("descent", "lines+markers", [], [], line={**red, "width": 1.5}, marker=red),
        trace("now", "markers", [], [], marker=now),
        trace("all steps", "lines", [], [], line={**grey, "width": 2}, **right),
        trace("steps made", "lines", [], [], line={**red, "width": 4}, **right),
    ]


def _layout(y: list[float], limits: Range, symbol: str) -> dict[str, Any]:
    """The layout: the curve on the left, the step lengths on a log scale on the right."""
    low, high = min(y), max(y)
    axes: dict[str, dict[str, Any]] = {
        "xaxis": {"domain": [0, 0.56], "range": limits, "title": {"text": f"weight {symbol}"}},
        "yaxis": {"range": [low - 0.1 * (high - low), high], "title": {"text": "value y"}},
        "xaxis2": {"domain": [0.68, 1], "title": {"text": "step"}},
        "yaxis2": {"anchor": "x2", "title": {"text": f"step length |Δ{symbol}|"}},
    }
    axes["yaxis2"] |= {"type": "log", "exponentformat": "power"}
    return {
        **{name: axis | {"zeroline": False} for name, axis in axes.items()},
        "margin": {"l": 60, "r": 15, "t": 10, "b": 50},
        "font": {"family": "DejaVu Sans, Verdana, sans-serif", "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
