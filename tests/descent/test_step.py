"""One step: the update, the gradient norm and the reasons to stop, for one run and for many."""

import math

import pytest
import torch

from gd_torch import Stop
from gd_torch.descent.step import (
    batch_gradient_norms,
    batch_stop_codes,
    batch_update,
    gradient_norm,
    stop_reason,
    update,
)

NAN, INF = math.nan, math.inf


def weights_and_partials(dtype, device):
    """Two weights of shapes (3, 2) and (), and partials of the same shapes."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator) for shape in ((3, 2), (), (3, 2), ())]
    a, b, da, db = (t.to(device, dtype) for t in tensors)
    return (a, b), (da, db)


def test_the_update_is_weight_minus_rate_times_partial(dtype, device):
    """Bit by bit, with the learning rate of each weight."""
    (a, b), (da, db) = weights_and_partials(dtype, device)
    moved_a, moved_b = update((a, b), (da, db), (0.5, 0.25))
    assert torch.equal(moved_a, a - 0.5 * da) and torch.equal(moved_b, b - 0.25 * db)
    assert moved_a.dtype == moved_b.dtype == dtype and moved_a.device == a.device


def test_the_update_modifies_neither_weights_nor_partials(dtype, device):
    """It returns new tensors that share no memory with its arguments."""
    weights, partials = weights_and_partials(dtype, device)
    before = [t.clone() for t in (*weights, *partials)]
    for w in update(weights, partials, (0.5, 0.25)):
        w.fill_(7.0)
    assert all(torch.equal(a, b) for a, b in zip((*weights, *partials), before, strict=True))


def test_an_infinite_rate_gives_weights_that_are_not_finite():
    """A rate beyond the dtype's range diverges even if a partial is zero."""
    (w,) = update((torch.ones(2),), (torch.tensor([1.0, 0.0]),), (INF,))
    assert w[0] == -INF and w[1].isnan()


def test_many_runs_are_updated_as_each_alone(dtype, device):
    """Every run with its own rate for each weight."""
    weights, partials = weights_and_partials(dtype, device)
    runs = tuple(torch.stack([w, 2 * w, -w]) for w in weights)
    slopes = tuple(torch.stack([d, d / 2, 4 * d]) for d in partials)
    rates = tuple(torch.tensor(r).to(device, dtype) for r in ((0.5, 2.0, 1.0), (0.25, 1.0, 8.0)))
    moved = batch_update(runs, slopes, rates)
    for i in range(3):
        alone = update(
            tuple(w[i] for w in runs), tuple(d[i] for d in slopes), [r[i].item() for r in rates]
        )
        assert all(torch.equal(m[i], w) for m, w in zip(moved, alone, strict=True))


# Powers of two, whose squares overflow, are exact, or underflow in the dtype.
SCALES = {torch.float32: (2.0**100, 1.0, 2.0**-100), torch.float64: (2.0**700, 1.0, 2.0**-700)}


def test_the_norm_is_euclidean_over_all_weights_at_every_scale(dtype, device):
    """hypot(3, 4) = 5, also if a square overflows or underflows."""
    for scale in SCALES[dtype]:
        partials = tuple(torch.tensor(x, dtype=dtype, device=device) for x in (3.0, [4.0, 0.0]))
        scaled = tuple(d * scale for d in partials)
        assert gradient_norm(scaled) == 5 * scale
        norms, largest = batch_gradient_norms(tuple(d[None] for d in scaled))
        assert norms.item() == 5 * scale
        assert largest.item() == 4 * scale


def test_the_norm_of_zero_is_zero():
    """And that of a tensor without entries."""
    assert gradient_norm((torch.zeros(3), torch.zeros(0))) == 0
    assert batch_gradient_norms((torch.zeros(1, 3),))[0].item() == 0


REASONS = [
    # loss, partials, following, tolerance, at_limit, expected
    (1.0, [0.3, 0.4], [1.0, 1.0], 0.0, False, None),
    (1.0, [0.0, 0.0], [1.0, 1.0], 0.0, False, None),
    (NAN, [0.3, 0.4], [1.0, 1.0], 0.0, False, Stop.LOSS),
    (INF, [0.3, 0.4], [1.0, 1.0], 0.0, False, Stop.LOSS),
    (-INF, [0.3, 0.4], [1.0, 1.0], 0.0, False, Stop.LOSS),
    (1.0, [NAN, 0.4], [NAN, 1.0], 0.0, False, Stop.GRADIENT),
    (1.0, [0.3, -INF], [1.0, INF], 0.0, False, Stop.GRADIENT),
    (1.0, [0.3, 0.4], [1.0, 1.0], 0.6, False, Stop.TOLERANCE),
    (1.0, [0.3, 0.4], [1.0, 1.0], 0.4, False, None),
    (1.0, [0.3, 0.4], [1.0, 1.0], 0.0, True, Stop.STEPS),
    (1.0, [0.3, 0.4], [1.0, INF], 0.0, False, Stop.WEIGHT),
    (1.0, [0.3, 0.4], [NAN, 1.0], 0.0, False, Stop.WEIGHT),
    # several reasons: the first in the order of the module
    (NAN, [NAN, 0.4], [NAN, 1.0], 0.6, True, Stop.LOSS),
    (1.0, [NAN, 0.4], [NAN, 1.0], 0.6, True, Stop.GRADIENT),
    (1.0, [0.3, 0.4], [INF, 1.0], 0.6, True, Stop.TOLERANCE),
    (1.0, [0.3, 0.4], [INF, 1.0], 0.0, True, Stop.STEPS),
]


@pytest.mark.parametrize(
    ("loss", "partials", "following", "tolerance", "at_limit", "expected"), REASONS
)
def test_a_run_stops_for_the_first_reason(
    loss, partials, following, tolerance, at_limit, expected, dtype, device
):
    """Loss, partial, tolerance, step limit, updated weight: for one run and as codes of many."""
    slopes = (torch.tensor(partials, dtype=dtype, device=device),)
    moved = (torch.tensor(following, dtype=dtype, device=device),)
    reason = stop_reason(loss, gradient_norm(slopes), slopes, moved, tolerance, at_limit)
    assert reason is expected
    norms, largest = batch_gradient_norms((slopes[0][None],))
    codes = batch_stop_codes(
        torch.tensor([loss], dtype=dtype, device=device), norms, largest, (moved[0][None],),
        tolerance, torch.tensor([at_limit], device=device),
    )  # fmt: skip
    assert codes.tolist() == [0 if expected is None else int(expected)]


def test_an_overflowing_norm_of_finite_partials_is_no_divergence(dtype, device):
    """Every partial and every updated weight is finite, although their sums are not."""
    largest = torch.finfo(dtype).max
    partials = (torch.full((4,), largest, dtype=dtype, device=device),)
    norm = gradient_norm(partials)
    assert stop_reason(1.0, norm, partials, partials, 0.0, False) is None


def test_the_tolerance_is_exclusive():
    """A norm equal to the tolerance does not stop the run."""
    partials = (torch.tensor([3.0, 4.0]),)
    assert stop_reason(1.0, 5.0, partials, None, 5.0, False) is None
    assert stop_reason(1.0, 5.0, partials, None, 5.0000001, False) is Stop.TOLERANCE


def test_unknown_updated_weights_are_not_checked():
    """None stands for weights that are known to be finite."""
    assert stop_reason(1.0, 1.0, (torch.ones(1),), None, 0.0, False) is None
