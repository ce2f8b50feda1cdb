"""Figures of measured results (maps, seeds, directions, planes): data, labels and legends."""

import pytest
import torch
from artists import drawn, legend, texts

from gd_torch import BOWL, bowl, descend, plots
from gd_torch.plots import style


def test_learning_rate_map_counts_outcomes():
    """Every outcome has its colour and its share in the legend."""
    outcomes = torch.tensor([[0, 0, 1, 3], [0, 2, 2, 3]])
    counts = torch.tensor([[5, 9, 50, 2], [7, 50, 50, 1]])
    starts, rates = torch.linspace(0, 3, 4), torch.tensor([0.1, 1.0])
    figure = plots.learning_rate_map(starts, rates, outcomes, counts, 50)
    assert legend(figure) == [
        "converges within 50 steps: 37.5 %",
        "too slow: 12.5 %",
        "bounces: 25.0 %",
        "diverges: 25.0 %",
    ]
    hatched = [patch for patch in figure.legends[0].get_patches() if patch.get_hatch()]
    assert len(hatched) == 1
    assert figure.axes[0].get_yscale() == "log"
    shown = figure.axes[0].collections[-1].get_array()
    assert shown.compressed().tolist() == [5, 9, 7]


def test_one_at_a_time_is_drawn_per_gradient_evaluation():
    """The values of a path are drawn against its gradient evaluations."""
    x = torch.tensor([-8.0, -4.8])
    way = plots.CostedPath(
        (x, torch.tensor([7.0, 7.0])), torch.tensor([177.0, 95.08]), torch.arange(2)
    )
    figure = plots.one_at_a_time(bowl, {"both": way, "single": way}, (-9, 2), (-2, 8))
    above, right = figure.axes
    assert above.get_aspect() == 1 and right.get_yscale() == "log"
    assert drawn(right, "single") == ([0, 1], pytest.approx([177, 95.08]))
    assert right.get_xlabel() == "gradient evaluations"


def test_directions_mark_the_best_one():
    """The lowest loss is marked, and it is not the steepest direction at this length."""
    degrees = torch.arange(-180, 181).double()
    scan = plots.DirectionScan(3.0, degrees, 10 - (degrees + 5).deg2rad().cos())
    left, right = plots.directions([scan], 10.0, 0).axes
    assert drawn(left, "best, −5.0°: 9.00")[0] == [-5]
    assert legend(right) == ["step 3: best at −5.0°"]
    assert left.get_xlim() == (-180, 180)


def test_convergence_keeps_every_seed():
    """One faint line per seed, and the median of them in bold."""
    losses = torch.tensor([[0.3, 0.2, 0.4], [0.01, 0.2, 0.1]]).double()
    figure = plots.convergence({14: (torch.tensor([1, 2]), losses)})
    (axes,) = figure.axes
    assert len(axes.collections[0].get_segments()) == 3
    assert drawn(axes, "median")[1] == pytest.approx([0.3, 0.1])
    assert "33 % end below 0.02" in axes.get_title(loc="left")
    assert legend(axes) == ["each of 3 seeds", "median", "MSE 0.02"]


def test_learning_rate_by_seed_writes_its_cells():
    """Every cell holds its number; light cells have dark letters."""
    losses = torch.tensor([[0.01, 0.2], [0.1, 0.25]]).double()
    axes = plots.learning_rate_by_seed((0.1, 1.0), range(2), losses).axes[0]
    assert texts(axes) == ["0.010", "0.200", "0.100", "0.250"]
    assert [text.get_color() for text in axes.texts][::3] == ["white", style.INK]
    assert axes.images[0].get_cmap().name == "cividis"


def test_path_plane_is_exact_for_a_path_in_a_plane():
    """For a path in a plane the explained variance is 1, the distance 0, and losses are equal."""
    run = descend(bowl, BOWL.start, learning_rate=0.1, steps=30)
    plane = plots.path_plane(bowl, run)
    assert float(plane.explained.sum()) == pytest.approx(1)
    assert float(plane.off_plane.max()) < 1e-12
    assert plane.plane_loss.tolist() == pytest.approx(run.losses.tolist())
    assert bool((plane.path[0] >= 0).all())
    first, second, losses = plots.plane_losses(bowl, run, plane, points=5)
    at = plane.centre + first[3] * plane.axes[0] + second[1] * plane.axes[1]
    assert float(losses[1, 3]) == pytest.approx(float(bowl(*at)))


def test_path_plane_keeps_its_sign():
    """The mirrored run gives the mirrored axes, so that the picture stays the same."""
    run = descend(bowl, BOWL.start, learning_rate=0.1, steps=30)
    mirrored = descend(bowl, (8.0, -7.0), learning_rate=0.1, steps=30)
    a, b = (plots.path_plane(bowl, r).path for r in (run, mirrored))
    assert a.flatten().tolist() == pytest.approx(b.flatten().tolist())


def test_landscape_prints_where_it_can_be_trusted():
    """Explained variance, distance off the plane and both losses are written out."""
    run = descend(lambda w: (w**4 / 4 - w * torch.arange(4)).sum(), torch.full((4,), 2.0).double(),
                  learning_rate=0.05, steps=40)  # fmt: skip
    objective = lambda w: (w**4 / 4 - w * torch.arange(4)).sum() + 20  # noqa: E731
    plane = plots.path_plane(objective, run)
    figure = plots.landscape(run, plane, plots.plane_losses(objective, run, plane, points=9))
    left, right = figure.axes[0], figure.axes[1]
    assert f"{100 * float(plane.explained[0]):.1f} % of the variance" in left.get_xlabel()
    assert "off this plane by" in left.get_title(loc="left")
    said = f"{float(plane.plane_loss[0]):.2f}, the truth is {float(plane.true_loss[0]):.2f}"
    assert said in right.get_title(loc="left")
    assert drawn(right, "loss in the plane")[1] == plane.plane_loss.tolist()


def test_matrices_compare_numbers_and_times():
    """Rings and dots carry the same partials; bars are milliseconds."""
    numbers = torch.tensor([0.1, -0.2, 0.3])
    figure = plots.matrices({3: plots.Comparison(numbers, numbers, 3e-3, 1e-3)})
    left, right = figure.axes
    assert drawn(left, "scalar partials, one at a time") == drawn(left, "entries of 2 matrices")
    assert "equal to the last bit" in left.get_title(loc="left")
    assert [bar.get_width() for bar in right.patches] == [3.0, 1.0]
    assert "3 times faster" in right.get_title(loc="left")


def test_trainability_map_tells_learnt_from_stuck_in_grey_too():
    """Both panels state the share of learnt runs; their colours are darker, in grey too."""
    rates, near = torch.logspace(-1, 1, 3), torch.logspace(0, 0.4, 2)
    losses = torch.tensor([[1, 5, 20], [2, 30, 10], [15, 50, 60]]).double() / 100
    whole = plots.LossGrid(rates, rates, losses)
    zoom = plots.LossGrid(near, near, torch.tensor([[0.05, 0.2], [0.2, 0.3]]).double())
    figure = plots.trainability_map(whole, zoom, 1 / 9)
    left, right, *_ = figure.axes
    assert left.get_title(loc="left") == "9 runs, 44 % learnt"
    assert right.get_title(loc="left").endswith("4 runs, 25 % learnt")
    learnt, stuck = (mesh.get_array() for mesh in left.collections)
    assert sorted(learnt.compressed().tolist()) == [0.01, 0.02, 0.05, 0.1]
    assert sorted(stuck.compressed().tolist()) == [0.15, 0.2, 0.3, 0.5, 0.6]
    corner = [(box.get_x(), box.get_y(), box.get_width()) for box in left.patches]
    assert corner == [pytest.approx((1, 1, 10**0.4 - 1))] * 2
    weights = torch.tensor([0.2126, 0.7152, 0.0722]).double()
    dark, light = (
        torch.tensor(mesh.get_cmap()(torch.linspace(0, 1, 50).numpy()))[:, :3].double() @ weights
        for mesh in left.collections
    )
    assert dark.max() < light.min() - 0.1
