"""Replay a trace: vector-Jacobian and Jacobian-vector products whose single rules can be altered.

A trace is differentiated node by node, so that the rule of one node, or the cotangent that one use
of a value receives, can be replaced by what a wrong derivation would have there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gd_torch.checking.trace import Node, Trace


class Edge(NamedTuple):
    """One use of a value: the node that uses it and the position among the node's leaves."""

    node: int
    position: int


class Shortcut(NamedTuple):
    """A pointwise function of one value, written as one step from ``source``.

    Attributes:
        source: the value that the function is applied to.
        derivative: what takes the place of the function's derivative, entry by entry.
    """

    source: int
    derivative: Tensor


Rule = Callable[[Tensor], Tensor]
"""The local vjp of one use: cotangent of the node's output -> cotangent of the argument."""


class Replay:
    """A trace at one point with the cotangent of every value.

    Attributes:
        trace: the trace.
        names: the names of the weights, for messages.
        values: its values, ``trace.values``.
        producer: value -> the node that produced it; the weights have none.
        uses: value -> every use of it.
        cotangents: value -> the derivative of the result with respect to it.
        gradient: one partial per weight, None for a weight that the result does not depend on.
        cache: for callers, results that depend on this replay only.
    """

    def __init__(self, trace: Trace, names: Sequence[str] = ()) -> None:
        self.trace = trace
        self.names = names or [f"argument {i + 1}" for i in range(trace.weight_count)]
        self.values = trace.values
        self.producer = {v: n for n in trace.nodes for v in n.outputs if v is not None}
        self.uses: dict[int, list[Edge]] = {}
        for n in trace.nodes:
            for position, v in n.inputs.items():
                self.uses.setdefault(v, []).append(Edge(n.index, position))
        self.cache: dict[object, Any] = {}
        self._graphs: dict[int, tuple[list[Tensor], dict[int, Tensor]]] = {}
        self._derivatives: dict[int, dict[int, Tensor]] = {}
        self._edge_cotangents: dict[Edge, Tensor] = {}
        self.cotangents = {trace.result: torch.ones_like(self.values[trace.result])}
        self.gradient = self._backward(self.cotangents, {}, {}, self._edge_cotangents)

    def vjp(
        self,
        cotangents: Mapping[int, Tensor],
        altered: Mapping[Edge, Rule] | None = None,
        shortcuts: Mapping[int, Shortcut] | None = None,
    ) -> list[Tensor | None]:
        """Vector-Jacobian product: J^T applied to cotangents of some values.

        Args:
            cotangents: value -> a tensor of its shape.
            altered: the local rules to use instead of torch's.
            shortcuts: value -> the pointwise function that is taken as one step back from it.

        Returns:
            One tensor per weight, None for a weight that none of the values depends on.

        Raises:
            RuntimeError: an altered rule returned a cotangent of a shape that does not fit.
        """
        return self._backward(dict(cotangents), altered or {}, shortcuts or {}, {})

    def _backward(
        self,
        cotangents: dict[int, Tensor],
        altered: Mapping[Edge, Rule],
        shortcuts: Mapping[int, Shortcut],
        edge_cotangents: dict[Edge, Tensor],
    ) -> list[Tensor | None]:
        """The backward pass; it adds what it finds to ``cotangents`` and ``edge_cotangents``."""

        def accumulate(value: int, cotangent: Tensor) -> None:
            known = cotangents.get(value)
            cotangents[value] = cotangent if known is None else known + cotangent

        last = max((self.producer[v].index for v in cotangents if v in self.producer), default=-1)
        for node in reversed(self.trace.nodes[: last + 1]):
            if not any(v in cotangents for v in node.outputs):
                continue
            out = node.outputs[0]
            if out is not None and out in shortcuts:
                shortcut = shortcuts[out]
                accumulate(shortcut.source, cotangents[out] * shortcut.derivative)
                continue
            for position, cotangent in self.node_vjp(node, cotangents, altered).items():
                accumulate(node.inputs[position], cotangent)
                edge_cotangents[Edge(node.index, position)] = cotangent
        return [cotangents.get(v) for v in range(self.trace.weight_count)]

    def node_vjp(
        self,
        node: Node,
        cotangents: Mapping[int, Tensor],
        altered: Mapping[Edge, Rule] | None = None,
    ) -> dict[int, Tensor]:
        """The vjp of one node: position of an argument -> its cotangent."""
        g = cotangents.get(node.outputs[0]) if node.outputs[0] is not None else None
        if altered and g is not None and any((node.index, p) in altered for p in node.inputs):
            found = self.node_vjp(node, cotangents)
            for position in node.inputs:
                if rule := altered.get(Edge(node.index, position)):
                    found[position] = rule(g)
            return found
        if node.pointwise and g is not None:
            derivatives = self.local_derivatives(node)
            return {
                p: sum_to_shape(g * derivatives[p], self.values[v].shape)
                for p, v in node.inputs.items()
            }
        if node.name == "sum" and g is not None and g.shape == node.leaves[0].shape:
            return {0: g}  # a sum that an altered rule forgot to take
        return self._vjp_by_autograd(node, cotangents)

    def local_derivatives(self, node: Node) -> dict[int, Tensor]:
        """The derivative of a pointwise node for each argument, in the shape of the output."""
        if node.index not in self._derivatives:
            out = node.outputs[0]
            assert out is not None  # a pointwise node has one tensor output
            shape = self.values[out].shape
            leaves = {
                p: self.values[v].expand(shape).detach().clone().requires_grad_()
                for p, v in node.inputs.items()
            }
            with torch.enable_grad():
                result = node.run({**leaves})[0]
                found = torch.autograd.grad(
                    result.sum(), list(leaves.values()), materialize_grads=True
                )
            self._derivatives[node.index] = dict(zip(leaves, found, strict=True))
        return self._derivatives[node.index]

    def _vjp_by_autograd(self, node: Node, cotangents: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Autograd's vjp of one operation."""
        if node.index not in self._graphs:
            leaves = {
                p: self.values[v].detach().clone().requires_grad_() for p, v in node.inputs.items()
            }
            with torch.enable_grad():
                self._graphs[node.index] = node.run({**leaves}), leaves
        outs, leaves = self._graphs[node.index]
        pairs = [
            (o, cotangents[v])
            for o, v in zip(outs, node.outputs, strict=True)
            if v is not None and v in cotangents and o.requires_grad
        ]
        if not pairs:
            return {}
        if any(o.shape != g.shape for o, g in pairs):
            raise RuntimeError(f"a cotangent at {node.name} must have the shape of its value")
        # a sum, not grad_outputs=: with those torch imports its symbolic shapes, half a second
        with torch.enable_grad():
            total = torch.stack([(o * g).sum() for o, g in pairs]).sum()
        found = torch.autograd.grad(
            total, list(leaves.values()), retain_graph=True, allow_unused=True
        )
        return {p: d for p, d in zip(leaves, found, strict=True) if d is not None}

    def jvp(self, direction: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Jacobian-vector product: the tangents of all values along a direction of the weights."""
        tangents = dict(direction)
        for node in self.trace.nodes:
            changed = {p: tangents[v] for p, v in node.inputs.items() if v in tangents}
            out = node.outputs[0]
            if changed and node.pointwise and out is not None:
                derivatives = self.local_derivatives(node)
                parts = [derivatives[p] * t for p, t in changed.items()]
                tangents[out] = sum(parts[1:], parts[0])
            elif changed:
                tangents.update(self._jvp_by_autograd(node, changed))
        return tangents

    def _jvp_by_autograd(self, node: Node, changed: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """The jvp of one operation, as the derivative of its vjp with respect to the cotangent."""
        leaves = {p: self.values[node.inputs[p]].clone().requires_grad_() for p in changed}
        with torch.enable_grad():
            outs = zip(node.run({**leaves}), node.outputs, strict=True)
            results = {v: o for o, v in outs if v is not None and o.requires_grad}
            cotangents = [torch.zeros_like(o, requires_grad=True) for o in results.values()]
            pairs = zip(results.values(), cotangents, strict=True)
            vjps = torch.autograd.grad(
                torch.stack([(o * g).sum() for o, g in pairs]).sum(),
                list(leaves.values()),
                create_graph=True,
                materialize_grads=True,
            )
            ends = [(d, t) for d, t in zip(vjps, changed.values(), strict=True) if d.requires_grad]
            if not ends:
                return {}
            total = torch.stack([(d * t).sum() for d, t in ends]).sum()
        found = torch.autograd.grad(total, cotangents, materialize_grads=True)
        return dict(zip(results, found, strict=True))

    def edge_cotangent(self, edge: Edge) -> Tensor | None:
        """What one use contributes to the cotangent of its value; None without a contribution."""
        return self._edge_cotangents.get(edge)

    def pointwise_derivative(self, u: int, v: int, at: Tensor | None = None) -> Tensor:
        """dv/du, entry by entry, where ``v`` is a pointwise function of the value ``u`` alone.

        Args:
            u, v: two values.
            at: where the derivative is taken; None is at the value ``u`` itself.
        """
        start = (self.values[u] if at is None else at).detach().clone().requires_grad_()
        known: dict[int, Tensor] = {u: start}
        first = self.producer[u].index + 1 if u in self.producer else 0
        with torch.enable_grad():
            for node in self.trace.nodes[first : self.producer[v].index + 1]:
                if any(x in known for x in node.inputs.values()):
                    outs = node.run({p: known[x] for p, x in node.inputs.items() if x in known})
                    known.update(
                        (x, o) for x, o in zip(node.outputs, outs, strict=True) if x is not None
                    )
        return torch.autograd.grad(known[v].sum(), start, materialize_grads=True)[0]


def sum_to_shape(g: Tensor, shape: torch.Size) -> Tensor:
    """Sum a cotangent over the axes along which an argument of this shape was broadcast."""
    return g if g.shape == shape else g.sum_to_size(shape)
