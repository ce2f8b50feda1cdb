"""Weight tensors, prediction, cost and the figures of a classifier."""

import pytest
import torch

from gd_torch import descend, init_weights, load_iris, network_mse, predict
from gd_torch.objectives.network import accuracy, confusion_matrix


@pytest.mark.parametrize(("widths", "count"), [((4, 2, 3), 14), ((4, 4, 3), 28), ((7, 5, 2), 45)])
def test_widths_give_two_matrices(widths, count, dtype, device):
    """(inputs, hidden) and (hidden, outputs), on the device and in the dtype asked for."""
    W1, W2 = init_weights(widths, seed=3, dtype=dtype, device=device)
    assert W1.shape == widths[:2] and W2.shape == widths[1:]
    assert W1.numel() + W2.numel() == count
    assert {W.dtype for W in (W1, W2)} == {dtype}
    assert {W.device.type for W in (W1, W2)} == {device}


def test_a_seed_names_one_start_everywhere():
    """The same numbers in both dtypes; others for another seed; the global generator untouched."""
    before = torch.get_rng_state()
    double = init_weights((4, 2, 3), seed=1)
    single = init_weights((4, 2, 3), seed=1, dtype=torch.float32)
    other = init_weights((4, 2, 3), seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b, c in zip(double, single, other, strict=True):
        assert torch.equal(a.float(), b)
        assert not torch.equal(a, c)


def test_start_weights_are_standard_normal():
    """Mean 0 and variance 1 within four standard errors over 40 000 draws."""
    W1, W2 = init_weights((200, 100, 200), seed=0)
    drawn = torch.cat([W1.flatten(), W2.flatten()])
    assert abs(drawn.mean()) < 4 / 40_000**0.5
    assert abs(drawn.var() - 1) < 4 * (2 / 40_000) ** 0.5


def test_prediction_is_two_sigmoid_layers(dtype, device):
    """P = s(s(X W1) W2), entry by entry."""
    X = load_iris(dtype=dtype, device=device).X[:5]
    W1, W2 = init_weights((4, 2, 3), dtype=dtype, device=device)
    hidden = 1 / (1 + torch.exp(-(X @ W1)))
    expected = 1 / (1 + torch.exp(-(hidden @ W2)))
    torch.testing.assert_close(predict(X, W1, W2), expected)


def test_the_cost_is_the_mean_over_all_entries():
    """450 squared errors for iris, divided by 450."""
    X, Y, _ = load_iris()
    weights = init_weights((4, 4, 3))
    squares = [
        (p - y) ** 2 for p, y in zip(predict(X, *weights).flatten(), Y.flatten(), strict=True)
    ]
    assert network_mse(X, Y)(*weights).item() == pytest.approx(float(sum(squares)) / 450, rel=1e-12)


def test_data_follow_the_weights_dtype_and_device():
    """One pair of data serves float32 weights and weights on the meta device."""
    X, Y, _ = load_iris()
    mse = network_mse(X, Y)
    assert mse(*init_weights((4, 2, 3), dtype=torch.float32)).dtype == torch.float32
    assert mse(*init_weights((4, 2, 3), device="meta")).is_meta


@pytest.mark.parametrize(
    ("X", "Y", "error", "words"),
    [
        (torch.ones(3), torch.ones(3, 1), ValueError, r"`X` must have shape \(n, columns\)"),
        (torch.ones(0, 4), torch.ones(0, 3), ValueError, "`X` must have shape"),
        (torch.ones(3, 4), torch.ones(2, 3), ValueError, "the same number of rows, got 3 and 2"),
        (
            torch.ones(3, 4).long(),
            torch.ones(3, 1),
            TypeError,
            "floating-point tensor, got torch.i",
        ),
        ([[1.0]], torch.ones(1, 1), TypeError, "`X` must be a floating-point tensor, got list"),
        (torch.ones(1, 1) / 0, torch.ones(1, 1), ValueError, "`X` must be finite"),
    ],
)
def test_unusable_data_are_refused(X, Y, error, words):
    """The error names the rule and what arrived."""
    with pytest.raises(error, match=words):
        network_mse(X, Y)


def test_outputs_that_would_broadcast_are_refused():
    """One output against three target columns is a mistake, not a mean."""
    mse = network_mse(torch.ones(5, 4), torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"targets' shape \(5, 3\), got \(5, 1\)"):
        mse(torch.ones(4, 2), torch.ones(2, 1))


@pytest.mark.parametrize("widths", [(4, 2), (4, 2, 3, 1), (4, 0, 3), (4, 2.0, 3), (4, True, 3)])
def test_unusable_widths_are_refused(widths):
    """They must be three integers of at least 1."""
    with pytest.raises(ValueError, match="three integers"):
        init_weights(widths)


@pytest.mark.parametrize("seed", [-1, 1.5, None, 2**64])
def test_unusable_seeds_are_refused(seed):
    """It must be an integer from 0 to 2^64 - 1."""
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        init_weights((4, 2, 3), seed=seed)


def test_start_weights_need_a_floating_dtype():
    """Whole numbers cannot descend."""
    with pytest.raises(
        TypeError, match=r"`dtype` must be a floating-point torch dtype, got torch.int64"
    ):
        init_weights((4, 2, 3), dtype=torch.int64)


def test_accuracy_and_confusion_count_the_same_rows():
    """The diagonal over the sum is the accuracy; rows sum to the class sizes."""
    X, Y, _ = load_iris()
    run = descend(network_mse(X, Y), init_weights((4, 4, 3)), learning_rate=1.0, steps=50)
    P = predict(X, *run.weights)
    counts = confusion_matrix(P, Y)
    assert counts.sum(1).tolist() == [50, 50, 50]
    assert counts.diagonal().sum().item() / 150 == pytest.approx(accuracy(P, Y))
    assert 0 < accuracy(P, Y) < 1
