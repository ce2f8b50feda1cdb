"""Figures are checked by the artists in them: data, labels, limits and legends, not pixels."""

import math

import pytest
import torch
from artists import drawn, legend, texts
from matplotlib import rcParams
from matplotlib.colors import to_rgb

from gd_torch import BOWL, CURVE, bowl, brute_force, curve, descend, plots
from gd_torch.plots import style

(MINIMISER,) = CURVE.minimiser


def himmelblau(w1, w2):
    """An objective that is not the tutorial's, with four minima, one of them at (3, 2)."""
    return (w1**2 + w2 - 11) ** 2 + (w1 + w2**2 - 7) ** 2


@pytest.fixture(scope="module")
def steps():
    """One step of both weights and one of each, from the tutorial's start, by hand."""
    only = {"both weights": (1, 1), "w₁ only": (1, 0), "w₂ only": (0, 1)}
    runs = {}
    for name, (first, second) in only.items():
        rates = (0.1 if first else 1e-300, 0.1 if second else 1e-300)
        runs[name] = descend(bowl, BOWL.start, learning_rate=rates, steps=1)
    return runs


def test_path_colours_have_contrast_on_white():
    """Every path colour reaches 3:1 on white, and no two paths share colour or marker."""

    def luminance(color):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    for look in style.PATHS.values():
        assert 1.05 / (luminance(look.color) + 0.05) >= 3
    assert [look.color for look in style.PATHS.values()] == [
        "#D55E00",
        "#0072B2",
        "#009E73",
        "#CC79A7",
    ]
    assert len({look.marker for look in style.PATHS.values()}) == 4


def test_drawing_leaves_global_settings_alone():
    """A figure sets no rcParams of the caller and needs no pyplot."""
    before = dict(rcParams)
    rcParams["axes.titlesize"] = 33
    try:
        plots.tangent(curve, descend(curve, 1.9, learning_rate=0.1, steps=1), (-1, 2))
        assert rcParams["axes.titlesize"] == 33
    finally:
        rcParams.update(before)


def test_brute_force_panels_hold_the_lowest_points():
    """Each panel marks the lowest point of its grid; the cost line reaches 1e28 and 1e56."""
    searches = {
        d: brute_force(curve, torch.arange(-(10**d), 2 * 10**d + 1).double() / 10**d, keep="all")
        for d in (2, 3)
    }
    counts = {1: 100, 14: 100**14, 28: 100**28}
    figure = plots.brute_force_grids(curve, searches, MINIMISER, counts)
    two, three, cost = figure.axes
    assert drawn(two, "lowest tried")[0] == pytest.approx([0.75])
    assert drawn(three, "lowest tried")[0] == pytest.approx([0.755])
    assert "y = −0.439086914" in two.get_title(loc="left")
    assert drawn(two, "lowest tried")[1] == pytest.approx([-0.439086914 + 0.439117958], abs=1e-9)
    assert list(cost.lines[0].get_ydata()) == [1e2, 1e28, 1e56]
    assert "14 weights: 10²⁸ evaluations" in texts(cost)
    assert legend(figure) == ["y(w)", "tried", "lowest tried", "minimum"]


def test_tangent_has_the_slope_at_the_start():
    """The tangent's line has slope 25.66 through (1.9, y), and a note states it."""
    run = descend(curve, 1.9, learning_rate=0.01, steps=1)
    (axes,) = plots.tangent(curve, run, (-1.6, 2.5), minimiser=MINIMISER).axes
    (a, b), (ya, yb) = drawn(axes, "tangent at 1.9")
    assert (yb - ya) / (b - a) == pytest.approx(25.66099)
    assert (ya + yb) / 2 == pytest.approx(float(curve(torch.tensor(1.9).double())))
    assert any("slope 25.66" in text for text in texts(axes))
    assert drawn(axes, "minimum")[0] == [MINIMISER]
    assert axes.get_xlabel() == "weight w" and axes.get_xlim() == (-1.6, 2.5)


def test_overshoot_shows_start_and_every_step():
    """The diverged run is drawn whole on symlog axes, its start and its last point within."""
    run = descend(curve, 1.9, learning_rate=1.0)
    left, right = plots.overshoot(curve, run).axes
    assert left.get_xscale() == left.get_yscale() == right.get_yscale() == "symlog"
    assert drawn(left, "start w = 1.9")[0] == [1.9]
    assert drawn(right, "w")[1] == run.path[0].tolist() and run.steps == 4
    low, high = right.get_ylim()
    assert all(low < w < high for w in run.path[0].tolist())
    assert "−23.8" in texts(right) and "9.62 × 10¹⁷¹" in texts(right)
    assert "Step 5 is never made" in right.get_title(loc="left")


def test_first_steps_has_rounded_and_exact_values():
    """The table holds 1.64 by hand and 1.6433901 exact; arrows are labelled."""
    run = descend(curve, 1.9, learning_rate=0.01, steps=2)
    noted = [(1.9, 25.66), (1.64, 12.50), (1.52, 8.63)]
    axes, below = plots.first_steps(curve, run, noted, (1.35, 2.02)).axes
    cells = {key: cell.get_text().get_text() for key, cell in below.tables[0].get_celld().items()}
    assert [cells[2, column] for column in range(5)] == [
        "1",
        "1.64",
        "12.50",
        "1.6433901",
        "12.6302",
    ]
    assert [cells[3, column] for column in (1, 3)] == ["1.52", "1.5170882"]
    assert texts(axes).count("−α × gradient") == 2


def test_descent_frame_shows_the_path_so_far():
    """A frame holds the points up to its step, and the lengths of the steps made."""
    run = descend(curve, 1.9, learning_rate=0.01, steps=20)
    left, right = plots.descent_on_curve(curve, run, (-1.6, 2.15), step=5).axes
    assert drawn(left, "descent")[0] == run.path[0][:6].tolist()
    assert drawn(right, "made")[1] == pytest.approx(run.path[0][:6].diff().abs().tolist())
    assert len(drawn(right, "still to come")[1]) == 20
    assert f"step 5: w = {run.path[0][5]:.6f}" in left.get_title(loc="left")


def test_descent_names_points_outside():
    """The title counts the points outside the limits."""
    run = descend(curve, 1.9, learning_rate=1.0)
    left, _ = plots.descent_on_curve(curve, run, (-1.6, 2.15)).axes
    assert "4 points lie outside" in left.get_title(loc="left")


def test_learning_rates_share_axes_and_name_divergence():
    """Four columns have the same limits; a note states where the diverging run leaves them."""
    runs = {
        rate: descend(curve, 1.9, learning_rate=rate, steps=8000, tolerance=1e-8)
        for rate in (0.001, 0.01, 0.1, 0.5)
    }
    axes = plots.learning_rates(curve, runs, (-1.6, 2.15), MINIMISER).axes
    for row in (axes[:4], axes[4:]):
        assert len({(a.get_xlim(), a.get_ylim()) for a in row}) == 1
    assert [a.get_title(loc="left") for a in axes[:4]] == [f"α = {rate:g}" for rate in runs]
    ends = [texts(a)[0] for a in axes[4:]]
    for end, count in zip(ends, ("6\u2009915", "682", "74"), strict=False):
        assert end.startswith(f"converges: {count} steps")
    assert ends[3].startswith("diverges")
    assert "w = −10.9 after step 1" in texts(axes[3])[-1] + texts(axes[3])[0]
    assert drawn(axes[0], "descent")[0][0] == 1.9


def test_surface_draws_paths_tangents_and_rim(steps):
    """The rim is level; paths are drawn at their values, tangents with their slopes."""
    grid = plots.basin(bowl, BOWL.minimiser, height=200.0)
    assert grid.y[-1].tolist() == pytest.approx([200.0] * grid.y.shape[1])
    figure = plots.surface(
        bowl, grid, steps, minimum=BOWL.minimiser, tangents_at=BOWL.start, title="t"
    )
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["both weights: y = 77.44"].get_data_3d()[2].tolist() == pytest.approx([177, 77.44])
    x, y, z = lines["tangent ∂y/∂w₁ = −32"].get_data_3d()
    assert (z[1] - z[0]) / (x[1] - x[0]) == pytest.approx(-32) and y[0] == y[1] == 7
    assert "start (−8, 7): y = 177" in lines and "minimum" in lines
    wide = lines["both weights: y = 77.44"]
    assert wide.get_linewidth() > 2 * lines["w₁ only: y = 95.08"].get_linewidth()


def test_tangents_touch_the_surface():
    """Both tangents pass through the point; their directions are (1, 0, -32) and (0, 1, 14)."""
    first, second = plots.tangents(bowl, BOWL.start, reach=1.0)
    assert first.mean(0).tolist() == second.mean(0).tolist() == [-8, 7, 177]
    assert ((first[1] - first[0]) / 2).tolist() == [1, 0, -32]
    assert ((second[1] - second[0]) / 2).tolist() == [0, 1, 14]


def test_paths_from_above_have_equal_aspect(steps):
    """Equal aspect, the tutorial's values in the legend, start and minimum inside the limits."""
    figure = plots.paths_from_above(
        bowl, steps, (-9.5, 3.5), (-2.5, 8.5), minimum=BOWL.minimiser, arrow="both weights"
    )
    (axes,) = figure.axes
    assert axes.get_aspect() == 1
    assert legend(figure) == [
        "both weights: y = 77.44",
        "w₁ only: y = 95.08",
        "w₂ only: y = 159.36",
        "start (−8, 7): y = 177",
        "minimum",
    ]
    assert drawn(axes, "w₁ only: y = 95.08") == ([-8, -4.8], [7, 7])
    assert "−α × gradient" in texts(axes) and "gradient" not in texts(axes)
    styles = {line.get_label(): line.get_linestyle() for line in axes.lines}
    assert styles["w₁ only: y = 95.08"] == "--" and styles["w₂ only: y = 159.36"] == ":"


def test_own_objective_is_drawn_with_its_own_names():
    """Any objective of two weights: Himmelblau's function, its contours and its descent."""
    run = descend(himmelblau, (0.0, 0.0), learning_rate=0.01, tolerance=1e-8)
    figure = plots.paths_from_above(himmelblau, {"Himmelblau": run}, (-5, 5), (-5, 5))
    (axes,) = figure.axes
    ends = [float(w[-1]) for w in run.path]
    assert ends == pytest.approx([3, 2], abs=1e-8)
    (line,) = (line for line in axes.lines if line.get_label().startswith("Himmelblau"))
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == pytest.approx((3, 2))
    assert figure.get_suptitle().startswith(f"{run.steps} steps: the gradient norm fell below")


def test_path_outside_is_named():
    """The legend counts the points of a path outside the limits."""
    run = descend(himmelblau, (0.0, 0.0), learning_rate=0.01, steps=50)
    figure = plots.paths_from_above(himmelblau, {"run": run}, (-1, 1), (-1, 1))
    outside = int(((run.path[0].abs() > 1) | (run.path[1].abs() > 1)).sum())
    assert outside > 0 and f"{outside} points outside" in legend(figure)[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: plots.paths_from_above(bowl, {"a": run}, (-1, 1), (-1, 1)), "two scalar"),
        (lambda run: plots.tangent(bowl, run, (-1, 1)), "one scalar"),
        (lambda run: plots.tangent(curve, run, (1, -1)), "`limits` must be"),
        (lambda run: plots.learning_rates(curve, {0.1: run}, (-1, 1), 0.7), "include the start"),
        (lambda run: plots.paths_from_above(bowl, dict.fromkeys("abcde", run), (-1, 1), (-1, 1)),
         "at most 4 paths"),
        (lambda _: plots.basin(curve2, (0.0, 0.0), 1.0), "`height` must be"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call, message):
    """The message states the rule for a wrong run, a range out of order and too many paths."""
    with pytest.raises(ValueError, match=message):
        call(descend(curve, 1.9, learning_rate=0.1, steps=3))


def curve2(w1, w2):
    """Bounded above by 1/2, so that no rim at 1 exists."""
    r = w1**2 + w2**2
    return r / (2 + 2 * r)


def test_numbers_are_printed_for_people():
    """Numbers have minus signs, powers of ten and thin spaces between thousands."""
    assert style.number(-0.00012) == "−0.00012" and style.number(-2e-9, 1) == "−2 × 10⁻⁹"
    assert style.number(math.inf) == "inf" and style.number(12345.0) == "12\u2009345"
