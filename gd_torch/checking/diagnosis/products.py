"""Mistakes at one use of a value in a product, a matrix product, or a broadcast operation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import Cotangents, Hypothesis, WrongRule
from gd_torch.checking.diagnosis.linear_algebra import LINEAR_ALGEBRA, linear_algebra_rules
from gd_torch.checking.diagnosis.matrix_products import matrix_product_rules
from gd_torch.checking.diagnosis.tensors import tensors_of_shape
from gd_torch.checking.replay import Edge, Replay, Rule, sum_to_shape
from gd_torch.checking.trace import Node


def product_hypotheses(replay: Replay) -> Iterator[Hypothesis]:
    """Every wrong local rule for every use of a value."""
    for node in replay.trace.nodes:
        for position in node.inputs:
            edge = Edge(node.index, position)
            if replay.edge_cotangent(edge) is not None:
                for wrong in wrong_rules(replay, edge).values():
                    yield _replace_rule(node, edge, wrong)


def _replace_rule(node: Node, edge: Edge, wrong: WrongRule) -> Hypothesis:
    value, result = node.inputs[edge.position], node.outputs[0]

    def removed(replay: Replay) -> Cotangents | None:
        correct = replay.edge_cotangent(edge)
        return None if correct is None else {value: correct}

    def added(replay: Replay) -> Cotangents | None:
        here = wrong_rules(replay, edge).get((wrong.kind, wrong.message))
        g = replay.cotangents.get(result) if result is not None else None
        if g is None:  # of several outputs the first one is not used: its rules ignore g
            g = replay.edge_cotangent(edge)
        return None if here is None or g is None else {value: here.rule(g)}

    message = f"{wrong.message} ({node.name}, {node.location})"
    scalable = wrong.kind == "missing_chain_factor"
    return Hypothesis(wrong.kind, message, wrong.rank, removed, added, scalable)


def wrong_rules(replay: Replay, edge: Edge) -> dict[tuple[str, str], WrongRule]:
    """(kind, message) -> the wrong local rule, for one use of a value; computed once."""
    key = ("wrong rules", edge)
    if key not in replay.cache:
        node = replay.trace.nodes[edge.node]
        rules = _wrong_rules(replay, node, edge.position)
        replay.cache[key] = {(w.kind, w.message): w for w in rules}
    found: dict[tuple[str, str], WrongRule] = replay.cache[key]
    return found


def _wrong_rules(replay: Replay, node: Node, position: int) -> Iterator[WrongRule]:
    if node.name in LINEAR_ALGEBRA:
        yield from linear_algebra_rules(replay, node, position)
    out = node.outputs[0]
    g = None if out is None else replay.cotangents.get(out)
    if g is None:
        return
    x = replay.values[node.inputs[position]]
    if node.name in ("mm", "bmm", "mv", "dot"):
        yield from matrix_product_rules(replay, node, position, g, x)
    elif node.pointwise and sum(isinstance(t, Tensor) for t in node.leaves) > 1:
        yield from _elementwise_rules(replay, node, position, g, x)
    if node.pointwise and g.shape != x.shape:
        yield from _broadcast_rules(replay.local_derivatives(node)[position], g, x)


def _elementwise_rules(
    replay: Replay, node: Node, position: int, g: Tensor, x: Tensor
) -> Iterator[WrongRule]:
    """x * y and x / y: the other operand is missing, or another tensor stands in its place."""
    if node.name in ("add", "sub", "rsub"):
        return
    D = replay.local_derivatives(node)[position]

    def times(factor: Tensor) -> Rule:
        return lambda g: sum_to_shape(g * factor, x.shape)

    if g.dim() == 2 and g.shape[0] == g.shape[1]:
        text = "the cotangent is transposed"
        yield WrongRule("transposed", text, 1.5, lambda g: sum_to_shape(g.mT * D, x.shape))
    text = "the other factor is missing"
    yield WrongRule("missing_chain_factor", text, 1.2, lambda g: sum_to_shape(g, x.shape))
    if node.name == "div" and position == 1:
        yield from _quotient_rules(node.leaves[0], node.leaves[1], x.shape)
    out = node.outputs[0]
    result = x if out is None else replay.values[out]
    text = "the value used where a factor belongs"
    yield WrongRule("value_for_derivative", text, 2.5, times(result))
    for name, other in tensors_of_shape(replay, D.shape).items():
        if not torch.equal(other, D):
            text = f"{name} used where the other factor belongs"
            yield WrongRule("wrong_operand", text, 2.0, times(other), repeatable=False)
    if node.name == "mul" and D.dim() == 2 and D.shape == x.shape and D.shape[0] == D.shape[1]:
        kind = "elementwise_vs_matmul"
        yield WrongRule(kind, "g @ b where g * b belongs", 2.0, lambda g: g @ D)
        yield WrongRule(kind, "g @ b^T where g * b belongs", 2.0, lambda g: g @ D.mT)
        yield WrongRule(kind, "b^T @ g where g * b belongs", 2.0, lambda g: D.mT @ g)


def _quotient_rules(a: object, b: object, shape: torch.Size) -> Iterator[WrongRule]:
    """a / b; the correct rule for b is -g a b^-2."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return

    def with_exponent(a: Tensor, b: Tensor, exponent: int) -> Rule:
        return lambda g: sum_to_shape(-g * a * b**exponent, shape)

    for exponent in (-1, -3, 1, 2):
        text = f"exponent {exponent} where -2 belongs in the quotient rule"
        yield WrongRule("wrong_exponent", text, 1.2, with_exponent(a, b, exponent))
    text = "the numerator is missing"
    yield WrongRule("missing_chain_factor", text, 1.3, lambda g: sum_to_shape(-g / b**2, shape))


def _broadcast_rules(D: Tensor, g: Tensor, x: Tensor) -> Iterator[WrongRule]:
    """x was broadcast; the correct rule sums g * D over the broadcast axes."""
    yield WrongRule("missing_sum", "not summed over the broadcast axis", 1.5, lambda g: g * D)

    def first_row(axis: int) -> Rule:
        return lambda g: (g * D).narrow(axis, 0, 1).expand_as(x)

    if x.dim() == g.dim():
        for axis in range(x.dim()):
            if x.shape[axis] != g.shape[axis]:
                text = f"one row kept where axis {axis} must be summed"
                yield WrongRule("missing_sum", text, 3.0, first_row(axis))
    elif (g * D).shape[1:] == x.shape:
        text = "the first row kept, not the sum"
        yield WrongRule("missing_sum", text, 3.0, lambda g: (g * D)[0])
