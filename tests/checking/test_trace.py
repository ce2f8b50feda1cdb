"""Tracing: operations, values, lines, views and in-place operations."""

import pytest
import torch

from gd_torch.checking.trace import trace_objective

W = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


def names(trace):
    return [node.name for node in trace.nodes]


def test_operations_are_recorded_in_order_with_their_values():
    """One node per operation on a value; its inputs and outputs are numbers of values."""
    trace = trace_objective(lambda w: torch.exp(w).sum(), (W,))
    assert names(trace) == ["exp", "sum"]
    assert [n.inputs for n in trace.nodes] == [{0: 0}, {0: 1}]
    assert [n.outputs for n in trace.nodes] == [(1,), (2,)]
    assert (trace.weight_count, trace.result) == (1, 2)
    for value, expected in zip(trace.values, (W, W.exp(), W.exp().sum()), strict=True):
        assert torch.equal(value, expected)


def test_what_does_not_depend_on_a_weight_is_a_constant():
    """Operations on data alone are not recorded; the node that uses their result has it."""
    X = torch.ones(3, dtype=torch.float64)
    trace = trace_objective(lambda w: (w * (X + 1)).sum(), (W,))
    assert names(trace) == ["mul", "sum"]
    assert trace.nodes[0].inputs == {0: 0}
    assert torch.equal(trace.nodes[0].leaves[1], X + 1)


def test_every_weight_is_a_value():
    """The weights come first, whether or not they are used."""
    trace = trace_objective(lambda a, _b, c: (a * c).sum(), (W, W + 1, W + 2))
    assert trace.weight_count == 3
    assert trace.nodes[0].inputs == {0: 0, 1: 2}


def test_lines_are_those_of_the_objective():
    """The location is the line that calls torch, also from a function of torch in between."""

    def objective(w):
        y = torch.sin(w)
        return torch.nn.functional.silu(y).sum()

    first = objective.__code__.co_firstlineno
    trace = trace_objective(objective, (W,))
    lines = {n.name: n.location for n in trace.nodes}
    assert lines["sin"] == f"test_trace.py:{first + 1}"
    assert lines["sigmoid"] == f"test_trace.py:{first + 2}"


def test_a_fused_operation_is_recorded_as_its_steps():
    """A derivation goes through exp, sum and quotient, so the trace of a softmax does as well."""
    trace = trace_objective(lambda w: torch.softmax(w, 0)[0], (W,))
    assert names(trace)[:4] == ["sub", "exp", "sum", "div"]


@pytest.mark.parametrize(
    "function",
    [
        lambda w: torch.logsumexp(w, 0),
        lambda w: torch.logsumexp(100 * w, 0),
        lambda w: torch.log_softmax(100 * w, 0)[1],
        lambda w: torch.nn.functional.log_softmax(w.reshape(1, 3), 1)[0, 2],
        lambda w: torch.nn.functional.cross_entropy(w.reshape(1, 3), torch.tensor([1])),
        lambda w: torch.nn.functional.binary_cross_entropy(torch.sigmoid(w), (W > 0).double()),
        lambda w: torch.nn.functional.binary_cross_entropy_with_logits(w, (W > 0).double()),
        lambda w: torch.nn.functional.logsigmoid(w).sum(),
        lambda w: torch.nn.functional.silu(w).sum(),
        lambda w: torch.nn.functional.mse_loss(w, 2 * W, reduction="sum"),
        lambda w: torch.nn.functional.huber_loss(3 * w, -W, delta=0.7),
        lambda w: torch.nn.functional.smooth_l1_loss(3 * w, -W, beta=0.7),
        lambda w: torch.var(w),
        lambda w: torch.std(w, correction=0),
        lambda w: torch.linalg.vector_norm(w),
        lambda w: torch.nn.functional.layer_norm(w, (3,), W + 3, W)[0],
        lambda w: torch.nn.functional.batch_norm(w[:, None], None, None, training=True)[0].sum(),
        lambda w: torch.addmm(W[:2, None], w.reshape(1, 3).expand(2, 3), W[:, None]).sum(),
    ],
)
def test_the_steps_of_a_fused_operation_give_its_value(function):
    """Decomposed or not, an operation has the same result."""
    trace = trace_objective(function, (W,))
    torch.testing.assert_close(trace.values[trace.result], function(W), rtol=1e-14, atol=1e-15)


def test_the_same_operation_on_the_same_value_is_one_node():
    """A subexpression that is written twice is one value with two uses, as in a derivation."""
    trace = trace_objective(lambda w: (torch.sin(w) * torch.sin(w)).sum(), (W,))
    assert names(trace) == ["sin", "mul", "sum"]
    assert trace.nodes[1].inputs == {0: 1, 1: 1}


def test_the_same_operation_with_another_constant_is_another_node():
    """Constants are told apart by value and by identity."""
    trace = trace_objective(lambda w: ((w + 1) * (w + 2) * (w + W) * (w + W.clone())).sum(), (W,))
    assert names(trace).count("add") == 4


def test_views_are_operations():
    """An index, a transpose and a reshape give values of their own."""
    trace = trace_objective(lambda w: (w[1:] * w.reshape(3)[:2]).sum(), (W,))
    assert names(trace) == ["slice", "view", "slice", "mul", "sum"]
    assert torch.equal(trace.values[1], W[1:])


def test_an_in_place_operation_is_recorded_as_one_that_returns_a_new_tensor():
    """Values keep what they were when they were produced."""

    def objective(w):
        y = w * 2
        y.add_(w)
        return (y * y).sum()

    trace = trace_objective(objective, (W,))
    assert names(trace) == ["mul", "add", "mul", "sum"]
    assert not any(n.op._schema.is_mutable for n in trace.nodes)
    assert torch.equal(trace.values[1], 2 * W) and torch.equal(trace.values[2], 3 * W)
    assert trace.nodes[2].inputs == {0: 2, 1: 2}


def test_the_point_is_copied():
    """An objective that edits its argument does not change the caller's weights."""
    at = W.clone()
    trace_objective(lambda w: w.mul_(2).sum(), (at,))
    assert torch.equal(at, W)


@pytest.mark.parametrize(
    "objective",
    [lambda _w: W.sum(), lambda w: torch.tensor(w.sum().item()), lambda w: w.numpy().sum()],
    ids=["a constant", "through a number", "through NumPy"],
)
def test_no_trace_where_the_result_does_not_come_from_a_weight(objective):
    """Such an objective cannot be replayed."""
    assert trace_objective(objective, (W,)) is None


def test_the_signature_tells_whether_two_points_ran_the_same_operations():
    """It depends on operations and shapes, not on numbers."""

    def objective(w):
        return torch.sin(w).sum() if w[0] > 0 else torch.cos(w).sum()

    at = [trace_objective(objective, (x,)).signature for x in (W, 2 * W, -W)]
    assert at[0] == at[1] != at[2]


def test_a_node_runs_again_with_other_arguments():
    """Arguments are replaced by position; the others keep their value."""
    node = trace_objective(lambda w: torch.atan2(w, w + 1).sum(), (W,)).nodes[1]
    assert torch.equal(node.run({})[0], torch.atan2(W, W + 1))
    assert torch.equal(node.run({0: 3 * W})[0], torch.atan2(3 * W, W + 1))
