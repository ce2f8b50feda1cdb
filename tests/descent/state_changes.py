# ruff: noqa: ARG004, ARG005, E731, NPY002, SIM115
"""Objectives with state outside their weights, each with an action that changes the state."""

from __future__ import annotations

import array
import collections
import contextvars
import ctypes
import dataclasses
import enum
import functools
import io
import itertools
import random
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Change = tuple[Callable[..., Any], Callable[[], object], str]
"""An objective, an action, and how the difference is called."""

CHANGES: dict[str, Callable[[], Change]] = {}

rate = 1.0
table = {"inner": {"rate": 1.0}}
calls = 0
settings = types.ModuleType("settings_of_a_user")
package = types.ModuleType("package_of_a_user")


def case(make: Callable[[], Change]) -> Callable[[], Change]:
    """Add a case to the table."""
    CHANGES[make.__name__] = make
    return make


def holding(thing: Any) -> Callable[..., Any]:
    """An objective whose closure holds an object."""
    return lambda w: (w, thing)


def setter(mapping: Any, key: Any, value: Any) -> Callable[[], object]:
    """An action that sets an item."""
    return lambda: mapping.__setitem__(key, value)


@case
def nonlocal_number() -> Change:
    n = 0

    def objective(w):
        return w * n

    def act():
        nonlocal n
        n += 1

    return objective, act, "closure variable `n` changed from 0 to 1"


@case
def nonlocal_none() -> Change:
    n = None

    def act():
        nonlocal n
        n = 0.5

    return (lambda w: w if n is None else w * n), act, "closure variable `n` changed from None to"


@case
def bool_to_int() -> Change:
    n: Any = True

    def act():
        nonlocal n
        n = 1

    return (lambda w: w * n), act, "closure variable `n` changed from True to 1"


@case
def zero_to_minus_zero() -> Change:
    n = 0.0

    def act():
        nonlocal n
        n = -0.0

    return (lambda w: w / n), act, "closure variable `n` changed from 0.0 to -0.0"


@case
def global_number() -> Change:
    global rate
    rate = 1.0

    def act():
        global rate
        rate = 2.0

    return (lambda w: w * rate), act, "global `rate` changed from 1.0 to 2.0"


@case
def global_in_nested_dict() -> Change:
    table["inner"]["rate"] = 1.0
    act = setter(table["inner"], "rate", 3.0)
    return (lambda w: w * table["inner"]["rate"]), act, "global `table['inner']['rate']` changed"


@case
def global_in_a_comprehension() -> Change:
    global rate
    rate = 1.0

    def act():
        global rate
        rate = 5.0

    return (lambda w: sum([w * rate for _ in range(2)])), act, "global `rate` changed"


@case
def global_of_a_helper() -> Change:
    global calls
    calls = 0

    def helper():
        return [calls for _ in range(1)]

    def act():
        global calls
        calls = 1

    return (lambda w: w * helper()[0]), act, "global `calls` changed from 0 to 1"


@case
def default_argument() -> Change:
    state = {"n": 0}

    def objective(w, s=state):
        return w * s["n"]

    return objective, setter(state, "n", 1), "default of argument `s['n']` changed from 0 to 1"


@case
def keyword_default() -> Change:
    state = [0]

    def objective(w, *, s=state):
        return w * s[0]

    return objective, setter(state, 0, 1), "default of argument `s[0]` changed from 0 to 1"


@case
def function_attribute() -> Change:
    def objective(w):
        return w * objective.n

    objective.n = 0
    return objective, lambda: setattr(objective, "n", 1), "`objective.n` changed from 0 to 1"


@case
def partial_argument() -> Change:
    state = {"n": 0}
    objective = functools.partial(lambda s, w: w * s["n"], state)
    return objective, setter(state, "n", 1), "`objective.args[0]['n']` changed"


@case
def partial_keyword() -> Change:
    state = [1.0]
    objective = functools.partial(lambda w, s: w * s[0], s=state)
    return objective, setter(state, 0, 2.0), "`objective.keywords['s'][0]` changed"


@case
def wrapped_function() -> Change:
    state = [1.0]

    def inner(w):
        return w * state[0]

    @functools.wraps(inner)
    def objective(w):
        return inner(w)

    return objective, setter(state, 0, 2.0), "closure variable `state[0]` changed"


@case
def cached_function() -> Change:
    state = [1.0]
    cached = functools.lru_cache(lambda k: state[0] * k)
    return (lambda w: w * cached(1)), setter(state, 0, 2.0), "closure variable `state[0]`"


class Problem:
    """Attributes of many kinds."""

    shared = 1.0

    def __init__(self):
        self.penalty = 1.0
        self._hidden = 1.0
        self.history = []

    @property
    def hidden(self):
        return self._hidden

    @staticmethod
    def fixed(w):
        return w * rate

    @classmethod
    def scaled(cls, w):
        return w * cls.shared

    def loss(self, w):
        return w * self.penalty

    def loss_by_property(self, w):
        return w * self.hidden

    def loss_by_class(self, w):
        return w * self.shared

    def loss_by_helper(self, w):
        return self.loss(w)

    def loss_by_name(self, w):
        return w * getattr(self, "".join(["pen", "alty"]))


def attribute(name: str, method: str, value: Any, phrase: str) -> Callable[[], Change]:
    """A bound method, and a new value of an attribute of its object."""

    def make() -> Change:
        problem = Problem()
        return getattr(problem, method), lambda: setattr(problem, name, value), phrase

    return make


CHANGES["bound_method"] = attribute(
    "penalty", "loss", 1.1, "`self.penalty` changed from 1.0 to 1.1"
)
CHANGES["property"] = attribute("_hidden", "loss_by_property", 2.0, "`self._hidden` changed")
CHANGES["own_helper"] = attribute("penalty", "loss_by_helper", 2.0, "`self.penalty` changed")
CHANGES["getattr"] = attribute("penalty", "loss_by_name", 2.0, "`self.penalty` changed")
CHANGES["shadowed_class_attribute"] = attribute("shared", "loss_by_class", 2.0, "`self.shared`")


@case
def class_attribute() -> Change:
    Problem.shared = 1.0
    objective = Problem().loss_by_class
    return objective, lambda: setattr(Problem, "shared", 2.0), "`Problem.shared` changed from 1.0"


@case
def class_method() -> Change:
    Problem.shared = 1.0
    act = lambda: setattr(Problem, "shared", 3.0)
    return Problem.scaled, act, "class attribute `Problem.shared` changed"


@case
def static_method() -> Change:
    global rate
    rate = 1.0

    def act():
        global rate
        rate = 2.0

    return (lambda w: Problem.fixed(w)), act, "global `rate` changed"


@case
def method_replaced() -> Change:
    class Local:
        def loss(self, w):
            return w

    act = lambda: setattr(Local, "loss", lambda self, w: 2 * w)
    local = Local()
    return (lambda w: local.loss(w)), act, "changed"


@case
def callable_object() -> Change:
    class Local:
        n = 0

        def __call__(self, w):
            return w * self.n

    local = Local()
    return local, lambda: setattr(local, "n", 1), "`objective.n` changed"


@case
def callable_object_global() -> Change:
    global rate
    rate = 1.0

    class Local:
        def __call__(self, w):
            return w * rate

    def act():
        global rate
        rate = 7.0

    return Local(), act, "global `rate` changed"


@case
def slots() -> Change:
    class Local:
        __slots__ = ("n",)

        def __call__(self, w):
            return w * self.n

    local = Local()
    local.n = 0
    return local, lambda: setattr(local, "n", 1), "`objective.n` changed from 0 to 1"


@case
def item_method() -> Change:
    class Local:
        def __init__(self):
            self.store = [0]

        def __getitem__(self, k):
            return self.store[k]

    local = Local()
    return (lambda w: w * local[0]), setter(local.store, 0, 1), "`local.store[0]` changed"


@case
def data_class() -> Change:
    @dataclasses.dataclass
    class Config:
        rate: float = 1.0

    config = Config()
    return (
        (lambda w: w * config.rate),
        lambda: setattr(config, "rate", 2.0),
        "`config.rate` changed",
    )


@case
def data_class_as_tuple() -> Change:
    @dataclasses.dataclass
    class Config:
        rate: float = 1.0

    config = Config()
    objective = lambda w: w * dataclasses.astuple(config)[0]
    return objective, lambda: setattr(config, "rate", 2.0), "`config.rate` changed"


@case
def simple_namespace() -> Change:
    s = types.SimpleNamespace(n=0)
    return (lambda w: w * s.n), lambda: setattr(s, "n", 1), "`s.n` changed from 0 to 1"


@case
def new_attribute() -> Change:
    problem = Problem()
    objective = lambda w: w * getattr(problem, "extra", 1)
    return objective, lambda: setattr(problem, "extra", 2), "`problem.extra` changed"


@case
def user_module() -> Change:
    settings.rate = 1.0
    return (
        (lambda w: w * settings.rate),
        lambda: setattr(settings, "rate", 2.0),
        ("global `settings.rate` changed from 1.0 to 2.0"),
    )


@case
def user_package() -> Change:
    settings.rate = 1.0
    package.settings = settings
    objective = lambda w: w * package.settings.rate
    return objective, lambda: setattr(settings, "rate", 2.0), "`package.settings.rate` changed"


@case
def module_imported_inside() -> Change:
    settings.rate = 1.0
    sys.modules["settings_of_a_user"] = settings

    def objective(w):
        import settings_of_a_user

        return w * settings_of_a_user.rate

    act = lambda: setattr(settings, "rate", 2.0)
    return objective, act, "module `settings_of_a_user.rate` changed"


FILES: list[Any] = []


def opened() -> Any:
    """An empty file, which the tests close."""
    FILES.append(tempfile.TemporaryFile("w+"))
    return FILES[-1]


CONTAINERS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "list_append": (lambda: [1], lambda x: x.append(2)),
    "list_item": (lambda: [1, 2], lambda x: x.__setitem__(1, 3)),
    "list_of_numbers": (lambda: [0.5] * 1000, lambda x: x.__setitem__(700, 0.25)),
    "list_of_lists": (lambda: [[1], [2]], lambda x: x[1].append(3)),
    "dict_value": (lambda: {"a": 1}, lambda x: x.__setitem__("a", 2)),
    "dict_new_key": (lambda: {"a": 1}, lambda x: x.__setitem__("b", 2)),
    "dict_other_key": (lambda: {"a": 1}, lambda x: (x.pop("a"), x.__setitem__("b", 1))),
    "dict_tuple_key": (lambda: {(1, 2): 1}, lambda x: x.__setitem__((1, 2), 2)),
    "ordered_dict": (
        lambda: collections.OrderedDict(a=1, b=2),
        lambda x: x.move_to_end("a"),
    ),
    "counter": (collections.Counter, lambda x: x.update("a")),
    "default_dict": (lambda: collections.defaultdict(int), lambda x: x["a"]),
    "set": (lambda: {1}, lambda x: x.add(2)),
    "deque": (lambda: collections.deque([1, 2]), lambda x: x.rotate()),
    "tuple_of_list": (lambda: ([1],), lambda x: x[0].append(2)),
    "list_subclass": (lambda: type("L", (list,), {})([1]), lambda x: x.append(2)),
    "list_subclass_attribute": (
        lambda: type("L", (list,), {})([1]),
        lambda x: vars(x).update(thing=2),
    ),
    "bytearray": (lambda: bytearray(b"ab"), lambda x: x.__setitem__(0, 5)),
    "array": (lambda: array.array("d", [1.0]), lambda x: x.__setitem__(0, 2.0)),
    "ctypes_array": (lambda: (ctypes.c_double * 2)(), lambda x: x.__setitem__(0, 2.0)),
    "ctypes_number": (lambda: ctypes.c_double(1.0), lambda x: setattr(x, "value", 2.0)),
    "tensor_in_place": (lambda: torch.ones(3, 2), lambda x: x.add_(1)),
    "tensor_by_data": (lambda: torch.ones(3, 2), lambda x: x.data.fill_(2)),
    "tensor_by_numpy": (lambda: torch.ones(3, 2), lambda x: x.numpy().fill(0)),
    "tensor_swapped_rows": (
        lambda: torch.arange(6.0).reshape(3, 2),
        lambda x: x.numpy().__setitem__(slice(None), x.numpy()[::-1].copy()),
    ),
    "tensor_view": (lambda: torch.ones(5, 5)[1:3, 1:3], lambda x: x.numpy().fill(0)),
    "tensor_transposed": (lambda: torch.ones(5, 4).T, lambda x: x.numpy().__setitem__((3, 4), 0)),
    "tensor_large": (lambda: torch.ones(3_000_000), lambda x: x[1_234_567].add_(1)),
    "tensor_large_by_numpy": (lambda: torch.ones(3_000_000), lambda x: x.numpy().fill(0)),
    "tensor_large_rows_by_numpy": (
        lambda: torch.ones(2000, 2000).T,
        lambda x: x.numpy().fill(0),
    ),
    "tensor_half": (lambda: torch.ones(3, dtype=torch.bfloat16), lambda x: x.data.fill_(2)),
    "tensor_bool": (lambda: torch.ones(3, dtype=torch.bool), lambda x: x.data.fill_(False)),
    "tensor_resized": (lambda: torch.ones(3, 2), lambda x: x.t_()),
    "tensor_grad_flag": (lambda: torch.ones(3), lambda x: x.requires_grad_()),
    "tensor_grad": (lambda: torch.ones(3), lambda x: setattr(x, "grad", torch.ones(3))),
    "tensor_set": (lambda: torch.ones(3), lambda x: x.set_(torch.ones(3))),
    "tensor_in_dict": (lambda: {"X": torch.ones(3)}, lambda x: x["X"].mul_(2)),
    "tensor_replaced": (lambda: [torch.ones(3)], lambda x: x.__setitem__(0, torch.ones(3))),
    "tensor_sparse": (
        lambda: torch.eye(3).to_sparse().coalesce(),
        lambda x: x.values().mul_(2),
    ),
    "tensor_subclass": (
        lambda: torch.ones(3).as_subclass(type("Named", (torch.Tensor,), {})),
        lambda x: x.add_(1),
    ),
    "numpy_array": (lambda: np.ones(3), lambda x: x.__setitem__(0, 2)),
    "numpy_strided": (lambda: np.ones((6, 6))[::2, ::3], lambda x: x.__setitem__((0, 1), 2)),
    "numpy_fortran": (
        lambda: np.asfortranarray(np.ones((6, 5))),
        lambda x: x.__setitem__((0, 1), 2),
    ),
    "numpy_objects": (lambda: np.array([1, "a"], dtype=object), lambda x: x.__setitem__(0, 2)),
    "numpy_large": (lambda: np.ones(2_000_000), lambda x: x.__setitem__(1_234_567, 2)),
    "parameter": (lambda: torch.nn.Parameter(torch.ones(3)), lambda x: x.data.fill_(2)),
    "linear_weight": (lambda: torch.nn.Linear(2, 2), lambda x: x.weight.data.fill_(2)),
    "module_mode": (lambda: torch.nn.Dropout(), lambda x: x.eval()),
    "module_buffer": (lambda: torch.nn.BatchNorm1d(2), lambda x: x.running_mean.add_(1)),
    "module_option": (lambda: torch.nn.LeakyReLU(0.1), lambda x: setattr(x, "negative_slope", 0.2)),
    "sequential": (
        lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh()),
        lambda x: x[0].bias.data.fill_(2),
    ),
    "torch_generator": (torch.Generator, lambda x: torch.rand(1, generator=x)),
    "python_random": (lambda: random.Random(0), lambda x: x.random()),
    "bound_random": (lambda: random.Random(0).random, lambda x: x()),
    "numpy_generator": (lambda: np.random.default_rng(0), lambda x: x.random()),
    "numpy_bound_generator": (lambda: np.random.default_rng(0).random, lambda x: x()),
    "numpy_random_state": (lambda: np.random.RandomState(0), lambda x: x.randn()),
    "numpy_bit_generator": (lambda: np.random.MT19937(0), lambda x: x.random_raw()),
    "count": (itertools.count, next),
    "cycle": (lambda: itertools.cycle([1, 2]), next),
    "list_iterator": (lambda: iter([1, 2, 3]), next),
    "range_iterator": (lambda: iter(range(3)), next),
    "dict_iterator": (lambda: iter({"a": 1, "b": 2}), next),
    "set_iterator": (lambda: iter({1, 2}), next),
    "zip": (lambda: zip([1, 2], [3, 4], strict=True), next),
    "map": (lambda: map(abs, [1, 2]), next),
    "enumerate": (lambda: enumerate([5, 6]), next),
    "generator": (lambda: (k * k for k in range(5)), next),
    "generator_finished": (lambda: (k for k in [1]), list),
    "string_io": (lambda: io.StringIO("ab"), lambda x: x.read(1)),
    "bytes_io_content": (lambda: io.BytesIO(b"ab"), lambda x: (x.write(b"x"), x.seek(0))),
    "file": (opened, lambda x: x.write("line")),
    "file_closed": (opened, lambda x: x.close()),
    "context_variable": (lambda: contextvars.ContextVar("v"), lambda x: x.set(3)),
    "thread_local": (threading.local, lambda x: setattr(x, "n", 3)),
    "expanded_tensor": (
        lambda: torch.ones(1, 1).expand(1, 9_000_000),
        lambda x: x[:, :1].numpy().fill(2),
    ),
    "numpy_broadcast": (
        lambda: np.broadcast_to(np.ones((1, 1)), (1, 90_000_000)),
        lambda x: x.base.fill(2),
    ),
    "numpy_subclass": (lambda: np.ones(3).view(np.matrix), lambda x: x.fill(2)),
    "numpy_masked": (
        lambda: np.ma.masked_array([1.0, 2.0]),
        lambda x: x.__setitem__(0, np.ma.masked),
    ),
    "mutable_in_enum": (
        lambda: enum.Enum("E", {"A": [1]}).A,
        lambda x: x.value.append(2),
    ),
    "exception": (lambda: type("E", (Exception,), {})(), lambda x: vars(x).update(thing=1)),
}


def container_case(
    make: Callable[[], Any], change: Callable[[Any], object]
) -> Callable[[], Change]:
    """A closure over an object that is changed."""

    def made() -> Change:
        thing = make()
        return holding(thing), lambda: change(thing), "closure variable `thing"

    return made


CHANGES.update({name: container_case(*parts) for name, parts in CONTAINERS.items()})


@case
def module_of_the_user() -> Change:
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(2, 1)
            self.scale = 1.0

        def forward(self, x):
            return self.linear(x) * self.scale

    net = Net()
    return (lambda w: net(w)), lambda: setattr(net, "scale", 2.0), "`net.scale` changed"


@case
def autograd_function() -> Change:
    state = [1.0]

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            return w * state[0]

        @staticmethod
        def backward(ctx, d):
            return d

    return (lambda w: Square.apply(w)), setter(state, 0, 2.0), "`state[0]` changed"


@case
def object_constructed_inside() -> Change:
    state = [1.0]

    class Local:
        def __init__(self):
            self.n = state[0]

    return (lambda w: w * Local().n), setter(state, 0, 2.0), "`state[0]` changed"


@case
def weak_reference() -> Change:
    problem = Problem()
    reference = weakref.ref(problem)
    objective = lambda w: w * reference().penalty
    return objective, lambda: setattr(problem, "penalty", 2.0), "`reference.penalty` changed"


@case
def cycle_of_references() -> Change:
    loop: list[Any] = [1.0]
    loop.append(loop)
    return (lambda w: w * loop[0]), setter(loop, 0, 2.0), "`loop[0]` changed from 1.0 to 2.0"


@case
def emptied_cell() -> Change:
    n = 1

    def act():
        nonlocal n
        del n

    return (lambda w: w * n), act, "closure variable `n` changed"


@case
def torch_random_state() -> Change:
    return (lambda w: w * torch.rand(())), lambda: torch.rand(()), "torch's random state changed"


@case
def python_random_state() -> Change:
    return (lambda w: w * random.random()), random.random, "Python's random state changed"


@case
def numpy_random_state_global() -> Change:
    return (lambda w: w * np.random.rand()), np.random.rand, "numpy's random state changed"


@case
def global_class_replaced() -> Change:
    problem = Problem()
    objective = lambda w: problem.loss(w)

    class Other(Problem):
        pass

    return objective, lambda: setattr(problem, "__class__", Other), "closure variable `problem`"


@case
def function_replaced() -> Change:
    helper = lambda w: w

    def act():
        nonlocal helper
        helper = lambda w: 2 * w

    return (lambda w: helper(w)), act, "closure variable `helper` changed"
