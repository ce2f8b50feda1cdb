"""Autograd against the closed form and against central differences."""

import pytest
import torch

from gd_torch import (
    bowl,
    bowl_partials,
    curve,
    curve_partials,
    load_iris,
    network_mse,
    network_partials,
    partials,
    value_and_partials,
)

POINTS = 100


def network_data(inputs, outputs, device):
    """Iris where it fits, else seeded random data in (0, 1)."""
    if (inputs, outputs) == (4, 3):
        return load_iris(device=device)[:2]
    generator = torch.Generator().manual_seed(7)
    X = torch.randn(20, inputs, generator=generator, dtype=torch.float64)
    Y = torch.rand(20, outputs, generator=generator, dtype=torch.float64)
    return X.to(device), Y.to(device)


@pytest.fixture(params=["curve", "bowl", (4, 2, 3), (4, 4, 3), (7, 5, 2)], ids=str)
def derivation(request, device):
    """An objective, its partials by hand, the shapes of its weights and the device."""
    if request.param == "curve":
        return curve, curve_partials, [()], device
    if request.param == "bowl":
        return bowl, bowl_partials, [(), ()], device
    inputs, hidden, outputs = request.param
    X, Y = network_data(inputs, outputs, device)
    shapes = [(inputs, hidden), (hidden, outputs)]
    return network_mse(X, Y), network_partials(X, Y), shapes, device


def random_points(shapes, device):
    """Seeded points, every weight standard normal."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(POINTS):
        yield [torch.randn(s, generator=generator, dtype=torch.float64).to(device) for s in shapes]


def test_autograd_equals_the_closed_form(derivation):
    """Relative error at most 1e-12 in float64 at 100 points."""
    objective, hand, shapes, device = derivation
    for at in random_points(shapes, device):
        for auto, exact in zip(partials(objective)(*at), hand(*at), strict=True):
            assert auto.shape == exact.shape
            assert (auto - exact).abs().max() <= 1e-12 * exact.abs().max()


def test_central_differences_are_a_third_witness(derivation):
    """(f(w + h) - f(w - h)) / 2h agrees to 1e-7 of the largest partial, entry by entry."""
    objective, hand, shapes, device = derivation
    h = 1e-5
    for at in list(random_points(shapes, device))[:10]:
        exact = hand(*at)
        for i, w in enumerate(at):
            numeric = torch.empty_like(w)
            for k in range(w.numel()):
                nudge = torch.zeros(w.numel(), dtype=w.dtype, device=device)
                nudge[k] = h
                ahead, behind = list(at), list(at)
                ahead[i], behind[i] = w + nudge.view(w.shape), w - nudge.view(w.shape)
                numeric.view(-1)[k] = (objective(*ahead) - objective(*behind)) / (2 * h)
            largest = max(d.abs().max() for d in exact)
            assert (numeric - exact[i]).abs().max() <= 1e-7 * largest


def test_partials_are_detached_and_inputs_untouched(dtype, device):
    """No graph, no .grad, no flag is left behind; dtype and device are the weight's."""
    w1 = torch.tensor(3.0, dtype=dtype, device=device, requires_grad=True)
    w2 = torch.tensor(2.0, dtype=dtype, device=device)
    value, slopes = value_and_partials(bowl)(w1, w2)
    assert not value.requires_grad and not any(d.requires_grad for d in slopes)
    assert w1.grad is None and w1.requires_grad and not w2.requires_grad
    assert [d.dtype for d in slopes] == [dtype] * 2
    assert [d.item() for d in slopes] == [12, 4]


def test_partials_work_under_no_grad():
    """A caller's no_grad block does not break them."""
    with torch.no_grad():
        assert partials(curve)(1.9)[0].item() == pytest.approx(25.66099)


def test_a_weight_that_is_not_used_has_the_partial_zero():
    """As mathematics says."""
    d1, d2 = partials(lambda w1, _w2: w1**2)(3.0, torch.ones(2, dtype=torch.float64))
    assert d1.item() == 6 and d2.tolist() == [0, 0]


def test_a_float_joins_the_dtype_of_the_tensor_beside_it():
    """Mixed shorthand keeps one precision."""
    slopes = partials(bowl)(torch.tensor(1.0, dtype=torch.float32), 2.0)
    assert {d.dtype for d in slopes} == {torch.float32}


@pytest.mark.parametrize(
    ("objective", "error", "words"),
    [
        (lambda w: w * torch.ones(150), ValueError, r"got \(150,\): did you forget `.mean\(\)`"),
        (lambda w: w.reshape(1), ValueError, r"one scalar of shape \(\), got \(1,\)"),
        (lambda w: w.item(), TypeError, "must return a tensor, got float"),
        (lambda _w: None, TypeError, "must return a tensor, got NoneType"),
        (lambda w: w.detach(), ValueError, "must depend on a weight through torch operations"),
        (lambda _w: torch.tensor(1.0), ValueError, "must depend on a weight"),
        (lambda w: (w > 0).long(), TypeError, "real floating-point scalar, got torch.int64"),
        (
            lambda w: torch.complex(w, w),
            TypeError,
            "real floating-point scalar, got torch.complex128",
        ),
    ],
)
def test_unusable_objectives_are_refused(objective, error, words):
    """The error names the rule and what arrived."""
    with pytest.raises(error, match=words):
        partials(objective)(2.0)


@pytest.mark.parametrize("weight", [2, True, torch.tensor(2), torch.tensor(1j), "2", None, [1.0]])
def test_weights_that_are_not_floating_are_refused(weight):
    """Whole numbers have no partials; the message says how to write one."""
    with pytest.raises(TypeError, match=r"`weights` must be floating point \(write 2.0, not 2\)"):
        partials(curve)(weight)


def test_an_objective_that_edits_its_argument_changes_no_weight_of_the_caller():
    """It works on a copy."""

    def projected(w):
        with torch.no_grad():
            w.clamp_(min=0)
        return (w + 1).square().sum()

    w = torch.tensor([2.0, -1.0])
    value, (d,) = value_and_partials(projected)(w)
    assert w.tolist() == [2, -1]
    assert (value.item(), d.tolist()) == (10, [6, 2])
