"""Which statements run together, along which axis they are vectorised, where results are kept.

A kernel is either a sequence of scalar statements (``rows`` 0) or a loop over tiles of rows, rows
being the index along one long axis, as of data. Within a kernel, statements of equal loops form a
group. A statement goes into the earliest kernel and group that its arguments allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from gd_torch.compiler.graph import Mapping, Node, Statement, View, contiguous, mapping

MIN_ROWS = 8
"""An axis shorter than this is no axis to vectorise along."""

BLOCK_ROWS = 4096
"""Rows after which sums over rows are taken out of the vectors, for exactness."""

REDUCTIONS = {"sum", "dot", "prod", "max", "min"}
SCANS = {"cumsum", "cumprod"}

MIN_BLOCKED_TERMS = 16
"""A sum of so many products for each row is computed in blocks."""

MIN_BLOCKED_SUMS = 256
"""So many sums of products over rows are computed in blocks."""

LARGE_TILE = 16
"""Virtual vectors of a tile where there are so many sums."""


@dataclass(eq=False)
class Group:
    """Statements that share their loops; a closed one takes no more."""

    loops: tuple[int, ...]
    closed: bool = False
    members: list[Placed] = field(default_factory=list)


@dataclass(eq=False)
class Kernel:
    """Groups one after another, for each tile of ``rows`` (0: without rows)."""

    rows: int
    groups: list[Group] = field(default_factory=list)


@dataclass(eq=False)
class Placed:
    """A statement with its place in the schedule.

    Attributes:
        lane: the axis of its domain along which it is vectorised, or None.
        loops: the axes of its domain that its group loops over; the others are inner loops.
        blocked: a large product, computed in blocks that fit the registers, in a group of its own.
        masked: a reduction over rows whose terms in rows of padding must be left out one by one.
    """

    statement: Statement
    lane: int | None
    loops: tuple[int, ...]
    kernel: int = -1
    group: int = -1
    masked: bool = False
    blocked: bool = False

    @property
    def sums_rows(self) -> bool:
        """Whether it reduces over the rows of its kernel."""
        s = self.statement
        if s.operation not in REDUCTIONS:
            return False
        return self.lane is not None and self.lane >= len(s.sizes) - s.inner

    @property
    def inner(self) -> list[int]:
        """Axes of inner loops."""
        return [d for d in range(len(self.statement.sizes)) if d not in (self.lane, *self.loops)]


@dataclass(eq=False)
class Storage:
    """Where a computed node is kept.

    Attributes:
        lane: its axis of rows, if it has one in the kernel that computes it.
        where: "register" (used in its own group only), "tile" (in its own kernel), "memory".
        clean: in rows of padding it repeats the last row.
    """

    node: Node
    lane: int | None = None
    placed: list[Placed] = field(default_factory=list)
    where: str = "register"
    number: int = 0
    clean: bool = False

    @property
    def kernel(self) -> int:
        """The kernel after which it is complete."""
        return max(p.kernel for p in self.placed)

    @property
    def group(self) -> int:
        """The group of that kernel after which it is complete."""
        return max(p.group for p in self.placed if p.kernel == self.kernel)


class Schedule:
    """The kernels of a program.

    Args:
        outputs: views that are needed at the end.
        item_bytes: bytes of a number.
        along_runs: every statement is vectorised over independent runs instead of an axis.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        outputs: Sequence[View],
        item_bytes: int,
        *,
        along_runs: bool = False,
    ) -> None:
        self.along_runs, self.item_bytes = along_runs, item_bytes
        self._zeroed: dict[int, Node] = {}
        self.kernels: list[Kernel] = []
        self.storage: dict[int, Storage] = {}
        needed = _needed(statements, outputs)
        self.rows = 0 if along_runs else _main_rows(needed)
        self.large_tiles = any(_large(statement, self.rows) for statement in needed)
        for statement in needed:
            self._place(statement)
        self._choose_storage(outputs)

    # ------------------------------------------------ where a statement goes

    def _place(self, statement: Statement) -> None:
        lane = None if self.along_runs else self._lane(statement)
        placed = self._with_loops(statement, lane)
        rows = statement.sizes[lane] if lane is not None else 0
        if placed.sums_rows and rows != self.padded(rows):
            self._cut_padding(placed, rows)
        storage = self.storage.get(id(statement.out))
        if storage is None:
            storage = self.storage[id(statement.out)] = Storage(statement.out)
            storage.number = len(self.storage)
            if lane is not None and not placed.sums_rows:
                storage.lane = self._lane_of_result(statement, lane)
        first = 0
        for view in statement.arguments:
            source = self._source(view)
            if source is not None:
                near = (
                    self._local(view, lane, rows) if rows else self.kernels[source.kernel].rows == 0
                )
                first = max(first, source.kernel if near else source.kernel + 1)
        if storage.placed:  # an earlier part of the same node
            together = self.kernels[storage.kernel].rows == rows
            first = max(first, storage.kernel if together else storage.kernel + 1)
        for index in range(first, len(self.kernels)):
            if self.kernels[index].rows == rows:
                break
        else:
            self.kernels.append(Kernel(rows))
            index = len(self.kernels) - 1
        placed.kernel = index
        self._group(placed, storage)
        clean = lane is not None and all(self._clean(v, lane, rows) for v in statement.arguments)
        storage.clean = clean and (storage.clean or not storage.placed)
        storage.placed.append(placed)

    # ------------------------------------------------ tiles

    def tile(self, rows: int) -> int:
        """How many virtual vectors of 64 bytes a tile of these rows has."""
        vectors = -(-rows * self.item_bytes // 64)
        if self.large_tiles:
            tiles = -(-vectors // LARGE_TILE)
            return -(-vectors // (2 * tiles)) * 2
        if vectors <= 6:
            return vectors
        return min((4, 5, 6), key=lambda u: (-(-vectors // u) * u - vectors, -u))

    def padded(self, rows: int) -> int:
        """Rows of whole tiles."""
        width = self.tile(rows) * 64 // self.item_bytes
        return -(-rows // width) * width

    def _clean(self, view: View, lane: int, rows: int) -> bool:
        """Whether, in rows of padding, an argument has the value that it has in the last row."""
        if view.node is None or view.strides[lane] == 0 or view.node.kind == "constant":
            return True
        source = self._source(view)
        return source is not None and source.clean and self._local(view, lane, rows)

    def _cut_padding(self, placed: Placed, rows: int) -> None:
        """Sum a copy that is zero in rows of padding; where that is not enough, cut every term."""
        statement, lane = placed.statement, placed.lane
        assert lane is not None
        views = statement.arguments
        if statement.operation in ("sum", "dot") and all(self._clean(v, lane, rows) for v in views):
            near = [v for v in views if self._local(v, lane, rows)]
            if near:
                chosen = min(near, key=lambda v: v.node.numel if v.node is not None else 0)
                statement.arguments = [
                    self._zero_in_padding(v) if v is chosen else v for v in views
                ]
                return
        placed.masked, placed.blocked = True, False

    def _zero_in_padding(self, view: View) -> View:
        node = view.node
        assert node is not None
        if id(node) not in self._zeroed:
            zeroed = Node("computed", node.sizes)
            self._zeroed[id(node)] = zeroed
            whole = view.graph.whole(node, node.sizes)
            place = view.graph.whole(zeroed, node.sizes)
            self._place(Statement("valid", zeroed, node.sizes, 0, [whole], place))
        return replace(view, node=self._zeroed[id(node)])

    def _group(self, placed: Placed, storage: Storage) -> None:
        statement, groups = placed.statement, self.kernels[placed.kernel].groups
        loops = tuple(statement.sizes[d] for d in placed.loops)
        first = 0
        for view in statement.arguments:
            source = self._source(view)
            if source is not None and source.kernel == placed.kernel:
                here = groups[source.group].loops == loops and self._same_entry(view, placed)
                first = max(first, source.group if here else source.group + 1)
        if storage.placed and storage.kernel == placed.kernel:
            first = max(first, storage.group + 1)
        own = placed.blocked or statement.table is not None or statement.operation in SCANS
        for index in range(first, len(groups)):
            if groups[index].loops == loops and not own and not groups[index].closed:
                break
        else:
            groups.append(Group(loops, closed=own))
            index = len(groups) - 1
        placed.group = index
        groups[index].members.append(placed)

    def _with_loops(self, statement: Statement, lane: int | None) -> Placed:
        axes = range(len(statement.sizes))
        inner = len(statement.sizes) - statement.inner
        sums_rows = lane is not None and lane >= inner
        loops = [d for d in axes if d != lane and (sums_rows or d < inner)]
        placed = Placed(statement, lane, tuple(loops))
        if lane is not None and statement.operation == "dot":
            if sums_rows:
                count = math.prod(statement.sizes[d] for d in loops)
                placed.blocked = count >= MIN_BLOCKED_SUMS
            else:
                count = math.prod(statement.sizes[d] for d in placed.inner)
                placed.blocked = count >= MIN_BLOCKED_TERMS
        return placed

    # ------------------------------------------------ the axis of rows

    def _lane(self, statement: Statement) -> int | None:
        """The axis to vectorise along, by what its arguments allow; None for scalar code."""
        if statement.table is not None:
            return None
        scanned = statement.operation in SCANS
        best, found = 0.0, None
        for axis, size in enumerate(statement.sizes):
            if size < MIN_ROWS or (scanned and axis >= len(statement.sizes) - statement.inner):
                continue
            score = self._score(statement, axis)
            if score > best:
                best, found = score, axis
        return found

    def _score(self, statement: Statement, axis: int) -> float:
        size = statement.sizes[axis]
        score = 10.0 if size == self.rows else 0.0
        if axis >= len(statement.sizes) - statement.inner:
            score -= 0.5
        elif statement.place.strides[axis] != 1:
            score -= 0.1
        for view in statement.arguments:
            node = view.node
            if node is None or view.strides[axis] == 0:
                continue
            if node.kind == "constant":
                score += 2.0
            elif self._local(view, axis, size):
                score += 3.0
            else:
                step = self._row_step(view, axis)
                score += 1.0 if step == 1 else -2.0
        return score + min(size, 4096) / 1e4

    def _row_step(self, view: View, axis: int) -> int:
        """How far apart in memory neighbouring rows are."""
        assert view.node is not None
        storage = self.storage.get(id(view.node))
        if storage is None or storage.lane is None or view.node.linear:
            return view.strides[axis]
        moves = mapping(view)
        assert moves is not None
        step = dict(moves[storage.lane][1]).get(axis, 0)
        others = any(axis in dict(m[1]) for j, m in enumerate(moves) if j != storage.lane)
        return 2 if others else step

    def _local(self, view: View, lane: int | None, rows: int) -> bool:
        """Whether a row needs only the same row of this argument."""
        if lane is None or view.node is None or view.node.linear:
            return False
        storage = self.storage.get(id(view.node))
        if storage is None or storage.lane is None:
            return False
        if any(not same_row(p, storage.lane) for p in storage.placed):
            return False
        moves = mapping(view)
        return (
            moves is not None
            and view.node.sizes[storage.lane] == rows
            and moves[storage.lane] == (0, [(lane, 1)])
            and all(lane not in dict(m[1]) for j, m in enumerate(moves) if j != storage.lane)
        )

    def _lane_of_result(self, statement: Statement, lane: int) -> int | None:
        """The axis of the result that the rows run along."""
        if statement.out.linear:
            return None
        moves = mapping(statement.place)
        if moves is None:
            return None
        axes = [j for j, (_, steps) in enumerate(moves) if lane in dict(steps)]
        return axes[0] if len(axes) == 1 and dict(moves[axes[0]][1])[lane] == 1 else None

    # ------------------------------------------------ where results are kept

    def _source(self, view: View) -> Storage | None:
        return None if view.node is None else self.storage.get(id(view.node))

    def _same_entry(self, view: View, placed: Placed) -> bool:
        """Whether an argument is, in every loop, the entry that its own loops have just made."""
        source = self._source(view)
        assert source is not None
        if placed.inner or len(source.placed) > 1 or source.placed[0].sums_rows:
            return False
        producer = source.placed[0]
        if producer.inner and producer.statement.operation not in REDUCTIONS:
            return False
        made = producer.statement
        if (producer.lane is None) != (placed.lane is None):
            return False
        wanted = [view.strides[d] for d in placed.loops]
        own = [made.place.strides[d] for d in producer.loops]
        return view.offset == 0 and made.place.offset == 0 and wanted == own

    def _choose_storage(self, outputs: Sequence[View]) -> None:
        for placed in self.all_placed():
            for view in placed.statement.arguments:
                source = self._source(view)
                if source is not None:
                    self._require(source, view, placed)
        for view in outputs:
            source = self._source(view)
            if source is not None:
                source.where = "memory"
        for storage in self.storage.values():
            first = storage.placed[0]
            single = len(storage.placed) == 1 and first.statement.operation not in (
                *SCANS, "gather", "scatter", "scatter_add"
            )  # fmt: skip
            if not single and storage.where == "register":
                storage.where = "tile"
            if self.along_runs:
                storage.where = "register" if storage.where == "register" else "tile"
                continue
            spread = len({p.kernel for p in storage.placed}) > 1
            scalar = self.kernels[first.kernel].rows == 0 and storage.where == "tile"
            if storage.node.linear or first.sums_rows or spread or scalar or self._crosses(storage):
                storage.where = "memory"

    def _crosses(self, storage: Storage) -> bool:
        """Whether some part of it is written in other rows than it is computed in."""
        if all(p.lane is None for p in storage.placed):
            return False
        return storage.lane is None or any(not same_row(p, storage.lane) for p in storage.placed)

    def _require(self, source: Storage, view: View, placed: Placed) -> None:
        here = source.kernel == placed.kernel
        if self.along_runs:
            near = True
        else:
            rows = self.kernels[placed.kernel].rows
            near = here and (not rows or self._local(view, placed.lane, rows))
        if not near:
            source.where = "memory"
        elif source.where == "register" and not (
            here and source.group == placed.group and self._same_entry(view, placed)
        ):
            source.where = "tile"

    def all_placed(self) -> Iterator[Placed]:
        """Every statement, in the order of execution."""
        for kernel in self.kernels:
            for group in kernel.groups:
                yield from group.members


def same_row(placed: Placed, lane: int) -> bool:
    """Whether a part of a node is written in the row in which it is computed."""
    place, node = placed.statement.place, placed.statement.out
    if placed.lane is None or placed.sums_rows:
        return False
    moves: Mapping | None = mapping(place)
    return (
        moves is not None
        and node.sizes[lane] == placed.statement.sizes[placed.lane]
        and moves[lane] == (0, [(placed.lane, 1)])
    )


def _needed(statements: Sequence[Statement], outputs: Sequence[View]) -> list[Statement]:
    """The statements that the outputs depend on, in order."""
    wanted = {id(view.node) for view in outputs if view.node is not None}
    kept = []
    for statement in reversed(statements):
        if id(statement.out) in wanted:
            kept.append(statement)
            wanted.update(id(v.node) for v in statement.arguments if v.node is not None)
    return kept[::-1]


def _large(statement: Statement, rows: int) -> bool:
    """Whether a statement is a sum over rows of very many products."""
    inner = statement.sizes[len(statement.sizes) - statement.inner :]
    sums = math.prod(statement.outer)
    return statement.operation == "dot" and rows in inner and sums >= 16 * MIN_BLOCKED_SUMS


def _main_rows(statements: Sequence[Statement]) -> int:
    """The length along which most of the work lies, that of data where several are equal."""
    score: dict[int, float] = {}
    for statement in statements:
        work = math.prod(statement.sizes)
        for size in set(statement.sizes):
            if size >= MIN_ROWS:
                score[size] = score.get(size, 0.0) + work
        for view in statement.arguments:
            if view.node is not None and view.node.kind == "constant":
                for size, stride in zip(view.shape, view.strides, strict=True):
                    if size >= MIN_ROWS and stride:
                        score[size] += 1e-3 * work
    return max(score, key=lambda size: (score[size], size)) if score else 0


def row_major(sizes: Sequence[int], last: int | None, padded: int) -> tuple[int, ...]:
    """Strides of a node in memory: row-major, or with one axis last and padded."""
    if last is None:
        return contiguous(sizes)
    others = [size for axis, size in enumerate(sizes) if axis != last]
    strides = [step * padded for step in contiguous_all(others)]
    strides.insert(last, 1)
    return tuple(strides)


def contiguous_all(sizes: Sequence[int]) -> list[int]:
    """Row-major strides, those of axes of length 1 included."""
    strides, step = [], 1
    for size in reversed(sizes):
        strides.append(step)
        step *= size
    return strides[::-1]
