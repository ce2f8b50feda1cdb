"""Detect changes of the Python state that an objective reads besides its weights.

Compiled steps evaluate a trace of the objective, in which everything except the weights is
constant. Fingerprints before and after an evaluation show its side effects; fingerprints before and
after a callback show what the callback changed.
"""

from __future__ import annotations

import contextvars
import functools
import io
import itertools
import random
import sys
import threading
import types
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gd_torch.compiler.side_effects import code_state, object_state, stream_state
from gd_torch.compiler.side_effects.memory_checksum import random_tokens
from gd_torch.compiler.side_effects.state_walk import Entry, Handler, Token, Walk, path_of


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """The state that an objective can read besides its weights; ``==`` compares two of them.

    Attributes:
        entries: one entry per object, in a fixed order, without copies of tensors or arrays.
        random_states: the global random states, by name; empty if they were excluded.
        complete: False if some state was not covered: beyond 20 000 objects, large NumPy arrays of
            which only samples were read, or an iterator, file or tensor subclass whose state
            cannot be read.
    """

    entries: tuple[Entry, ...]
    random_states: tuple[tuple[str, Token], ...]
    complete: bool

    def __eq__(self, other: object) -> bool:
        if type(other) is not Fingerprint:
            return NotImplemented
        return self.entries == other.entries and self._random_change(other) is None

    __hash__ = None  # type: ignore[assignment]  # not hashable

    def difference(self, other: Fingerprint) -> str | None:
        """The first difference of a later fingerprint from this one, as a phrase; None if equal."""
        if self.entries != other.entries:
            return _first_difference(list(self.entries), list(other.entries))
        changed = self._random_change(other)
        return None if changed is None else f"{changed} changed"

    def _random_change(self, other: Fingerprint) -> str | None:
        later = dict(other.random_states)
        for name, state in self.random_states:
            if name in later and later[name] != state:
                return name
        return None


def fingerprint(objective: Callable[..., Any], *, random_states: bool = True) -> Fingerprint:
    """Describe the state outside the weights that an objective can read.

    It covers closures, default arguments, the globals and attributes named in the code, the Python
    functions that it calls, and the objects that these refer to. Code of the standard library and
    of installed packages is not followed. Tensors up to 8 MiB and NumPy arrays up to 64 MiB are
    read completely. No user code is executed and nothing is modified.

    Args:
        objective: any callable.
        random_states: whether to include the global random states. Exclude them if a callback may
            draw random numbers and the objective is known to draw none.

    >>> scale = {"rate": 1.0}
    >>> objective = lambda w: scale["rate"] * w * w
    >>> before = fingerprint(objective)
    >>> scale["rate"] = 2.0
    >>> before.difference(fingerprint(objective))
    "global `scale['rate']` changed from 1.0 to 2.0"
    """
    walk = _walked(objective)
    states = tuple(random_tokens()) if random_states else ()
    return Fingerprint(tuple(walk.entries), states, walk.complete)


def hidden_inputs(objective: Callable[..., Any]) -> str | None:
    """The reason why the fingerprint of an objective is not sufficient; None if there is none.

    The code of the objective, or user code that it calls, uses a clock, files, input, the network,
    other processes, threads or random numbers of the operating system.

    >>> import time
    >>> hidden_inputs(lambda w: w * time.time())
    'it reads a clock (`time`)'
    """
    hidden = _walked(objective).hidden
    return hidden[0] if hidden else None


def _walked(objective: Callable[..., Any]) -> Walk:
    walk = Walk(handler_for)
    walk.run(objective)
    return walk


_handlers: dict[int, tuple[type, Handler]] = {}
MAX_CACHED_TYPES = 4096


def handler_for(kind: type) -> Handler:
    """The cached handler of a type; the type is referenced, so that its id is not reused."""
    known = _handlers.get(id(kind))
    if known is None:
        if len(_handlers) >= MAX_CACHED_TYPES:
            _handlers.clear()
        known = _handlers[id(kind)] = (kind, _find_handler(kind))
    return known[1]


def _find_handler(kind: type) -> Handler:
    for base, handler in (*_HANDLERS, *_numpy_handlers()):
        if issubclass(kind, base):
            return handler
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__"):
        return object_state.iterator_state
    if any(base.__module__ == "_ctypes" for base in kind.__mro__):
        return stream_state.buffer_state
    return object_state.instance_token


def _through(*names: str) -> Handler:
    """The handler of an object that wraps the objects in these attributes."""

    def token(walk: Walk, thing: Any, index: int) -> Token:
        for name in names:
            walk.push(getattr(thing, name), index, (".", name))
        return ("wrapper", type(thing).__qualname__)

    return token


def _value(get: Callable[[Any], object]) -> Handler:
    """The handler of an object that wraps the object that ``get`` returns."""

    def token(walk: Walk, thing: Any, index: int) -> Token:
        walk.push(get(thing), index, ("through", ""))
        return ("wrapper", type(thing).__qualname__)

    return token


def _text(_walk: Walk, thing: Any, _index: int) -> Token:
    return ("value", type(thing), str(thing))


def _local_state(thing: Any) -> object:
    return threading.local.__getattribute__(thing, "__dict__")


_HANDLERS: tuple[tuple[Any, Handler], ...] = (
    (torch.Tensor, object_state.tensor_state),
    (types.FunctionType, code_state.function_token),
    (types.MethodType, code_state.method_token),
    ((types.BuiltinFunctionType, types.MethodWrapperType), code_state.builtin_token),
    (types.ModuleType, code_state.module_token),
    (type, code_state.class_token),
    *[(kind, object_state.sequence_state(kind)) for kind in (list, tuple, deque, set, frozenset)],
    (dict, object_state.dict_state),
    (functools.partial, _through("func", "args", "keywords")),
    (types.MappingProxyType, object_state.instance_token),
    (property, _through("fget")),
    ((staticmethod, classmethod), _through("__func__")),
    (types.CellType, _value(lambda cell: cell.cell_contents)),
    (weakref.ReferenceType, _value(weakref.ReferenceType.__call__)),
    (contextvars.ContextVar, _value(lambda variable: variable.get(None))),
    (threading.local, _value(_local_state)),
    (slice, _through("start", "stop", "step")),
    ((random.Random, torch.Generator), stream_state.random_state),
    (types.GeneratorType, object_state.generator_state),
    ((io.IOBase, io.TextIOBase), stream_state.file_state),
    ((bytearray, memoryview, array), stream_state.buffer_state),
    ((torch.dtype, torch.device, torch.layout), _text),
    ((int,), object_state.scalar_state(int, int.__int__)),
    ((float,), object_state.scalar_state(float, float.__float__)),
    ((complex,), object_state.scalar_state(complex, complex.__complex__)),
    ((str,), object_state.scalar_state(str, str.__str__)),
    ((bytes,), object_state.scalar_state(bytes, bytes.__bytes__)),
    (itertools.count, object_state.iterator_state),
)


def _numpy_handlers() -> list[tuple[Any, Handler]]:
    """The handlers of NumPy's types if NumPy is imported; otherwise no such objects exist."""
    numpy: Any = sys.modules.get("numpy")
    numpy_random: Any = sys.modules.get("numpy.random")
    handlers: list[tuple[Any, Handler]] = []
    if numpy is not None and hasattr(numpy, "ndarray"):
        handlers.append((numpy.ndarray, object_state.array_state))
        handlers.append((numpy.generic, object_state.numpy_scalar_state))
    if numpy_random is not None and hasattr(numpy_random, "RandomState"):
        kinds = (numpy_random.Generator, numpy_random.RandomState, numpy_random.BitGenerator)
        handlers.append((kinds, stream_state.random_state))
    return handlers


def _first_difference(old: list[Entry], new: list[Entry]) -> str:
    """Describe the first entry that differs."""
    for k, (before, after) in enumerate(zip(old, new, strict=False)):
        if before.token != after.token and before[:2] == after[:2]:
            return f"{path_of(old, k)} {_change(before.token, after.token)}"
        if before[:2] != after[:2]:
            return f"{path_of(new, k)} changed"
    longer = new if len(new) > len(old) else old
    return f"{path_of(longer, min(len(old), len(new)))} changed"


def _change(old: Token, new: Token) -> str:
    if old[0] == new[0] == "value":
        return f"changed from {_short(old[2])} to {_short(new[2])}"
    if old[0] == new[0] and old[0] in ("tensor", "array"):
        kind: Any = old[2]
        shape = kind[0]
        how = "was modified in place" if old[1] == new[1] else "was replaced"
        return f"({old[0]} of shape {shape}) {how}"
    if old[0] == new[0] == "container" and old[1] == new[1]:
        return f"changed its length from {old[2]} to {new[2]}"
    return "changed"


def _short(value: object) -> str:
    text = value if type(value) is str and value in ("nan", "-0.0", "0.0") else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
