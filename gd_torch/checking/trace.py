"""An objective's torch operations, recorded once with the values they produced."""

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

from gd_torch.checking.decompositions import DECOMPOSED
from gd_torch.typing import Objective, Weights

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True)
class Node:
    """One recorded operation.

    Attributes:
        index: its place in the order of execution.
        op: the aten operator.
        leaves: its arguments, flattened by ``spec``.
        inputs: place in ``leaves`` -> value, for the arguments that depend on a weight.
        outputs: the values it produced, None for an output that is no tensor.
        where: the caller's "file.py:12".
    """

    index: int
    op: Any
    leaves: tuple[Any, ...]
    spec: TreeSpec
    inputs: dict[int, int]
    outputs: tuple[int | None, ...]
    where: str

    @property
    def name(self) -> str:
        """The operation's plain name: "mm", "sigmoid"."""
        return str(self.op._schema.name).removeprefix("aten::").strip("_")

    @property
    def pointwise(self) -> bool:
        """Whether every entry of the one output depends on one entry of each argument."""
        return torch.Tag.pointwise in self.op.tags and len(self.outputs) == 1

    def run(self, replaced: dict[int, Tensor]) -> list[Any]:
        """Execute the operation again with some arguments replaced."""
        leaves = [replaced.get(place, leaf) for place, leaf in enumerate(self.leaves)]
        args, kwargs = tree_unflatten(leaves, self.spec)
        out = self.op(*args, **kwargs)
        return list(out) if isinstance(out, tuple | list) else [out]


@dataclass
class Trace:
    """The values that depend on a weight (the weights come first) and the nodes between them."""

    weights: int
    values: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    result: int = -1
    sound: bool = True

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for two points at which the same operations ran on the same shapes."""
        shapes = tuple(tuple(v.shape) for v in self.values)
        return shapes, tuple((n.name, tuple(n.inputs.items())) for n in self.nodes), self.result


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes every operation on a value that depends on a weight into a trace."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace(len(weights))
        self.known: dict[int, int] = {}
        self.made: dict[object, tuple[int | None, ...]] = {}
        self.alive: list[Tensor] = []  # an id is only good while its tensor lives
        for w in weights:
            self.add(w)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, which takes a second

    def add(self, tensor: Tensor) -> int:
        self.alive.append(tensor)
        self.known[id(tensor)] = len(self.trace.values)
        self.trace.values.append(tensor.detach().clone())  # an in-place edit may follow
        return len(self.trace.values) - 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        kwargs = kwargs or {}
        leaves, spec = tree_flatten((args, kwargs))
        inputs = {
            place: self.known[id(leaf)]
            for place, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and id(leaf) in self.known
        }
        if inputs and (rule := DECOMPOSED.get(str(func))):
            out = rule(self, *args, **kwargs)
            if out is not None:
                return out
        if func._schema.is_mutable and inputs:
            return self.edit(func, leaves, spec, inputs)
        out = func(*args, **kwargs)
        if inputs:
            self.record(func, leaves, spec, inputs, out)
        return out

    def edit(self, func: Any, leaves: list[Any], spec: TreeSpec, inputs: dict[int, int]) -> Any:
        """An in-place operation: recorded as its counterpart that makes a new tensor.

        What else shares the tensor's memory is not followed; whoever replays the trace compares
        its gradient with autograd's.
        """
        packet = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::")[:-1], None)
        counterpart = getattr(packet, func._overloadname, None)
        args, kwargs = tree_unflatten(leaves, spec)
        if counterpart is None:
            self.trace.sound = False
            return func(*args, **kwargs)
        self.record(counterpart, leaves, spec, inputs, made := counterpart(*args, **kwargs))
        out = func(*args, **kwargs)
        self.known[id(out)] = self.known[id(made)]
        self.alive.append(out)
        return out

    def record(
        self, func: Any, leaves: list[Any], spec: TreeSpec, inputs: dict[int, int], out: Any
    ) -> None:
        outs = out if isinstance(out, tuple | list) else (out,)
        floats = [isinstance(o, Tensor) and o.is_floating_point() for o in outs]
        if any(floats):
            key = _key(func, leaves, inputs)
            if key in self.made:  # the same step again, as in p(w) written twice: one node
                for o, v in zip(outs, self.made[key], strict=True):
                    if v is not None:
                        self.alive.append(o)
                        self.known[id(o)] = v
                return
            self.alive += [x for x in leaves if isinstance(x, Tensor)]
            made = tuple(self.add(o) if f else None for o, f in zip(outs, floats, strict=True))
            self.made[key] = made
            kept = tuple(
                self.trace.values[inputs[p]] if p in inputs else _kept(x)
                for p, x in enumerate(leaves)
            )
            index = len(self.trace.nodes)
            self.trace.nodes.append(Node(index, func, kept, spec, inputs, made, _caller()))


def _key(func: Any, leaves: list[Any], inputs: dict[int, int]) -> object:
    """What makes two steps the same: operation, values, constants."""
    parts = [
        ("value", inputs[p])
        if p in inputs
        else ("constant", x.data_ptr(), tuple(x.shape), x.stride(), x._version)
        if isinstance(x, Tensor)
        else ("number", repr(x))
        for p, x in enumerate(leaves)
    ]
    return str(func), tuple(parts)


def _kept(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _caller() -> str:
    """The innermost frame that is neither torch's nor this package's, as "file.py:12"."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_OURS) and not name.startswith("<frozen"):
            return f"{Path(name).name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "?"


def record(objective: Objective, weights: Sequence[Tensor]) -> Trace | None:
    """The objective's trace at one point, or None where it cannot be replayed.

    An in-place edit is recorded as the operation that makes a new tensor instead, if there is one.
    """
    leaves = tuple(w.detach().clone() for w in weights)
    recorder = _Recorder(leaves)
    with torch.no_grad(), recorder:
        value = objective(*leaves)
    trace = recorder.trace
    if id(value) not in recorder.known or not trace.sound:
        return None
    trace.result = recorder.known[id(value)]
    return trace
