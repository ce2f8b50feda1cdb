"""Fingerprints of tensors, arrays, containers, iterators, instances and other objects."""

from __future__ import annotations

import functools
import itertools
import marshal
import sys
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch

from gd_torch.compiler.side_effects.code_state import ALWAYS_FOLLOWED, Layout, follow_class
from gd_torch.compiler.side_effects.memory_checksum import (
    MAX_WHOLE_ARRAY_BYTES,
    MAX_WHOLE_TENSOR_BYTES,
    Identity,
    array_token,
    tensor_checksum,
    tensor_token,
)
from gd_torch.compiler.side_effects.state_walk import (
    MAX_OBJECTS,
    SCALARS,
    NamedAttributes,
    Token,
    Walk,
)

_layouts: dict[int, tuple[type, Layout]] = {}
MAX_CACHED_CLASSES = 4096
NUMBERS = frozenset((int, float, bool))
MIN_CHECKSUM_ITEMS, MAX_CHECKSUM_ITEMS = 64, 1_000_000
"""Lengths of lists of numbers for which one checksum is computed (20 ns per number)."""


def layout_of(cls: type) -> Layout:
    """The cached layout of a class; the class is referenced, so that its id is not reused."""
    cached = _layouts.get(id(cls))
    if cached is None:
        if len(_layouts) >= MAX_CACHED_CLASSES:
            _layouts.clear()
        cached = _layouts[id(cls)] = (cls, Layout(cls))
    return cached[1]


def instance_token(walk: Walk, thing: Any, index: int) -> Token:
    """An instance: its attributes, or only type and identity if its class is written in C."""
    cls = type(thing)
    layout = layout_of(cls)
    if layout.user:
        follow_class(walk, cls, index)
    attributes = _dict_of(thing)
    if attributes is None and not layout.members:
        return ("opaque", cls.__qualname__, Identity(thing))

    def current() -> dict[str, Any]:
        values = dict(attributes or {})
        for name, member in layout.members.items():
            try:
                values[name] = member.__get__(thing)
            except AttributeError:
                continue
        return values

    if layout.named_only:
        private = (
            {name for name in current() if name.startswith("_")} if layout.torch_module else ()
        )
        walk.follow_named(
            NamedAttributes(
                index, ".", "", current, ALWAYS_FOLLOWED.union(private), everything=True
            )
        )
    else:
        walk.push_all([((".", k), v) for k, v in current().items()], index)
    return ("object", cls.__qualname__, id(cls))


def _dict_of(thing: object) -> dict[str, Any] | None:
    try:
        own = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return None
    return own if type(own) is dict else None


def tensor_state(walk: Walk, tensor: Any, index: int) -> Token:
    """A tensor, with its gradient if it has one; a user's subclass by its attributes only."""
    cls: Any = type(tensor)
    if not _is_plain_tensor(cls):
        walk.complete = False
        return (*instance_token(walk, tensor, index), Identity(tensor))
    if tensor.layout is not torch.strided:
        return sparse_state(walk, tensor)
    if tensor.is_leaf and tensor.grad is not None:
        walk.push(tensor.grad, index, (".", "grad"))
    limit = walk.take_bytes(tensor.numel() * tensor.element_size(), MAX_WHOLE_TENSOR_BYTES)
    return tensor_token(tensor, limit)


@functools.cache
def _is_plain_tensor(cls: Any) -> bool:
    """Whether reading a property of such a tensor runs torch's code only."""
    hooks = ("__torch_function__", "__torch_dispatch__")
    own = [base for base in cls.__mro__ if any(hook in vars(base) for hook in hooks)]
    return all(base in (torch.Tensor, torch.nn.Parameter) for base in own)


def sparse_state(walk: Walk, tensor: Any) -> Token:
    """A sparse tensor: its indices and values."""
    parts: tuple[Any, ...]
    if tensor.layout is torch.sparse_coo and tensor.is_coalesced():
        parts = (tensor.indices(), tensor.values())
    elif tensor.layout is torch.sparse_csr:
        parts = (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    else:
        walk.complete = False
        parts = ()
    content = tuple(tensor_checksum(part, MAX_WHOLE_TENSOR_BYTES) for part in parts)
    return (*tensor_token(tensor, 0), content)


def array_state(walk: Walk, array: Any, index: int) -> Token:
    """A NumPy array; its items if they are Python objects."""
    identity = Identity(array)
    plain: Any = sys.modules["numpy"].ndarray
    if type(array) is not plain:
        instance_token(walk, array, index)
        array = plain.view(array, plain)
    if array.dtype.hasobject:
        walk.push_all(_items(array.ravel().tolist()), index)
        return ("container", "ndarray", array.size)
    limit = walk.take_bytes(array.nbytes, MAX_WHOLE_ARRAY_BYTES)
    walk.complete &= array.nbytes <= limit
    return array_token(array, identity, limit)


def sequence_state(kind: type) -> Any:
    """The handler of a builtin container and its subclasses: length and items."""

    def state(walk: Walk, thing: Any, index: int) -> Token:
        size = kind.__len__(thing)  # type: ignore[attr-defined]
        _subclass_state(walk, thing, index, kind)
        if MIN_CHECKSUM_ITEMS <= size <= MAX_CHECKSUM_ITEMS and kind in (list, tuple):
            items = list(kind.__iter__(thing))
            if set(map(type, items)) <= NUMBERS:
                return ("numbers", kind.__name__, size, zlib.crc32(marshal.dumps(items, 2)))
        walk.push_all(_items(kind.__iter__(thing)), index)  # type: ignore[attr-defined]
        return ("container", type(thing).__qualname__, size)

    return state


def _items(things: Iterable[object]) -> Iterable[tuple[tuple[str, object], object]]:
    return ((("[]", k), thing) for k, thing in enumerate(things))


def dict_state(walk: Walk, thing: Any, index: int) -> Token:
    """A dict: its values, and its keys unless they are plain values."""
    items = OrderedDict.items if type(thing) is OrderedDict else dict.items
    try:
        pairs = list(itertools.islice(items(thing), MAX_OBJECTS + 1))
    except RuntimeError:  # modified by another thread
        pairs, walk.complete = [], False
    plain = [(("[]", key), value) for key, value in pairs if type(key) in SCALARS]
    walk.push_all(plain, index)
    for k, (key, value) in enumerate(pairs):
        if type(key) not in SCALARS:
            walk.push_all([(("key", k), key), (("[]", k), value)], index)
    _subclass_state(walk, thing, index, dict)
    return ("container", type(thing).__qualname__, dict.__len__(thing))


def _subclass_state(walk: Walk, thing: object, index: int, kind: type) -> None:
    if type(thing) is not kind:
        instance_token(walk, thing, index)


def scalar_state(kind: Any, convert: Any) -> Any:
    """The handler of a subclass of a number or text: an enum, a unit, a NumPy float."""

    def state(walk: Walk, thing: Any, index: int) -> Token:
        instance_token(walk, thing, index)
        return ("value", type(thing).__qualname__, repr(convert(thing)), kind.__name__)

    return state


def numpy_scalar_state(_walk: Walk, thing: Any, _index: int) -> Token:
    """A NumPy number."""
    return ("value", thing.dtype.str, repr(thing.tolist()) if not thing.dtype.hasobject else "")


def iterator_state(walk: Walk, iterator: Any, index: int) -> Token:
    """A builtin iterator or one of itertools, without advancing it."""
    kind: Any = type(iterator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            _, arguments, *rest = kind.__reduce__(iterator)
    except (TypeError, AttributeError, RuntimeError):
        walk.complete = False
        return ("opaque", kind.__qualname__, Identity(iterator))
    walk.push_all([(("through", k), part) for k, part in enumerate((*arguments, *rest))], index)
    return ("iterator", kind.__qualname__)


def generator_state(walk: Walk, generator: Any, index: int) -> Token:
    """A Python generator: its position and its local variables."""
    frame = generator.gi_frame
    if frame is None:
        return ("iterator", "finished")
    walk.push_all([((".", k), v) for k, v in frame.f_locals.items()], index)
    return ("iterator", Identity(generator.gi_code), frame.f_lasti)
