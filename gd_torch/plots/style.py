"""The style of all figures: colours, layout, marks and the format of numbers."""

from __future__ import annotations

import functools
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from torch import Tensor

from gd_torch.descent import Descent
from gd_torch.typing import Objective

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

INK, GREY, PALE = "#222222", "#8C8C8C", "#D9D9D9"
VERMILION, BLUE, GREEN, PINK = "#D55E00", "#0072B2", "#009E73", "#CC79A7"
MAP = "cividis"

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": True,
    "legend.framealpha": 0.92,
    "legend.edgecolor": PALE,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "gd_torch",
    "svg.fonttype": "path",
    "path.simplify": True,
}
"""Applied around drawing and saving, never globally."""


class PathStyle(NamedTuple):
    """The style of a path; paths differ in colour, in marker, and in dash and width.

    Attributes:
        color, dash, marker, width: as matplotlib names them.
        web_marker: the marker as plotly names it; its three-dimensional plots have no triangle.
    """

    color: str
    dash: str
    marker: str
    width: float
    web_marker: str


PATHS = {
    "descent": PathStyle(VERMILION, "-", "o", 2.0, "circle"),
    "both weights": PathStyle(BLUE, "-", "D", 5.5, "diamond"),
    "w₁ only": PathStyle(GREEN, "--", "s", 2.4, "square"),
    "w₂ only": PathStyle(PINK, ":", "^", 2.8, "diamond-open"),
}
"""The tutorial's four paths."""


def path_styles(names: Iterable[str]) -> dict[str, PathStyle]:
    """A style for every path: the tutorial's paths by name, unused styles for other names.

    Raises:
        ValueError: there are more paths than styles.

    >>> path_styles(["Himmelblau"])["Himmelblau"].color
    '#D55E00'
    """
    names = list(names)
    if len(names) > len(PATHS):
        raise ValueError(f"`runs` must hold at most {len(PATHS)} paths, got {len(names)}")
    spare = iter(style for name, style in PATHS.items() if name not in names)
    return {name: PATHS[name] if name in PATHS else next(spare) for name in names}


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a function with the style of this module and restore the caller's settings."""

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with mpl.rc_context():
            mpl.rcdefaults()  # the bytes must not depend on the user's matplotlibrc
            with mpl.rc_context(RC):
                return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float = 8.0, height: float = 5.0) -> Figure:
    """A figure in constrained layout, independent of windows and pyplot; inches."""
    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))


def headline(figure: Figure, title: str) -> None:
    """Write the title above the whole figure, bold, left-aligned and wrapped to its width."""
    characters = int(figure.get_figwidth() * 72 / 7.75)
    lines = [line for part in title.split("\n") for line in textwrap.wrap(part, characters)]
    figure.suptitle("\n".join(lines), x=0.012, ha="left", fontsize=12.5, fontweight="bold")


def mark_start(axes: Axes, x: float, y: float, label: str | None = "start") -> Line2D:
    """Mark a start with a white disc in a dark ring."""
    (mark,) = axes.plot(
        [x], [y], "o", ms=9, mfc="white", mec=INK, mew=2, ls="none", label=label, zorder=8
    )
    return mark


def mark_minimum(axes: Axes, x: float, y: float, label: str | None = "minimum") -> Line2D:
    """Mark a minimum with a cross."""
    (mark,) = axes.plot([x], [y], "x", ms=10, mec=INK, mew=2.4, ls="none", label=label, zorder=9)
    return mark


def note(axes: Axes, text: str, at: tuple[float, float], offset: tuple[float, float]) -> None:
    """Write a note beside a point, ``offset`` points away, on a white background."""
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        fontsize=9.5,
        ha="left" if offset[0] >= 0 else "right",
        va="center",
        zorder=10,
        bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.85},
    )


def arrow(
    axes: Axes, tail: tuple[float, float], head: tuple[float, float], color: str = INK, **more: Any
) -> None:
    """Draw an arrow from one point of the axes to another, in data units."""
    style = {"arrowstyle": "-|>", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0} | more
    axes.annotate("", head, xytext=tail, arrowprops=style, zorder=7, annotation_clip=False)


def symbols(objective: Objective) -> tuple[str, ...]:
    """The names of the objective's arguments, with digits as subscripts.

    >>> symbols(lambda w1, w2: w1 + w2)
    ('w₁', 'w₂')
    """
    names = inspect.signature(objective).parameters
    return tuple(name.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")) for name in names)


def value(y: float | Tensor) -> str:
    """A value of the objective in a legend: two decimals from 0.01 to 1e5, two digits elsewhere.

    >>> value(159.36), value(177.0), value(2.2698e-7)
    ('159.36', '177', '2.3 × 10⁻⁷')
    """
    return fixed(y, 2).removesuffix(".00") if 0.01 <= abs(float(y)) < 1e5 else number(y, 2)


def ending(run: Descent) -> str:
    """A title that states how a run ended."""
    reason = run.stop.sentence.removesuffix(".")
    return f"{run.steps} steps: {reason[0].lower()}{reason[1:]}"


def number(value: float | Tensor, digits: int = 3) -> str:
    """A number as people print it: significant digits, a real minus sign, powers of ten.

    >>> number(-23.76099), number(29994413.2), number(0.1), number(9.6e171, 2), number(0)
    ('−23.8', '3.00 × 10⁷', '0.1', '9.6 × 10¹⁷¹', '0')
    """
    value = float(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "−")
    if 1e-4 <= abs(value) < 1e5:
        return f"{value:.{digits}g}".replace("-", "−") if abs(value) < 10**digits else whole(value)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa} × 10{superscript(int(exponent))}".replace("-", "−")


def fixed(value: float | Tensor, decimals: int) -> str:
    """A number with fixed decimals and a minus sign (U+2212).

    >>> fixed(-0.439117958, 4)
    '−0.4391'
    """
    return f"{float(value):.{decimals}f}".replace("-", "−")


def whole(value: float) -> str:
    """A number rounded to an integer, with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u2009").replace("-", "−")


def superscript(exponent: int) -> str:
    """An integer in superscript digits.

    >>> superscript(-28)
    '⁻²⁸'
    """
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def power_of_ten(count: int) -> str:
    """A large power of ten in exponent notation, any other count as an integer.

    >>> power_of_ten(100**14), power_of_ten(100)
    ('10²⁸', '100')
    """
    exponent = len(str(count)) - 1
    return f"10{superscript(exponent)}" if count > 10**5 and count == 10**exponent else whole(count)


def mse_bar(figure: Figure, axes: Axes, drawn: ScalarMappable, norm: LogNorm, label: str) -> None:
    """Add a colour bar on a log scale, its ticks at round numbers about a factor 1.3 apart."""
    bar = figure.colorbar(drawn, ax=axes, label=label)
    candidates = [m * 10.0**e for e in range(-4, 1) for m in (1, 1.5, 2, 3, 5, 7)]
    low, high = norm.vmin or 0.0, norm.vmax or math.inf
    ticks = [tick for tick in candidates if low <= tick <= high]
    bar.set_ticks(ticks, labels=[number(t) for t in ticks])
    bar.ax.minorticks_off()
