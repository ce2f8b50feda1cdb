"""The compiled stepper against the eager one, on every named objective."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gd_torch import descend, descend_many
from tests.compiler.objectives import BATCHED, REFUSED, Case, Data, cases, stochastic

CANNOT = "the objective cannot be compiled, its steps run eagerly: "
"""How the one warning of a fallback starts."""

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}
"""The largest difference from eager steps, relative to the scale of the values so far."""

DTYPES = {"float64": torch.float64, "float32": torch.float32}

NAMES = tuple(cases(torch.float64))


def _parameters() -> list[object]:
    """Each case in float64, then in float32; most are marked as slow."""
    every = [(name, kind) for kind in DTYPES for name in NAMES if name in _table(kind)]
    return [
        pytest.param(
            name,
            kind,
            id=f"{name}-{kind}",
            marks=[pytest.mark.slow] if kind == "float32" or i % 3 else [],
        )
        for i, (name, kind) in enumerate(every)
    ]


@cache
def _table(kind: str) -> dict[str, Case]:
    return cases(DTYPES[kind])


@pytest.fixture(scope="module", autouse=True)
def _cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One empty directory for the compiled steps of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GD_TORCH_CACHE", str(tmp_path_factory.mktemp("compiled")))
        yield


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(case: Case, stepper: str) -> tuple[object, list[str]]:
    """A run with its whole path, and the warnings it raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = descend(
            case.objective,
            case.start,
            learning_rate=case.learning_rate,
            steps=case.steps,
            tolerance=case.tolerance,
            record="all",
            stepper=stepper,
        )
    return result, [f"{w.category.__name__}: {w.message}" for w in caught]


def fell_back(messages: list[str]) -> bool:
    """Whether the run says that it is eager; any other warning is an error."""
    assert len(messages) <= 1, messages
    assert all(m.startswith(f"RuntimeWarning: {CANNOT}") for m in messages), messages
    return bool(messages)


def furthest(actual: Tensor, expected: Tensor) -> float:
    """The largest difference over all points, relative to the largest entry up to that point."""
    if not len(expected):
        return 0.0
    a, e = (t.double().reshape(len(t), -1) for t in (actual, expected))
    if not e.shape[1]:
        return 0.0
    same = (a == e) | (a.isnan() & e.isnan())
    scale = e.abs().nan_to_num(0.0, 0.0, 0.0).amax(1).cummax(0).values[:, None]
    apart = torch.where(same, 0.0, (a - e).abs() / scale)
    return float(apart.nan_to_num(torch.inf, torch.inf).max())


def assert_same_run(actual: object, expected: object, tolerance: float) -> None:
    """Same end, same recorded steps, and losses, norms and path within the tolerance."""
    assert (actual.steps, actual.stop) == (expected.steps, expected.stop)
    assert actual.recorded_steps.tolist() == expected.recorded_steps.tolist()
    assert actual.losses.dtype == expected.losses.dtype
    pairs = {
        "losses": (actual.losses, expected.losses),
        "gradient_norms": (actual.gradient_norms, expected.gradient_norms),
    }
    for i, (a, e) in enumerate(zip(actual.path, expected.path, strict=True)):
        assert a.shape == e.shape and a.dtype == e.dtype
        pairs[f"path of weight {i}"] = (a, e)
    for weight, path in zip(actual.weights, actual.path, strict=True):
        assert torch.equal(weight, path[-1]), "the weights are not the last point of the path"
    differences = {name: furthest(*pair) for name, pair in pairs.items()}
    wrong = {name: value for name, value in differences.items() if not value <= tolerance}
    assert not wrong, f"relative differences above {tolerance:g}: {wrong}"


def bits(result: object) -> list[bytes]:
    """All numbers of a run, byte by byte."""
    tensors = [*result.path, *result.weights, result.losses, result.gradient_norms]
    return [t.contiguous().numpy().tobytes() for t in tensors]


@pytest.mark.parametrize(("name", "kind"), _parameters())
def test_compiled_steps_equal_eager_steps(name: str, kind: str) -> None:
    """A compiled run has the path, losses, norms and end of the eager one, or says it is eager."""
    case = _table(kind)[name]
    expected, none = run(case, "eager")
    assert none == []
    actual, messages = run(case, "compiled")
    eager = fell_back(messages)
    assert not (eager and case.must_compile), messages
    assert eager or name not in REFUSED, "a value of a weight is frozen in the compiled step"
    assert_same_run(actual, expected, TOLERANCES[case.start[0].dtype] * case.looseness)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if i % 6 else []) for i, n in enumerate(NAMES)],
)
def test_compiled_steps_are_reproducible(name: str) -> None:
    """Two runs, and runs with 1 and 2 threads, have the same bits."""
    case = _table("float64")[name]
    if not case.must_compile:
        return
    results = []
    for count in (1, 2, 1):
        torch.set_num_threads(count)
        results.append(bits(run(case, "compiled")[0]))
    assert results[0] == results[2], "two runs with 1 thread differ"
    assert results[0] == results[1], "runs with 1 and 2 threads differ"


@pytest.mark.slow
@pytest.mark.parametrize("kind", DTYPES)
def test_ordinary_objectives_compile(kind: str) -> None:
    """Every objective that an ordinary user expects to be compiled is compiled: 150 at least."""
    expected = [case for case in _table(kind).values() if case.must_compile]
    assert len(expected) >= 150
    reasons = {}
    for case in expected:
        _, messages = run(case, "compiled")
        if fell_back(messages):
            reasons[case.name] = messages[0].split(CANNOT)[1]
    assert not reasons, f"{len(reasons)} of {len(expected)} run eagerly: {reasons}"


@pytest.mark.parametrize("name", [case.name for case in stochastic(Data(torch.float64, 0))])
def test_random_numbers_are_not_compiled(name: str) -> None:
    """An objective that draws random numbers runs eagerly, with the one warning."""
    case = {c.name: c for c in stochastic(Data(torch.float64, 0))}[name]
    result, messages = run(case, "compiled")
    assert fell_back(messages)
    assert result.steps == case.steps


@pytest.mark.parametrize("name", ["tanh net", "damped spring", "rosenbrock 10", "gather 0"])
@pytest.mark.parametrize("record", ["last", 1, 7])
def test_recording_does_not_change_the_steps(name: str, record: str | int) -> None:
    """The recorded points of a compiled run are points of its whole path, with the same bits."""
    case = _table("float64")[name]
    whole = run(case, "compiled")[0]
    part = descend(
        case.objective,
        case.start,
        learning_rate=case.learning_rate,
        steps=case.steps,
        record=record,
        stepper="compiled",
    )
    kept = torch.isin(whole.recorded_steps, part.recorded_steps)
    assert int(kept.sum()) == len(part.recorded_steps)
    assert all(torch.equal(p, w[kept]) for p, w in zip(part.path, whole.path, strict=True))
    assert torch.equal(part.losses, whole.losses[kept])
    assert torch.equal(part.gradient_norms, whole.gradient_norms[kept])


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 63, 64, 65, 257])
def test_any_number_of_steps(steps: int) -> None:
    """A compiled run of any length equals the eager one, without steps too many or too few."""
    case = _table("float64")["tanh net"]
    settings = {"learning_rate": case.learning_rate, "steps": steps}
    expected = descend(case.objective, case.start, **settings, stepper="eager")
    actual = descend(case.objective, case.start, **settings, stepper="compiled")
    assert_same_run(actual, expected, 1e-10)


@pytest.mark.parametrize("name", ["six weights", "three layers with biases"])
def test_a_learning_rate_per_weight(name: str) -> None:
    """Each weight moves with its own learning rate, as in eager steps."""
    case = _table("float64")[name]
    settings = {
        "learning_rate": [case.learning_rate * (i + 1) / 4 for i in range(len(case.start))],
        "steps": 40,
    }
    expected = descend(case.objective, case.start, **settings, stepper="eager")
    actual = descend(case.objective, case.start, **settings, stepper="compiled")
    assert_same_run(actual, expected, 1e-10)


def _vector_times_matrix(w: Tensor) -> Tensor:
    """torch multiplies a matrix of one row and then removes that axis of the result in place."""
    return (w[0] @ MATRIX @ w).square().sum()


def _transposed_after_use(w: Tensor) -> Tensor:
    """The shape of a tensor is changed in place after an operation has read it."""
    y = w * 2
    z = y @ MATRIX
    y.t_()
    return (z + y).square().sum() + y[0].sum()


def _given_an_axis(w: Tensor) -> Tensor:
    """An axis of length 1 is inserted in place."""
    return ((w[1] @ MATRIX).unsqueeze_(0) * w).square().sum()


def _constant_transposed_after_use(w: Tensor) -> Tensor:
    """The shape of a constant created in the evaluation is changed after it has been read."""
    c = MATRIX + 1.0
    total = (w + c).square().sum()
    c.t_()
    return total + (w - c).square().sum()


MATRIX = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5], [0.1, 0.7, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    "objective",
    [
        _vector_times_matrix,
        _transposed_after_use,
        _given_an_axis,
        _constant_transposed_after_use,
    ],
    ids=lambda f: f.__name__.strip("_"),
)
def test_shapes_that_change_in_place(objective: Callable[..., Tensor]) -> None:
    """An operation is compiled with the shapes that its tensors had when it was called."""
    start = torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6], [0.2, 0.2, 0.9]], dtype=torch.float64)
    settings = {"learning_rate": 1e-3, "steps": 40}
    expected = descend(objective, start, **settings, stepper="eager")
    actual = descend(objective, start, **settings, stepper="compiled")
    assert_same_run(actual, expected, 1e-10)


def test_an_assignment_to_no_entries() -> None:
    """Writing to an empty slice is compiled; regression test of an error."""

    def objective(w: Tensor) -> Tensor:
        y = (w * 1.0)[None]
        y[1:] += y[:-1]
        return y.square().sum()

    case = Case("empty", objective, (torch.tensor([0.3, -0.2], dtype=torch.float64),), 0.01)
    actual, messages = run(case, "compiled")
    assert not fell_back(messages)
    assert_same_run(actual, run(case, "eager")[0], 1e-10)


def test_the_cache_directory_is_that_of_the_environment() -> None:
    """Compiled steps are written to the directory that GD_TORCH_CACHE names."""
    run(_table("float64")["himmelblau"], "compiled")
    assert any(Path(os.environ["GD_TORCH_CACHE"]).rglob("*"))


@pytest.mark.parametrize("kind", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
@pytest.mark.parametrize("name", BATCHED)
def test_compiled_batches_equal_eager_batches(name: str, kind: str) -> None:
    """33 runs in a batch end as eager runs, each with its own start and learning rate."""
    case, generator = _table(kind)[name], torch.Generator().manual_seed(1)
    noise = [
        torch.randn((33, *w.shape), generator=generator, dtype=torch.float64) for w in case.start
    ]
    starts = [w + 0.05 * n.to(w.dtype) for w, n in zip(case.start, noise, strict=True)]
    rates = case.learning_rate * torch.linspace(0.3, 1.0, 33, dtype=torch.float64)
    results = []
    for stepper in ("eager", "compiled"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results.append(descend_many(case.objective, starts, rates, steps=40, stepper=stepper))
    eager, compiled = results
    assert compiled.steps.tolist() == eager.steps.tolist()
    assert compiled.stop == eager.stop
    tolerance = TOLERANCES[DTYPES[kind]] * case.looseness
    pairs = [
        (compiled.losses, eager.losses),
        (compiled.gradient_norms, eager.gradient_norms),
        *zip(compiled.weights, eager.weights, strict=True),
    ]
    for actual, expected in pairs:
        assert furthest(actual[None], expected[None]) <= tolerance
