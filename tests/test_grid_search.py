"""Grid search: the lowest point, bounded memory, and refusing the hopeless."""

import math
import tracemalloc

import pytest
import torch

from gd_torch import bowl, brute_force, curve
from gd_torch.grid_search import CHUNK_POINTS, GridCost, _duration, search_cost


def axis(low, high, points):
    return torch.linspace(low, high, points, dtype=torch.float64)


def test_the_lowest_point_of_a_plane():
    """Both axes are walked; the value belongs to the weights."""
    weights, value, evaluations = brute_force(bowl, axis(-1, 1, 201), axis(-2, 3, 501))
    assert [w.item() for w in weights] == pytest.approx([0, 0], abs=1e-15)
    assert value == bowl(*weights)
    assert evaluations == 201 * 501


def test_chunks_cover_the_whole_grid():
    """A grid of several chunks and a rest gives what one evaluation of all gives."""
    w = axis(-2, 2, 3 * CHUNK_POINTS + 17)
    weights, value, _ = brute_force(curve, w)
    i = curve(w).argmin()
    assert weights[0] == w[i] and value == curve(w)[i]
    last = axis(5, -5, 2 * CHUNK_POINTS + 1)
    assert brute_force(lambda w: w, last).weights[0].item() == -5


def test_among_equal_values_the_first_wins():
    """Within a chunk and over chunks; the last axis runs fastest."""
    found = brute_force(lambda a, b: (a + b) * 0, axis(1, 2, 300), axis(3, 4, 300))
    assert [w.item() for w in found.weights] == [1, 3]
    steps = brute_force(
        lambda w: w.floor().abs(), torch.arange(4 * CHUNK_POINTS).double() / CHUNK_POINTS - 2
    )
    assert steps.weights[0].item() == 0


def test_keep_all_gives_every_point_of_the_grid(dtype, device):
    """Shape (len(axis 1), len(axis 2)), ready for a contour plot."""
    a, b = axis(-1, 1, 5).to(device, dtype), axis(0, 1, 3).to(device, dtype)
    weights, value, evaluations = brute_force(bowl, a, b, keep="all")
    assert value.shape == weights[0].shape == (5, 3) and evaluations == 15
    assert torch.equal(value, bowl(a[:, None], b))
    assert torch.equal(weights[1][2], b)


def test_nan_never_wins():
    """The logarithm of a negative number is no minimum."""
    found = brute_force(lambda w: torch.log(w) ** 2, axis(-2, 2, 401))
    assert found.weights[0].item() == pytest.approx(1.0, abs=1e-12)
    infinite = brute_force(lambda w: 1 / w, torch.tensor([-1.0, -0.0, 2.0]))
    assert infinite.value.item() == -math.inf
    with pytest.raises(ValueError, match="NaN at all 3 points"):
        brute_force(lambda w: torch.sqrt(w), axis(-3, -1, 3))


def test_an_objective_with_a_python_branch_is_evaluated_point_by_point():
    """What cannot be batched is still searched."""
    found = brute_force(lambda w: w if w > 0.5 else 2 - w, axis(0, 1, 200))
    assert 0.5 < found.weights[0].item() == found.value.item() < 0.51


def test_the_grid_of_14_weights_is_refused_with_its_cost():
    """1e28 evaluations and the years they take, at a speed that was measured."""
    axes = [axis(-1, 1, 100)] * 14
    cost = search_cost(lambda *w: torch.stack(w).square().sum(), *axes)
    assert cost.evaluations == 10**28
    assert cost.years == pytest.approx(1e28 / cost.per_second / (365.25 * 86400))
    with pytest.raises(ValueError, match=r"1e\+28 points: about \S+ years at the \S+ evaluations"):
        brute_force(lambda *w: torch.stack(w).square().sum(), *axes)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(5e-5, "5e-05 seconds"), (90, "90 seconds"), (600, "10 minutes"), (5e4, "14 hours"),
     (1e6, "12 days"), (1e9, "32 years")],
)  # fmt: skip
def test_durations_are_told_in_the_unit_a_person_would_use(seconds, told):
    """Neither 0.014 hours nor 86 400 seconds."""
    assert _duration(GridCost(evaluations=1000, per_second=1000 / seconds)) == told


def test_the_time_limit_is_the_callers():
    """A grid that would take longer is refused, a shorter one is not."""
    grid = axis(-1, 1, 10_000_000)
    with pytest.raises(ValueError, match="over the `time_limit` of 1e-06 s"):
        brute_force(curve, grid, time_limit=1e-6)


def test_memory_is_bounded_by_the_chunk():
    """A plane of four million points takes no more Python memory than a chunk's bookkeeping."""
    seen = []

    def watched(a, b):
        seen.append(a.shape)
        return a + b

    tracemalloc.start()
    found = brute_force(watched, axis(0, 1, 2000), axis(0, 1, 2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.evaluations == 4_000_000 and peak < 2**20
    assert len(seen) > 4_000_000 / CHUNK_POINTS


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((), TypeError, "floating-point tensors, one per weight"),
        ((torch.arange(3),), TypeError, "floating-point tensors"),
        (([0.0, 1.0],), TypeError, "floating-point tensors"),
        ((torch.ones(2, 2),), ValueError, r"shape \(k,\), k >= 1, got \(2, 2\)"),
        ((torch.ones(0),), ValueError, r"got \(0,\)"),
    ],
)
def test_unusable_axes_are_refused(arguments, error, words):
    """The error names the rule and what arrived."""
    with pytest.raises(error, match=words):
        brute_force(curve, *arguments)


def test_unusable_options_are_refused():
    """keep, time_limit, more points than keep="all" holds, and an objective of another shape."""
    with pytest.raises(ValueError, match="`keep` must be 'lowest' or 'all', got 'best'"):
        brute_force(curve, axis(0, 1, 3), keep="best")
    with pytest.raises(ValueError, match="`time_limit` must be positive and finite, got nan"):
        brute_force(curve, axis(0, 1, 3), time_limit=math.nan)
    with pytest.raises(ValueError, match=r"stores at most 1e\+08 points, the grid has 1e\+09"):
        brute_force(lambda a, b, c: a + b + c, *[axis(0, 1, 1000)] * 3, keep="all")
    with pytest.raises(ValueError, match=r"one scalar of shape \(\), got \(2,\)"):
        brute_force(lambda w: torch.stack([w, w]), axis(0, 1, 3))
