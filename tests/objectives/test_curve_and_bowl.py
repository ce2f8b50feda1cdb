"""The two formulas and the exact facts about them."""

import pytest
import torch

from gd_torch import BOWL, CURVE, bowl, curve, partials


def test_the_curves_minimiser_is_the_reciprocal_of_the_plastic_ratio():
    """1/rho to the last digit that the tutorial's page gives, a root of w^3 + w^2 - 1."""
    (w,) = CURVE.minimiser
    assert round(w, 15) == 0.754877666246693
    assert abs(w**3 + w**2 - 1) < 4e-16
    value = curve(torch.tensor(w, dtype=torch.float64)).item()
    assert value == pytest.approx(
        -0.439117958206227, abs=5e-16 + 4 * 2**-53
    )  # the page's digits and three roundings


@pytest.mark.parametrize("problem", [CURVE, BOWL], ids=lambda problem: problem.name)
def test_a_problems_minimiser_has_zero_partials_and_no_lower_neighbour(problem):
    """Facts stored beside an objective are true of it."""
    at = [torch.tensor(w, dtype=torch.float64) for w in problem.minimiser]
    assert all(abs(d.item()) < 1e-15 for d in partials(problem.objective)(*at))
    lowest = problem.objective(*at)
    for i in range(len(at)):
        for shift in (-1e-3, 1e-3):
            moved = [w + shift if i == j else w for j, w in enumerate(at)]
            assert problem.objective(*moved) > lowest


def test_objectives_evaluate_whole_grids_entry_by_entry():
    """A figure evaluates a grid in one call."""
    w = torch.linspace(-2, 2, 7, dtype=torch.float64)
    assert curve(w).tolist() == [curve(x).item() for x in w]
    grid = bowl(w[:, None], w)
    assert grid.shape == (7, 7)
    assert grid[2, 5] == bowl(w[2], w[5])
