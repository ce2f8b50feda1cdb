"""Finite differences: known slopes lie within the error, kinks and noise are recognised."""

import math

import pytest
import torch

from gd_torch.checking.finite_differences import (
    entry_direction,
    estimate_slope,
    inner_product,
    largest_entry,
    random_direction,
)


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


ONE = (tensor(1.0),)

ALLOWED = 10
"""A verdict allows for a difference of so many errors."""

SMOOTH = {
    "square": (lambda w: (w**2).sum(), lambda w: 2 * w),
    "exp": (lambda w: w.exp().sum(), math.exp),
    "sin": (lambda w: w.sin().sum(), math.cos),
    "tanh": (lambda w: w.tanh().sum(), lambda w: 1 - math.tanh(w) ** 2),
    "sqrt": (lambda w: (2 + w).sqrt().sum(), lambda w: 0.5 / math.sqrt(2 + w)),
    "a steep one": (lambda w: (40 * w).sin().sum(), lambda w: 40 * math.cos(40 * w)),
    "a polynomial": (lambda w: (w**7 - 3 * w**2).sum(), lambda w: 7 * w**6 - 6 * w),
    "a constant": (lambda w: 0 * w.sum() + 3, lambda _w: 0.0),
    "linear": (lambda w: -2.5 * w.sum(), lambda _w: -2.5),
}


@pytest.mark.parametrize("at", [-1.3, 0.4, 1.9])
@pytest.mark.parametrize("name", SMOOTH)
def test_the_error_covers_a_known_slope(name, at):
    """The slope is within ten times the stated error, which is small; no kink is seen."""
    f, derivative = SMOOTH[name]
    found = estimate_slope(f, (tensor(at),), ONE)
    exact = derivative(at)
    assert abs(found.value - exact) <= ALLOWED * found.error
    assert found.error <= 1e-9 * max(1.0, abs(exact))
    assert not found.kink


@pytest.mark.parametrize("at", [0.4, 1.9])
@pytest.mark.parametrize("name", SMOOTH)
def test_float32(name, at):
    """The error covers the slope in float32 too, where it is larger."""
    f, derivative = SMOOTH[name]
    found = estimate_slope(f, (tensor(at).float(),), (ONE[0].float(),))
    exact = derivative(float(torch.tensor(at)))
    assert abs(found.value - exact) <= ALLOWED * found.error
    assert found.error <= 2e-3 * max(1.0, abs(exact))
    assert not found.kink


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_the_scale_of_the_objective_changes_nothing(scale):
    """Value and error are multiplied by it."""
    found = estimate_slope(lambda w: scale * w.sin().sum(), (tensor(0.7),), ONE)
    assert abs(found.value - scale * math.cos(0.7)) <= found.error <= 1e-9 * scale


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_length_of_the_direction_changes_the_slope_alone(scale):
    """The step is taken in proportion to the weights."""
    found = estimate_slope(lambda w: (w**3).sum(), (tensor(2.0),), (tensor(scale),))
    assert found.value == pytest.approx(12 * scale, rel=1e-9)
    assert not found.kink


def test_two_weights():
    """The derivative along a direction of several weights."""
    f = lambda a, b: (a**2).sum() * b.sum()  # noqa: E731
    weights, direction = (tensor(1.0, 2.0), tensor(3.0)), (tensor(0.5, -1.0), tensor(2.0))
    found = estimate_slope(f, weights, direction)
    exact = (2 * 1 * 0.5 + 2 * 2 * -1) * 3 + 5 * 2
    assert abs(found.value - exact) <= found.error <= 1e-8


@pytest.mark.parametrize(
    ("f", "at"),
    [
        (lambda w: w.abs().sum(), 0.0),
        (lambda w: torch.relu(w).sum(), 0.0),
        (lambda w: (w - 1).abs().sum() + w.sum() ** 2, 1.0),
        (lambda w: torch.maximum(w, 2 - w).sum(), 1.0),
        (lambda w: (w**2).sum() + 0.01 * w.abs().sum(), 0.0),
    ],
)
def test_a_kink_is_seen(f, at):
    """At a point where the one-sided slopes differ."""
    assert estimate_slope(f, (tensor(at),), ONE).kink


@pytest.mark.parametrize("distance", [1e-6, -1e-6, 1e-5, 1e-3, -1e-3, 0.1])
def test_a_kink_nearby_is_none(distance):
    """The slope of |w| beside its kink is that of its side, with a smaller step if need be."""
    found = estimate_slope(lambda w: w.abs().sum(), (tensor(distance, 1.0),), (tensor(1.0, 0.0),))
    assert not found.kink
    assert found.value == pytest.approx(math.copysign(1, distance), abs=1e-6)


@pytest.mark.parametrize("constant", [1e4, 1e8, 1e12, 1e14])
def test_the_error_covers_rounding_noise(constant):
    """A large constant hides the slope of a small function, and the error grows with it."""
    for at in (0.1, 0.5, 0.9, 1.3):
        found = estimate_slope(lambda w: w.sin().sum() + constant, (tensor(at),), ONE)
        assert abs(found.value - math.cos(at)) <= ALLOWED * found.error
        assert found.error >= torch.finfo(torch.float64).eps * constant
    assert found.error > 0.1 or constant < 1e14


@pytest.mark.parametrize("noise", [1e-12, 1e-9, 1e-6])
def test_the_error_is_no_smaller_than_the_noise_of_the_values(noise):
    """An objective with noise of its own, above rounding, has no exact slope."""
    generator = torch.Generator().manual_seed(1)

    def noisy(w):
        drawn = torch.rand((), generator=generator, dtype=torch.float64)
        return w.sin().sum() + noise * (2 * drawn - 1)

    for at in (0.1, 0.5, 0.9, 1.3):
        assert estimate_slope(noisy, (tensor(at),), ONE).error >= 0.1 * noise


def test_a_function_that_is_not_finite_nearby_has_no_slope():
    """Half of the interval around 0 is outside the domain of the logarithm."""
    assert estimate_slope(lambda w: w.log().sum(), (tensor(0.0),), ONE) is None
    assert estimate_slope(lambda w: w.sum(), (tensor(1.0),), (tensor(0.0),)) is None


def test_a_step_shorter_than_the_domain_is_found():
    """Near the end of the domain the larger steps fail and the smaller ones succeed."""
    found = estimate_slope(lambda w: w.sqrt().sum(), (tensor(1e-3, 1.0),), (tensor(1.0, 0.0),))
    assert abs(found.value - 0.5 / math.sqrt(1e-3)) <= 1e-5


def test_directions():
    """One entry; random signs of length 1 in one argument."""
    weights = (torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    entry = entry_direction(weights, 0, (1, 2))
    assert float(entry[0][1, 2]) == 1 and float(sum(d.abs().sum() for d in entry)) == 1
    drawn = random_direction(weights, 0, torch.Generator().manual_seed(0))
    assert float(torch.linalg.vector_norm(drawn[0])) == pytest.approx(1)
    assert len(set(drawn[0].abs().reshape(-1).tolist())) == 1
    assert not drawn[1].any()
    assert inner_product((torch.full((2, 3), 2.0), torch.ones(2)), entry) == 2


def test_largest_entry():
    """The index of the largest magnitude; NaN and infinity come first; a scalar has index ()."""
    assert largest_entry(tensor(1.0, -3.0, 2.0)) == (1,)
    assert largest_entry(torch.tensor([[1.0, 5.0], [math.nan, 2.0]])) == (1, 0)
    assert largest_entry(torch.tensor([[1.0, -math.inf], [3.0, 2.0]])) == (0, 1)
    assert largest_entry(torch.tensor(2.0)) == ()
