"""descend_many: each run equals that of descend with the same settings."""

import contextlib
import math
import warnings

import pytest
import torch

from gd_torch import BOWL, CURVE, Stop, bowl, curve, descend, descend_many, load_iris, network_mse
from gd_torch.compiler import Program
from gd_torch.descent.eager_batch import EagerBlock
from gd_torch.descent.plan import BatchPlan
from gd_torch.descent.recorder import BatchRecorder

STEPPERS = pytest.mark.parametrize("stepper", ["eager", "compiled"])


def numbers(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_each_is_the_run_alone(objective, starts, rates, runs, rtol=1e-12, **options):
    """Weights, loss, norm, steps and stop of every run."""
    for i in range(len(starts[0])):
        rate = rates[i].tolist() if isinstance(rates, torch.Tensor) else rates
        alone = descend(
            objective,
            tuple(w[i] for w in starts),
            learning_rate=rate,
            record="last",
            stepper="eager",
            **options,
        )
        assert (runs.steps[i], runs.stop[i]) == (alone.steps, alone.stop)
        for together, w in zip(runs.weights, alone.weights, strict=True):
            assert together.dtype == w.dtype and together[i].shape == w.shape
            torch.testing.assert_close(together[i], w, rtol=rtol, atol=rtol * float(w.abs().max()))
        torch.testing.assert_close(runs.losses[i], alone.losses[-1], rtol=rtol, atol=1e-15)


@STEPPERS
def test_curves_with_different_starts_and_rates(stepper):
    """Converged, diverged and unfinished runs in one call, each with its own step and reason."""
    rates = torch.logspace(-3, 0.3, 300, dtype=torch.float64)
    starts = (torch.linspace(-2, 2, 300, dtype=torch.float64),)
    options = {"steps": 400, "tolerance": 1e-6}
    runs = descend_many(curve, starts, rates, stepper=stepper, **options)
    assert set(runs.stop) >= {Stop.STEPS, Stop.TOLERANCE, Stop.LOSS}
    assert_each_is_the_run_alone(curve, starts, rates, runs, rtol=1e-9, **options)
    assert runs.converged.tolist() == [stop is Stop.TOLERANCE for stop in runs.stop]
    assert runs.diverged.tolist() == [stop.diverged for stop in runs.stop]


@STEPPERS
def test_nets_with_one_rate_per_run_and_weight(stepper, dtype):
    """More runs than fit in a block."""
    X, Y, _ = load_iris()
    mse = network_mse(X, Y)
    starts = numbers(300, 4, 2, dtype=dtype), numbers(300, 2, 3, seed=1, dtype=dtype)
    rates = numbers(300, 2, seed=2).abs() + 0.01
    runs = descend_many(mse, starts, rates, steps=60, stepper=stepper)
    some = torch.arange(0, 300, 17)
    picked = tuple(w[some] for w in starts)
    rtol = 1e-12 if dtype == torch.float64 else 1e-4
    few = descend_many(mse, picked, rates[some], steps=60, stepper="eager")
    for a, b in zip(few.weights, runs.weights, strict=True):
        torch.testing.assert_close(a, b[some], rtol=rtol, atol=rtol)
    assert_each_is_the_run_alone(mse, picked, rates[some], few, rtol=rtol, steps=60)


@STEPPERS
def test_the_bowl_in_closed_form(stepper):
    """w1 (1 - 4 alpha)^t and w2 (1 - 2 alpha)^t for every run."""
    starts = numbers(50), numbers(50, seed=1)
    rates = torch.linspace(0.01, 0.4, 50, dtype=torch.float64)
    runs = descend_many(bowl, starts, rates, steps=40, stepper=stepper)
    exact = starts[0] * (1 - 4 * rates) ** 40, starts[1] * (1 - 2 * rates) ** 40
    for w, closed, start in zip(runs.weights, exact, starts, strict=True):
        assert ((w - closed).abs() <= 1e-12 * start.abs()).all()


def test_dtype_and_device_are_those_of_the_starts(dtype, device):
    """Results have the dtype and device of the starts, which are not modified."""
    starts = torch.tensor([1.9, 0.5], dtype=dtype, device=device)
    before = starts.clone()
    runs = descend_many(curve, starts, 0.1, steps=200)
    assert torch.equal(starts, before)
    assert runs.weights[0].dtype == dtype and runs.weights[0].device.type == device
    assert runs.losses.device.type == runs.steps.device.type == device
    assert (runs.weights[0] - CURVE.minimiser[0]).abs().max() < 1e-6


def test_zero_steps_evaluate_every_start():
    """Losses at the starts, without a step."""
    starts = tuple(torch.tensor([w, 0.0], dtype=torch.float64) for w in BOWL.start)
    runs = descend_many(bowl, starts, 0.1, steps=0)
    assert runs.losses.tolist() == [177, 0] and runs.steps.tolist() == [0, 0]


@STEPPERS
def test_a_hundred_thousand_runs_pass_through_bounded_blocks(stepper):
    """All end, in order; the callback counts up to the last one."""
    told = []
    starts = torch.linspace(-1.5, 1.5, 100_000, dtype=torch.float64)
    runs = descend_many(
        curve, starts, 0.1, steps=300, tolerance=1e-7, stepper=stepper, callback=told.append
    )
    assert told == sorted(told) and told[-1] == 100_000 and len(told) > 1
    assert runs.converged.all()
    alone = descend(curve, starts[70_000], learning_rate=0.1, steps=300, tolerance=1e-7)
    assert runs.steps[70_000] == alone.steps


def test_finished_runs_leave_the_block():
    """When all runs but one have diverged, the block contains only that one."""
    rates = torch.full((1000,), 5.0, dtype=torch.float64)
    rates[3] = 0.01
    starts = (torch.full((1000,), 1.9, dtype=torch.float64),)
    plan = BatchPlan(curve, (rates,), 500, 0.0, None)
    recorder = BatchRecorder(starts, torch.zeros((), dtype=torch.float64))
    block = EagerBlock(plan, recorder, starts, 1000)
    assert block.advance(1) == (999, 1000)
    assert len(block.runs) == len(block.weights[0]) == 1
    assert block.advance(1000) == (1000, 1000)
    runs = recorder.finish()
    assert runs.steps[3] == 500 and runs.diverged.sum() == 999


def test_an_objective_with_a_python_branch_is_run_sequentially():
    """An objective that vmap cannot batch can still be used."""

    def branch(w):
        return curve(w) if w > 0 else w**2

    starts = torch.tensor([1.9, -1.0, 0.3], dtype=torch.float64)
    runs = descend_many(branch, starts, 0.1, steps=30)
    assert_each_is_the_run_alone(branch, (starts,), 0.1, runs, steps=30)


def test_an_objective_that_cannot_be_compiled_runs_eagerly_with_one_warning():
    """A linear solve has no rule."""

    def solve(w):
        A = torch.diag(w**2 + 1)
        return torch.linalg.solve(A, torch.ones_like(w)).sum()

    starts = numbers(5, 3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = descend_many(solve, starts, 0.1, steps=20, stepper="compiled")
    assert len(told) == 1 and "cannot be compiled" in str(told[0].message)
    assert_each_is_the_run_alone(solve, (starts,), 0.1, runs, steps=20)


def test_the_bits_of_a_compiled_run_do_not_depend_on_the_other_runs():
    """Other runs, another index, another size of the batch: the same bits."""
    rates = torch.logspace(-3, 0, 300, dtype=torch.float64)
    starts = torch.linspace(-2, 2, 300, dtype=torch.float64)
    options = {"steps": 300, "tolerance": 1e-8, "stepper": "compiled"}
    whole = descend_many(curve, starts, rates, **options)
    few = descend_many(curve, starts[17:150], rates[17:150], total_runs=300, **options)
    for a, b in zip(whole.to_tensors(), few.to_tensors(), strict=True):
        assert torch.equal(a[17:150].nan_to_num(7.0), b.nan_to_num(7.0))


ONES = torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"starts": 1.9}, ValueError, r"one leading axis of runs, got \(\)"),
        ({"starts": torch.ones(3).long()}, TypeError, "`starts` must be floating point"),
        ({"starts": (ONES, torch.ones(2))}, ValueError, r"leading axis of runs, got \(3,\), \(2,"),
        ({"starts": ONES * math.nan}, ValueError, "must be finite"),
        ({"learning_rates": (0.1, 0.2)}, ValueError, r"one number, \(3,\) or \(3, 1\), got \(2,\)"),
        ({"learning_rates": (0.1, 0.2, -1)}, ValueError, "must be positive and finite, got -1"),
        ({"learning_rates": (0.1, 0.2, math.nan)}, ValueError, "must be positive and finite"),
        ({"learning_rates": "fast"}, TypeError, "`learning_rates` must be numbers, got 'fast'"),
        ({"steps": 1e3}, TypeError, "`steps` must be an integer, got 1000.0"),
        ({"steps": -1}, ValueError, "`steps` must be at least 0"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` must be not negative"),
        ({"stepper": "magic"}, ValueError, "`stepper` must be"),
        ({"objective": lambda w: w.expand(2)}, ValueError, r"shape \(\), got \(2,\)"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options, error, words):
    """The error gives the rule and the argument."""
    arguments = {"objective": curve, "starts": ONES, "learning_rates": 0.1, "steps": 5, **options}
    positional = [arguments.pop(name) for name in ("objective", "starts", "learning_rates")]
    with pytest.raises(error, match=words) as refusal:
        descend_many(*positional, **arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("stepper", ["eager", "compiled"])
def test_an_objective_that_edits_its_argument_edits_a_copy(stepper):
    """As with descend; the starts are not modified."""
    starts = torch.tensor([[2.0, -1.0], [-3.0, 0.5]], dtype=torch.float64)
    before = starts.clone()

    def projected(w):
        with torch.no_grad():
            w.copy_(w.relu())
        return (w + 1).square().sum()

    warned = pytest.warns(RuntimeWarning, match="edits a weight")
    with warned if stepper == "compiled" else contextlib.nullcontext():
        runs = descend_many(projected, starts, 0.1, steps=3, stepper=stepper)
    assert torch.equal(starts, before)
    assert_each_is_the_run_alone(projected, (starts,), 0.1, runs, steps=3)


@pytest.mark.parametrize("run", [0, 100, 255])
def test_every_uncertain_end_is_verified(run, monkeypatch):
    """If all partials are rounding errors, a wrong one of a single run is still detected."""
    run_many = Program.run_many

    def wrong(self, *given):
        ends = run_many(self, *given)
        if given[3] > 1:  # not the first steps
            ends.partials[run] += 1e-4
            ends.norms[run] = ends.partials[run].abs().item()
        return ends

    starts = torch.linspace(-2, 2, 4096)
    options = {"learning_rates": 0.01, "steps": 1000}
    expected = descend_many(curve, starts, **options, stepper="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # all ends are uncertain, none is wrong
        descend_many(curve, starts, **options, stepper="compiled")
    monkeypatch.setattr(Program, "run_many", wrong)
    with pytest.warns(RuntimeWarning, match="compiled values differ from eager ones"):
        runs = descend_many(curve, starts, **options, stepper="compiled")
    assert torch.equal(runs.weights[0], expected.weights[0])
