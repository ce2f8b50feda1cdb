"""Diagnosis: mistakes outside the collection, what their messages name, and plausible constants."""

import pytest
import torch

from gd_torch import check_partials
from gd_torch.checking.diagnosis.comparison import common_ratio, fit_coefficients, match_error
from gd_torch.checking.diagnosis.constants import axis_sizes, describe_average, format_constant
from gd_torch.checking.diagnosis.tensors import tensors_of_shape, value_name
from gd_torch.checking.replay import Replay
from gd_torch.checking.trace import trace_objective


def tensor(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


W = tensor(0.6, 1.4, 2.2)
Y = tensor(1.0, 0.0, 3.0)
sigmoid = torch.sigmoid


def causes(objective, derivation, at=W):
    return check_partials(objective, derivation, at).results[0].causes


@pytest.mark.parametrize(
    ("objective", "derivation", "function"),
    [
        (lambda w: w.lgamma().sum() - w @ Y, lambda w: w.log() - Y, "log(z)"),
        (lambda w: w.exp().sum() - w @ Y, lambda w: sigmoid(w) - Y, "sigmoid(z)"),
        (
            lambda w: torch.nn.functional.softplus(w).sum() - w @ Y,
            lambda w: torch.tanh(w) - Y,
            "tanh(z)",
        ),
        (
            lambda w: torch.nn.functional.softplus(w).sum() - w @ Y,
            lambda w: torch.exp(w) - Y,
            "exp(z)",
        ),
        (
            lambda w: torch.atan(w / 3).sum() + w @ Y,
            lambda w: (1 - (w / 3) ** 2).rsqrt() / 3 + Y,
            "1 / sqrt(1 - z^2)",
        ),
    ],
)
def test_the_derivative_of_another_function(objective, derivation, function):
    """A function that is mistaken for the derivative is named, beside a term that is correct."""
    first = causes(objective, derivation)[0]
    assert first.kind == "wrong_formula"
    assert first.message.startswith(f"{function} used where f'(z) belongs")


def test_two_uses_treated_as_constant():
    """Mean and variance of a normalization depend on its input: both terms left out at once."""
    X, v = torch.randn(6, generator=torch.Generator().manual_seed(2)).double(), Y.repeat(2)

    def objective(x):
        centred = x - x.mean()
        return (v * centred / centred.pow(2).sum().sqrt()).sum()

    found = causes(objective, lambda x: v / (x - x.mean()).pow(2).sum().sqrt(), X)
    assert [c.kind for c in found] == ["treated_as_constant"]
    assert "two uses" in found[0].message
    assert found[0].message.count("test_diagnosis.py:") == 2


def test_two_terms_with_the_wrong_sign():
    """The same mistake in two terms of different operations is one cause."""
    found = causes(
        lambda w: w.cos().sum() + w.exp().sum() + w.reciprocal().sum(),
        lambda w: w.sin() + 1 / w**2 + w.exp(),
    )
    assert [c.kind for c in found] == ["sign_of_term"]
    assert "two terms" in found[0].message


def test_two_terms_with_different_constants_are_not_named():
    """Two mistakes at once: other mistakes are equal to such a pair too often."""
    objective = lambda w: (w**3).sum() + w.sin().sum() + w.exp().sum() - w.log().sum()  # noqa: E731
    derivation = lambda w: 6 * w**2 + 3 * w.cos() + w.exp() - 1 / w  # noqa: E731
    assert causes(objective, derivation) == ()


def test_a_wrong_operand_is_named_by_its_operation_and_line():
    """A message names an argument, or the operation and the line that produced a tensor."""

    def objective(a, b):
        h = torch.tanh(a)
        return (h * b.sin() * a.cos()).sum()

    def derivation(a, b):
        h = torch.tanh(a)
        return (1 - h**2) * b.sin() * a.cos() - h * b.sin() * a.sin(), h * b.cos() * b

    at = (W, W.flip(0) + 0.3)
    line = objective.__code__.co_firstlineno + 2
    result = check_partials(objective, derivation, at).results[1]
    messages = {c.kind: c.message for c in result.causes}
    assert messages["wrong_operand"] == (
        f"b used where the other factor belongs (mul, test_diagnosis.py:{line})"
    )
    other = lambda a, b: (derivation(a, b)[0], h_of(a) * b.cos() * b.sin())  # noqa: E731
    h_of = torch.tanh
    result = check_partials(objective, other, at).results[1]
    messages = {c.kind: c.message for c in result.causes}
    assert f"the result of sin (test_diagnosis.py:{line})" in messages["wrong_operand"]


def test_tensors_have_names_of_their_own():
    """Values of one operation on one line are counted; constants are named by their operation."""
    objective = lambda w: (w.sin() * Y + w.sin().sin() * Y).sum()  # noqa: E731
    replay = Replay(trace_objective(objective, (W,)), ("w",))
    names = [value_name(replay, v) for v in range(len(replay.values))]
    assert names[0] == "w"
    assert len(set(names)) == len(names)
    assert names[1].startswith("the result of sin (") and "result 2 of sin (" in " ".join(names)
    tensors = tensors_of_shape(replay, W.shape)
    constants = [name for name in tensors if name.startswith("operand 2 of mul (")]
    assert len(constants) == 2
    assert all(torch.equal(tensors[name], Y) for name in constants)


def test_match_error():
    """A guess must agree to rounding, and far better than autograd's partial does."""
    assert match_error(W, W * (1 + 1e-12), 2 * W) == pytest.approx(1e-12, rel=1e-3)
    assert match_error(W, W * (1 + 1e-6), 2 * W) is None
    assert match_error(W, W * (1 + 1e-12), W * (1 + 2e-12)) is None
    assert match_error(W, W[:2], 2 * W) is None
    assert match_error(W, W / 0, 2 * W) is None


def test_fits():
    """Ratios and coefficients are exact where they exist; a bad fit is None."""
    a, b = tensor(1, 2, 3, -4, 5, 6), tensor(2, -1, 0.5, 3, 1, 1)
    assert common_ratio([3 * a, 3 * b], [a, b]) == pytest.approx(3)
    assert fit_coefficients([a, b], 2 * a - b) == pytest.approx([2, -1])
    assert fit_coefficients([a, 2 * a], a) is None
    assert fit_coefficients([a], b) is None
    assert fit_coefficients([a[:3]], a[:3]) is None


def test_constants():
    """Small fractions are written as such; sizes of axes are recognised as averages."""
    assert [format_constant(c) for c in (2.0, -1 / 3, 0.3717)] == ["2", "-1/3", "0.3717"]
    sizes = axis_sizes(None, (torch.zeros(4, 3),))
    assert sizes == {3: "3, the length of an axis", 4: "4, the length of an axis", 12: "12 = 4 x 3"}
    assert "1/12 is missing" in describe_average(12.0, sizes)
    assert "1/4 too much" in describe_average(0.25, sizes)
    assert describe_average(5.0, sizes) is None
