"""Mistakes at products, matrix products, linear algebra and broadcasting: one use of a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import Hypothesis, Seeds
from gd_torch.checking.diagnosis.linear_algebra import Row, linear_algebra_rows
from gd_torch.checking.replay import Edge, Replay, Rule, fit
from gd_torch.checking.trace import Node


def pool(replay: Replay, shape: torch.Size) -> dict[str, Tensor]:
    """Every value and every constant of the trace with this shape, by a stable name."""
    found = {f"value {i}": v for i, v in enumerate(replay.values) if v.shape == shape}
    for node in replay.trace.nodes:
        for place, leaf in enumerate(node.leaves):
            if place in node.inputs or not isinstance(leaf, Tensor) or leaf.shape != shape:
                continue
            if leaf.is_floating_point() and not any(leaf is c for c in found.values()):
                found[f"constant {node.index}.{place}"] = leaf
    return found


def product_hypotheses(replay: Replay) -> Iterator[Hypothesis]:
    """Every use of a value in a product, with every wrong local rule."""
    for node in replay.trace.nodes:
        for place in node.inputs:
            edge = (node.index, place)
            if replay.edge(edge) is not None:
                for kind, text in table(replay, node, place):
                    yield _altered(replay, edge, kind, text)


def _altered(screen: Replay, edge: Edge, kind: str, text: str) -> Hypothesis:
    node = screen.trace.nodes[edge[0]]
    v = node.inputs[edge[1]]

    def removed(replay: Replay) -> Seeds | None:
        true = replay.edge(edge)
        return None if true is None else {v: true}

    def added(replay: Replay) -> Seeds | None:
        row = table(replay, replay.trace.nodes[edge[0]], edge[1]).get((kind, text))
        out = node.outputs[0]
        g = replay.cotangents.get(out) if out is not None else None
        if row is None:
            return None
        return {v: row[1](replay.edge(edge) if g is None else g)}  # type: ignore[arg-type]

    rank = table(screen, node, edge[1])[kind, text][0]
    return Hypothesis(
        kind,
        f"{text} ({node.name}, {node.where})",
        rank,
        removed,
        added,
        free=kind == "missing_chain_factor",
    )


def table(replay: Replay, node: Node, place: int) -> dict[tuple[str, str], tuple[float, Rule]]:
    """(kind, message) -> (rank, wrong local rule) for one use of a value; computed once."""
    key = ("products", node.index, place)
    if key not in replay.memo:
        replay.memo[key] = {(k, t): (rank, rule) for k, t, rank, rule in rows(replay, node, place)}
    found: dict[tuple[str, str], tuple[float, Rule]] = replay.memo[key]
    return found


def rows(replay: Replay, node: Node, place: int) -> Iterator[Row]:
    """The wrong local rules of one argument of one node."""
    v = node.outputs[0]
    g = None if v is None else replay.cotangents.get(v)
    x = replay.values[node.inputs[place]]
    if node.name in ("linalg_inv_ex", "linalg_slogdet", "linalg_det", "linalg_solve_ex"):
        yield from linear_algebra_rows(replay, node, place)
    elif g is None:
        return
    elif node.pointwise and len([t for t in node.leaves if isinstance(t, Tensor)]) > 1:
        yield from _entrywise(replay, node, place, g, x)
    elif node.name in ("mm", "bmm", "mv", "dot"):
        yield from _matmul(replay, node, place, g, x)
    if g is not None and node.pointwise and g.shape != x.shape:
        D = replay.slopes(node)[place]
        yield "missing_sum", "not summed over the broadcast axis", 1.5, lambda g: g * D
        if x.dim() == g.dim():
            for axis in range(x.dim()):
                if x.shape[axis] != g.shape[axis]:
                    yield (
                        "missing_sum",
                        f"one row kept where axis {axis} must be summed",
                        3.0,
                        lambda g, axis=axis: (g * D).narrow(axis, 0, 1).expand_as(x),  # type: ignore[misc]
                    )
        elif (g * D).shape[1:] == x.shape:
            yield "missing_sum", "the first row kept, not the sum", 3.0, lambda g: (g * D)[0]


def _entrywise(replay: Replay, node: Node, place: int, g: Tensor, x: Tensor) -> Iterator[Row]:
    """x * y, x / y: the other operand missing or another one in its place."""
    if node.name in ("add", "sub", "rsub"):
        return
    D = replay.slopes(node)[place]
    if g.dim() == 2 and g.shape[0] == g.shape[1]:
        yield "transposed", "the cotangent is transposed", 1.5, lambda g: fit(g.mT * D, x)
    yield "missing_chain_factor", "the other factor is missing", 1.2, lambda g: fit(g, x)
    if node.name == "div" and place == 1:
        a, b = (t if isinstance(t, Tensor) else None for t in node.leaves[:2])
        if a is not None and b is not None:
            for q in (-1, -3, 1, 2):
                yield (
                    "wrong_exponent",
                    f"exponent {q} where -2 belongs in the quotient rule",
                    1.2,
                    lambda g, q=q: fit(-g * a * b**q, x),  # type: ignore[misc]
                )
            yield (
                "missing_chain_factor",
                "the numerator is missing",
                1.3,
                lambda g: fit(-g / b**2, x),
            )
    out = replay.values[node.outputs[0]] if node.outputs[0] is not None else x
    yield (
        "value_for_derivative",
        "the value used where a factor belongs",
        2.5,
        lambda g: fit(g * out, x),
    )
    for name, other in pool(replay, D.shape).items():
        if not torch.equal(other, D):
            text = f"{name} used where the other factor belongs"
            yield "wrong_operand", text, 2.0, lambda g, o=other: fit(g * o, x)  # type: ignore[misc]
    if node.name == "mul" and D.dim() == 2 and D.shape == x.shape:
        for text, f in (
            ("g @ b", lambda g: g @ D),
            ("g @ b^T", lambda g: g @ D.mT),
            ("b^T @ g", lambda g: D.mT @ g),
        ):
            if D.shape[0] == D.shape[1]:
                yield "elementwise_vs_matmul", f"{text} where g * b belongs", 2.0, f


def _matmul(replay: Replay, node: Node, place: int, g: Tensor, x: Tensor) -> Iterator[Row]:
    """A @ B: transposes, exchanged operands, an operand of another layer, * for @."""
    other = node.leaves[1 - place]
    if node.name in ("mv", "dot"):
        yield from _vector_product(replay, node, place, g, x)
        return
    left = place == 0  # gA = g B^T, gB = A^T g

    def rule(o: Tensor, h: Tensor) -> Tensor:
        return h @ o.mT if left else o.mT @ h

    if other.shape[-1] == other.shape[-2]:
        yield "transposed", "the other operand is not transposed", 1.0, lambda g: rule(other.mT, g)
    if x.shape[-1] == x.shape[-2]:
        yield "transposed", "the product is transposed", 1.5, lambda g: rule(other, g).mT
    if g.shape[-1] == g.shape[-2]:
        yield "transposed", "the cotangent is transposed", 1.5, lambda g: rule(other, g.mT)
    if x.shape == g.shape:
        yield "missing_chain_factor", "the other operand is missing", 1.2, lambda g: g
    if other.shape == x.shape == g.shape:
        yield "elementwise_vs_matmul", "* used where @ belongs", 1.2, lambda g: g * other
        yield "elementwise_vs_matmul", "* B^T used where @ B^T belongs", 1.2, lambda g: g * other.mT
    if g.shape == other.shape and g.shape[-1] == g.shape[-2]:
        yield "wrong_operand", "operands in the wrong order", 1.6, lambda g: rule(g.mT, other.mT)
    for name, o in pool(replay, other.shape).items():
        if not torch.equal(o, other):
            text = f"{name} used where the other operand belongs"
            yield "wrong_operand", text, 2.0, lambda g, o=o: rule(o, g)  # type: ignore[misc]
    for i, h in replay.cotangents.items():
        if h.shape == g.shape and i != node.outputs[0]:
            text = f"the cotangent of value {i} used where this product's belongs"
            yield "wrong_operand", text, 3.0, lambda _g, h=h: rule(other, h)  # type: ignore[misc]
    if x.dim() == 2 and other.dim() == 2:
        axis = 1 if left else 0
        yield (
            "missing_chain_factor",
            "the other operand is replaced by ones",
            3.0,
            lambda g: g.sum(axis, keepdim=True).expand_as(x),
        )


def _turned(replay: Replay, v: int) -> Tensor | None:
    """A value that is a product with a square matrix, with that matrix transposed."""
    maker = replay.maker.get(v)
    if maker is None:
        return None
    if maker.name in ("mm", "mv"):
        for place in (0, 1):
            leaf = maker.leaves[place]
            if leaf.dim() == 2 and leaf.shape[0] == leaf.shape[1]:
                turned: Tensor = maker.run({place: leaf.mT})[0]
                return turned
        return None
    if len(maker.inputs) == 1 and maker.op.is_view:
        place, source = next(iter(maker.inputs.items()))
        before = _turned(replay, source)
        if before is not None:
            after: Tensor = maker.run({place: before})[0]
            return after
    return None


def _vector_product(replay: Replay, node: Node, place: int, g: Tensor, x: Tensor) -> Iterator[Row]:
    """A v and x . y."""
    other = node.leaves[1 - place]
    if node.name == "mv" and place == 1:
        if other.shape[0] == other.shape[1]:
            yield "transposed", "the matrix is not transposed", 1.0, lambda g: other @ g
            yield "missing_chain_factor", "the matrix is missing", 1.2, lambda g: g
        if g.shape == x.shape:
            yield "elementwise_vs_matmul", "diagonal alone", 3.0, lambda g: other.diagonal() * g
        return
    rule: Callable[[Tensor], Tensor]
    rule = (lambda o: torch.outer(g, o)) if node.name == "mv" else (lambda o: g * o)
    if node.name == "mv" and x.shape[0] == x.shape[1]:
        yield "transposed", "the outer product is transposed", 1.0, lambda g: rule(other).T
    if node.name == "dot":
        yield "missing_chain_factor", "the other operand is missing", 1.3, lambda g: g.expand_as(x)
    turned = _turned(replay, node.inputs.get(1 - place, -1))
    if turned is not None and node.name == "dot":
        yield "transposed", "a matrix before this is transposed", 1.4, lambda g: rule(turned)
    for name, o in pool(replay, other.shape).items():
        if not torch.equal(o, other):
            text = f"{name} used where the other operand belongs"
            yield "wrong_operand", text, 2.0, lambda g, o=o: rule(o)  # type: ignore[misc]
