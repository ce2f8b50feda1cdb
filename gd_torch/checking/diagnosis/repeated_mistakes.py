"""The same mistake at every node of one operation, of one line, or of one pointwise function."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import RepeatedMistake, WrongDerivative, WrongRule
from gd_torch.checking.diagnosis.pointwise import (
    PointwiseFunction,
    pointwise_functions,
    wrong_derivatives,
)
from gd_torch.checking.diagnosis.products import wrong_rules
from gd_torch.checking.replay import Edge, Replay, Rule, Shortcut
from gd_torch.checking.trace import Node


def repeated_mistakes(replay: Replay) -> Iterator[RepeatedMistake]:
    """Every mistake that can be made at several nodes at once."""
    yield from _repeated_derivatives(replay)
    for nodes in _similar_nodes(replay):
        location = f"{nodes[0].name}, {nodes[0].location}"
        for position in sorted({p for n in nodes for p in n.inputs}):
            edges = [Edge(n.index, position) for n in nodes if position in n.inputs]
            for wrong in wrong_rules(replay, edges[0]).values():
                if wrong.repeatable:
                    name = replay.trace.nodes[edges[0].node].name
                    yield _repeated_rule(edges, wrong, f"{wrong.message} (every {name})")
            text = f"every term through these operations is missing ({location})"
            yield _repeated_factor(edges, 0.0, "treated_as_constant", text)
            text = f"every term through these operations has the wrong sign ({location})"
            yield _repeated_factor(edges, -1.0, "sign_of_term", text)


def _similar_nodes(replay: Replay) -> list[list[Node]]:
    """Two nodes or more of one operation: on one line, with a value in common, or anywhere."""
    groups: dict[tuple[str, object], list[Node]] = {}
    for n in replay.trace.nodes:
        for shared in (n.location, None, *n.inputs.values()):
            groups.setdefault((n.name, shared), []).append(n)
    unique = {tuple(n.index for n in nodes): nodes for nodes in groups.values() if len(nodes) > 1}
    return list(unique.values())


def _repeated_derivatives(replay: Replay) -> Iterator[RepeatedMistake]:
    by_name: dict[str, list[PointwiseFunction]] = {}
    for f in pointwise_functions(replay):
        if f.a in replay.cotangents:
            by_name.setdefault(f.name, []).append(f)
    for functions in by_name.values():
        if len(functions) > 1:
            for wrong in wrong_derivatives(replay, functions[0]).values():
                if wrong.repeatable:
                    yield _repeated_derivative(functions, wrong)


def _repeated_derivative(
    functions: list[PointwiseFunction], wrong: WrongDerivative
) -> RepeatedMistake:
    def shortcuts(replay: Replay) -> dict[int, Shortcut]:
        key = wrong.kind, wrong.message
        found = ((f, wrong_derivatives(replay, f).get(key)) for f in functions)
        return {f.a: Shortcut(f.z, w.derivative) for f, w in found if w is not None}

    message = f"{wrong.message} (every {functions[0].name})"
    return RepeatedMistake(wrong.kind, message, wrong.rank + 0.2, lambda _: {}, shortcuts)


def _repeated_rule(edges: list[Edge], wrong: WrongRule, message: str) -> RepeatedMistake:
    def rules(replay: Replay) -> dict[Edge, Rule]:
        key = wrong.kind, wrong.message
        found = ((edge, wrong_rules(replay, edge).get(key)) for edge in edges)
        return {edge: w.rule for edge, w in found if w is not None}

    return RepeatedMistake(wrong.kind, message, 3.0, rules, lambda _: {})


def _repeated_factor(edges: list[Edge], c: float, kind: str, message: str) -> RepeatedMistake:
    """The correct rule times a constant."""

    def rules(replay: Replay) -> dict[Edge, Rule]:
        return {edge: _scaled_rule(replay, edge, c) for edge in edges}

    return RepeatedMistake(kind, message, 3.2, rules, lambda _: {})


def _scaled_rule(replay: Replay, edge: Edge, c: float) -> Rule:
    node = replay.trace.nodes[edge.node]
    out = node.outputs[0]

    def rule(g: Tensor) -> Tensor:
        correct = replay.node_vjp(node, {} if out is None else {out: g})
        return correct[edge.position] * c

    return rule
