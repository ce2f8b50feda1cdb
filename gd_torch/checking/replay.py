"""Reverse mode over a recorded trace, one rule at a time, so that single rules can be altered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gd_torch.checking.trace import Node, Trace

Edge = tuple[int, int]
"""A node's index and the place of one of its arguments: one use of a value."""

Rule = Callable[[Tensor], Tensor]
"""What stands in for a local rule: cotangent of a node's output -> cotangent of one argument."""


class Replay:
    """A trace at one point with the cotangent of every value; caches each node's local rule."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.values = trace.values
        self.maker = {v: n for n in trace.nodes for v in n.outputs if v is not None}
        self.uses: dict[int, list[Edge]] = {}
        for n in trace.nodes:
            for place, v in n.inputs.items():
                self.uses.setdefault(v, []).append((n.index, place))
        self.memo: dict[object, Any] = {}
        self._graphs: dict[int, tuple[list[Tensor], dict[int, Tensor]]] = {}
        self._slopes: dict[int, dict[int, Tensor]] = {}
        self._edges: dict[Edge, Tensor] = {}
        one = {trace.result: torch.ones_like(self.values[trace.result])}
        self.cotangents: dict[int, Tensor] = {}
        self.gradient = self.pull(one, keep=self.cotangents)

    def pull(
        self,
        cotangents: Mapping[int, Tensor],
        altered: Mapping[Edge, Rule] | None = None,
        keep: dict[int, Tensor] | None = None,
        shortcuts: Mapping[int, tuple[int, Tensor]] | None = None,
    ) -> list[Tensor | None]:
        """Bring cotangents of some values back to the weights: J^T applied to them.

        A shortcut v -> (u, T) stands for a whole pointwise segment: u receives g * T.
        """
        flow = dict(cotangents) if keep is None else keep
        flow.update(cotangents)
        last = max((self.maker[v].index for v in cotangents if v in self.maker), default=-1)
        for node in reversed(self.trace.nodes[: last + 1]):
            if not any(v in flow for v in node.outputs):
                continue
            out = node.outputs[0]
            if shortcuts and out is not None and out in shortcuts:
                v, factor = shortcuts[out]
                cot = flow[out] * factor
                flow[v] = flow[v] + cot if v in flow else cot
                continue
            for place, cot in self.local(node, flow, altered).items():
                v = node.inputs[place]
                flow[v] = flow[v] + cot if v in flow else cot
                if keep is not None:
                    self._edges[node.index, place] = cot
        return [flow.get(v) for v in range(self.trace.weights)]

    def local(
        self, node: Node, flow: Mapping[int, Tensor], altered: Mapping[Edge, Rule] | None
    ) -> dict[int, Tensor]:
        """One node's cotangents, each argument's by torch's rule or by the altered one."""
        g = flow.get(node.outputs[0]) if node.outputs[0] is not None else None
        if altered and g is not None and any((node.index, p) in altered for p in node.inputs):
            true = self.local(node, flow, None)
            for place in node.inputs:
                if rule := altered.get((node.index, place)):
                    true[place] = rule(g)
            return true
        if node.pointwise and g is not None:
            slopes = self.slopes(node)
            return {p: fit(g * slopes[p], self.values[v]) for p, v in node.inputs.items()}
        if node.name == "sum" and g is not None and g.shape == node.leaves[0].shape:
            return {0: g}  # a sum that an altered rule forgot to take
        return self._by_autograd(node, flow)

    def slopes(self, node: Node) -> dict[int, Tensor]:
        """A pointwise node's derivative for each argument, in the output's shape."""
        if node.index not in self._slopes:
            v = node.outputs[0]
            assert v is not None  # a pointwise node has one tensor output
            shape = self.values[v].shape
            leaves = {
                p: self.values[v].expand(shape).detach().clone().requires_grad_()
                for p, v in node.inputs.items()
            }
            with torch.enable_grad():
                out = node.run({**leaves})[0]
                found = torch.autograd.grad(
                    out.sum(), list(leaves.values()), materialize_grads=True
                )
            self._slopes[node.index] = dict(zip(leaves, found, strict=True))
        return self._slopes[node.index]

    def _by_autograd(self, node: Node, flow: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """torch's own vjp of this one operation."""
        if node.index not in self._graphs:
            leaves = {
                p: self.values[v].detach().clone().requires_grad_() for p, v in node.inputs.items()
            }
            with torch.enable_grad():
                self._graphs[node.index] = node.run({**leaves}), leaves
        outs, leaves = self._graphs[node.index]
        some = [
            (o, flow[v])
            for o, v in zip(outs, node.outputs, strict=True)
            if v is not None and v in flow and o.requires_grad
        ]
        if not some:
            return {}
        if any(o.shape != g.shape for o, g in some):
            raise RuntimeError(f"a cotangent of another shape at {node.name}")
        # a sum, not grad_outputs=: with those torch imports its symbolic shapes, half a second
        with torch.enable_grad():
            total = torch.stack([(o * g).sum() for o, g in some]).sum()
        found = torch.autograd.grad(
            total, list(leaves.values()), retain_graph=True, allow_unused=True
        )
        return {p: d for p, d in zip(leaves, found, strict=True) if d is not None}

    def tangents(self, direction: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Forward mode: how every value changes along a direction of the weights."""
        moved = dict(direction)
        for node in self.trace.nodes:
            changed = {p: moved[v] for p, v in node.inputs.items() if v in moved}
            v = node.outputs[0]
            if changed and node.pointwise and v is not None:
                slopes = self.slopes(node)
                parts = [slopes[p] * t for p, t in changed.items()]
                moved[v] = sum(parts[1:], parts[0])
            elif changed:
                moved.update(self._tangents_of(node, changed))
        return moved

    def _tangents_of(self, node: Node, changed: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """One operation's J t, as the derivative of its vjp for the cotangent."""
        leaves = {p: self.values[node.inputs[p]].clone().requires_grad_() for p in changed}
        with torch.enable_grad():
            outs = zip(node.run({**leaves}), node.outputs, strict=True)
            heads = {v: o for o, v in outs if v is not None and o.requires_grad}
            probes = [torch.zeros_like(o, requires_grad=True) for o in heads.values()]
            paired = zip(heads.values(), probes, strict=True)
            back = torch.autograd.grad(
                torch.stack([(o * p).sum() for o, p in paired]).sum(),
                list(leaves.values()),
                create_graph=True,
                materialize_grads=True,
            )
            ends = [(b, t) for b, t in zip(back, changed.values(), strict=True) if b.requires_grad]
            if not ends:
                return {}
            total = torch.stack([(b * t).sum() for b, t in ends]).sum()
        found = torch.autograd.grad(total, probes, materialize_grads=True)
        return dict(zip(heads, found, strict=True))

    def edge(self, edge: Edge) -> Tensor | None:
        """The true cotangent that one use sends to its argument."""
        return self._edges.get(edge)

    def between(self, u: int, v: int, at: Tensor | None = None) -> Tensor:
        """dv/du of a pointwise segment, entry by entry, at u or at another tensor."""
        start = (self.values[u] if at is None else at).detach().clone().requires_grad_()
        known: dict[int, Tensor] = {u: start}
        first = self.maker[u].index + 1 if u in self.maker else 0
        with torch.enable_grad():
            for node in self.trace.nodes[first : self.maker[v].index + 1]:
                if any(x in known for x in node.inputs.values()):
                    outs = node.run({p: known[x] for p, x in node.inputs.items() if x in known})
                    known.update(
                        (x, o) for x, o in zip(node.outputs, outs, strict=True) if x is not None
                    )
        return torch.autograd.grad(known[v].sum(), start, materialize_grads=True)[0]


def fit(g: Tensor, like: Tensor) -> Tensor:
    """Sum a cotangent over the axes along which its argument was broadcast."""
    return g if g.shape == like.shape else g.sum_to_size(like.shape)
