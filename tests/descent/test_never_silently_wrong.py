"""Compiled and automatic runs equal eager ones, or a warning says that they are eager.

Each objective here once gave a wrong result without a warning, or belongs to the same kind: edits
in place, branches that open late, data that a callback changes, side effects, numbers that are read
from weights. Automatic runs need thousands of steps before compiling pays; most of them are slow.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gd_torch import Descent, descend, partials

F64 = torch.float64
ROOT = Path(__file__).resolve().parents[2]
CANNOT = "the objective cannot be compiled"
"""Start of the warning, also if the objective cannot be compiled again after a change."""
BOTH = ("compiled", "auto")
STEPPERS = ("compiled", pytest.param("auto", marks=pytest.mark.slow))

LONGER = {"compiled": 1, "auto": 4}
"""Factor for the number of steps with this stepper; the steps are smaller by the same factor."""

Callback = Callable[[int, float, tuple[Tensor, ...]], object]
Problem = tuple[Callable[..., Tensor], Callback | None]
"""An objective and the callback that changes it, created for each run."""


@pytest.fixture(autouse=True)
def _surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """One cache directory for the session; the number of threads is restored."""
    directory = tmp_path_factory.getbasetemp() / "never_silently_wrong"
    monkeypatch.setenv("GD_TORCH_CACHE", str(directory))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(objective: Callable[..., Tensor], start: object, **settings: object) -> tuple:
    """A run, and the messages of its warnings: at most the one of a fallback."""
    settings = {"record": "last"} | settings
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = descend(objective, start, **settings)
    messages = [str(w.message) for w in caught]
    assert len(messages) <= 1 and all(m.startswith(CANNOT) for m in messages), messages
    return result, messages


def sized(stepper: str, rate: float, steps: int = 2000, every: int = 200) -> dict[str, object]:
    """Settings of a run that is long enough for its stepper to compile."""
    factor = LONGER[stepper]
    return {
        "learning_rate": rate / factor,
        "steps": steps * factor,
        "callback_every": every * factor,
    }


def assert_equal(actual: Descent, expected: Descent, tolerance: float = 1e-9) -> None:
    """The same end, and weights within the tolerance."""
    assert (actual.steps, actual.stop) == (expected.steps, expected.stop)
    for a, e in zip(actual.weights, expected.weights, strict=True):
        torch.testing.assert_close(a, e, rtol=tolerance, atol=tolerance)


def assert_equal_to_eager(
    make: Callable[[], Problem],
    start: object,
    stepper: str,
    *,
    tolerance: float = 1e-9,
    **settings: object,
) -> list[str]:
    """Compare with an eager run, each with a new problem; returns the warnings of the other run."""
    objective, callback = make()
    expected, none = run(objective, start, stepper="eager", callback=callback, **settings)
    assert none == []
    objective, callback = make()
    actual, messages = run(objective, start, stepper=stepper, callback=callback, **settings)
    assert_equal(actual, expected, tolerance)
    return messages


def fixed(objective: Callable[..., Tensor]) -> Callable[[], Problem]:
    """A problem without a callback."""
    return lambda: (objective, None)


# --------------------------------------------------------------------------------- item assignment


def position_below_one(w: Tensor) -> Tensor:
    """A recurrence that affects the loss only above 1."""
    x = torch.zeros(3, dtype=w.dtype)
    for i in range(2):
        x[i + 1] = 0.5 * x[i] + w[i]
    return (w - 2).square().sum() + 10 * torch.relu(x - 1).square().sum()


def doubled_entry(w: Tensor) -> Tensor:
    """One entry is replaced by twice the weight."""
    z = w * 1.0
    z[1] = w[1] * 2
    return (z - torch.tensor([1.0, 5.0, 3.0][: len(w)], dtype=w.dtype)).square().sum()


def slice_late(w: Tensor) -> Tensor:
    """A slice is overwritten by values that affect the loss only above 1."""
    z = w * 1.0
    z[1:] = w[:-1] * w[1:]
    return (w - 2).square().sum() + 10 * torch.relu(z - 1).square().sum()


def view_late(w: Tensor) -> Tensor:
    """An edit through a view of a view affects the loss only above 1."""
    z = (w * 1.0)[None].repeat(2, 1)
    z[0].mul_(2)
    z.T[1].add_(w[0])
    return (w - 2).square().sum() + 3 * torch.relu(z - 1.2).square().sum()


def masked_late(w: Tensor) -> Tensor:
    """Entries are replaced if the weight exceeds a bound."""
    z = w * 1.0
    z[w > 1] = 1.0
    return (w - 2).square().sum() + (z * w.flip(0)).sum()


def zeroed_late(w: Tensor) -> Tensor:
    """A region is set to zero and written again."""
    z = w.exp()
    z = z + 0
    z[0].zero_()
    z[0].copy_(w[1] * 3)
    return (w - 1).square().sum() + torch.relu(z - 2).square().sum()


def accumulated(w: Tensor) -> Tensor:
    """A total is accumulated in place."""
    total = torch.zeros((), dtype=w.dtype)
    for v in w:
        total += torch.relu(v - 1) ** 2
    return (w - 2).square().sum() + 5 * total


ASSIGNMENTS = [
    position_below_one,
    doubled_entry,
    slice_late,
    view_late,
    masked_late,
    zeroed_late,
    accumulated,
]


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("objective", ASSIGNMENTS, ids=lambda f: f.__name__)
def test_item_assignment(objective: Callable[[Tensor], Tensor], stepper: str) -> None:
    """In-place edits of temporaries are differentiated, also if they take effect late in a run."""
    start = torch.tensor([0.1, 0.2], dtype=F64)
    assert_equal_to_eager(fixed(objective), start, stepper, **sized(stepper, 3e-3))


@pytest.mark.parametrize("stepper", BOTH)
def test_item_assignment_ends_at_a_minimum(stepper: str) -> None:
    """A run with an in-place recurrence ends where the slope is zero."""
    start = torch.tensor([0.1, 0.1], dtype=F64)
    result, _ = run(position_below_one, start, learning_rate=3e-3, steps=9000, stepper=stepper)
    (slope,) = partials(position_below_one)(*result.weights)
    assert float(slope.abs().max()) < 1e-8


@pytest.mark.parametrize("stepper", BOTH)
@pytest.mark.parametrize("rate", [1e-4, 1e-5])
def test_float32_with_a_small_learning_rate(rate: float, stepper: str) -> None:
    """A wrong partial is detected in float32, even if the steps are small."""
    settings = {"learning_rate": rate, "steps": 6000}
    start = torch.ones(3)
    objective, _ = fixed(doubled_entry)()
    expected, _ = run(objective, start, stepper="eager", **settings)
    actual, _ = run(objective, start, stepper=stepper, **settings)
    moved = float((expected.weights[0] - start).abs().max())
    assert float((actual.weights[0] - expected.weights[0]).abs().max()) < 2e-3 * moved
    assert actual.steps == expected.steps


# -------------------------------------------------------------------------- late parts and threads

ORDER = torch.tensor([0, 2, 1])
WANTED = torch.tensor([1.0, 2.0, 3.0], dtype=F64)

PERMUTED: dict[str, Callable[[Tensor], Tensor]] = {
    "gather": lambda w: w.gather(0, ORDER),
    "index": lambda w: w[ORDER],
    "index_select": lambda w: w.index_select(0, ORDER),
    "take": lambda w: w.take(ORDER),
    "scatter": lambda w: torch.zeros(3, dtype=F64).scatter(0, ORDER, w),
    "scatter_add": lambda w: torch.zeros(3, dtype=F64).scatter_add(0, ORDER, w),
    "index_add": lambda w: torch.zeros(3, dtype=F64).index_add(0, ORDER, w),
    "index_put": lambda w: torch.zeros(3, dtype=F64).index_put((ORDER,), w, accumulate=True),
    "embedding": lambda w: torch.nn.functional.embedding(ORDER, w[:, None])[:, 0],
    "flip": lambda w: w.flip(0),
    "roll": lambda w: w.roll(1),
}


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("name", PERMUTED)
def test_an_indexed_part_that_acts_late_with_two_threads(name: str, stepper: str) -> None:
    """A gather or scatter that takes effect late in a run is part of the step."""
    torch.set_num_threads(2)
    permute = PERMUTED[name]

    def objective(a: Tensor, w: Tensor) -> Tensor:
        return (a + 1) ** 2 + torch.relu(1 - a) * (permute(w) - WANTED).square().sum()

    start = (torch.tensor(2.0, dtype=F64), torch.zeros(3, dtype=F64))
    assert_equal_to_eager(fixed(objective), start, stepper, **sized(stepper, 6e-4))


# ------------------------------------------------------------------------- changes by the callback


def penalised(w: Tensor, penalty: object) -> Tensor:
    """A loss with a penalty for w > 1."""
    return (w - 2) ** 2 + penalty * torch.relu(w - 1) ** 2


def always(w: Tensor, penalty: object) -> Tensor:
    """A loss with a penalty everywhere."""
    return (w - 2) ** 2 + penalty * w**2


class Bound:
    """The penalty is an attribute of the object whose method is the objective."""

    penalty = 1.0

    def __init__(self, form: Callable[..., Tensor]) -> None:
        self.form = form

    def loss(self, w: Tensor) -> Tensor:
        return self.form(w, self.penalty)

    def set(self, value: float) -> None:
        self.penalty = value


def by_attribute(form: Callable[..., Tensor]) -> tuple:
    holder = Bound(form)
    return holder.loss, holder.set


def by_class_attribute(form: Callable[..., Tensor]) -> tuple:
    class Holder(Bound):
        pass

    holder = Holder(form)
    return holder.loss, lambda value: setattr(Holder, "penalty", value)


def by_closure(form: Callable[..., Tensor]) -> tuple:
    penalty = 1.0

    def objective(w: Tensor) -> Tensor:
        return form(w, penalty)

    def change(value: float) -> None:
        nonlocal penalty
        penalty = value

    return objective, change


PENALTY = 1.0


def by_global(form: Callable[..., Tensor]) -> tuple:
    globals()["PENALTY"] = 1.0
    return lambda w: form(w, PENALTY), lambda value: globals().update(PENALTY=value)


def by_dict(form: Callable[..., Tensor]) -> tuple:
    state = {"penalty": 1.0}
    return lambda w: form(w, state["penalty"]), lambda value: state.update(penalty=value)


def by_list(form: Callable[..., Tensor]) -> tuple:
    state = [[1.0]]
    return lambda w: form(w, state[0][0]), lambda value: state[0].__setitem__(0, value)


def by_partial(form: Callable[..., Tensor]) -> tuple:
    state = {"penalty": 1.0}

    def objective(state: dict[str, float], w: Tensor) -> Tensor:
        return form(w, state["penalty"])

    return functools.partial(objective, state), lambda value: state.update(penalty=value)


def by_namespace(form: Callable[..., Tensor]) -> tuple:
    space = types.SimpleNamespace(inner=types.SimpleNamespace(penalty=1.0))
    return lambda w: form(w, space.inner.penalty), lambda v: setattr(space.inner, "penalty", v)


def by_tensor(form: Callable[..., Tensor]) -> tuple:
    penalty = torch.tensor(1.0, dtype=F64)
    return lambda w: form(w, penalty), lambda value: penalty.fill_(value)


def by_another_tensor(form: Callable[..., Tensor]) -> tuple:
    state = {"penalty": torch.tensor(1.0, dtype=F64)}
    change = lambda value: state.update(penalty=torch.tensor(value, dtype=F64))  # noqa: E731
    return lambda w: form(w, state["penalty"]), change


def by_array(form: Callable[..., Tensor]) -> tuple:
    penalty = np.ones(1)
    return lambda w: form(w, float(penalty[0])), lambda value: penalty.fill(value)


def by_shared_array(form: Callable[..., Tensor]) -> tuple:
    array = np.ones(())
    tensor = torch.from_numpy(array)
    return lambda w: form(w, tensor), lambda value: array.fill(value)


def by_default(form: Callable[..., Tensor]) -> tuple:
    def objective(w: Tensor, penalty: float = 1.0) -> Tensor:
        return form(w, penalty)

    return objective, lambda value: setattr(objective, "__defaults__", (value,))


def by_function_attribute(form: Callable[..., Tensor]) -> tuple:
    def objective(w: Tensor) -> Tensor:
        return form(w, objective.penalty)

    objective.penalty = 1.0
    return objective, lambda value: setattr(objective, "penalty", value)


def by_helper(form: Callable[..., Tensor]) -> tuple:
    state = {"f": lambda w: form(w, 1.0)}
    return lambda w: state["f"](w), lambda value: state.update(f=lambda w: form(w, value))


def by_module_parameter(form: Callable[..., Tensor]) -> tuple:
    layer = torch.nn.Linear(1, 1, bias=False).double().requires_grad_(False)
    layer.weight.fill_(1.0)
    return lambda w: form(w, layer.weight[0, 0]), lambda value: layer.weight.fill_(value)


def by_replaced_method(form: Callable[..., Tensor]) -> tuple:
    class Holder(Bound):
        def factor(self) -> float:
            return 1.0

        def loss(self, w: Tensor) -> Tensor:
            return self.form(w, self.factor())

    holder = Holder(form)
    return holder.loss, lambda value: setattr(holder, "factor", lambda: value)


WAYS = [
    by_attribute,
    by_class_attribute,
    by_closure,
    by_global,
    by_dict,
    by_list,
    by_partial,
    by_namespace,
    by_tensor,
    by_another_tensor,
    by_array,
    by_shared_array,
    by_default,
    by_function_attribute,
    by_helper,
    by_module_parameter,
    by_replaced_method,
]

SCHEDULES: dict[str, dict[int, float]] = {
    "once": {1400: 8.0},
    "at the first callback": {200: 8.0},
    "at the last callback": {1800: 8.0},
    "back and forth": {600: 8.0, 800: 1.0, 1400: 8.0, 1600: 1.0},
    "rising": {200 * k: 1.0 + 0.5 * k for k in range(1, 10)},
}


def changed_by_callback(
    way: Callable[..., tuple],
    form: Callable[..., Tensor],
    schedule: dict[int, float],
    stepper: str,
) -> Callable[[], Problem]:
    """A problem whose penalty the callback changes at these steps of a compiled run."""

    def make() -> Problem:
        objective, change = way(form)

        def callback(step: int, _loss: float, _weights: tuple[Tensor, ...]) -> None:
            if step // LONGER[stepper] in schedule:
                change(schedule[step // LONGER[stepper]])

        return objective, callback

    return make


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_a_penalty_that_the_callback_changes_back_and_forth(
    way: Callable[..., tuple], stepper: str
) -> None:
    """Wherever the penalty is stored, its new value is used from the step after the callback."""
    make = changed_by_callback(way, always, SCHEDULES["back and forth"], stepper)
    assert_equal_to_eager(make, 0.0, stepper, **sized(stepper, 6e-4))


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_a_change_that_acts_only_later(way: Callable[..., tuple], stepper: str) -> None:
    """A penalty for w > 1 that is changed while w < 1 takes effect once w > 1."""
    make = changed_by_callback(way, penalised, {600: 50.0}, stepper)
    assert_equal_to_eager(make, 0.0, stepper, **sized(stepper, 4.5e-4))


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("form", [always, penalised], ids=lambda f: f.__name__)
@pytest.mark.parametrize("way", [by_attribute, by_tensor], ids=lambda f: f.__name__)
def test_a_penalty_that_the_callback_changes_at_various_steps(
    way: Callable[..., tuple], form: Callable[..., Tensor], schedule: str, stepper: str
) -> None:
    """Early, late, single and repeated changes give the eager run."""
    make = changed_by_callback(way, form, SCHEDULES[schedule], stepper)
    assert_equal_to_eager(make, 0.9, stepper, **sized(stepper, 6e-4))


def minibatch(replaced: bool) -> Callable[[], Problem]:
    """Linear regression on 33 rows that the callback redraws, in place or as new tensors."""

    def make() -> Problem:
        generator = torch.Generator().manual_seed(0)
        X = torch.randn(1000, 4, generator=generator, dtype=F64)
        y = X @ torch.arange(1.0, 5.0, dtype=F64)[:, None]
        batch = {"X": X[:33].clone(), "y": y[:33].clone()}
        pick = torch.Generator().manual_seed(1)

        def objective(w: Tensor) -> Tensor:
            return (batch["X"] @ w - batch["y"]).square().mean()

        def refill(_step: int, _loss: float, _weights: tuple[Tensor, ...]) -> None:
            rows = torch.randint(0, 1000, (33,), generator=pick)
            if replaced:
                batch.update(X=X[rows], y=y[rows])
            else:
                batch["X"].copy_(X[rows])
                batch["y"].copy_(y[rows])

        return objective, refill

    return make


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("replaced", [False, True], ids=["in place", "replaced"])
@pytest.mark.parametrize("every", [100, 400, 1500])
def test_a_minibatch_that_the_callback_refills(every: int, replaced: bool, stepper: str) -> None:
    """Every minibatch is used, whether its tensors are overwritten or replaced."""
    start = torch.zeros(4, 1, dtype=F64)
    settings = sized(stepper, 3e-3, every=every)
    assert_equal_to_eager(minibatch(replaced), start, stepper, **settings)


@pytest.mark.parametrize("stepper", STEPPERS)
def test_a_minibatch_of_another_size(stepper: str) -> None:
    """The number of rows may change at a callback."""

    def make() -> Problem:
        X, state = torch.linspace(-1, 1, 40, dtype=F64)[:, None], {"n": 20}

        def objective(w: Tensor) -> Tensor:
            return (X[: state["n"]] * w - 1).square().mean()

        return objective, lambda _s, _l, _w: state.update(n=57 - state["n"])

    assert_equal_to_eager(make, 0.3, stepper, **sized(stepper, 3e-3))


@pytest.mark.parametrize("stepper", BOTH)
def test_an_objective_whose_attributes_are_replaced(stepper: str) -> None:
    """A callable object whose data, function and class are replaced by the callback."""

    class Objective:
        def __init__(self) -> None:
            self.target, self.power = torch.tensor([1.0, 2.0], dtype=F64), torch.square

        def __call__(self, w: Tensor) -> Tensor:
            return self.power(w - self.target).sum()

    class Shifted(Objective):
        def __call__(self, w: Tensor) -> Tensor:
            return super().__call__(w + 0.5)

    def make() -> Problem:
        objective, factor = Objective(), LONGER[stepper]

        def callback(step: int, _loss: float, _weights: tuple[Tensor, ...]) -> None:
            if step == 400 * factor:
                objective.target = torch.tensor([3.0, -2.0], dtype=F64)
            if step == 800 * factor:
                objective.power = torch.cosh
            if step == 1400 * factor:
                objective.__class__ = Shifted

        return objective, callback

    start = torch.zeros(2, dtype=F64)
    assert_equal_to_eager(make, start, stepper, **sized(stepper, 6e-4))


# ------------------------------------------------------------------------------ impure objectives

SWITCH = 1500
"""The evaluation at which an impure objective changes."""


def switched(w: Tensor, on: object) -> Tensor:
    """A loss whose minimum moves from 2 to 2 / 11."""
    return (w - 2) ** 2 + (10.0 if on else 0.0) * w**2


def nonlocal_counter() -> Callable[[Tensor], Tensor]:
    n = 0

    def objective(w: Tensor) -> Tensor:
        nonlocal n
        n += 1
        return switched(w, n > SWITCH)

    return objective


CALLS = 0


def global_counter() -> Callable[[Tensor], Tensor]:
    globals()["CALLS"] = 0

    def objective(w: Tensor) -> Tensor:
        global CALLS
        CALLS += 1
        return switched(w, CALLS > SWITCH)

    return objective


def namespace_counter() -> Callable[[Tensor], Tensor]:
    space = types.SimpleNamespace(n=0)

    def objective(w: Tensor) -> Tensor:
        space.n += 1
        return switched(w, space.n > SWITCH)

    return objective


def _tick() -> int:
    global CALLS
    CALLS += 1
    return CALLS


def helper_counter() -> Callable[[Tensor], Tensor]:
    globals()["CALLS"] = 0
    return lambda w: switched(w, _tick() > SWITCH)


def itertools_counter() -> Callable[[Tensor], Tensor]:
    count = itertools.count()
    return lambda w: switched(w, next(count) > SWITCH)


def tensor_counter() -> Callable[[Tensor], Tensor]:
    n = torch.zeros((), dtype=F64)

    def objective(w: Tensor) -> Tensor:
        n.add_(1)
        return (w - 2) ** 2 + torch.where(n > SWITCH, 10.0, 0.0) * w**2

    return objective


def callable_counter() -> Callable[[Tensor], Tensor]:
    class Counter:
        n = 0

        def __call__(self, w: Tensor) -> Tensor:
            self.n += 1
            return switched(w, self.n > SWITCH)

    return Counter()


def partial_counter() -> Callable[[Tensor], Tensor]:
    def objective(state: dict[str, int], w: Tensor) -> Tensor:
        state["n"] += 1
        return switched(w, state["n"] > SWITCH)

    return functools.partial(objective, {"n": 0})


def list_counter() -> Callable[[Tensor], Tensor]:
    seen: list[int] = []

    def objective(w: Tensor) -> Tensor:
        seen.append(1)
        return switched(w, len(seen) > SWITCH)

    return objective


def array_counter() -> Callable[[Tensor], Tensor]:
    n = np.zeros(1)

    def objective(w: Tensor) -> Tensor:
        n[0] += 1
        return switched(w, n[0] > SWITCH)

    return objective


def generator_counter() -> Callable[[Tensor], Tensor]:
    numbers = (i for i in itertools.count())
    return lambda w: switched(w, next(numbers) > SWITCH)


def class_counter() -> Callable[[Tensor], Tensor]:
    class Holder:
        n = 0

    def objective(w: Tensor) -> Tensor:
        Holder.n += 1
        return switched(w, Holder.n > SWITCH)

    return objective


def attribute_counter() -> Callable[[Tensor], Tensor]:
    def objective(w: Tensor) -> Tensor:
        objective.n += 1
        return switched(w, objective.n > SWITCH)

    objective.n = 0
    return objective


def numpy_generator() -> Callable[[Tensor], Tensor]:
    random = np.random.default_rng(0)
    return lambda w: switched(w, random.random() < 1e-2)


def global_numpy_generator() -> Callable[[Tensor], Tensor]:
    np.random.seed(0)  # noqa: NPY002
    return lambda w: switched(w, np.random.rand() < 1e-2)  # noqa: NPY002


def python_generator() -> Callable[[Tensor], Tensor]:
    import random

    random.seed(0)
    return lambda w: switched(w, random.random() < 1e-2)


def torch_generator() -> Callable[[Tensor], Tensor]:
    torch.manual_seed(0)
    return lambda w: (w - 2) ** 2 + torch.rand((), dtype=F64) * w**2


def own_torch_generator() -> Callable[[Tensor], Tensor]:
    own = torch.Generator().manual_seed(0)
    return lambda w: (w - 2) ** 2 + torch.rand((), dtype=F64, generator=own) * w**2


def clock() -> Callable[[Tensor], Tensor]:
    began = time.monotonic()
    return lambda w: switched(w, time.monotonic() - began > 0.1)


def exponential_average() -> Callable[[Tensor], Tensor]:
    mean = torch.zeros((), dtype=F64)

    def objective(w: Tensor) -> Tensor:
        mean.mul_(0.99).add_(0.01 * w.detach())
        return (w - 2) ** 2 + 5 * (w - mean) ** 2

    return objective


COUNTERS = [
    nonlocal_counter,
    global_counter,
    namespace_counter,
    helper_counter,
    itertools_counter,
    tensor_counter,
    callable_counter,
    partial_counter,
    list_counter,
    array_counter,
    generator_counter,
    class_counter,
    attribute_counter,
    exponential_average,
]

DRAWS = [
    numpy_generator,
    global_numpy_generator,
    python_generator,
    torch_generator,
    own_torch_generator,
    clock,
]


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("make", COUNTERS, ids=lambda f: f.__name__)
def test_an_objective_that_counts_its_calls(
    make: Callable[[], Callable[[Tensor], Tensor]], stepper: str
) -> None:
    """An objective with side effects runs eagerly, with a warning, to the eager result."""
    settings = sized(stepper, 1e-3)
    expected, _ = run(make(), 0.0, stepper="eager", **settings)
    actual, messages = run(make(), 0.0, stepper=stepper, **settings)
    assert messages or actual.weights[0].item() == pytest.approx(
        expected.weights[0].item(), abs=1e-9
    )
    assert actual.weights[0].item() == pytest.approx(expected.weights[0].item(), abs=0.02)
    assert actual.steps == expected.steps


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("make", DRAWS, ids=lambda f: f.__name__)
def test_an_objective_that_draws_numbers_or_reads_a_clock(
    make: Callable[[], Callable[[Tensor], Tensor]], stepper: str
) -> None:
    """It ends near an eager run, or a warning says that its steps run eagerly."""
    settings = sized(stepper, 3e-3)
    expected, _ = run(make(), 0.0, stepper="eager", **settings)
    actual, messages = run(make(), 0.0, stepper=stepper, **settings)
    assert messages or actual.weights[0].item() == pytest.approx(
        expected.weights[0].item(), abs=1e-3
    )


# ------------------------------------------------------------------- numbers read from the weights

READ: dict[str, Callable[[Tensor], Tensor]] = {
    "item": lambda w: ((w - 2) ** 2 + w.sum().item() * w).sum(),
    "float": lambda w: ((w - 2) ** 2).sum() * (1 + float(w.detach().sum()) ** 2),
    "int": lambda w: ((w - 2) ** 2).sum() + int(4 * w.detach()[0]) * w.sum(),
    "tolist": lambda w: ((w - 2) ** 2).sum() + w.tolist()[0] * w.sum(),
    "numpy": lambda w: ((w - 2) ** 2).sum() + float(w.detach().numpy()[0]) * w.sum(),
    "numpy function": lambda w: ((w - 2) ** 2).sum() + np.sin(w.detach().numpy()).sum() * w.sum(),
    "from_numpy": lambda w: (w * torch.from_numpy(np.exp(w.detach().numpy()))).sum(),
    "shared numpy": lambda w: (w * torch.from_numpy(w.detach().numpy())).sum() - w.sum(),
    "array": lambda w: (w * torch.tensor(np.asarray(w.detach()) + 1)).sum(),
    "torch.tensor": lambda w: (w * torch.tensor([float(v) for v in w.detach()], dtype=F64)).sum(),
    "bool": lambda w: ((w - 2) ** 2).sum() * (1 if w[0] < 0.5 else 3),
    "all": lambda w: ((w - 2) ** 2).sum() * (1 if bool((w < 0.5).all()) else 3),
    "python max": lambda w: ((w - 2) ** 2).sum() + max(w[0], 0.4) ** 2,
    "format": lambda w: ((w - 2) ** 2).sum() * float(f"{w.detach()[0]:.3f}"),
    "nonzero": lambda w: ((w - 2) ** 2).sum() + len((w.detach() > 0.5).nonzero()) * w.sum(),
    "equal": lambda w: ((w - 2) ** 2).sum() * (2 if torch.equal(w, w.clamp(max=0.6)) else 1),
    "allclose": lambda w: (
        (w - 2).square().sum() * (2 if torch.allclose(w, w.clamp(max=0.6)) else 1)
    ),
    "data_ptr copy": lambda w: (w * w.data.clone()).sum() - w.sum(),
    "list index": lambda w: ((w - 2) ** 2).sum() * [1.0, 2.0, 3.0][min(int(w.detach()[0] * 2), 2)],
    "dlpack": lambda w: (w * torch.from_dlpack(np.from_dlpack(w.detach()))).sum() - w.sum(),
    "memoryview": lambda w: (w - 2).square().sum() * (1 + memoryview(w.detach().numpy())[0] ** 2),
}


@pytest.mark.parametrize("stepper", STEPPERS)
@pytest.mark.parametrize("name", READ)
def test_an_objective_that_reads_its_weights_as_numbers(name: str, stepper: str) -> None:
    """A value of a weight read in Python is read again at every step."""
    start = torch.tensor([0.3, 0.2], dtype=F64)
    settings = sized(stepper, 6e-4, 1000)
    assert_equal_to_eager(fixed(READ[name]), start, stepper, **settings)


# ------------------------------------------------------------------------------- other guarantees


@pytest.mark.parametrize("stepper", ["eager", *BOTH])
@pytest.mark.parametrize("edit", ["clamp_", "data", "numpy", "set"])
def test_the_start_is_never_modified(edit: str, stepper: str) -> None:
    """An objective that edits its argument does not modify the caller's tensor."""
    start = torch.tensor([2.0, -1.0], dtype=F64)

    def objective(w: Tensor) -> Tensor:
        with torch.no_grad():
            if edit == "clamp_":
                w.clamp_(min=0)
            elif edit == "data":
                w.data[1] = 0.0
            elif edit == "numpy":
                w.detach().numpy()[1] = 0.0
            else:
                w[1] = 0.0
        return (w + 1).square().sum()

    run(
        objective,
        start,
        **sized("compiled" if stepper == "eager" else stepper, 1e-3, 1000),
        stepper=stepper,
    )
    assert start.tolist() == [2.0, -1.0]


@pytest.mark.parametrize("stepper", STEPPERS)
def test_the_recorded_weights_are_not_shared(stepper: str) -> None:
    """Modifying a result or the weights passed to a callback does not change the run."""

    def make() -> Problem:
        def callback(_step: int, _loss: float, weights: tuple[Tensor, ...]) -> None:
            weights[0].fill_(99.0)

        return lambda w: (w - 2) ** 2, callback

    settings = sized(stepper, 6e-4)
    assert assert_equal_to_eager(make, 0.0, stepper, **settings) == []


CHILD = """
import json, sys, torch, warnings
from gd_torch import descend
warnings.simplefilter("ignore")
torch.set_num_threads(1)
t = torch.linspace(0, 1, 20, dtype=torch.float64)[:, None]


def pinn(W, V):
    u, du = torch.func.jvp(lambda s: torch.tanh(s @ W) @ V, (t,), (torch.ones_like(t),))
    return (du + u).square().mean() + (u[0] - 1).square().sum()


def spring(n):
    def objective(k, c):
        x, v = torch.tensor(1.0, dtype=k.dtype), torch.tensor(0.0, dtype=k.dtype)
        for _ in range(n):
            v = v - 3.0 / n * (k * x + c * v)
            x = x + 3.0 / n * v
        return (x - 0.3) ** 2
    return objective


kind, steps, steppers = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
ones = torch.ones(1, 4, dtype=torch.float64)
start = (ones, ones.T.clone()) if kind == "pinn" else (1.0, 0.1)
objective = pinn if kind == "pinn" else spring(int(kind))
for stepper in steppers:
    run = descend(objective, start, learning_rate=0.01, steps=steps, record="last", stepper=stepper)
    print(json.dumps([run.steps, run.stop.name, [w.flatten().tolist() for w in run.weights]]))
"""


def ends(kind: str, steps: int, tmp_path: Path, *steppers: str) -> list:
    """The end of a run with each stepper, from a process that must end within 60 s."""
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    child = subprocess.run(
        [sys.executable, str(script), kind, str(steps), *steppers],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, (child.returncode, child.stderr[-2000:])
    return [json.loads(line) for line in child.stdout.splitlines()]


def assert_equal_ends(found: list) -> None:
    """All steppers ended at the same point."""
    first, *others = found
    for steps, stop, weights in others:
        assert [steps, stop] == first[:2]
        for a, e in zip(weights, first[2], strict=True):
            assert a == pytest.approx(e, rel=1e-8)


def test_forward_mode_derivatives_do_not_crash(tmp_path: Path) -> None:
    """An objective with torch.func.jvp does not crash and gives the eager result."""
    assert_equal_ends(ends("pinn", 2000, tmp_path, "eager", *BOTH))


@pytest.mark.parametrize(
    ("operations", "steps"),
    [
        (300, 200),
        pytest.param(3000, 20, marks=pytest.mark.slow),
        pytest.param(10_000, 5, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("stepper", STEPPERS)
def test_long_loops_end_in_bounded_time(
    operations: int, steps: int, stepper: str, tmp_path: Path
) -> None:
    """An unrolled loop of thousands of operations ends within a minute, with the eager result."""
    assert_equal_ends(ends(str(operations // 6), steps, tmp_path, "eager", stepper))
