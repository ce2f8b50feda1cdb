"""Traverse the objects that a function can read, breadth first, in a fixed order and with limits.

The traversal never executes user code: it reads attributes with ``object.__getattribute__``,
dispatches on types, and does not compare, hash or print instances of user classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_OBJECTS = 20_000
"""Largest number of visited objects."""

MAX_BYTES = 128 << 20
"""After this many bytes of tensors and arrays, only samples of further ones are read."""

Label = tuple[str, object]
"""The relation of an object to its parent: ``(".", "rate")``, ``("[]", 0)``, ``("global", "n")``.

The first element is a suffix of the path (``.``, ``[]``, ``key``), ``through`` for a step that is
not shown to the user, or the start of a new path."""

Token = tuple[object, ...]
"""The compared state of one object: a word for its kind, then plain values."""

SCALARS = frozenset((int, float, bool, complex, str, bytes, type(None), type(...), range))


class Entry(NamedTuple):
    """One visited object."""

    parent: int
    label: Label
    token: Token


@dataclass(frozen=True)
class NamedAttributes:
    """An object whose attributes are visited only if some visited code names them.

    Attributes:
        index: index of the object's entry.
        kind, prefix: the label of an attribute, before its name.
        attributes: returns name -> value.
        always: names that are always visited.
        everything: visit all attributes if some code reads attributes without naming them.
        done: the names that have been visited.
    """

    index: int
    kind: str
    prefix: str
    attributes: Callable[[], Mapping[str, Any]]
    always: Collection[str]
    everything: bool = False
    done: set[str] = field(default_factory=set)


class Walk:
    """Visits objects breadth first; handlers return their tokens and queue further objects.

    Attributes:
        entries: one per visited object, in order.
        hidden: reasons why the entries cannot cover all inputs.
        complete: False if a limit was reached or the state of an object cannot be read.
    """

    def __init__(self, handler_for: Callable[[type], Handler]) -> None:
        self.entries: list[Entry] = []
        self.hidden: list[str] = []
        self.complete = True
        self.bytes_left = MAX_BYTES
        self.names: set[str] = set()
        self.reflective = False
        self.globals_done: set[tuple[int, str]] = set()
        self.classes_done: set[tuple[int, bool]] = set()
        self._handler_for = handler_for
        self._queue: deque[tuple[object, int, Label]] = deque()
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []  # so that no id is reused
        self._named: list[NamedAttributes] = []

    def run(self, objective: object) -> None:
        """Visit all objects that are reachable from an objective."""
        self.push(objective, -1, ("", "objective"))
        while True:
            while self._queue:
                if len(self.entries) >= MAX_OBJECTS:
                    self.complete = False
                    return
                self._visit(*self._queue.popleft())
            for named in self._named:
                self._follow(named)
            if not self._queue:
                return

    def push(self, thing: object, parent: int, label: Label) -> None:
        """Queue an object."""
        self._queue.append((thing, parent, label))

    def push_all(self, things: Iterable[tuple[Label, object]], parent: int) -> None:
        """Queue many objects, up to the limit of visited objects."""
        remaining = MAX_OBJECTS + 1 - len(self.entries) - len(self._queue)
        for label, thing in things:
            if remaining <= 0:
                self.complete = False
                return
            remaining -= 1
            self._queue.append((thing, parent, label))

    def follow_named(self, named: NamedAttributes) -> None:
        """Register an object whose attributes are visited when some code names them."""
        self._named.append(named)

    def note(self, parent: int, label: Label, token: Token) -> None:
        """Add an entry that belongs to no object."""
        self.entries.append(Entry(parent, label, token))

    def hide(self, reason: str | None) -> None:
        """Add a reason why an input cannot be covered, if there is one."""
        if reason is not None:
            self.hidden.append(reason)

    def take_bytes(self, size: int, limit: int) -> int:
        """The largest size to be read completely: ``limit``, or 0 once ``MAX_BYTES`` are used."""
        self.bytes_left -= min(size, limit)
        return limit if self.bytes_left >= 0 else 0

    def _visit(self, thing: object, parent: int, label: Label) -> None:
        kind = type(thing)
        if kind in SCALARS:
            self.entries.append(Entry(parent, label, scalar_token(thing)))
            return
        index = len(self.entries)
        before = self._seen.setdefault(id(thing), index)
        if before != index:
            self.entries.append(Entry(parent, label, ("same", before)))
            return
        self._alive.append(thing)
        self.entries.append(Entry(parent, label, ()))
        token = self._handler_for(kind)(self, thing, index)
        self.entries[index] = Entry(parent, label, token)

    def _follow(self, named: NamedAttributes) -> None:
        attributes = named.attributes()
        everything = named.everything and self.reflective
        for name in list(attributes):
            wanted = everything or name in self.names or name in named.always
            if wanted and name not in named.done and name in attributes:
                named.done.add(name)
                self.push(attributes[name], named.index, (named.kind, named.prefix + name))


Handler = Callable[[Walk, Any, int], Token]
"""Returns the token of an object of one type: (walk, object, index of its entry) -> token."""


def scalar_token(value: object) -> Token:
    """The token of a builtin scalar; NaN equals NaN, and -0.0 differs from 0.0."""
    if type(value) in (float, complex) and (value != value or value == 0):
        return ("value", type(value), repr(value))
    return ("value", type(value), value)


def path_of(entries: list[Entry], index: int) -> str:
    """The path of an object for users: "closure variable `state['n']`"."""
    suffix = ""
    while True:
        parent, (kind, name), _ = entries[index]
        if kind in (".", "[]", "key"):
            suffix = (f".{name}" if kind == "." else f"[{name!r}]") + suffix
        elif kind == "through":
            pass
        else:
            return f"{kind} `{name}{suffix}`".strip()
        index = parent
