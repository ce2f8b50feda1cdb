"""Compiled steps give the points, stop and callbacks of eager steps, or eager steps are used."""

import itertools
import random
import subprocess
import sys
import warnings

import pytest
import torch
from conftest import ROOT

from gd_torch import Stop, bowl, curve, descend, init_weights, load_iris, network_mse
from gd_torch.compiler.operation_counter import OperationCounter
from gd_torch.descent import cost_model, single

X, Y, _ = load_iris()
MSE = network_mse(X, Y)


def assert_same(ours, eager, rtol):
    """All attributes of two runs are equal, to rounding."""
    assert (ours.steps, ours.stop) == (eager.steps, eager.stop)
    assert torch.equal(ours.recorded_steps, eager.recorded_steps)
    for a, b in zip(
        (*ours.weights, *ours.path, ours.losses, ours.gradient_norms),
        (*eager.weights, *eager.path, eager.losses, eager.gradient_norms),
        strict=True,
    ):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol * float(b.abs().max()))


def both(objective, start, **options):
    """A compiled and an eager run, whose callbacks are compared; a warning fails the test."""
    runs, seen = [], ([], [])
    for stepper, calls in zip(("compiled", "eager"), seen, strict=True):
        runs.append(
            descend(
                objective,
                start,
                stepper=stepper,
                callback=lambda *now, calls=calls: calls.append(now),
                **options,
            )
        )
    for (step, loss, weights), (step_, loss_, weights_) in zip(*seen, strict=True):
        assert step == step_ and loss == pytest.approx(loss_, rel=1e-4)
        for w, w_ in zip(weights, weights_, strict=True):
            torch.testing.assert_close(w, w_)
    return runs


@pytest.mark.parametrize("hidden", [2, 4])
def test_the_nets_equal_eager_steps_over_1000_steps(hidden, dtype):
    """1e-12 relative in float64, 1e-4 in float32, at every recorded point."""
    start = init_weights((4, hidden, 3), seed=1, dtype=dtype)
    compiled, eager = both(MSE, start, learning_rate=0.5, steps=1000)
    assert_same(compiled, eager, rtol=1e-12 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize(
    ("record", "steps", "tolerance", "every"),
    list(itertools.product(("all", "last", 7, 90), (0, 1, 50, 500), (0.0, 2e-2), (3, 100))),
)
def test_records_stops_and_callbacks_are_those_of_eager_steps(
    record, steps, tolerance, every, monkeypatch
):
    """For all kinds of records and stops, with more points than the buffers contain."""
    monkeypatch.setattr("gd_torch.descent.compiled.MAX_BUFFERED_POINTS", 32)
    options = {"record": record, "steps": steps, "tolerance": tolerance, "callback_every": every}
    compiled, eager = both(MSE, init_weights((4, 2, 3)), learning_rate=0.5, **options)
    assert_same(compiled, eager, rtol=1e-11)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_divergence_is_detected_at_its_step(rate):
    """The step, the quantity and the last finite weights."""
    compiled, eager = both(curve, 1.9, learning_rate=rate, steps=5000)
    assert compiled.stop.diverged and compiled.steps == eager.steps == 4
    assert_same(compiled, eager, rtol=1e-9)


@pytest.mark.parametrize(
    ("objective", "start", "rate", "stop"),
    [
        (lambda w: torch.log(w), 8.0, 3.0, Stop.LOSS),  # to below 0
        (lambda w: -(w**2), 1.0, 1e3, Stop.LOSS),
        (lambda w: (w**2).sqrt(), 3.0, 1.0, Stop.GRADIENT),  # 3, 2, 1, 0: slope 0/0
        (lambda w: -w, 1.0, 1e308, Stop.WEIGHT),
        (lambda w: w * 1e-200, 1.0, 1.0, Stop.STEPS),  # tiny, yet no divergence
    ],
)
def test_every_kind_of_divergence_is_detected_as_in_eager_steps(objective, start, rate, stop):
    """At the step at which eager steps detect it, which is not the first."""
    compiled, eager = both(objective, start, learning_rate=rate, steps=1000)
    assert compiled.stop is eager.stop is stop
    assert compiled.steps == eager.steps > 0


def test_the_callback_can_stop_a_compiled_run():
    """At the step at which it returns False."""
    run = descend(
        bowl,
        (-8.0, 7.0),
        learning_rate=1e-4,
        steps=50_000,
        stepper="compiled",
        callback_every=500,
        callback=lambda step, *_: step < 20_000,
    )
    assert (run.steps, run.stop.name) == (20_000, "CALLBACK")


def seconds(objective, start):
    """The estimated time of one eager step."""
    counter = OperationCounter()
    counter.counting(objective)(*start)
    return counter.seconds


def test_auto_switches_by_counts_and_calls_every_callback(monkeypatch):
    """Steps before and after the switch form one run; the callback is called once per period."""
    step = seconds(bowl, torch.tensor([-8.0, 7.0]))
    monkeypatch.setattr(cost_model, "COMPILE_SECONDS", 600 * step)
    monkeypatch.setattr(cost_model, "EAGER_START_SECONDS", 999.5 * step)
    monkeypatch.setattr(cost_model, "EAGER_TRIAL_SECONDS", 599.5 * step)
    # step 1000 is the first compiled one without a tolerance, 600 with one
    for tolerance, every in itertools.product((0.0, 1e-300), (200, 600, 1000, 1001)):
        seen = []
        auto = descend(
            bowl,
            (-8.0, 7.0),
            learning_rate=1e-3,
            steps=3000,
            tolerance=tolerance,
            callback=lambda step, *_, seen=seen: seen.append(step),
            callback_every=every,
        )
        eager = descend(bowl, (-8.0, 7.0), learning_rate=1e-3, steps=3000, stepper="eager")
        assert_same(auto, eager, rtol=1e-12)
        assert seen == list(range(every, 3001, every))


def test_auto_gives_identical_bits_every_time(monkeypatch):
    """The decision does not depend on time."""
    monkeypatch.setattr(cost_model, "COMPILE_SECONDS", 0.1)
    runs = [descend(MSE, init_weights((4, 2, 3)), learning_rate=1.0, steps=4000) for _ in "123"]
    assert torch.equal(runs[0].losses, runs[1].losses)
    assert torch.equal(runs[0].losses, runs[2].losses)


@pytest.mark.parametrize(
    ("objective", "start", "steps", "compiles"),
    [
        (curve, 1.9, 1500, False),
        (curve, 1.9, 6000, True),
        (MSE, init_weights((4, 4, 3)), 1000, False),
        (MSE, init_weights((4, 4, 3)), 4000, True),
        (MSE, init_weights((4, 1024, 3)), 60, False),
        (MSE, init_weights((4, 1024, 3)), 400, True),
    ],
)
@pytest.mark.parametrize("tolerance", [0.0, 1e-300])
def test_auto_compiles_if_the_remaining_eager_work_exceeds_the_compile_time(
    objective, start, steps, compiles, tolerance, monkeypatch
):
    """For short and for long steps: a large net needs fewer steps."""

    class Asked(Exception):
        pass

    def ask(_plan, _recorder, _weights, step):
        raise Asked(step)

    monkeypatch.setattr(single, "compiled_stepper", ask)
    options = {"learning_rate": 1e-9, "record": "last", "tolerance": tolerance}
    if not compiles:
        assert descend(objective, start, steps=steps, **options).steps == steps
        return
    with pytest.raises(Asked) as asked:
        descend(objective, start, steps=steps, **options)
    (step,) = asked.value.args
    made = step * seconds(objective, start if isinstance(start, tuple) else (torch.tensor(start),))
    trial = cost_model.EAGER_TRIAL_SECONDS if tolerance else cost_model.EAGER_START_SECONDS
    assert (
        trial
        <= made
        < trial + seconds(objective, start if isinstance(start, tuple) else (torch.tensor(start),))
    )


@pytest.mark.parametrize("stepper", ["eager", "compiled", "auto"])
def test_a_resumed_run_gives_the_same_bits_and_calls(stepper, monkeypatch):
    """Wherever it is interrupted, in eager or compiled steps, as in an uninterrupted run."""
    step = seconds(MSE, init_weights((4, 2, 3)))
    monkeypatch.setattr(cost_model, "COMPILE_SECONDS", 1500 * step)
    monkeypatch.setattr(
        cost_model, "EAGER_START_SECONDS", 1000 * step
    )  # the last eager one of "auto"

    def run(start, cut, first, calls):
        return descend(
            MSE, start, learning_rate=1.0, steps=3100, record=50, stepper=stepper,
            callback=lambda *now: calls.append(now) or now[0] < cut,
            callback_every=7, first_step=first,
        )  # fmt: skip

    straight, calls = init_weights((4, 2, 3)), []
    whole = run(straight, 3100, 0, calls)
    weights, first, again, recorded = straight, 0, [], []
    for cut in (7, 994, 1001, 1008, 2002, 3100):
        part = run(weights, cut, first, again)
        recorded.append(part.recorded_steps)
        weights, first = part.weights, part.steps
    assert first == whole.steps == 3100
    assert all(torch.equal(a, b) for a, b in zip(weights, whole.weights, strict=True))
    assert [(s, loss) for s, loss, _ in calls] == [(s, loss) for s, loss, _ in again]
    assert set(whole.recorded_steps.tolist()) <= set(torch.cat(recorded).tolist())


@pytest.mark.parametrize(("first", "words"), [(-1, "first_step"), (11, "at most `steps`, 10")])
def test_a_first_step_out_of_range_is_refused(first, words):
    """It must be between 0 and `steps`."""
    with pytest.raises(ValueError, match=words):
        descend(curve, 1.0, learning_rate=0.1, steps=10, first_step=first)


def test_compiled_code_is_reused_with_other_data_rates_and_starts():
    """Runs of the same shapes share compiled code, each with its own numbers."""
    descend(MSE, init_weights((4, 3, 3)), learning_rate=0.5, steps=20, stepper="compiled")
    other = network_mse(X.flip(0) * 2, Y)
    options = {"learning_rate": (0.1, 0.3), "steps": 30, "tolerance": 1e-9}
    compiled, eager = both(other, init_weights((4, 3, 3), seed=5), **options)
    assert_same(compiled, eager, rtol=1e-12)


def test_memory_for_the_record_is_bounded_for_large_weights():
    """With a weight of a million entries the buffers contain few points."""
    start = torch.ones(1_000_000)
    run = descend(
        lambda w: (w**2).mean(), start, learning_rate=1.0, steps=20, stepper="compiled", record=3
    )
    assert run.recorded_steps.tolist() == [0, 3, 6, 9, 12, 15, 18, 20]


# ---------------------------------------------------------------- what compiles

OBJECTIVES = {
    "cross entropy": lambda a, b: torch.nn.functional.cross_entropy(
        torch.relu(X @ a) @ b, Y.argmax(1)
    ),
    "log-sum-exp": lambda a, b: (
        torch.logsumexp(torch.tanh(X @ a) @ b, 1).mean() + (a.norm() + b.pow(2).sum()) / 1e3
    ),
    "where": lambda a, b: torch.where(a.sum() > 0, MSE(a, b), 2 * MSE(a, b)),
    "batch norm": lambda a, b: (
        (torch.sigmoid(((X @ a) - (X @ a).mean(0)) / ((X @ a).std(0) + 1e-5) @ b) - Y) ** 2
    ).mean(),
    "python loop": lambda a, b: sum(MSE(a * s, b) for s in (1.0, 0.5, 0.25)),
    "tied weights": lambda a, b: ((X @ a @ a.T - X) ** 2).mean() + (b**2).mean(),
    "softplus": lambda a, b: torch.nn.functional.softplus(X @ a @ b).mean(),
    "huber": lambda a, b: torch.nn.functional.huber_loss(X @ a @ b, Y),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_of_ordinary_operations_compile(name):
    """They equal eager steps to 1e-10 of the largest entry over 200 steps, without a warning."""
    compiled, eager = both(OBJECTIVES[name], init_weights((4, 2, 3)), learning_rate=0.05, steps=200)
    assert_same(compiled, eager, rtol=1e-10)


# ---------------------------------------------------------------- what does not


class Counter:
    """An objective that counts its calls in an attribute."""

    def __init__(self):
        self.calls = 0

    def __call__(self, a, b):
        self.calls += 1
        return MSE(a, b) * (1 + self.calls / 10)


def closed_over(kind):
    """Objectives with internal state, created for every run."""
    calls = [0] if kind == "list" else {"n": 0}
    key = 0 if kind == "list" else "n"

    def objective(a, b):
        calls[key] += 1
        return MSE(a, b) * (1 + calls[key] / 10)

    return objective


def square_by_hand():
    """A custom backward pass in the old style, which functional transforms refuse."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    return lambda a, b: Square.apply(a).sum() + Square.apply(b).mean()


def test_a_custom_backward_pass_is_compiled():
    """The trace contains the operations of its backward pass."""
    options = {"learning_rate": 0.1, "steps": 40}
    start = torch.tensor([1.5, -0.5], dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    run = descend(square_by_hand(), start, stepper="compiled", **options)
    assert_same(run, descend(square_by_hand(), start, stepper="eager", **options), 1e-12)


def eye(n):
    return torch.eye(n, dtype=torch.float64)


REFUSED = {
    "branch": lambda: lambda a, b: MSE(a, b) if a.sum() > 0 else 2 * MSE(a, b),
    "while": lambda: lambda a, b: MSE(a, b) * next(k for k in itertools.count(1) if k > a.sum()),
    "item": lambda: lambda a, b: MSE(a, b) * (1 + a.norm().item()),
    "float": lambda: lambda a, b: MSE(a, b) + float(b.detach().sum()) ** 2,
    "tolist": lambda: lambda a, b: MSE(a, b) * len([v for v in a.flatten().tolist() if v > 0]),
    "numpy": lambda: lambda a, b: MSE(a, b) * (a.detach().numpy() > 0).sum(),
    "nonzero": lambda: lambda a, b: MSE(a, b) + a[a > 0].sum(),
    "dropout": lambda: lambda a, b: MSE(torch.nn.functional.dropout(a, 0.2), b),
    "noise": lambda: lambda a, b: MSE(a + torch.randn_like(a) / 100, b),
    "python die": lambda: lambda a, b: MSE(a, b) * (1 + random.random()),
    "solve": lambda: lambda a, b: torch.linalg.solve(a.T @ a + eye(2), b).pow(2).sum(),
    "inverse": lambda: lambda a, b: torch.linalg.inv(a.T @ a + eye(2)).sum() + b.sum() ** 2,
    "eigenvalues": lambda: lambda a, b: torch.linalg.eigvalsh(a.T @ a).sum() + (b**2).sum(),
    "sort": lambda: lambda a, b: (a.flatten().sort().values.diff() ** 2).sum() + (b**2).sum(),
    "counter in an attribute": Counter,
    "counter in a list": lambda: closed_over("list"),
    "counter in a dict": lambda: closed_over("dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_objective_that_cannot_be_compiled_gives_the_eager_run_with_one_warning(name):
    """The same bits, random numbers and counts as an eager run."""
    runs = []
    for stepper in ("eager", "compiled"):
        random.seed(0)
        torch.manual_seed(0)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            runs.append(
                descend(
                    REFUSED[name](),
                    init_weights((4, 2, 3)),
                    learning_rate=0.01,
                    steps=30,
                    stepper=stepper,
                )
            )
        assert len(told) == (stepper == "compiled"), [str(w.message) for w in told]
    eager, compiled = runs
    assert "cannot be compiled, its steps run eagerly" in str(told[0].message)
    assert torch.equal(eager.losses, compiled.losses)
    for a, b in zip(eager.path, compiled.path, strict=True):
        assert torch.equal(a, b)


def test_without_a_compiler_the_run_is_eager_with_one_warning(tmp_path):
    """A C compiler is not required, even with an empty cache."""
    code = (
        "import torch, gd_torch as g\n"
        "run = g.descend(g.curve, 1.9, learning_rate=0.1, steps=50, stepper='compiled')\n"
        "print(run.steps, run.stop.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": str(tmp_path),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "50 STEPS\n", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1


def test_many_nets_in_one_objective():
    """Nets of several seeds, along one axis of the weights."""
    each = torch.func.vmap(MSE)
    nets = [init_weights((4, 2, 3), seed=seed) for seed in range(200)]
    start = tuple(torch.stack(W) for W in zip(*nets, strict=True))
    options = {"learning_rate": 1.0, "steps": 20}
    compiled, eager = both(lambda *W: each(*W).sum(), start, **options)
    assert_same(compiled, eager, rtol=1e-9)
