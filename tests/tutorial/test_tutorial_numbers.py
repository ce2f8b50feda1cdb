"""Every number of the tutorial's sections 1 and 2: at full precision and as its text rounds it."""

import math

import pytest
import torch

from gd_torch import BOWL, CURVE, Stop, bowl, brute_force, curve, descend, partials

DOUBLE = {"dtype": torch.float64}


def curve_slope(w: float) -> float:
    return partials(curve)(w)[0].item()


@pytest.mark.parametrize(
    ("decimals", "w", "y"),
    [
        (1, 0.8, -0.436309333),
        (2, 0.75, -0.439086914),
        (3, 0.755, -0.439117939),
        (4, 0.7549, -0.439117958),
    ],
)
def test_a2_a3_brute_force_at_one_to_four_decimals(decimals, w, y):
    """The lowest grid point is the text's, its value right to nine decimals."""
    scale = 10**decimals
    grid = torch.arange(-2 * scale, 2 * scale + 1, **DOUBLE) / scale
    weights, value, evaluations = brute_force(curve, grid)
    assert weights[0].item() == w
    assert round(value.item(), 9) == y
    assert evaluations == 4 * scale + 1


def test_a5_slope_at_the_start():
    """The slope is 25.66099, which the text prints as 25.66."""
    assert curve_slope(1.9) == pytest.approx(25.66099, rel=1e-14)
    assert f"{curve_slope(1.9):.2f}" == "25.66"


def test_a6_divergence_without_a_learning_rate():
    """Four updates are made; the loss overflows before the fifth."""
    run = descend(curve, 1.9, learning_rate=1.0, steps=1000)
    w = run.path[0].tolist()
    assert w[1] == pytest.approx(-23.76099, rel=1e-14)
    assert run.losses[1].item() == pytest.approx(29_994_413.2, rel=2e-9)
    assert curve_slope(w[1]) == pytest.approx(-7_573_978.67, rel=1e-9)
    assert w[2] == pytest.approx(7_573_954.9, rel=1e-8)
    assert w[3] == pytest.approx(-2.49e34, rel=2e-3)
    assert w[4] == pytest.approx(9.6e171, rel=3e-3)
    assert run.steps == 4 and len(w) == 5
    assert run.stop is Stop.LOSS and run.losses[-1].item() == math.inf


@pytest.mark.parametrize(("rate", "steps"), [(0.1, 74), (0.01, 682), (0.001, 6915)])
def test_a7_steps_to_a_slope_below_1e_8(rate, steps):
    """Ten times smaller steps need about ten times as many."""
    run = descend(curve, 1.9, learning_rate=rate, steps=10_000, tolerance=1e-8)
    assert run.converged and run.steps == steps
    assert run.gradient_norms[-1] < 1e-8 <= run.gradient_norms[-2]


def test_a7_a_learning_rate_of_one_half_diverges():
    """With learning rate 0.5 the descent diverges."""
    assert descend(curve, 1.9, learning_rate=0.5).stop.diverged


def test_a8_a9_the_first_two_updates_exact_and_rounded_by_hand():
    """The text rounds to 1.64 before it goes on; both columns end at 1.52."""
    w = descend(curve, 1.9, learning_rate=0.01, steps=2).path[0].tolist()
    assert w[1] == pytest.approx(1.6433901, rel=1e-14)
    assert f"{w[1]:.2f}" == "1.64"
    assert curve_slope(1.64) == pytest.approx(12.5037, abs=5e-5)
    assert f"{curve_slope(1.64):.1f}" == "12.5"
    assert pytest.approx(1.515, rel=1e-15) == 1.64 - 0.01 * 12.5
    assert curve_slope(w[1]) == pytest.approx(12.6302, abs=5e-5)
    assert w[2] == pytest.approx(1.5170882, abs=5e-8)
    assert f"{w[2]:.2f}" == "1.52"


def test_a10_steps_shrink_and_the_end_is_an_approximation():
    """Each step is shorter than the one before; the end is near w*, not at it."""
    run = descend(curve, 1.9, learning_rate=0.1, steps=1000, tolerance=1e-8)
    lengths = run.path[0].diff().abs()
    assert (lengths.diff() < 0).all()
    assert 0 < abs(run.weights[0].item() - CURVE.minimiser[0]) < 1e-8


def test_b3_the_bowls_value_and_partials_at_the_start():
    """y = 177, dy/dw1 = -32, dy/dw2 = 14, to the last bit."""
    d1, d2 = partials(bowl)(*BOWL.start)
    assert (d1.item(), d2.item()) == (-32, 14)
    assert bowl(*(torch.tensor(w, **DOUBLE) for w in BOWL.start)).item() == 177


def test_b5_both_partials_vanish_at_the_origin():
    """Both partials are zero at the minimum."""
    assert all(d.item() == 0 for d in partials(bowl)(0.0, 0.0))


def test_b6_the_path_from_minus_8_7():
    """Each step multiplies w1 by 0.6 and w2 by 0.8: (-4.8, 5.6) at 77.44 after the first."""
    run = descend(bowl, BOWL.start, learning_rate=0.1, steps=2)
    assert run.path[0].tolist() == pytest.approx([-8, -4.8, -2.88], rel=1e-15)
    assert run.path[1].tolist() == pytest.approx([7, 5.6, 4.48], rel=1e-15)
    assert run.losses.tolist() == pytest.approx([177, 77.44, 36.6592], rel=1e-15)


def test_b7_single_weight_steps_end_higher_than_the_joint_step():
    """The values are 95.08 and 159.36 after single steps, 77.44 after a step of both weights."""
    for rates, expected in (((0.1, 1e-300), 95.08), ((1e-300, 0.1), 159.36), (0.1, 77.44)):
        run = descend(bowl, BOWL.start, learning_rate=rates, steps=1)
        assert run.losses[1].item() == pytest.approx(expected, rel=1e-14)


def test_b8_the_gradient_is_the_fastest_way_at_the_point_but_not_for_a_step():
    """Of 360 directions the best is the gradient's for a tiny step and another for a full one."""
    angle = torch.arange(360, **DOUBLE).deg2rad()
    steepest = math.degrees(math.atan2(-14, 32)) % 360

    def best(length: float) -> int:
        return int(bowl(-8 + length * angle.cos(), 7 + length * angle.sin()).argmin())

    assert abs(best(1e-4) - steepest) <= 0.5
    assert best(math.hypot(3.2, 1.4)) == 332
    assert steepest - 4 > 332
