"""check_partials at kinks, scales, dtypes, faulty objectives and malformed partials."""

import json
import math

import pytest
import torch

from gd_torch import assert_partials, check_partials, init_weights, network_mse, network_partials

torch.set_num_threads(1)
D = torch.float64


def t(*numbers):
    return torch.tensor(numbers, dtype=D)


W = t(0.5, -1.0, 2.0)


def square(w):
    return (w**2).sum()


def verdict(objective, hand, at, **options):
    return check_partials(objective, hand, at, **options).results[0]


@pytest.mark.parametrize(
    ("objective", "hand", "at"),
    [
        (lambda w: torch.relu(w).sum(), lambda w: (w > 0).to(D), t(0.0, 1.0)),
        (lambda w: torch.relu(w).sum(), lambda w: (w >= 0).to(D), t(0.0, 1.0)),
        (lambda w: w.abs().sum(), lambda w: w.sign(), t(0.0, 1.0)),
        (lambda w: w.max(), lambda w: (w == w.max()).to(D), t(1.0, 1.0, 0.0)),
    ],
    ids=["relu", "relu, other side", "abs", "max with ties"],
)
def test_kink(objective, hand, at):
    """Where the one-sided slopes differ nothing is compared, and the check is not ok."""
    report = check_partials(objective, hand, at)
    assert report.results[0].verdict == "kink"
    assert not report.ok


def test_kink_does_not_hide_a_mistake():
    """At a kink the moved points still show a wrong derivation."""
    hand = lambda w: 2 * (w > 0).to(D)  # noqa: E731
    assert verdict(lambda w: torch.relu(w).sum(), hand, t(0.0, 1.0)).verdict == "wrong"


def test_near_kink():
    """A kink within the first finite-difference step, but not at the point, changes nothing."""
    result = verdict(lambda w: torch.relu(w).sum(), lambda w: (w > 0).to(D), t(1e-5, 1.0, -1e-6))
    assert result.verdict == "ok"


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e8])
def test_scale(scale):
    """The objective's scale changes nothing: 1e-5 relative is caught, the right partial is ok."""
    assert verdict(lambda w: scale * square(w), lambda w: scale * 2 * w, W).verdict == "ok"
    off = verdict(lambda w: scale * square(w), lambda w: scale * 2 * w * (1 + 1e-5), W)
    assert off.verdict == "wrong"


def test_float32():
    """float32 partials are right to float32's rounding, and mistakes are named as in float64."""
    X, Y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.ones(5, 2)
    weights = init_weights((3, 4, 2), dtype=torch.float32)
    assert check_partials(network_mse(X, Y), network_partials(X, Y), weights).ok
    wrong = verdict(square, lambda w: -2 * w, W.float())
    assert [c.kind for c in wrong.causes] == ["sign"]


def test_zero_gradient_is_undecided():
    """A gradient that is zero everywhere proves nothing; one claimed for it is wrong."""
    assert verdict(lambda w: (w * 0).sum(), lambda w: 0 * w, W).verdict == "undecided"
    assert verdict(lambda w: (w * 0).sum(), lambda w: w, W).verdict == "wrong"


def test_right_at_the_given_point_only():
    """The moved points catch a derivation that is right at the given point alone."""
    hand = lambda w: 3 * w * W  # noqa: E731
    assert verdict(lambda w: (w**3).sum(), hand, W).verdict == "wrong"
    assert verdict(lambda w: (w**3).sum(), hand, W, points=1).verdict == "ok"


def _saved_then_edited(w):
    y = torch.exp(w)
    total = y.sum()
    y.mul_(2)
    return total + y.sum()


@pytest.mark.parametrize(
    "objective",
    [
        lambda w: (w * w.detach()).sum(),
        lambda w: square(w) * square(w).item(),
        lambda w: torch.nn.functional.dropout(w, 0.5).pow(2).sum(),
        lambda w: w.mul_(2).sum(),
        _saved_then_edited,
        lambda _w: 1 / 0,
        lambda w: torch.log(-w.abs()).sum(),
    ],
    ids=["detach", "item", "dropout", "edits its argument", "edits what autograd saved",
         "raises", "not finite"],
)  # fmt: skip
def test_the_objective_is_at_fault(objective):
    """Where autograd cannot be trusted the verdict is on the objective, not on the derivation."""
    result = verdict(objective, lambda w: 2 * w, W)
    assert result.verdict == "objective"
    assert result.note


@pytest.mark.parametrize("seed", range(40))
def test_dropout_on_few_entries_is_seen_whatever_the_seed(seed):
    """Two masks of three entries are equal one time in eight: more than two calls are compared."""
    torch.manual_seed(seed)
    random = lambda w: torch.nn.functional.dropout(w, 0.5).pow(2).sum()  # noqa: E731
    assert verdict(random, lambda w: 2 * w, W).verdict == "objective"


def test_random_numbers_that_the_objective_seeds_itself_are_no_fault():
    """A fixed draw is a constant."""

    def seeded(w):
        torch.manual_seed(3)
        return (w * torch.randn(3, dtype=w.dtype)).sum()

    torch.manual_seed(3)
    drawn = torch.randn(3, dtype=W.dtype)
    assert verdict(seeded, lambda _w: drawn.clone(), W).verdict == "ok"


def _edits_its_own(w):
    y = w * 2
    y.add_(w**2)
    return (y**2).sum()


def test_in_place_edit_of_a_value_of_its_own_is_replayed():
    """An in-place step that autograd can follow is no obstacle to naming the mistake."""
    right = lambda w: 2 * (2 * w + w**2) * (2 + 2 * w)  # noqa: E731
    assert verdict(_edits_its_own, right, W).verdict == "ok"
    wrong = verdict(_edits_its_own, lambda w: 2 * (2 * w + w**2) * 2, W)
    assert "dropped_term" in {c.kind for c in wrong.causes}


@pytest.mark.parametrize(
    ("given", "note"),
    [
        (lambda w: 2 * w[None], "shape"),
        (lambda w: square(w), "shape"),
        (lambda w: (2 * w).float(), "dtype"),
        (lambda _w: torch.ones(3, device="meta"), "meta"),
        (lambda w: w * math.nan, "NaN"),
        (lambda _w: None, "NoneType"),
        (lambda w: (w, w), "got 2"),
        (lambda w: {"w": w}, "dict"),
        (lambda _w: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_odd_returns(given, note):
    """What a derivation returns is never broadcast or cast in silence; the rule is named."""
    result = verdict(square, given, W)
    assert result.verdict == "wrong"
    assert note in result.note


def test_a_list_of_partials():
    """A list of one partial per weight is as good as a tuple."""
    assert verdict(square, lambda w: [2 * w], W).verdict == "ok"


def test_bad_arguments():
    """The caller's own mistakes raise and name the rule."""
    with pytest.raises(ValueError, match="did you forget"):
        check_partials(lambda w: w, lambda w: w, W)
    with pytest.raises(ValueError, match="finite"):
        check_partials(square, lambda w: w, t(math.nan))
    with pytest.raises(ValueError, match="points"):
        check_partials(square, lambda w: w, W, points=0)


def test_nothing_is_modified():
    """The point passed in and torch's generator are left as they were."""
    at, state = W.clone(), torch.get_rng_state()
    check_partials(square, lambda w: w.mul_(3), at)
    assert torch.equal(at, W)
    assert torch.equal(torch.get_rng_state(), state)


def test_report():
    """The report prints, is JSON-ready and makes a table; assert_partials raises."""
    report = check_partials(square, lambda w: w * math.nan, W)
    json.dumps(report.to_dict(), allow_nan=False)
    assert "<table>" in report._repr_html_()
    with pytest.raises(AssertionError, match="WRONG"):
        assert_partials(square, lambda w: w, W)
    assert_partials(square, lambda w: 2 * w, W)


def test_offered_kinds_name_the_line():
    """The cause of the classic mistake names the function and the line it stands on."""
    X, Y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double(), torch.ones(6, 3)

    def hand(W1, W2):
        H = torch.sigmoid(X @ W1)
        P = torch.sigmoid(H @ W2)
        D2 = 2 / 18 * (P - Y) * P * (1 - P)
        return X.T @ (D2 @ W2.T * H), H.T @ D2

    report = check_partials(network_mse(X, Y), hand, init_weights((4, 2, 3)))
    assert [r.verdict for r in report.results] == ["wrong", "ok"]
    assert report.results[0].causes[0].kind == "value_for_derivative"
    assert "sigmoid, network.py:" in report.results[0].causes[0].message
