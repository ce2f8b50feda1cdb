"""The results that the figures show, against single runs and the tutorial's numbers."""

import pytest
import torch

from gd_torch import curve, descend, init_weights, plots
from gd_torch.tutorial import figure_data, trainability_data


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small nets run no faster on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_steps_by_hand_round_half_up():
    """The steps by hand are 1.9, 1.64, 1.52 with the slopes 25.66 and 12.50."""
    (first, second, third) = figure_data.by_hand()
    assert first == (1.9, 25.66) and second == (1.64, 12.5) and third[0] == 1.52


def test_single_steps_end_where_the_tutorial_says():
    """Both weights 77.44, w1 only 95.08, w2 only 159.36; the other weight does not move."""
    found = figure_data.bowl_runs()
    ends = {name: float(found[name].losses[-1]) for name in found}
    assert ends["both weights"] == pytest.approx(77.44)
    assert ends["w₁ only"] == pytest.approx(95.08) and ends["w₂ only"] == pytest.approx(159.36)
    assert found["w₁ only"].path[1].tolist() == [7, 7]
    assert found["w₂ only"].path[0].tolist() == [-8, -8]


def test_one_weight_at_a_time_needs_twice_the_gradients():
    """On the separable bowl 2k alternating updates reach exactly the point of k joint ones."""
    one, both = figure_data.one_weight_at_a_time(), figure_data.all_at_once()
    assert one.losses[::2].tolist() == pytest.approx(both.losses[:13].tolist())
    assert one.losses[1].item() == pytest.approx(95.08)


def test_best_direction_differs_from_the_gradient_for_long_steps():
    """For a short step the gradient is the best direction; for longer ones it is further off."""
    off = [abs(float(scan.degrees[scan.best])) for scan in figure_data.direction_scans()]
    assert off == sorted(off) and off[0] < 1 and off[-1] > 5
    at_gradient = figure_data.direction_scans()[2]
    here = int(at_gradient.degrees.abs().argmin())
    assert float(at_gradient.losses[here]) == pytest.approx(77.44)
    assert float(at_gradient.losses.min()) < 77.4


def test_learning_rate_outcomes_agree_with_single_runs():
    """The runs of the map, made together, end as single runs do."""
    starts = torch.tensor([-2.0, 0.5, 1.9]).double()
    rates = torch.tensor([0.001, 0.1, 0.5, 0.9]).double()
    outcomes, steps = figure_data.learning_rate_outcomes(starts, rates, 1000)
    converges, slow, bounces, diverges = plots.Outcome
    for row, rate in enumerate(rates.tolist()):
        for column, start in enumerate(starts.tolist()):
            alone = descend(curve, start, learning_rate=rate, steps=1000, tolerance=1e-8)
            assert steps[row, column] == alone.steps
            assert (outcomes[row, column] == converges) == alone.converged
            assert (outcomes[row, column] == diverges) == alone.stop.diverged
    assert outcomes[0].tolist() == [slow] * 3 and outcomes[3, 1] == bounces


def test_trainability_agrees_with_single_runs(monkeypatch):
    """Each cell equals a single descent; rows are rates of W2, columns rates of W1."""
    monkeypatch.setattr(trainability_data, "STEPS", 50)
    first = torch.tensor([0.1, 3.0, 100.0]).double()
    second = torch.tensor([0.5, 30.0]).double()
    found = trainability_data.train_grid(first, second)
    assert found.losses.shape == (2, 3)
    start = init_weights((4, 4, 3), seed=0, dtype=torch.float32)
    mse = trainability_data.standardised_mse()
    for row, column in ((0, 0), (0, 2), (1, 1), (1, 0)):
        pair = (float(first[column]), float(second[row]))
        alone = descend(mse, start, learning_rate=pair, steps=50).losses[-1].item()
        assert found.losses[row, column].item() == pytest.approx(alone, rel=1e-4)


def test_learnt_threshold_is_a_ninth():
    """With two species predicted as a half each, 100 rows have errors of 2/4, over 450 entries."""
    assert trainability_data.learnt_threshold() == pytest.approx(1 / 9)


def test_seeds_trained_together_equal_single_runs(monkeypatch):
    """A seed trained together with others has the loss of a single run, at every rate."""
    monkeypatch.setattr(figure_data, "STEPS", 40)
    monkeypatch.setattr(figure_data, "SEEDS", 5)
    alone = figure_data.network_run(seed=2).losses[-1].item()
    _, losses = figure_data.losses_by_seed(2)
    assert losses[-1, 2].item() == pytest.approx(alone, rel=1e-12)
    by_rate = figure_data.losses_by_rate((0.1, 1.0), 4)
    slow = descend(
        figure_data.iris_mse(), init_weights((4, 2, 3), seed=1), learning_rate=0.1, steps=40
    )
    assert by_rate[0, 1].item() == pytest.approx(slow.losses[-1].item(), rel=1e-12)
    assert by_rate[1, 2].item() == pytest.approx(alone, rel=1e-12)


def test_scalar_partials_are_the_matrices_entries():
    """28 partials computed one at a time equal the entries of the two matrices."""
    both = figure_data.scalars_against_matrices(4)
    assert both.scalars.shape == (28,)
    assert both.scalars.tolist() == pytest.approx(both.matrices.tolist(), abs=1e-15)
    assert both.scalar_seconds > both.matrix_seconds > 0
