"""Compiled steps give the eager run: same points, stop and callbacks; else they step back."""

import itertools
import random
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from conftest import ROOT

from gd_torch import Stop, bowl, curve, descend, init_weights, load_iris, network_mse
from gd_torch import descent as descent_module
from gd_torch.fused import SLOTS
from gd_torch.gauge import Gauge
from gd_torch.guards import overruns
from gd_torch.kernel import Kernel
from gd_torch.layout import LINE, columns_aligned

X, Y, _ = load_iris()
MSE = network_mse(X, Y)

COMPILER = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")


def assert_same(ours, eager, rtol):
    """Every part of two runs."""
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
    """The same run fused and eager, callbacks compared; a warning fails the test."""
    runs, seen = [], ([], [])
    for stepper, calls in zip(("fused", "eager"), seen, strict=True):
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
    fused, eager = both(MSE, start, learning_rate=0.5, steps=1000)
    assert_same(fused, eager, rtol=1e-12 if dtype == torch.float64 else 1e-4)


@pytest.mark.parametrize(
    ("record", "steps", "tolerance", "every"),
    list(
        itertools.product(("all", "last", 7, SLOTS), (0, 1, 50, 2 * SLOTS), (0.0, 2e-2), (3, 100))
    ),
)
def test_records_stops_and_callbacks_are_those_of_eager_mode(record, steps, tolerance, every):
    """For every way to record and to stop, over several fillings of the buffers."""
    options = {"record": record, "steps": steps, "tolerance": tolerance, "callback_every": every}
    fused, eager = both(MSE, init_weights((4, 2, 3)), learning_rate=0.5, **options)
    assert_same(fused, eager, rtol=1e-11)


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_a_runaway_is_found_at_its_step(rate):
    """The step, the quantity and the last finite weights."""
    fused, eager = both(curve, 1.9, learning_rate=rate, steps=5000)
    assert fused.stop.diverged and fused.steps == eager.steps == 4
    assert_same(fused, eager, rtol=1e-9)


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
def test_every_kind_of_divergence_is_found_as_in_eager_mode(objective, start, rate, stop):
    """At the step where eager mode finds it, which is not the first."""
    fused, eager = both(objective, start, learning_rate=rate, steps=1000)
    assert fused.stop is eager.stop is stop
    assert fused.steps == eager.steps > 0


def test_the_callback_can_stop_a_fused_run():
    """At the step where it says so."""
    run = descend(
        bowl,
        (-8.0, 7.0),
        learning_rate=1e-4,
        steps=50_000,
        stepper="fused",
        callback_every=500,
        callback=lambda step, *_: step < 20_000,
    )
    assert (run.steps, run.stop.name) == (20_000, "CALLBACK")


def seconds(objective, start):
    """What the gauge makes of one eager step."""
    gauge = Gauge()
    gauge.watch(objective)(*start)
    return gauge.seconds


def test_auto_switches_by_counts_alone_and_loses_no_callback(monkeypatch):
    """Steps before and after the switch form one run; the callback sees every multiple once."""
    step = seconds(bowl, torch.tensor([-8.0, 7.0]))
    monkeypatch.setattr(descent_module, "COMPILING", 600 * step)
    monkeypatch.setattr(descent_module, "TRIAL", 1000 * step)
    # step 1001 is the first compiled one without a tolerance, 601 with one
    for tolerance, every in itertools.product((0.0, 1e-300), (7, 200, 601, 1001)):
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
    """No clock decides."""
    monkeypatch.setattr(descent_module, "COMPILING", 0.1)
    runs = [descend(MSE, init_weights((4, 2, 3)), learning_rate=1.0, steps=4000) for _ in "123"]
    assert torch.equal(runs[0].losses, runs[1].losses)
    assert torch.equal(runs[0].losses, runs[2].losses)


@pytest.mark.parametrize(
    ("objective", "start", "steps", "compiles"),
    [
        (curve, 1.9, 20_000, False),
        (curve, 1.9, 90_000, True),
        (MSE, init_weights((4, 4, 3)), 20_000, False),
        (MSE, init_weights((4, 4, 3)), 40_000, True),
        (MSE, init_weights((4, 1024, 3)), 1000, False),
        (MSE, init_weights((4, 1024, 3)), 5000, True),
    ],
)
def test_auto_compiles_where_seconds_of_eager_steps_lie_ahead(
    objective, start, steps, compiles, monkeypatch
):
    """However long one of them is: fewer steps of a large net are as much work."""
    asked = []

    def stop(*arguments):
        asked.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(descent_module, "fused", stop)
    calls = iter(range(10))
    with pytest.raises(KeyboardInterrupt):
        descend(
            objective, start, learning_rate=1e-9, steps=steps, record="last",
            callback=lambda *_: next(calls) < 2 or stop(), callback_every=10,
        )  # fmt: skip
    assert bool(asked[0]) == compiles


@pytest.mark.parametrize("stepper", ["eager", "fused", "auto"])
def test_a_run_taken_up_again_gives_the_same_bits_and_calls(stepper, monkeypatch):
    """Wherever it is cut, in eager or compiled steps, the parts are those of the run in one go."""
    step = seconds(MSE, init_weights((4, 2, 3)))
    monkeypatch.setattr(descent_module, "COMPILING", 1500 * step)
    monkeypatch.setattr(descent_module, "TRIAL", 1000 * step)  # the last eager one of "auto"

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
    """It lies between 0 and the steps asked for."""
    with pytest.raises(ValueError, match=words):
        descend(curve, 1.0, learning_rate=0.1, steps=10, first_step=first)


def test_other_data_rates_and_starts_compile_nothing_new():
    """One compiled step serves every run of the same shape."""
    from gd_torch.kernel import _COMPILED

    descend(MSE, init_weights((4, 3, 3)), learning_rate=0.5, steps=20, stepper="fused")
    compiled = set(_COMPILED)
    other = network_mse(X.flip(0) * 2, Y)
    options = {"learning_rate": (0.1, 0.3), "steps": 30, "tolerance": 1e-9}
    fused, eager = both(other, init_weights((4, 3, 3), seed=5), **options)
    assert_same(fused, eager, rtol=1e-12)
    assert set(_COMPILED) == compiled


def test_memory_for_the_record_is_bounded_for_large_weights():
    """A weight of a million entries is fetched often instead of filling 4096 slots."""
    start = torch.ones(1_000_000)
    run = descend(
        lambda w: (w**2).mean(), start, learning_rate=1.0, steps=20, stepper="fused", record=3
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
    """They equal eager steps to 1e-10 of the largest entry over 200 steps; no warning."""
    fused, eager = both(OBJECTIVES[name], init_weights((4, 2, 3)), learning_rate=0.05, steps=200)
    assert_same(fused, eager, rtol=1e-10)


# ---------------------------------------------------------------- what does not


class Counter:
    """An objective that counts its calls in an attribute."""

    def __init__(self):
        self.calls = 0

    def __call__(self, a, b):
        self.calls += 1
        return MSE(a, b) * (1 + self.calls / 10)


def closed_over(kind):
    """Objectives with a memory of their own, made anew for every run."""
    calls = [0] if kind == "list" else {"n": 0}
    key = 0 if kind == "list" else "n"

    def objective(a, b):
        calls[key] += 1
        return MSE(a, b) * (1 + calls[key] / 10)

    return objective


def square_by_hand():
    """A custom backward pass written in the old style, which functional transforms refuse."""

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
    "custom backward": square_by_hand,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_gives_the_eager_run_with_one_warning(name):
    """The same bits, draws and counts as a run that was eager from the start."""
    runs = []
    for stepper in ("eager", "fused"):
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
        assert len(told) == (stepper == "fused"), [str(w.message) for w in told]
    eager, fused = runs
    assert "cannot be compiled, its steps run eagerly" in str(told[0].message)
    assert torch.equal(eager.losses, fused.losses)
    for a, b in zip(eager.path, fused.path, strict=True):
        assert torch.equal(a, b)


def test_without_a_compiler_the_run_is_eager_with_one_warning(tmp_path):
    """A machine without a C++ compiler and with an empty cache still descends."""
    code = (
        "import torch, gd_torch as g\n"
        "run = g.descend(g.curve, 1.9, learning_rate=0.1, steps=50, stepper='fused')\n"
        "print(run.steps, run.stop.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": str(tmp_path),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "50 STEPS\n", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1


def test_a_kernel_that_writes_beyond_its_buffer_is_never_launched():
    """The seeds' nets on one axis: torch 2.13 generates such a kernel, and the run is eager."""
    each = torch.func.vmap(MSE)
    nets = [init_weights((4, 2, 3), seed=seed) for seed in range(200)]
    start = tuple(torch.stack(W) for W in zip(*nets, strict=True))
    options = {"learning_rate": 1.0, "steps": 20}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = descend(lambda *W: each(*W).sum(), start, stepper="fused", **options)
    eager = descend(lambda *W: each(*W).sum(), start, stepper="eager", **options)
    assert_same(run, eager, rtol=1e-9)
    assert all("beyond its buffer" in str(each.message) for each in told)


def test_guards_see_a_write_beyond_a_buffer():
    """One entry too many, in a state tensor or in a buffer of its own; and none."""

    def compiled(tensors, beyond):
        (state,) = tensors
        own = names["empty_strided_cpu"]((2, 3), (1, 2), torch.float64)
        for tensor, more in ((state, beyond[0]), (own, beyond[1])):
            tensor.as_strided((6 + more,), (1,)).zero_()

    names = {"empty_strided_cpu": None}
    state = torch.ones(6, dtype=torch.float64)
    for beyond in ((0, 0), (1, 0), (0, 1)):
        found = overruns(lambda t, b=beyond: compiled(t, b), names, [state], 1)
        assert found == any(beyond)
    assert bool((state == 1).all())


@pytest.mark.parametrize(("rows", "columns"), [(150, 4), (64, 3), (65, 1), (16, 15)])
def test_columns_are_stored_at_the_start_of_cache_lines(rows, columns, dtype):
    table = torch.randn(rows, columns, dtype=dtype)
    stored = columns_aligned(table)
    assert torch.equal(stored, table)
    across, along = stored.stride(1) * stored.element_size(), stored.stride(0)
    assert (across % LINE, along) == (0, 1) and across - rows * stored.element_size() < LINE


def test_buffers_of_the_net_and_its_data_start_at_cache_lines():
    """Neither the rows of the data nor of what is computed from them lie across two of them."""

    def step(W1, W2):
        W1.copy_(torch.func.grad(MSE)(W1, W2))

    kernel = Kernel(step, init_weights((4, 4, 3)))
    tensors = (t for _, arguments in kernel.launches for t in arguments)
    tall = [t for t in tensors if isinstance(t, torch.Tensor) and max(t.shape, default=0) == 150]
    strides = [max(t.stride()) * t.element_size() for t in tall]
    assert len(tall) > 3 and not any(stride % LINE for stride in strides)


@pytest.mark.parametrize(
    ("widths", "by_blas"), [((4, 512, 3), False), ((784, 32, 10), True), ((4, 16, 16, 3), False)]
)
def test_skinny_products_are_loops_over_rows_and_bulky_ones_go_to_blas(widths, by_blas):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(150, widths[0], generator=generator)
    weights = [torch.randn(m, n, generator=generator) / m for m, n in itertools.pairwise(widths)]

    def step(*weights):
        def loss(*weights):
            outputs = inputs
            for W in weights:
                outputs = torch.sigmoid(outputs @ W)
            return outputs.square().mean()

        slopes = torch.func.grad(loss, tuple(range(len(weights))))(*weights)
        for W, d in zip(weights, slopes, strict=True):
            W.copy_(d)

    kernel = Kernel(step, weights)
    tensors = [t for t in kernel._buffers if t.dim() == 2 and 150 in t.shape]
    assert (len(kernel.launches) > 1) == by_blas
    if not by_blas:  # every table of 150 rows but the inputs and weights lies column by column
        assert all(t.stride(t.shape.index(150)) == 1 for t in tensors)
