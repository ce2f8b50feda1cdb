"""Mistakes at matrix and dot products: transposes, exchanged or missing operands, * for @."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import WrongRule
from gd_torch.checking.diagnosis.tensors import tensors_of_shape, value_name
from gd_torch.checking.replay import Replay, Rule
from gd_torch.checking.trace import Node


def matrix_product_rules(
    replay: Replay, node: Node, position: int, g: Tensor, x: Tensor
) -> Iterator[WrongRule]:
    """The wrong local rules of one operand ``x`` of a product with the cotangent ``g``."""
    other = node.leaves[1 - position]
    if node.name in ("mm", "bmm"):
        yield from _square_matrix_rules(other, position, g, x)
        yield from _other_operand_rules(replay, node, position, g, x)
    elif node.name == "mv" and position == 1:
        yield from _vector_rules(other, g, x)
    elif node.name == "mv":
        yield from _outer_product_rules(replay, node, other, x)
    else:
        yield from _dot_product_rules(replay, node, position, other, x)


def _product_rule(other: Tensor, position: int) -> Rule:
    """C = A @ B: the cotangent of A is g B^T, that of B is A^T g."""
    return (lambda g: g @ other.mT) if position == 0 else (lambda g: other.mT @ g)


def _square_matrix_rules(other: Tensor, position: int, g: Tensor, x: Tensor) -> Iterator[WrongRule]:
    """Mistakes that need matching shapes: transposes, a missing operand, * for @."""
    rule, rule_of_transposed = (_product_rule(t, position) for t in (other, other.mT))
    if other.shape[-1] == other.shape[-2]:
        yield WrongRule(
            "transposed", "the other operand is not transposed", 1.0, rule_of_transposed
        )
    if x.shape[-1] == x.shape[-2]:
        yield WrongRule("transposed", "the product is transposed", 1.5, lambda g: rule(g).mT)
    if g.shape[-1] == g.shape[-2]:
        yield WrongRule("transposed", "the cotangent is transposed", 1.5, lambda g: rule(g.mT))
    if x.shape == g.shape:
        yield WrongRule("missing_chain_factor", "the other operand is missing", 1.2, lambda g: g)
    if other.shape == x.shape == g.shape:
        kind = "elementwise_vs_matmul"
        yield WrongRule(kind, "* used where @ belongs", 1.2, lambda g: g * other)
        yield WrongRule(kind, "* B^T used where @ B^T belongs", 1.2, lambda g: g * other.mT)
    if g.shape == other.shape and g.shape[-1] == g.shape[-2]:
        reverse = (lambda g: g @ other.mT) if position else (lambda g: other.mT @ g)
        yield WrongRule("wrong_operand", "operands in the wrong order", 1.6, reverse)


def _other_operand_rules(
    replay: Replay, node: Node, position: int, g: Tensor, x: Tensor
) -> Iterator[WrongRule]:
    """Another tensor of the same shape in the place of the other operand or of the cotangent."""
    other = node.leaves[1 - position]
    for name, tensor in tensors_of_shape(replay, other.shape).items():
        if not torch.equal(tensor, other):
            text = f"{name} used where the other operand belongs"
            rule = _product_rule(tensor, position)
            yield WrongRule("wrong_operand", text, 2.0, rule, repeatable=False)

    def with_cotangent(h: Tensor) -> Rule:
        return lambda _: _product_rule(other, position)(h)

    for value, h in replay.cotangents.items():
        if h.shape == g.shape and value != node.outputs[0]:
            name = value_name(replay, value)
            text = f"the cotangent of {name} used where this product's belongs"
            yield WrongRule("wrong_operand", text, 3.0, with_cotangent(h), repeatable=False)
    if x.dim() == 2 and other.dim() == 2:
        axis = 1 - position
        text = "the other operand is replaced by ones"
        yield WrongRule(
            "missing_chain_factor", text, 3.0, lambda g: g.sum(axis, keepdim=True).expand_as(x)
        )


def _vector_rules(A: Tensor, g: Tensor, x: Tensor) -> Iterator[WrongRule]:
    """A @ x; the correct rule for the vector is A^T g."""
    if A.shape[0] == A.shape[1]:
        yield WrongRule("transposed", "the matrix is not transposed", 1.0, lambda g: A @ g)
        yield WrongRule("missing_chain_factor", "the matrix is missing", 1.2, lambda g: g)
    if g.shape == x.shape:
        kind, text = "elementwise_vs_matmul", "only the diagonal of the matrix used"
        yield WrongRule(kind, text, 3.0, lambda g: A.diagonal() * g)


def _outer_product_rules(replay: Replay, node: Node, v: Tensor, x: Tensor) -> Iterator[WrongRule]:
    """x @ v; the correct rule for the matrix is the outer product g v^T."""

    def outer(vector: Tensor) -> Rule:
        return lambda g: torch.outer(g, vector)

    if x.shape[0] == x.shape[1]:
        text = "the outer product is transposed"
        yield WrongRule("transposed", text, 1.0, lambda g: torch.outer(g, v).T)
    for name, vector in tensors_of_shape(replay, v.shape).items():
        if not torch.equal(vector, v):
            text = f"{name} used where the other operand belongs"
            yield WrongRule("wrong_operand", text, 2.0, outer(vector), repeatable=False)


def _dot_product_rules(
    replay: Replay, node: Node, position: int, y: Tensor, x: Tensor
) -> Iterator[WrongRule]:
    """x . y; the correct rule is g * y."""

    def times(factor: Tensor) -> Rule:
        return lambda g: g * factor

    text = "the other operand is missing"
    yield WrongRule("missing_chain_factor", text, 1.3, lambda g: g.expand_as(x))
    transposed = _with_transposed_matrix(replay, node.inputs.get(1 - position, -1))
    if transposed is not None:
        text = "the matrix in the other operand is transposed"
        yield WrongRule("transposed", text, 1.4, times(transposed))
    for name, vector in tensors_of_shape(replay, y.shape).items():
        if not torch.equal(vector, y):
            text = f"{name} used where the other operand belongs"
            yield WrongRule("wrong_operand", text, 2.0, times(vector), repeatable=False)


def _with_transposed_matrix(replay: Replay, value: int) -> Tensor | None:
    """A value that is a product with a square matrix, computed with that matrix transposed."""
    node = replay.producer.get(value)
    if node is None:
        return None
    replaced: dict[int, Tensor] = {}
    if node.name in ("mm", "mv"):
        square = [
            p
            for p in (0, 1)
            if node.leaves[p].dim() == 2 and node.leaves[p].shape[0] == node.leaves[p].shape[1]
        ]
        replaced = {p: node.leaves[p].mT for p in square[:1]}
    elif len(node.inputs) == 1 and node.op.is_view:
        position, source = next(iter(node.inputs.items()))
        before = _with_transposed_matrix(replay, source)
        replaced = {} if before is None else {position: before}
    if not replaced:
        return None
    result: Tensor = node.run(replaced)[0]
    return result
