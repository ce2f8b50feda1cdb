"""A walk over the objects that a function can read, in a fixed order and with bounds.

The walk never runs user code: it reads attributes with ``object.__getattribute__``, decides by
types and never compares, hashes or prints an object of a user's class.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_OBJECTS = 20_000
"""No more objects than this are visited."""

MAX_BYTES = 128 << 20
"""Once this much of tensors and arrays has been read, only samples of further ones are."""

Label = tuple[str, object]
"""How an object was reached from its parent: ``(".", "rate")``, ``("[]", 0)``, ``("global", "n")``.

A word and a name: the word is a suffix of the path (``.``, ``[]``, ``key``), ``through`` for a step
that the user does not see, or begins a path of its own."""

Token = tuple[object, ...]
"""What is compared of one object: a word for its kind, then plain values."""

SCALARS = frozenset((int, float, bool, complex, str, bytes, type(None), type(...), range))


class Entry(NamedTuple):
    """One visited object."""

    parent: int
    label: Label
    token: Token


@dataclass(frozen=True)
class NamedAttributes:
    """An object whose attributes are followed only if code that was reached names them.

    Attributes:
        index: the object's record.
        kind, prefix: the label of an attribute, before its name.
        attributes: returns name -> value now.
        always: names that are followed in any case.
        everything: follow all once some code reads attributes without naming them.
        done: the names that were followed.
    """

    index: int
    kind: str
    prefix: str
    attributes: Callable[[], Mapping[str, Any]]
    always: Collection[str]
    everything: bool = False
    done: set[str] = field(default_factory=set)


class Walk:
    """Visits objects breadth first; handlers say what to record of each and what to visit next.

    Attributes:
        records: what was seen, in order.
        hidden: reasons why inputs stay hidden whatever the records say.
        complete: False where a bound was hit or an object could not be looked into.
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
        self._alive: list[object] = []  # so that no id is used twice
        self._named: list[NamedAttributes] = []

    def run(self, objective: object) -> None:
        """Visit everything that is reached from an objective."""
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
        """Visit an object later."""
        self._queue.append((thing, parent, label))

    def push_all(self, things: Iterable[tuple[Label, object]], parent: int) -> None:
        """Visit many objects later; no more are queued than will be visited."""
        room = MAX_OBJECTS + 1 - len(self.entries) - len(self._queue)
        for label, thing in things:
            if room <= 0:
                self.complete = False
                return
            room -= 1
            self._queue.append((thing, parent, label))

    def follow_named(self, named: NamedAttributes) -> None:
        """Visit the attributes that code names, now or when further code is reached."""
        self._named.append(named)

    def note(self, parent: int, label: Label, token: Token) -> None:
        """Record a fact that belongs to no object."""
        self.entries.append(Entry(parent, label, token))

    def hide(self, reason: str | None) -> None:
        """Note a reason why an input stays hidden."""
        if reason is not None:
            self.hidden.append(reason)

    def take_bytes(self, size: int, limit: int) -> int:
        """How large a piece of memory may be to be read whole, ``limit`` while bytes are left."""
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
"""Records one kind of object: (walk, object, its index) -> token."""


def scalar_token(value: object) -> Token:
    """A number or text of an exact builtin type; NaN equals NaN, and -0.0 differs from 0.0."""
    if type(value) in (float, complex) and (value != value or value == 0):
        return ("value", type(value), repr(value))
    return ("value", type(value), value)


def path_of(entries: list[Entry], index: int) -> str:
    """How a user would call a recorded object: "closure variable `state['n']`"."""
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
