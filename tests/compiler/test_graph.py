"""Views, statements, schedules and traces, without compiling."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gd_torch.compiler import Unsupported
from gd_torch.compiler.axis_mapping import axis_mapping, axis_splits, split_axes
from gd_torch.compiler.graph import Graph
from gd_torch.compiler.kernels import ScheduledStatement
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.rules import KNOWN
from gd_torch.compiler.schedule import Schedule
from gd_torch.compiler.strides import broadcast, contiguous, rows_last
from gd_torch.compiler.tiles import Tiles
from gd_torch.compiler.tracing import Trace, trace
from gd_torch.compiler.views import Node, View


def view_of(*sizes: int) -> View:
    """All entries of a new computed node of these sizes."""
    return Graph().all_entries(Node("computed", sizes), sizes)


def entries(view: View) -> Tensor:
    """For each index of a view, the entry of its node."""
    assert view.node is not None
    return torch.arange(view.node.numel).as_strided(view.shape, view.strides, view.offset)


def by_mapping(view: View) -> Tensor:
    """The same, computed from the indices along the axes of the node."""
    moves = axis_mapping(view)
    assert moves is not None and view.node is not None
    total = torch.zeros(view.shape, dtype=torch.long)
    for (first, steps), stride in zip(moves, view.node.strides, strict=True):
        index = torch.full(view.shape, first)
        for axis, step in steps:
            shape = [-1 if d == axis else 1 for d in range(len(view.shape))]
            index = index + step * torch.arange(view.shape[axis]).reshape(shape)
        total += index * stride
    return total


# ------------------------------------------------------------------------------------ strides


def test_contiguous_strides_are_those_of_torch_except_for_axes_of_length_1() -> None:
    """An axis of length 1 has stride 0, so that equal views have equal strides."""
    assert contiguous((2, 3, 4)) == torch.empty(2, 3, 4).stride()
    assert contiguous((2, 1, 4)) == (4, 0, 1)
    assert contiguous(()) == ()


def test_rows_lie_last_and_padded() -> None:
    """Row r of entry (i, j) lies at (i * 4 + j) * padded + r, whichever axis the rows are."""
    assert rows_last((2, 17, 4), 1, 24) == (96, 1, 24)
    assert rows_last((17, 4), 0, 24) == (1, 24)
    assert rows_last((17,), 0, 24) == (1,)


@pytest.mark.parametrize(
    "shapes", [[(3, 1), (4,)], [(), (2, 3)], [(2, 1, 5), (3, 1), (1,)], [(1, 1), (1,)]]
)
def test_shapes_broadcast_as_in_torch(shapes: list[tuple[int, ...]]) -> None:
    """The same shape as torch.broadcast_tensors."""
    assert broadcast(shapes) == torch.broadcast_tensors(*map(torch.empty, shapes))[0].shape


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    """With both shapes in the message."""
    with pytest.raises(Unsupported, match=re.escape("[(2, 3), (2,)] do not broadcast")):
        broadcast([(2, 3), (2,)])


# ------------------------------------------------------------------------------------ views

VIEWS: dict[str, tuple[Callable[[View], View], Callable[[Tensor], Tensor]]] = {
    "permute": (lambda v: v.permute([2, 0, 1]), lambda t: t.permute(2, 0, 1)),
    "transpose": (lambda v: v.transpose(), lambda t: t.mT),
    "unsqueeze": (lambda v: v.unsqueeze(-1), lambda t: t.unsqueeze(-1)),
    "squeeze": (lambda v: v.unsqueeze(1).squeeze(1), lambda t: t),
    "narrow": (lambda v: v.narrow(1, 1, 3), lambda t: t.narrow(1, 1, 3)),
    "slice with a step": (lambda v: v.narrow(1, 1, 2, 3), lambda t: t[:, 1:6:3]),
    "select": (lambda v: v.select(-1, 2), lambda t: t.select(-1, 2)),
    "expand": (
        lambda v: v.narrow(0, 1, 1).expand((7, 4, 6, 3)),
        lambda t: t[1:2].expand(7, 4, 6, 3),
    ),
    "select of a narrowed view": (
        lambda v: v.narrow(1, 2, 3).select(0, 1).transpose(),
        lambda t: t[1, 2:5].T,
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_select_the_entries_that_torch_selects(name: str) -> None:
    """The same shape, and the same entry at every index."""
    ours, theirs = VIEWS[name]
    made = entries(ours(view_of(4, 6, 3)))
    assert torch.equal(made, theirs(torch.arange(72).reshape(4, 6, 3)))


@pytest.mark.parametrize("name", VIEWS)
def test_the_mapping_gives_the_same_entries(name: str) -> None:
    """Sums of indices times strides of the node, instead of offset and strides of the view."""
    made = VIEWS[name][0](view_of(4, 6, 3))
    assert torch.equal(by_mapping(made), entries(made))


def test_a_diagonal_moves_along_two_axes_and_has_no_mapping() -> None:
    """Its stride is a multiple of no single axis's stride."""
    view = View(Graph(), Node("computed", (4, 4)), 0, (4,), (5,))
    assert axis_mapping(view) is None


def test_merged_axes_have_no_mapping_until_they_are_split() -> None:
    """(4, 6) viewed as (24,) extends over two axes; split at 6 it does not."""
    view = View(Graph(), Node("computed", (4, 6)), 0, (24,), (1,))
    assert axis_mapping(view) is None
    assert axis_splits(view, 0) == [6]
    sizes, (cut,), counts = split_axes(view.shape, [view])
    assert (sizes, counts, cut.strides) == ((4, 6), [2], (6, 1))
    assert torch.equal(by_mapping(cut).reshape(-1), torch.arange(24))
    assert view.node is not None and not view.node.linear


def test_three_merged_axes_are_split_twice() -> None:
    """The lengths of the inner parts: the last axis, and the last two."""
    view = View(Graph(), Node("computed", (2, 3, 5)), 0, (30,), (1,))
    assert axis_splits(view, 0) == [5, 15]
    assert split_axes(view.shape, [view])[0] == (2, 3, 5)


def test_two_views_are_split_where_either_needs_it() -> None:
    """Axes of (2, 12) and (8, 3), both merged into 24, are split to 2 x 4 x 3."""
    views = [View(Graph(), Node("computed", sizes), 0, (24,), (1,)) for sizes in ((2, 12), (8, 3))]
    sizes, refined, counts = split_axes((24,), views)
    assert (sizes, counts) == ((2, 4, 3), [3])
    for view in refined:
        assert torch.equal(by_mapping(view).reshape(-1), torch.arange(24))


def test_a_view_that_cannot_be_split_makes_its_node_linear() -> None:
    """(4, 6) merged with an offset, and splits at 6 and at 4 that exclude each other."""
    shifted = View(Graph(), Node("computed", (4, 6)), 3, (18,), (1,))
    assert axis_splits(shifted, 0) is None
    split_axes(shifted.shape, [shifted])
    assert shifted.node is not None and shifted.node.linear
    first, second = (
        View(Graph(), Node("computed", sizes), 0, (24,), (1,)) for sizes in ((4, 6), (6, 4))
    )
    sizes, _, _ = split_axes((24,), [first, second])
    assert sizes == (4, 6)
    assert first.node is not None and not first.node.linear
    assert second.node is not None and second.node.linear


def test_constants_and_numbers_are_not_split() -> None:
    """Their entries are copied in the order in which they are read."""
    graph = Graph()
    constant = View(graph, Node("constant", (24,)), 3, (20,), (1,))
    assert axis_splits(constant, 0) == []
    assert split_axes((20,), [constant, graph.number(2.0, (20,))])[0] == (20,)


# ------------------------------------------------------------------------------------ statements


def weight(graph: Graph, *sizes: int) -> View:
    """A weight of these sizes, none of them 1."""
    return graph.all_entries(Node("weight", sizes), sizes)


def test_equal_statements_are_added_once() -> None:
    """exp(w) + exp(w) evaluates one exponential."""
    graph = Graph()
    w = weight(graph, 5)
    assert w.apply("exp").node is w.apply("exp").node
    assert w.apply("exp").node is not w.narrow(0, 0, 4).apply("exp").node
    assert [statement.operation for statement in graph.statements] == ["exp", "exp"]


def test_broadcast_operands_get_stride_0() -> None:
    """(3, 1) + (4,) is one statement over (3, 4)."""
    graph = Graph()
    total = weight(graph, 3).unsqueeze(-1) + weight(graph, 4)
    (statement,) = graph.statements
    assert total.shape == statement.sizes == (3, 4)
    assert [view.strides for view in statement.arguments] == [(1, 0), (0, 1)]


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (lambda w: w * 1.0, 0),
        (lambda w: 1.0 * w, 0),
        (lambda w: w / 1.0, 0),
        (lambda w: w + 0.0, 1),
        (lambda w: w * 0.0, 1),
    ],
    ids=["w * 1", "1 * w", "w / 1", "w + 0", "w * 0"],
)
def test_only_operations_that_change_no_bit_are_simplified(
    made: Callable[[View], View], count: int
) -> None:
    """w + 0 turns -0 into 0, and w * 0 is NaN if w is infinite."""
    graph = Graph()
    made(weight(graph, 5))
    assert len(graph.statements) == count


def test_dividing_by_a_power_of_two_is_a_product() -> None:
    """Which is exact; dividing by 3 is not."""
    graph = Graph()
    w = weight(graph, 5)
    _ = w / 8.0, w / 3.0
    assert [statement.operation for statement in graph.statements] == ["mul", "div"]


def test_numbers_are_folded_in_the_dtype_of_the_program() -> None:
    """0.1 + 0.2 in float32 is the float32 sum of the float32 numbers."""
    graph = Graph(torch.float32)
    expected = torch.tensor(0.1, dtype=torch.float32) + torch.tensor(0.2, dtype=torch.float32)
    assert (graph.number(0.1) + 0.2).value == expected.item()
    assert graph.statements == []


def test_a_division_of_numbers_by_zero_is_not_folded() -> None:
    """Python would raise ZeroDivisionError."""
    graph = Graph()
    quotient = graph.number(1.0) / 0.0
    assert quotient.node is not None


def test_a_reduction_over_several_axes_is_one_statement() -> None:
    """The reduced axes come last."""
    graph = Graph()
    total = weight(graph, 2, 3, 4).sum([0, 2], keepdim=True)
    (statement,) = graph.statements
    assert total.shape == (1, 3, 1)
    assert (statement.sizes, statement.inner, statement.outer) == ((3, 2, 4), 2, (3,))


def test_a_reduction_over_axes_of_length_1_needs_no_statement() -> None:
    """The sum of one term is that term."""
    graph = Graph()
    w = weight(graph, 5)
    assert w.unsqueeze(0).sum([0]).key() == w.key()
    assert graph.statements == []


def test_a_tensor_without_entries_is_refused() -> None:
    """No loop has zero iterations."""
    with pytest.raises(Unsupported, match="without entries"):
        view_of(4, 3).narrow(0, 0, 0).apply("exp")


# ------------------------------------------------------------------------------------ schedules

ROWS = 50
X = torch.linspace(-1, 1, ROWS * 4, dtype=torch.float64).reshape(ROWS, 4).sin()
Y = torch.linspace(0, 2, ROWS, dtype=torch.float64).cos()


def lowered(objective: Callable[..., Tensor], *weights: Tensor) -> Lowering:
    """The statements of value and partials."""
    return Lowering(trace(objective, weights, KNOWN))


def scheduled(
    objective: Callable[..., Tensor], *weights: Tensor, runs_as_lanes: bool = False
) -> Schedule:
    """The schedule of value and partials."""
    made = lowered(objective, *weights)
    outputs = [made.value, *made.partials]
    return Schedule(made.graph.statements, outputs, 8, runs_as_lanes=runs_as_lanes)


def scheduled_views(graph: Graph, *outputs: View) -> Schedule:
    """The schedule of these views."""
    return Schedule(graph.statements, outputs, 8)


def statements_of(schedule: Schedule, operation: str) -> list[ScheduledStatement]:
    """The scheduled statements of one operation."""
    return [p for p in schedule.all_scheduled() if p.statement.operation == operation]


def location(schedule: Schedule, scheduled: ScheduledStatement) -> str:
    """The location of a statement's result."""
    return schedule.allocations[scheduled.statement.out].where


def zeros(*shape: int) -> Tensor:
    """A float64 weight."""
    return torch.zeros(shape, dtype=torch.float64)


def rows_view(graph: Graph, *shape: int) -> View:
    """A constant with distinct entries."""
    count = math.prod(shape)
    node = Node("constant", (count,), tensor=torch.arange(count, dtype=torch.float64))
    return View(graph, node, 0, shape, contiguous(shape))


def test_forward_and_backward_pass_of_a_regression_are_one_loop_over_rows() -> None:
    """Product, residual, its squares and the products of the gradient: one kernel of 50 rows."""
    schedule = scheduled(lambda w: (X @ w - Y).square().mean(), zeros(4))
    assert schedule.kernels[0].rows == ROWS
    assert [kernel.rows for kernel in schedule.kernels] in ([ROWS], [ROWS, 0])
    assert all(p.row_axis is not None for p in statements_of(schedule, "dot"))


def test_pointwise_statements_of_equal_loops_share_a_group_and_registers() -> None:
    """exp(x) * 3 needs no buffer: the exponential is read from its variable."""
    graph = Graph()
    result = (rows_view(graph, ROWS, 4) * weight(graph, 4)).apply("exp") * 3.0
    schedule = scheduled_views(graph, result)
    (kernel,) = schedule.kernels
    (group,) = kernel.groups
    assert [p.statement.operation for p in group.members] == ["mul", "exp", "mul"]
    assert group.loops == (4,)
    assert [location(schedule, p) for p in group.members] == ["register", "register", "memory"]


def test_a_product_reads_a_tile_in_another_group_of_the_same_kernel() -> None:
    """It reads all entries of its row, which earlier loops have stored."""
    graph = Graph()
    hidden = (rows_view(graph, ROWS, 4) * weight(graph, 4)).apply("tanh")
    result = graph.reduce("dot", [hidden.unsqueeze(1), weight(graph, 3, 4)], [-1])
    schedule = scheduled_views(graph, result)
    (kernel,) = schedule.kernels
    (tanh,), (dot,) = statements_of(schedule, "tanh"), statements_of(schedule, "dot")
    assert kernel.rows == ROWS
    assert (tanh.group, dot.group) == (0, 1)
    assert location(schedule, tanh) == "tile"


def test_a_reduction_over_rows_ends_a_kernel() -> None:
    """Statements that read the sum over rows are in a later loop over rows."""
    graph = Graph()
    x = rows_view(graph, ROWS) * weight(graph)
    result = x - x.mean()
    schedule = scheduled_views(graph, result)
    (total,), (difference,) = statements_of(schedule, "sum"), statements_of(schedule, "sub")
    assert total.sums_rows and location(schedule, total) == "memory"
    assert schedule.kernels[total.kernel].rows == schedule.kernels[difference.kernel].rows == ROWS
    assert total.kernel < difference.kernel


def test_a_node_that_a_later_kernel_reads_is_in_memory() -> None:
    """Tiles last for one pass over the rows."""
    graph = Graph()
    x = (rows_view(graph, ROWS) * weight(graph)).apply("exp")
    schedule = scheduled_views(graph, x / x.sum())
    (exponential,) = statements_of(schedule, "exp")
    assert location(schedule, exponential) == "memory"


def test_a_transposed_node_is_in_memory() -> None:
    """A row of x x^T needs the other rows of x."""
    graph = Graph()
    x = (rows_view(graph, ROWS, 4) * weight(graph, 4)).apply("exp")
    gram = graph.reduce("dot", [x.unsqueeze(1), x.unsqueeze(0)], [-1])
    schedule = scheduled_views(graph, gram)
    (exponential,), (dot,) = statements_of(schedule, "exp"), statements_of(schedule, "dot")
    assert location(schedule, exponential) == "memory"
    assert exponential.kernel < dot.kernel


def test_padding_rows_are_excluded_from_sums() -> None:
    """50 rows of float64 are padded to 64; their terms are set to zero before they are summed."""
    graph = Graph()
    x = rows_view(graph, ROWS) * weight(graph)
    schedule = scheduled_views(graph, x.apply("exp").sum())
    assert schedule.tiles.padded(ROWS) == 64
    (total,), (valid,) = statements_of(schedule, "sum"), statements_of(schedule, "valid")
    assert total.statement.arguments[0].node is valid.statement.out
    assert not total.masked


@pytest.mark.parametrize("operation", ["max", "min", "prod"])
def test_other_reductions_over_rows_mask_padding_term_by_term(operation: str) -> None:
    """A zero would be a wrong maximum."""
    graph = Graph()
    x = rows_view(graph, ROWS) * weight(graph)
    schedule = scheduled_views(graph, graph.reduce(operation, [x], None))
    (reduction,) = statements_of(schedule, operation)
    assert reduction.masked and statements_of(schedule, "valid") == []


def test_full_tiles_need_no_copies() -> None:
    """48 rows of float64 are 6 vectors of 8."""
    graph = Graph()
    x = rows_view(graph, 48) * weight(graph)
    schedule = scheduled_views(graph, x.sum())
    assert schedule.tiles.padded(48) == 48
    assert statements_of(schedule, "valid") == []


def test_short_axes_are_scalar_code() -> None:
    """The curve of the tutorial has no rows."""
    schedule = scheduled(lambda w: w.square() + 3 * w, zeros())
    assert [kernel.rows for kernel in schedule.kernels] == [0]
    assert all(p.row_axis is None for p in schedule.all_scheduled())


def test_runs_as_lanes_use_no_memory() -> None:
    """Every run has its own registers and small buffers."""
    schedule = scheduled(
        lambda w: (X[:9] @ w - Y[:9]).square().mean(), zeros(4), runs_as_lanes=True
    )
    assert {allocation.where for allocation in schedule.allocations.values()} == {
        "register",
        "tile",
    }
    assert all(p.row_axis is None for p in schedule.all_scheduled())


def test_unused_statements_are_removed() -> None:
    """The sine in this graph is not used."""
    graph = Graph()
    w = weight(graph, 5)
    w.apply("sin")
    schedule = scheduled_views(graph, w.apply("exp"))
    assert [p.statement.operation for p in schedule.all_scheduled()] == ["exp"]


def test_large_products_are_blocked() -> None:
    """From 16 terms per row; a product of 4 terms is an inner loop."""
    graph = Graph()
    long = graph.reduce(
        "dot", [rows_view(graph, ROWS, 32).unsqueeze(1), weight(graph, 6, 32)], [-1]
    )
    short = graph.reduce("dot", [rows_view(graph, ROWS, 4).unsqueeze(1), weight(graph, 6, 4)], [-1])
    schedule = scheduled_views(graph, long, short)
    by_terms = {p.inner_sizes: p.blocked for p in statements_of(schedule, "dot")}
    assert by_terms == {(32,): True, (4,): False}


@pytest.mark.parametrize("rows", [8, 17, 48, 50, 150, 4096, 4097, 10_000])
@pytest.mark.parametrize("item_bytes", [4, 8])
def test_tiles_cover_all_rows_with_little_padding(rows: int, item_bytes: int) -> None:
    """Complete tiles of complete virtual vectors, and less than one tile of padding."""
    tiles = Tiles(item_bytes, large=False)
    padded, width = tiles.padded(rows), tiles.width(rows)
    assert width == tiles.vectors(rows) * 64 // item_bytes
    assert padded % width == 0 and rows <= padded < rows + width


# ------------------------------------------------------------------------------------ recordings


def traced(objective: Callable[..., Tensor], *weights: Tensor) -> Trace:
    """The operations of value and partials."""
    return trace(objective, weights, KNOWN)


def test_an_in_place_edit_is_tracked_by_memory() -> None:
    """A view created before the edit contains the new values."""

    def objective(w: Tensor) -> Tensor:
        buffer = torch.zeros(3, dtype=w.dtype)
        first = buffer[0]
        buffer.copy_(w)
        return first * 2

    made = lowered(objective, zeros(3))
    statement = made.graph.statements[0]
    assert statement.operation == "mul"
    source = statement.arguments[0]
    assert source.node is not None and source.node.kind == "weight" and source.offset == 0


def test_an_edit_of_a_region_keeps_the_other_entries() -> None:
    """A buffer of zeros with one entry of the weight: two regions of one node."""

    def objective(w: Tensor) -> Tensor:
        buffer = torch.zeros(4, dtype=w.dtype)
        buffer[1:3] = w[0]
        return buffer.exp().sum()

    schedule = scheduled(objective, zeros(3))
    nodes = [
        allocation for allocation in schedule.allocations.values() if len(allocation.writers) == 2
    ]
    assert nodes
    before, part = (scheduled.statement for scheduled in nodes[0].writers)
    assert before.arguments[0].value == 0.0 and before.target.shape == (4,)
    assert (part.target.offset, part.target.shape) == (1, (2,))


def numbers_added(objective: Callable[[Tensor], Tensor]) -> list[float]:
    """The numbers that the statements add to other views, in order."""
    return [
        view.value
        for statement in lowered(objective, zeros(3)).graph.statements
        if statement.operation == "add"
        for view in statement.arguments
        if view.node is None
    ]


def test_a_constant_that_is_overwritten_later_keeps_the_value_that_was_read() -> None:
    """The sum is with 1, although the tensor contains 5 at the end of the trace."""

    def objective(w: Tensor) -> Tensor:
        term = torch.ones(3, dtype=w.dtype)
        total = w + term
        term.fill_(5.0)
        return total.exp().sum()

    assert numbers_added(objective) == [1.0]


def test_a_constant_that_is_read_before_and_after_it_is_overwritten_has_both_values() -> None:
    """The first sum is with 1, the second with 5; a later one is of partials."""

    def objective(w: Tensor) -> Tensor:
        term = torch.ones(3, dtype=w.dtype)
        first = w + term
        term.fill_(5.0)
        return (first.exp() + (w + term)).sum()

    assert numbers_added(objective)[:2] == [1.0, 5.0]


def test_the_weights_are_not_modified_by_tracing() -> None:
    """The evaluation uses copies."""
    given = torch.arange(3, dtype=torch.float64)
    traced(lambda w: w.square().sum(), given)
    assert torch.equal(given, torch.arange(3, dtype=torch.float64)) and not given.requires_grad


def test_operations_that_do_not_depend_on_a_weight_are_not_traced() -> None:
    """Their results are constants."""
    made = traced(lambda w: (w * torch.arange(3.0).double().exp()).sum(), zeros(3))
    names = [str(getattr(operation, "function", "")) for operation in made.operations]
    assert not any("exp." in name or "arange" in name for name in names)


def test_a_weight_that_is_not_used_has_the_partial_0() -> None:
    """Autograd returns None for it."""
    made = lowered(lambda _, w: w.square().sum(), zeros(2), zeros(3))
    assert made.partials[0].node is None and made.partials[0].value == 0.0
    assert made.partials[0].shape == (2,)


def read_a_number(w: Tensor) -> Tensor:
    return w.sum() * w[0].item()  # named


def branch(w: Tensor) -> Tensor:
    return w.sum() if w[0] > 0 else -w.sum()  # named


def read_numpy(w: Tensor) -> Tensor:
    return w.sum() * float(w.detach().numpy()[0])  # named


def draw(w: Tensor) -> Tensor:
    return (w * torch.rand(3, dtype=w.dtype)).sum()  # named


def invert(w: Tensor) -> Tensor:
    inverse: Tensor = torch.linalg.inv(w.diag())  # named
    return inverse.sum()


def edit_a_weight(w: Tensor) -> Tensor:
    w.detach().mul_(2)  # named
    return w.sum()


OUTSIDE = torch.zeros(3, dtype=torch.float64)


def write_outside(w: Tensor) -> Tensor:
    OUTSIDE.copy_(w.detach())  # named
    return w.sum()


REFUSED: dict[Callable[[Tensor], Tensor], str] = {
    read_a_number: "reads a value of a weight in Python",
    branch: "reads a value of a weight in Python",
    read_numpy: "reads values of a weight in Python: .numpy()",
    draw: "draws random numbers: aten.rand",
    edit_a_weight: "edits a weight in place: aten.mul_",
    write_outside: "writes into a tensor from outside the objective: aten.copy_",
    invert: "aten.linalg_inv_ex has no compiled form",
}


@pytest.mark.parametrize("objective", REFUSED, ids=lambda f: f.__name__)
def test_errors_name_the_operation_and_its_line(objective: Callable[[Tensor], Tensor]) -> None:
    """The message has the file and the number of the line that is marked above."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    first = objective.__code__.co_firstlineno
    marked = next(n for n in range(first, len(lines)) if lines[n - 1].endswith("# named"))
    with pytest.raises(Unsupported) as caught:
        traced(objective, torch.ones(3, dtype=torch.float64))
    assert REFUSED[objective] in str(caught.value)
    assert f"({__file__}, line {marked})" in str(caught.value)


@pytest.mark.parametrize(
    "objective", [lambda w: w, lambda _: 3.0, lambda _: torch.tensor(1.0)], ids=["w", "3", "tensor"]
)
def test_a_value_that_is_not_a_scalar_of_the_weights_is_refused(
    objective: Callable[[Tensor], Tensor],
) -> None:
    """A vector, a Python number, and a constant."""
    with pytest.raises(Unsupported, match="not a scalar tensor that depends on a weight"):
        traced(objective, zeros(3))
