"""Trace an objective: record its torch operations at one point, with the values they produce."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from gd_torch.checking.decompositions import DECOMPOSITIONS
from gd_torch.typing import Objective, Weights

_LIBRARY_FOLDERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True)
class Node:
    """One recorded operation.

    A *value* is a tensor that depends on a weight; it is named by its place in ``Trace.values``.

    Attributes:
        index: its place in ``Trace.nodes``, which is the order of execution.
        op: the aten operator.
        leaves: its arguments, flattened by ``spec``.
        spec: the structure of the arguments, as torch's pytree describes it.
        inputs: position in ``leaves`` -> value, for the arguments that depend on a weight.
        outputs: the values it produced; None for an output that is no floating tensor.
        location: the line of the objective that called it, "file.py:12".
    """

    index: int
    op: Any
    leaves: tuple[Any, ...]
    spec: TreeSpec
    inputs: dict[int, int]
    outputs: tuple[int | None, ...]
    location: str

    @property
    def name(self) -> str:
        """The operation's name without its namespace: "mm", "sigmoid"."""
        return str(self.op._schema.name).removeprefix("aten::").strip("_")

    @property
    def pointwise(self) -> bool:
        """Whether each entry of the only output depends on one entry of each argument."""
        return torch.Tag.pointwise in self.op.tags and len(self.outputs) == 1

    def run(self, replacements: dict[int, Tensor]) -> list[Any]:
        """Execute the operation again.

        Args:
            replacements: position in ``leaves`` -> the tensor used instead of that argument.

        Returns:
            One element per output.
        """
        leaves = [replacements.get(position, leaf) for position, leaf in enumerate(self.leaves)]
        args, kwargs = tree_unflatten(leaves, self.spec)
        out = self.op(*args, **kwargs)
        return list(out) if isinstance(out, tuple | list) else [out]


@dataclass
class Trace:
    """The operations on values that depend on a weight, at one point.

    Attributes:
        weight_count: the first ``weight_count`` values are the weights.
        values: the tensors that depend on a weight, as they were when they were produced.
        nodes: the operations, in the order of execution.
        result: the value that the objective returned.
        replayable: False after an operation that cannot be executed again on its own.
    """

    weight_count: int
    values: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    result: int = -1
    replayable: bool = True

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for two points at which the same operations ran on the same shapes."""
        shapes = tuple(tuple(v.shape) for v in self.values)
        return shapes, tuple((n.name, tuple(n.inputs.items())) for n in self.nodes), self.result


def trace_objective(objective: Objective, weights: Sequence[Tensor]) -> Trace | None:
    """Trace an objective at one point.

    Fused operations are recorded as their steps (see ``decompositions.py``). An in-place operation
    is recorded as the operation that returns a new tensor, where torch has one.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: the point; it is copied.

    Returns:
        The trace, or None if the objective cannot be replayed: its result does not depend on a
        weight through recorded operations, or an in-place operation has no counterpart.
    """
    leaves = tuple(w.detach().clone() for w in weights)
    mode = _TraceMode(leaves)
    with torch.no_grad(), mode:
        result = objective(*leaves)
    trace = mode.trace
    if id(result) not in mode.value_of or not trace.replayable:
        return None
    trace.result = mode.value_of[id(result)]
    return trace


class _TraceMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation that has an argument which depends on a weight.

    Attributes:
        trace: the trace so far.
        value_of: id of a tensor -> its value.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace(len(weights))
        self.value_of: dict[int, int] = {}
        self._outputs_of_call: dict[object, tuple[int | None, ...]] = {}
        self._kept_alive: list[Tensor] = []  # an id may be reused once its tensor is freed
        for w in weights:
            self._add_value(w)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, spec = tree_flatten((args, kwargs))
        inputs = {
            position: self.value_of[id(leaf)]
            for position, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and id(leaf) in self.value_of
        }
        if inputs and (decomposition := DECOMPOSITIONS.get(str(func))):
            out = decomposition(self, *args, **kwargs)
            if out is not None:
                return out
        if func._schema.is_mutable and inputs:
            return self._run_in_place(func, leaves, spec, inputs)
        out = func(*args, **kwargs)
        if inputs:
            self._add_node(func, leaves, spec, inputs, out)
        return out

    def _run_in_place(
        self, func: Any, leaves: list[Any], spec: TreeSpec, inputs: dict[int, int]
    ) -> Any:
        """Execute an in-place operation and record its counterpart that returns a new tensor.

        Other views of the changed tensor keep their old value in the trace. ``evidence.py``
        therefore compares the gradient of every trace with autograd's before it is used.
        """
        packet = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::")[:-1], None)
        counterpart = getattr(packet, func._overloadname, None)
        args, kwargs = tree_unflatten(leaves, spec)
        if counterpart is None:
            self.trace.replayable = False
            return func(*args, **kwargs)
        new = counterpart(*args, **kwargs)
        self._add_node(counterpart, leaves, spec, inputs, new)
        out = func(*args, **kwargs)
        self.value_of[id(out)] = self.value_of[id(new)]
        self._kept_alive.append(out)
        return out

    def _add_node(
        self, func: Any, leaves: list[Any], spec: TreeSpec, inputs: dict[int, int], out: Any
    ) -> None:
        outs = out if isinstance(out, tuple | list) else (out,)
        floating = [isinstance(o, Tensor) and o.is_floating_point() for o in outs]
        if not any(floating):
            return
        key = _call_key(func, leaves, inputs)
        if key in self._outputs_of_call:  # the same call again, as in p(w) written twice: one node
            for tensor, value in zip(outs, self._outputs_of_call[key], strict=True):
                if value is not None:
                    self._kept_alive.append(tensor)
                    self.value_of[id(tensor)] = value
            return
        self._kept_alive += [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        outputs = tuple(
            self._add_value(o) if f else None for o, f in zip(outs, floating, strict=True)
        )
        self._outputs_of_call[key] = outputs
        recorded = tuple(
            self.trace.values[inputs[position]] if position in inputs else _detached(leaf)
            for position, leaf in enumerate(leaves)
        )
        index = len(self.trace.nodes)
        location = _calling_line()
        self.trace.nodes.append(Node(index, func, recorded, spec, inputs, outputs, location))

    def _add_value(self, tensor: Tensor) -> int:
        self._kept_alive.append(tensor)
        self.value_of[id(tensor)] = len(self.trace.values)
        self.trace.values.append(tensor.detach().clone())  # a later in-place edit must not show
        return len(self.trace.values) - 1


def _call_key(func: Any, leaves: list[Any], inputs: dict[int, int]) -> object:
    """Equal for two calls of one operation on the same values and constants."""
    parts = [
        ("value", inputs[position])
        if position in inputs
        else ("constant", leaf.data_ptr(), tuple(leaf.shape), leaf.stride(), leaf._version)
        if isinstance(leaf, Tensor)
        else ("number", repr(leaf))
        for position, leaf in enumerate(leaves)
    ]
    return str(func), tuple(parts)


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _calling_line() -> str:
    """The innermost line outside torch and this package, as "file.py:12"."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARY_FOLDERS) and not name.startswith("<frozen"):
            return f"{Path(name).name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "?"
