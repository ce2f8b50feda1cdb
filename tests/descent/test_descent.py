"""descend: exact references, outcomes, records, callbacks and errors."""

import contextlib
import math
import subprocess
import sys

import pytest
import torch

from gd_torch import (
    BOWL,
    CURVE,
    Stop,
    bowl,
    curve,
    descend,
    init_weights,
    load_iris,
    network_mse,
)
from gd_torch.descent.step import update
from gd_torch.gradients import evaluate
from gd_torch.validation import as_weights


def quadratic(seed):
    """A random convex quadratic x'Ax/2 in four dimensions, and its matrix."""
    generator = torch.Generator().manual_seed(seed)
    B = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    A = B @ B.T / 4 + 0.1 * torch.eye(4, dtype=torch.float64)
    return A, torch.randn(4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_a_quadratic_follows_its_closed_form(seed, device):
    """x_t = (I - alpha A)^t x_0 to 1e-12 of x_0, for 100 steps."""
    A, x0 = (tensor.to(device) for tensor in quadratic(seed))
    alpha = 1 / torch.linalg.matrix_norm(A, 2).item()
    run = descend(lambda x: x @ A @ x / 2, x0, learning_rate=alpha, steps=100)
    contraction = torch.eye(4, dtype=torch.float64, device=device) - alpha * A
    for t, x in enumerate(run.path[0]):
        exact = torch.linalg.matrix_power(contraction, t) @ x0
        assert (x - exact).abs().max() <= 1e-12 * x0.abs().max()


@pytest.mark.parametrize("hidden", [2, 4])
def test_the_nets_equal_torch_sgd_step_for_step(hidden, device):
    """200 steps in float64, both matrices, to 1e-12."""
    X, Y, _ = load_iris(device=device)
    mse = network_mse(X, Y)
    start = init_weights((4, hidden, 3), seed=1, device=device)
    run = descend(mse, start, learning_rate=0.5, steps=200)
    reference = [W.clone().requires_grad_() for W in start]
    optimiser = torch.optim.SGD(reference, lr=0.5)
    for step in range(201):
        for W, path in zip(reference, run.path, strict=True):
            assert (W.detach() - path[step]).abs().max() <= 1e-12
        optimiser.zero_grad()
        loss = mse(*reference)
        assert loss.item() == pytest.approx(run.losses[step].item(), rel=1e-12)
        loss.backward()
        optimiser.step()


def test_running_twice_gives_identical_bits(dtype, device):
    """Runs draw no random numbers and share no state."""
    X, Y, _ = load_iris(dtype=dtype, device=device)
    start = init_weights((4, 4, 3), dtype=dtype, device=device)
    runs = [descend(network_mse(X, Y), start, learning_rate=1.0, steps=100) for _ in range(2)]
    assert torch.equal(runs[0].losses, runs[1].losses)
    for a, b in zip(runs[0].path, runs[1].path, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("problem", [CURVE, BOWL], ids=lambda problem: problem.name)
def test_dtype_and_device_are_those_of_the_start(problem, dtype, device):
    """Every tensor of the result is detached and has the device of the start."""
    start = tuple(torch.tensor(w, dtype=dtype, device=device) for w in problem.start)
    run = descend(problem.objective, start, learning_rate=0.1, steps=300)
    for tensor in (*run.weights, *run.path, run.losses, run.gradient_norms):
        assert tensor.dtype == dtype and tensor.device.type == device
        assert not tensor.requires_grad
    for w, minimiser in zip(run.weights, problem.minimiser, strict=True):
        assert w.item() == pytest.approx(minimiser, abs=1e-6)


def test_one_step_works_on_meta_tensors():
    """A step creates no tensor on a fixed device."""
    X, Y, _ = load_iris(device="meta")
    for objective, start in (
        (curve, (torch.empty((), device="meta"),)),
        (bowl, (torch.empty((), device="meta"),) * 2),
        (network_mse(X, Y), init_weights((4, 2, 3), device="meta")),
    ):
        loss, slopes = evaluate(objective, as_weights(start, "start"))
        following = update(start, slopes, (0.1,) * len(start))
        assert loss.is_meta and all(w.is_meta for w in following)
        assert [w.shape for w in following] == [w.shape for w in start]


def test_all_weights_are_updated_from_the_same_point():
    """The partials of a product would otherwise depend on the order of updates."""
    run = descend(lambda a, b: a * b, (2.0, 3.0), learning_rate=0.5, steps=1)
    assert [w.item() for w in run.weights] == [2 - 0.5 * 3, 3 - 0.5 * 2]


def test_one_learning_rate_per_weight_tensor():
    """Each tensor has its own rate, given as a tuple or as a tensor."""
    for rates in ((0.1, 0.25), torch.tensor((0.1, 0.25), dtype=torch.float64)):
        run = descend(bowl, (-8.0, 7.0), learning_rate=rates, steps=1)
        assert run.weights[0].item() == pytest.approx(-4.8)
        assert run.weights[1].item() == pytest.approx(3.5)


def test_the_start_is_not_modified():
    """Neither its values nor its attributes; the result shares no memory with it."""
    start = torch.tensor([1.0, 2.0], requires_grad=True)
    run = descend(lambda w: w.square().sum(), start, learning_rate=0.1, steps=2)
    assert not run.weights[0].requires_grad
    run.weights[0].zero_()
    run.path[0].zero_()
    assert start.tolist() == [1, 2] and start.requires_grad and start.grad is None


@pytest.mark.parametrize("stepper", ["eager", "auto", "compiled"])
def test_an_objective_that_edits_its_argument_edits_a_copy(stepper):
    """The start is not modified, the path is that of the updates, the losses those of the path."""
    start = torch.tensor([2.0, -1.0], dtype=torch.float64)

    def projected(w):
        with torch.no_grad():
            w.clamp_(min=0)
        return (w + 1).square().sum()

    warned = pytest.warns(RuntimeWarning, match="edits a weight in place")
    with warned if stepper == "compiled" else contextlib.nullcontext():
        run = descend(projected, start, learning_rate=0.1, steps=3, stepper=stepper)
    assert start.tolist() == [2, -1]
    assert run.path[0][0].tolist() == [2, -1]
    # d = 2 (max(w, 0) + 1): the second weight falls by 0.2 a step
    assert run.path[0][:, 1].tolist() == pytest.approx([-1, -1.2, -1.4, -1.6])
    again = [projected(w.clone()).item() for w in run.path[0]]
    assert run.losses.tolist() == again


def test_a_start_modified_by_the_callback_does_not_change_the_run():
    """The run copies the start."""
    start = torch.tensor([1.0], dtype=torch.float64)
    options = {"learning_rate": 0.1, "steps": 4, "callback_every": 1}
    runs = [
        descend(lambda w: w.square().sum(), start, callback=callback, **options)
        for callback in (None, lambda *_: start.zero_() and None)
    ]
    assert torch.equal(*(run.path[0] for run in runs))


def test_shorthand_starts_are_the_same_run():
    """A float, a tensor, and a tuple and a list of one."""
    exact = torch.tensor(1.9, dtype=torch.float64)
    starts = (1.9, exact, (1.9,), [exact])
    runs = [descend(curve, start, learning_rate=0.1, steps=3) for start in starts]
    assert len({run.weights[0].item() for run in runs}) == 1


# ---------------------------------------------------------------- outcomes


def test_zero_steps_evaluate_the_start():
    """One point is recorded, without an update."""
    run = descend(curve, 1.9, learning_rate=0.1, steps=0)
    assert (run.steps, run.stop, len(run.losses)) == (0, Stop.STEPS, 1)
    assert run.weights[0].item() == 1.9


def test_the_tolerance_is_on_the_norm_over_all_weights():
    """Stops at the first point whose norm is below it; the norm is Euclidean over all partials."""
    run = descend(bowl, BOWL.start, learning_rate=0.1, steps=1000, tolerance=1e-3)
    assert run.stop is Stop.TOLERANCE and run.converged
    exact = [math.hypot(4 * a, 2 * b) for a, b in zip(*(p.tolist() for p in run.path), strict=True)]
    assert run.gradient_norms.tolist() == pytest.approx(exact, rel=1e-14)
    assert exact[-1] < 1e-3 <= exact[-2]


def test_tolerance_zero_never_stops():
    """Not even at the minimum: all steps are executed."""
    run = descend(bowl, (0.0, 0.0), learning_rate=0.1, steps=7)
    assert (run.steps, run.stop, run.converged) == (7, Stop.STEPS, False)


def test_a_start_within_the_tolerance_makes_no_step():
    """Converged at step 0."""
    run = descend(bowl, (1e-9, 0.0), learning_rate=0.1, tolerance=1e-6)
    assert (run.steps, run.stop) == (0, Stop.TOLERANCE)


@pytest.mark.parametrize(
    ("objective", "start", "rate", "stop", "steps"),
    [
        (curve, 1.9, 1.0, Stop.LOSS, 4),
        (lambda w: torch.log(w), 1.0, 2.0, Stop.LOSS, 1),  # 1 - 2 = -1: log is NaN
        (lambda w: torch.sqrt(w.abs()), 0.0, 0.1, Stop.GRADIENT, 0),  # slope 0/0
        (lambda w: w * 1e200, 1.0, 1e200, Stop.WEIGHT, 0),  # 1 - 1e400
        (lambda w: torch.sigmoid(w) * 1e300, 0.0, 1e300, Stop.WEIGHT, 0),
    ],
)
def test_the_first_quantity_that_is_not_finite_stops_before_the_update(
    objective, start, rate, stop, steps
):
    """Loss, gradient or updated weight; the returned weights are finite, the step is correct."""
    run = descend(objective, start, learning_rate=rate, steps=50)
    assert (run.stop, run.steps) == (stop, steps)
    assert run.stop.diverged and not run.converged
    assert run.weights[0].isfinite()
    assert run.path[0].isfinite().all() and len(run.path[0]) == steps + 1


def test_large_but_finite_numbers_do_not_stop_a_run():
    """The squares of a gradient and the sum of a weight may overflow."""
    run = descend(
        lambda w: (w * 1e200).sum(), torch.zeros(2).double(), learning_rate=1e-210, steps=1
    )
    assert run.stop is Stop.STEPS
    assert run.gradient_norms.tolist() == pytest.approx([math.sqrt(2) * 1e200] * 2)
    big = torch.full((4,), 1e308, dtype=torch.float64)
    assert descend(lambda w: (w / 1e308).mean(), big, learning_rate=1.0, steps=3).steps == 3


def test_a_gradient_too_small_to_square_has_a_norm():
    """The norm of 1e-200 is 1e-200, not 0."""
    run = descend(lambda w: w * 1e-200, 1.0, learning_rate=1.0, steps=1)
    assert run.gradient_norms[0].item() == pytest.approx(1e-200)


def test_every_outcome_is_a_sentence():
    """For people; compiled code and files contain its number."""
    for stop in Stop:
        assert stop.sentence[0].isupper() and stop.sentence.endswith(".")
        assert str(stop) == f"{stop}" == stop.sentence
    assert [stop.name for stop in Stop] == [
        "LOSS", "GRADIENT", "TOLERANCE", "STEPS", "WEIGHT", "CALLBACK",
    ]  # fmt: skip
    assert list(Stop) == [1, 2, 3, 4, 5, 6]
    assert "74 steps" in str(descend(curve, 1.9, learning_rate=0.1, tolerance=1e-8))


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("record", "expected"),
    [("all", list(range(26))), ("last", [25]), (10, [0, 10, 20, 25]), (5, [0, 5, 10, 15, 20, 25])],
)
def test_records(record, expected):
    """Every k-th point and the last; all recorded quantities belong to the same points."""
    whole = descend(bowl, BOWL.start, learning_rate=0.1, steps=25)
    run = descend(bowl, BOWL.start, learning_rate=0.1, steps=25, record=record)
    assert run.recorded_steps.tolist() == expected
    for part, all_of_it in zip(
        (*run.path, run.losses, run.gradient_norms),
        (*whole.path, whole.losses, whole.gradient_norms),
        strict=True,
    ):
        assert torch.equal(part, all_of_it[expected])
    for w, path in zip(run.weights, run.path, strict=True):
        assert torch.equal(w, path[-1])
    assert torch.equal(run.losses, bowl(*run.path))


def test_a_path_longer_than_one_block_is_complete():
    """3000 steps of the curve, each the update of the previous one."""
    run = descend(curve, 1.9, learning_rate=0.001, steps=3000)
    w = run.path[0]
    assert w.shape == (3001,)
    torch.testing.assert_close(w[1:], w[:-1] - 0.001 * (w[:-1] ** 5 + w[:-1] - 1))


def test_paths_keep_the_shape_of_their_weights():
    """(recorded, *shape) for every weight tensor."""
    X, Y, _ = load_iris()
    run = descend(network_mse(X, Y), init_weights((4, 2, 3)), learning_rate=1.0, steps=10)
    assert [path.shape for path in run.path] == [(11, 4, 2), (11, 2, 3)]
    assert run.losses.shape == run.gradient_norms.shape == (11,)


CENSUS = """
import ctypes, gc, json, sys
import torch
from gd_torch import BOWL, bowl, descend

stepper, warm, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]

mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2

def census(step, _loss, _weights):
    if step in (warm, warm + steps):
        gc.collect()
        info = mallinfo2()
        kib = (info.uordblks + info.hblkhd) // 1024
        tensors = sum(type(thing) is torch.Tensor for thing in gc.get_objects())
        print(tensors, kib, sys.getallocatedblocks())

torch.set_num_threads(1)
run = descend(bowl, BOWL.start, learning_rate=1e-4, steps=warm + steps, record="last",
              stepper=stepper, callback=census, callback_every=warm)
assert run.steps == warm + steps
"""
"""Counts live tensors, KiB allocated by the C library, and Python's blocks of up to 512 bytes.
Resident memory is less sensitive: a leak first fills memory that was freed before."""


@pytest.mark.parametrize(
    ("stepper", "warm", "steps"), [("eager", 2000, 20_000), ("compiled", 2_000_000, 4_000_000)]
)
def test_memory_is_constant_if_only_the_last_point_is_recorded(stepper, warm, steps):
    """Many more steps allocate no more memory."""
    done = subprocess.run(
        [sys.executable, "-c", CENSUS, stepper, str(warm), str(steps)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    before, after = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    tensors, kib, blocks = (now - then for now, then in zip(after, before, strict=True))
    assert tensors == 0
    assert kib < 100
    assert blocks < 100


# ---------------------------------------------------------------- callbacks


def test_the_callback_is_called_at_every_kth_step():
    """Steps k, 2k, ... with the loss at these weights."""
    seen = []
    run = descend(
        bowl, BOWL.start, learning_rate=0.1, steps=10, callback_every=3,
        callback=lambda *seen_now: seen.append(seen_now),
    )  # fmt: skip
    assert [step for step, _, _ in seen] == [3, 6, 9]
    for step, loss, weights in seen:
        assert loss == run.losses[step].item() == bowl(*weights).item()
        assert [w.item() for w in weights] == [path[step].item() for path in run.path]


def test_the_callback_can_stop_the_run():
    """False stops; None and 0 do not."""
    run = descend(
        bowl, BOWL.start, learning_rate=0.1, steps=100, callback_every=5,
        callback=lambda step, *_: False if step == 15 else (None, 0)[step % 2],
    )  # fmt: skip
    assert (run.stop, run.steps) == (Stop.CALLBACK, 15)


def test_the_callback_can_stop_a_run_before_it_would_be_compiled():
    """It is not called again afterwards."""
    seen = []
    run = descend(
        bowl, BOWL.start, learning_rate=1e-4, steps=100_000, callback_every=2,
        callback=lambda step, *_: seen.append(step) or step < 6,
    )  # fmt: skip
    assert (run.stop, run.steps, seen) == (Stop.CALLBACK, 6, [2, 4, 6])


def test_the_callback_cannot_change_the_run():
    """Its weights are copies."""
    plain = descend(bowl, BOWL.start, learning_rate=0.1, steps=10)
    meddled = descend(
        bowl, BOWL.start, learning_rate=0.1, steps=10, callback_every=1,
        callback=lambda _step, _loss, weights: [w.zero_() for w in weights] and None,
    )  # fmt: skip
    assert torch.equal(plain.losses, meddled.losses)


def test_exceptions_of_objective_and_callback_are_passed_on():
    """Their exceptions are passed on."""

    def broken(*_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        descend(broken, 1.0, learning_rate=0.1)
    with pytest.raises(KeyError, match="mine"):
        descend(curve, 1.0, learning_rate=0.1, callback=broken, callback_every=1)


# ---------------------------------------------------------------- refusals

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"start": 2}, TypeError, r"`start` must be floating point \(write 2.0, not 2\), got int"),
        (
            {"start": torch.tensor(2)},
            TypeError,
            "must be floating point .* got torch.int64",
        ),
        ({"start": ()}, TypeError, "`start` must be a tensor, a float or a tuple"),
        ({"start": "1.9"}, TypeError, "`start` must be a tensor, a float or a tuple"),
        ({"start": NAN}, ValueError, "`start` must be finite, its tensor 0 contains NaN"),
        ({"start": torch.tensor([1.0, INF])}, ValueError, "`start` must be finite"),
        ({"start": torch.ones(0)}, ValueError, r"`start` must contain numbers, .* shape \(0,\)"),
        ({"start": torch.ones(1, device="meta")}, ValueError, "is on the meta device"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be positive and finite, got 0"),
        ({"learning_rate": -0.1}, ValueError, "positive and finite, got -0.1"),
        ({"learning_rate": NAN}, ValueError, "positive and finite, got nan"),
        ({"learning_rate": INF}, ValueError, "positive and finite, got inf"),
        ({"learning_rate": "1_0"}, TypeError, "`learning_rate` must be a number, got '1_0'"),
        ({"learning_rate": True}, TypeError, "`learning_rate` must be a number, got True"),
        ({"learning_rate": (0.1, 0.2)}, ValueError, r"one per weight tensor \(1\), got 2"),
        ({"learning_rate": ()}, ValueError, r"one per weight tensor \(1\), got 0"),
        ({"steps": -1}, ValueError, "`steps` must be at least 0, got -1"),
        ({"steps": 1e3}, TypeError, "`steps` must be an integer, got 1000.0"),
        ({"steps": True}, TypeError, "`steps` must be an integer, got True"),
        ({"tolerance": -1.0}, ValueError, "`tolerance` must be not negative and finite, got -1.0"),
        ({"tolerance": NAN}, ValueError, "`tolerance` must be not negative and finite, got nan"),
        ({"tolerance": None}, TypeError, "`tolerance` must be a number, got None"),
        ({"record": 0}, ValueError, "`record` must be 'all', 'last' or an integer"),
        ({"record": "some"}, ValueError, "`record` must be 'all', 'last' .* got 'some'"),
        ({"record": True}, ValueError, "`record` must be 'all', 'last' .* got True"),
        ({"stepper": "magic"}, ValueError, "`stepper` must be .* got 'magic'"),
        ({"callback_every": 0}, ValueError, "`callback_every` must be at least 1, got 0"),
        ({"objective": lambda w: w.expand(3)}, ValueError, r"shape \(\), got \(3,\): did you"),
        ({"objective": lambda w: w.detach()}, ValueError, "must depend on a weight"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options, error, words):
    """The error gives the rule and the argument."""
    arguments = {"objective": curve, "start": 1.9, "learning_rate": 0.1, **options}
    with pytest.raises(error, match=words) as refusal:
        descend(arguments.pop("objective"), arguments.pop("start"), **arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("steps_to_it", [1, 10, 200])
@pytest.mark.parametrize("record", ["all", "last", 7])
def test_the_objective_is_not_evaluated_beyond_a_divergence(record, steps_to_it):
    """The slope is NaN at w >= 1, where the loss is finite: the run ends there."""
    seen = []

    def objective(w):
        seen.append(w.item())
        return torch.nan_to_num(torch.nan_to_num((1 - w).sqrt()) * 0 - w).sum()

    start, rate = torch.zeros((), dtype=torch.float64), 1.0 / steps_to_it
    options = {"steps": 10_000, "record": record, "stepper": "eager"}
    run = descend(objective, start, learning_rate=rate, **options)
    assert run.stop is Stop.GRADIENT and abs(run.steps - steps_to_it) <= 1
    assert seen[-1] == run.weights[0].item() >= 1 and len(seen) == run.steps + 1
    assert run.recorded_steps[-1] == run.steps


@pytest.mark.parametrize(
    ("objective", "rate", "tolerance", "steps", "stop"),
    [
        (lambda w: w * math.inf, 1.0, 1e9, 0, Stop.LOSS),  # its partial is infinite as well
        (lambda w: torch.sqrt(w - 1), 1.0, 1e9, 0, Stop.GRADIENT),  # and it is the last step
        (lambda w: w * 1e200, 1e200, 1e300, 0, Stop.TOLERANCE),
        (lambda w: w * 1e200, 1e200, 0.0, 0, Stop.STEPS),  # no update is to be made
        (lambda w: w * 1e200, 1e200, 0.0, 1, Stop.WEIGHT),
    ],
)
def test_the_first_reason_to_stop_is_reported(objective, rate, tolerance, steps, stop):
    """In the order loss, gradient, tolerance, step limit, updated weight."""
    run = descend(objective, 1.0, learning_rate=rate, tolerance=tolerance, steps=steps)
    assert (run.stop, run.steps) == (stop, 0)


def test_a_callback_that_is_due_where_the_next_weight_would_not_be_finite_is_called_once():
    """Unlike at a loss that is not finite; the callback may stop the run."""

    def steep(w):  # slope -0.1 below 1.5, then -1e307: 0, 10, 1e309
        return torch.where(w < 1.5, -0.1 * w, -1e307 * w)

    for answer, stop in ((None, Stop.WEIGHT), (False, Stop.CALLBACK)):
        seen = []
        run = descend(
            steep, 0.0, learning_rate=100.0, steps=9, callback_every=1,
            callback=lambda step, *_, seen=seen, answer=answer: seen.append(step) or answer,
        )  # fmt: skip
        assert (run.stop, run.steps, seen) == (stop, 1, [1])


def test_fused_is_a_deprecated_synonym_of_compiled():
    """The warning names the line of the caller."""
    with pytest.warns(DeprecationWarning, match="='fused'` is deprecated, use 'compiled'") as told:
        descend(curve, 1.9, learning_rate=0.1, steps=0, stepper="fused")
    assert told[0].filename == __file__


@pytest.mark.parametrize("stepper", ["eager", "compiled"])
def test_a_rate_beyond_the_dtype_is_infinite(stepper):
    """1e40 in float32: the first update would be infinite, so the run ends at its start."""
    start = torch.ones((), dtype=torch.float32)
    run = descend(lambda w: w * w, start, learning_rate=1e40, steps=10, stepper=stepper)
    assert (run.stop, run.steps, float(run.weights[0])) == (Stop.WEIGHT, 0, 1.0)


def test_a_period_beyond_all_steps_records_first_and_last_point():
    """record=2**70 is valid for every stepper: the start and the last point are recorded."""
    for stepper in ("eager", "compiled"):
        run = descend(bowl, (1.0, 1.0), learning_rate=0.1, steps=3, record=2**70, stepper=stepper)
        assert run.recorded_steps.tolist() == [0, 3]
