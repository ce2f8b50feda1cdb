# ruff: noqa: ARG002, ARG005, NPY002, RUF015, RUF034, SIM115
"""Fingerprints detect every change of state that an objective reads, and no other changes."""

from __future__ import annotations

import datetime
import functools
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from pathlib import Path
from time import perf_counter as stopwatch

import numpy as np
import pytest
import torch
from state_changes import CHANGES, CONTAINERS, FILES, holding

from gd_torch import bowl, curve, load_iris, network_mse
from gd_torch.compiler.side_effects import Fingerprint, fingerprint, hidden_inputs
from gd_torch.gradients import evaluate


@pytest.fixture(autouse=True)
def _random_states_restored():
    """Restore the global generators, from which cases may draw."""
    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    for file in FILES:
        file.close()
    FILES.clear()


@pytest.mark.parametrize("make", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_is_detected_and_named(make):
    """Before the action two fingerprints are equal, after it they differ."""
    objective, act, phrase = make()
    before = fingerprint(objective)
    assert before == fingerprint(objective)
    assert before.difference(fingerprint(objective)) is None
    act()
    after = fingerprint(objective)
    assert before != after
    assert phrase in str(before.difference(after))
    assert after == fingerprint(objective)


@pytest.mark.parametrize("make", [c[0] for c in CONTAINERS.values()], ids=CONTAINERS.keys())
def test_a_fingerprint_changes_nothing(make):
    """Generators, iterators and files are not advanced."""
    thing = make()
    first = [fingerprint(holding(thing)).entries[1:] for _ in range(3)]
    assert first[0] == first[1] == first[2]


UNCHANGED = {}


def unchanged(make):
    """Add a case: (objective, action that it does not depend on)."""
    UNCHANGED[make.__name__] = make
    return make


other_global = 1.0


@unchanged
def global_that_is_not_named():
    def act():
        global other_global
        other_global += 1

    return (lambda w: w), act


@unchanged
def attribute_that_is_not_named():
    class Trainer:
        def __init__(self):
            self.rate, self.history = 1.0, []

        def loss(self, w):
            return w * self.rate

        def callback(self, step, loss, weights):
            self.history.append(loss)

    trainer = Trainer()
    return trainer.loss, lambda: trainer.callback(1, 2.0, ())


@unchanged
def private_attribute_that_is_not_named():
    class Trainer:
        def __init__(self):
            self.rate, self._history = 1.0, [0.0]

        def loss(self, w):
            return w * self.rate

    trainer = Trainer()
    return trainer.loss, lambda: trainer._history.append(1.0)


@unchanged
def equal_containers_in_place_of_others():
    state = {"rates": [1.0, 2.0]}

    def act():
        state["rates"] = [1.0, 2.0]

    return (lambda w: w * state["rates"][0]), act


@unchanged
def nan_again():
    state = [float("nan")]
    return (lambda w: w * state[0]), lambda: state.__setitem__(0, float("nan"))


@unchanged
def cached_constant():
    constant = functools.lru_cache(lambda k: torch.ones(k))
    objective = lambda w: (w * constant(3)).sum()  # noqa: E731
    return objective, lambda: objective(torch.ones(3))


@unchanged
def module_evaluated():
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    objective = lambda w: net(w).sum()  # noqa: E731
    return objective, lambda: evaluate(objective, (torch.ones(3),))


@unchanged
def memory_beside_a_view():
    data = torch.arange(12.0).reshape(4, 3)
    rows = data[:2]
    return (lambda w: (w * rows).sum()), lambda: data.numpy().__setitem__((3, 0), -1)


@unchanged
def conversion_of_the_weights():
    X, Y = load_iris()[:2]
    objective = network_mse(X.float(), Y)
    weights = (torch.ones(4, 2), torch.ones(2, 3))

    def act():
        evaluate(objective, weights)
        evaluate(objective, tuple(w.double() for w in weights))

    return objective, act


@unchanged
def large_constant():
    data = torch.ones(3_000_000)
    objective = lambda w: (w * data).sum()  # noqa: E731
    return objective, lambda: evaluate(objective, (torch.tensor(1.0),))


@unchanged
def derivatives_inside():
    t = torch.linspace(0, 1, 5)[:, None]

    def objective(W):
        s = t.clone().requires_grad_()
        (du,) = torch.autograd.grad(torch.tanh(s @ W).sum(), s, create_graph=True)
        return du.square().mean() + torch.func.vmap(torch.func.grad(lambda a: a * a))(W[0]).sum()

    return objective, lambda: evaluate(objective, (torch.ones(1, 2),))


@unchanged
def scratch_of_its_own():
    def objective(w):
        x = torch.zeros(3, dtype=w.dtype)
        for i in range(2):
            x[i + 1] = 0.5 * x[i] + w[i]
        return x.square().sum()

    return objective, lambda: evaluate(objective, (torch.ones(2),))


@unchanged
def generators_of_others():
    return (lambda w: w), lambda: (torch.Generator().seed(), random.Random().random())


@unchanged
def the_tutorial():
    return bowl, lambda: (bowl(torch.ones(()), torch.ones(())), curve(torch.ones(())))


@pytest.mark.parametrize("make", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_changes_of_state_that_is_not_read_are_ignored(make):
    """Neither the evaluation of a pure objective nor changes of other state count."""
    objective, act = make()
    before = fingerprint(objective)
    act()
    assert before.difference(fingerprint(objective)) is None
    assert before.complete and hidden_inputs(objective) is None


def test_global_random_states_may_be_excluded():
    """A callback may draw random numbers if the objective draws none."""
    before = fingerprint(bowl, random_states=False)
    torch.rand(1), random.random(), np.random.rand()
    assert before == fingerprint(bowl, random_states=False)
    assert before.random_states == ()


def test_a_minibatch_refreshed_in_place_is_named():
    """The description contains the variable and the shape."""
    xb = torch.zeros(33, 4)
    objective = lambda w: (xb @ w).sum()  # noqa: E731
    before = fingerprint(objective)
    xb.copy_(torch.ones(33, 4))
    assert before.difference(fingerprint(objective)) == (
        "closure variable `xb` (tensor of shape (33, 4)) was modified in place"
    )


def test_a_replaced_tensor_is_named():
    """Also if the new one has the same values."""
    xb = torch.zeros(33, 4)
    objective = lambda w: (xb @ w).sum()  # noqa: E731
    before = fingerprint(objective)
    xb = torch.zeros(33, 4)
    phrase = "closure variable `xb` (tensor of shape (33, 4)) was replaced"
    assert before.difference(fingerprint(objective)) == phrase


clock_global = types.SimpleNamespace(now=lambda: 0)


def _imports_inside(w):
    import time

    return w * time.time()


def _imports_from_inside(w):
    from os import urandom

    return w * len(urandom(3))


def _helper():
    return time.monotonic()


class Timed:
    """A callable that reads a clock in a method."""

    def __call__(self, w):
        return w * self.elapsed()

    def elapsed(self):
        return time.time()


system_random = random.SystemRandom()

HIDDEN = {
    "time": (lambda w: w * time.time(), "it reads a clock (`time`)"),
    "time_from": (lambda w: w * stopwatch(), "it reads a clock (`time`)"),
    "time_inside": (_imports_inside, "it reads a clock (`time`)"),
    "time_of_a_helper": (lambda w: w * _helper(), "it reads a clock (`time`)"),
    "time_of_a_method": (Timed(), "it reads a clock (`time`)"),
    "time_nested": (lambda w: [w * time.time() for _ in range(2)][0], "it reads a clock (`time`)"),
    "time_bound": (holding(time.time), "it reads a clock (`time`)"),
    "partial": (functools.partial(lambda s, w: w * s(), time.time), "it reads a clock (`time`)"),
    "datetime": (lambda w: datetime.datetime.now(), "it reads a clock (`datetime.now`)"),
    "date": (lambda w: datetime.date.today(), "it reads a clock (`datetime.today`)"),
    "secrets": (lambda w: secrets.randbelow(3), "cannot be repeated (`secrets`)"),
    "uuid": (lambda w: uuid.uuid4().int, "cannot be repeated (`uuid`)"),
    "urandom": (lambda w: os.urandom(2), "cannot be repeated (`os.urandom`)"),
    "urandom_bound": (holding(os.urandom), "cannot be repeated (`os.urandom`)"),
    "urandom_inside": (_imports_from_inside, "cannot be repeated (`os.urandom`)"),
    "system_random": (lambda w: random.SystemRandom().random(), "`random.SystemRandom`"),
    "system_random_kept": (lambda w: system_random.random(), "`random.SystemRandom`"),
    "default_rng": (
        lambda w: np.random.default_rng().random(),
        "cannot be repeated (`default_rng()`",
    ),
    "open": (lambda w: open("data.txt"), "it reads files (`open`)"),
    "input": (lambda w: input(), "it reads input (`input`)"),
    "path": (lambda w: Path("data.txt").read_text(), "it reads files (`read_text`)"),
    "torch_load": (lambda w: torch.load("data.pt"), "it reads files (`torch.load`)"),
    "loadtxt": (lambda w: np.loadtxt("data.txt"), "it reads files (`numpy.loadtxt`)"),
    "socket": (lambda w: socket.gethostname(), "it uses the network (`socket`)"),
    "subprocess": (lambda w: subprocess.run(["true"]), "it uses other processes (`subprocess`)"),
    "threading": (lambda w: threading.Thread(), "it uses threads (`threading`)"),
}


@pytest.mark.parametrize(("objective", "reason"), HIDDEN.values(), ids=HIDDEN.keys())
def test_a_hidden_input_is_named(objective, reason):
    """It is found without evaluating the objective."""
    assert reason in str(hidden_inputs(objective))


OPEN = {
    "seeded_rng": lambda w: w * np.random.default_rng(0).random(),
    "attribute_called_load": lambda w: w * clock_global.load,
    "attribute_called_now": lambda w: w * clock_global.now(),
    "timedelta": lambda w: w * datetime.timedelta(1).total_seconds(),
    "os_path": lambda w: w if os.sep else w,
    "random_module": lambda w: w * random.random(),
    "network_mse": network_mse(*load_iris()[:2]),
}


@pytest.mark.parametrize("objective", OPEN.values(), ids=OPEN.keys())
def test_state_that_is_covered_is_not_a_hidden_input(objective):
    """A seeded generator, an attribute of the same name, arithmetic with dates."""
    assert hidden_inputs(objective) is None


class Hostile:
    """Any use of it raises."""

    def __init__(self):
        object.__getattribute__(self, "__dict__")["n"] = 1

    def _raise(self, *_args):
        raise AssertionError("user code ran")

    __eq__ = __hash__ = __repr__ = __str__ = __getattr__ = __getattribute__ = _raise
    __len__ = __iter__ = __bool__ = __reduce__ = __getitem__ = __setattr__ = _raise
    __class__ = property(_raise)
    n_property = property(_raise)


def test_no_code_of_the_user_runs():
    """Neither properties nor special methods are called."""
    hostile = Hostile()
    inside = [hostile, {"key": hostile}, (hostile,), {"set": hostile}]
    objective = lambda w: (inside, hostile.n_property, hostile.n)  # noqa: E731
    before = fingerprint(objective)
    assert before == fingerprint(objective)
    object.__getattribute__(hostile, "__dict__")["n"] = 2
    assert "`hostile.n` changed from 1 to 2" in str(before.difference(fingerprint(objective)))
    assert hidden_inputs(objective) is None


def test_no_code_of_an_array_subclass_runs():
    """Its memory is read by the methods of NumPy."""

    class Own(np.ndarray):
        quiet = True

        def __array_finalize__(self, other):
            assert self.quiet, "user code ran"

        def __getitem__(self, key):
            raise AssertionError("user code ran")

    arrays = np.ones(5).view(Own), np.ndarray.__getitem__(np.ones((6, 6)).view(Own), slice(0, 6, 2))
    Own.quiet = False
    before = fingerprint(holding(arrays))
    assert before.entries[1:] == fingerprint(holding(arrays)).entries[1:]
    np.ndarray.fill(arrays[1], 2)
    assert before.entries[1:] != fingerprint(holding(arrays)).entries[1:]


def test_more_objects_than_the_bound_are_reported():
    """The traversal stops and the fingerprint is incomplete."""
    many = [[k] for k in range(30_000)]
    found = fingerprint(holding(many))
    assert not found.complete and len(found.entries) <= 20_000
    assert fingerprint(holding(many[:1000])).complete
    nested: list[object] = []
    for _ in range(5_000):
        nested = [nested]
    assert fingerprint(holding(nested)).complete


def test_a_cycle_of_references_is_traversed_once():
    """An object that is reached twice has one entry."""
    loop: list[object] = [torch.ones(3)]
    loop += [loop, loop, {"loop": loop}]
    found = fingerprint(holding(loop))
    assert found.complete and len(found.entries) == 7


@pytest.mark.parametrize("make", [set, dict], ids=["set", "dict"])
def test_large_containers_are_bounded_too(make):
    """At most as many items as the limit are visited."""
    items = range(1_000_000)
    thing = make(items) if make is set else dict.fromkeys(items)
    started = time.perf_counter()
    assert not fingerprint(holding(thing)).complete
    assert time.perf_counter() - started < 2


def test_an_iterator_without_visible_state_is_reported():
    """The fingerprint is incomplete."""
    assert not fingerprint(holding(iter(map, None))).complete or sys.version_info >= (3, 11)
    thing = torch.ones(3).as_subclass(type("Own", (torch.Tensor,), {"__torch_function__": None}))
    assert not fingerprint(holding(thing)).complete


def test_a_fingerprint_keeps_no_tensor_alive():
    """It contains checksums and weak references."""
    import gc
    import weakref

    data = torch.ones(1000)
    reference = weakref.ref(data)
    found = fingerprint(holding(data))
    del data
    gc.collect()
    assert reference() is None and isinstance(found, Fingerprint)


def test_a_fingerprint_is_immutable_and_not_hashable():
    """It can only be compared."""
    found = fingerprint(bowl)
    with pytest.raises(AttributeError):
        found.complete = False
    with pytest.raises(TypeError):
        hash(found)
    assert found != 3


def test_a_fingerprint_is_cheap():
    """Well below a millisecond for a closure over two tensors; no more than a few evaluations."""
    objective = network_mse(*load_iris()[:2])
    fingerprint(objective)

    def once():
        started = time.perf_counter()
        fingerprint(objective)
        return time.perf_counter() - started

    assert min(once() for _ in range(50)) < 1e-3


calls = 0


def _global_counter(w):
    global calls
    calls += 1
    return w * calls


def _impure():
    """Ten impure objectives that an earlier version compiled without a warning."""
    n = 0

    def with_nonlocal(w):
        nonlocal n
        n += 1
        return w * n

    namespace = types.SimpleNamespace(n=0)

    def with_namespace(w):
        namespace.n += 1
        return w * namespace.n

    import itertools

    count = itertools.count()
    t = torch.zeros(())

    def with_tensor(w):
        t.add_(1)
        return w * t

    class Counter:
        n = 0

        def __call__(self, w):
            self.n += 1
            return w * self.n

    def with_dict(s, w):
        s["n"] += 1
        return w * s["n"]

    generator = np.random.default_rng(0)
    started = time.time()
    return {
        "nonlocal": with_nonlocal,
        "global": _global_counter,
        "namespace": with_namespace,
        "helper": lambda w: _global_counter(w),
        "count": lambda w: w * next(count),
        "tensor": with_tensor,
        "callable": Counter(),
        "partial": functools.partial(with_dict, {"n": 0}),
        "numpy_generator": lambda w: w * generator.random(),
        "numpy_global": lambda w: w * np.random.rand(),
        "clock": lambda w: w * (time.time() - started),
    }


@pytest.mark.parametrize("name", _impure())
def test_an_impure_objective_is_detected_by_one_evaluation(name):
    """By the fingerprints before and after, or by the names in its code."""
    objective = _impure()[name]
    before = fingerprint(objective)
    objective(torch.tensor(1.0))
    assert before != fingerprint(objective) or hidden_inputs(objective) is not None
