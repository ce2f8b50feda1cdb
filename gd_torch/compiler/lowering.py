"""From recorded operations to statements: storages hold nodes, rules say what operations do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import Graph, Node, View, contiguous, dense
from gd_torch.compiler.recording import Contents, Operation, Recording, memory, named, tensors

Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}
"""What each aten overload does, as views: rule(lowering, result, *arguments, **options)."""

Operand = Tensor | View | float

aten = torch.ops.aten


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Register a rule for overloads."""

    def register(function: Rule) -> Rule:
        for overload in functions:
            RULES[overload] = function
        return function

    return register


class Lowering:
    """The statements of a recording.

    Attributes:
        graph: where they are collected.
        weights: one view per weight. value: of the objective. partials: one view per weight.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.dtype = recording.leaves[0].dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise Unsupported(f"its weights are {self.dtype}")
        self.graph = Graph(self.dtype)
        self.contents: dict[int, View] = {}  # by storage: a node or number of its entries
        self._constants: dict[tuple[object, ...], View] = {}
        self._storages: dict[int, Node] = {}
        base = 0
        for leaf in recording.leaves:
            if leaf.dtype != self.dtype:
                raise Unsupported("its weights are of different dtypes")
            node = Node("weight", dense(leaf.shape), base=base)
            self.contents[memory(leaf)] = self.graph.whole(node, (leaf.numel(),))
            base += leaf.numel()
        for operation in recording.operations:
            if isinstance(operation, Contents):
                self._adopt(operation)
            else:
                self._lower(operation)
        self.value = self.view(recording.value)
        self.partials = [
            self.graph.number(0.0, leaf.shape) if partial is None else self.view(partial)
            for leaf, partial in zip(recording.leaves, recording.partials, strict=True)
        ]

    # ------------------------------------------------ operations

    def _lower(self, operation: Operation) -> None:
        function = operation.function
        if torch.Tag.inplace_view in function.tags:
            return
        if function._schema.is_mutable:
            self._write(operation)
            return
        results = list(tensors(operation.result))
        if all(memory(t) in self.contents for t in results):
            return  # a view of memory whose contents are known
        handler = RULES.get(function)
        if handler is None:
            raise Unsupported(f"{named(function)} has no compiled form")
        views = handler(self, operation.result, *operation.arguments, **operation.options)
        if not isinstance(operation.result, tuple | list):
            views, results = (views,), [operation.result]
        else:
            results = list(operation.result)
        for tensor, view in zip(results, views, strict=True):
            if view is not None:
                self.assign(tensor, view)

    def _write(self, operation: Operation) -> None:
        """An in-place operation: its functional form, written to where its first argument lies."""
        target, *rest = operation.arguments
        name = operation.function._schema.name.removeprefix("aten::")
        overload = operation.function._overloadname
        if name == "copy_" or name == "fill_":
            value = self.number(rest[0])
        elif name == "zero_":
            value = self.graph.number(0.0)
        else:
            functional = getattr(getattr(aten, name.removesuffix("_")), overload)
            value = RULES[functional](self, target, target, *rest, **operation.options)
        if target.dtype == torch.bool and not value.is_mask:
            value = value.apply("ne", 0.0)
        self.write(target, value.expand(target.shape))

    def _adopt(self, contents: Contents) -> None:
        """Memory that so far held constants."""
        self.contents[memory(contents.tensor)] = self._constant(contents.values)

    # ------------------------------------------------ memory

    def view(self, operand: Operand) -> View:
        """What an argument of an operation holds; masks stay masks."""
        if isinstance(operand, View):
            return operand
        if not isinstance(operand, Tensor):
            return self.graph.number(float(operand))
        known = self.contents.get(memory(operand))
        if known is None:
            return self._constant(operand)
        shape, strides = tuple(operand.shape), tuple(operand.stride())
        if known.node is None:
            return replace(known, shape=shape, strides=(0,) * len(shape))
        strides = tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))
        return View(self.graph, known.node, operand.storage_offset(), shape, strides)

    def number(self, operand: Operand) -> View:
        """The same, with truth values as 1 and 0."""
        view = self.view(operand)
        return view.where(1.0, 0.0) if view.is_mask else view

    def mask(self, operand: Operand) -> View:
        """The same, with numbers as whether they differ from 0."""
        view = self.view(operand)
        return view if view.is_mask else view.apply("ne", 0.0)

    def assign(self, tensor: Tensor, view: View) -> None:
        """The result of an operation, in the memory of ``tensor``."""
        if tuple(tensor.shape) != view.shape:
            raise Unsupported(f"a rule gave shape {view.shape} for {tuple(tensor.shape)}")
        if tensor.is_floating_point() and tensor.dtype != self.dtype:
            raise Unsupported(f"it computes in {tensor.dtype} with weights of {self.dtype}")
        if view.node is None:
            self.contents[memory(tensor)] = view
            return
        strides = tuple(
            0 if n == 1 else s for n, s in zip(tensor.shape, tensor.stride(), strict=True)
        )
        whole = view.node.numel == tensor.numel() and view.offset == 0
        if not (whole and view.strides == strides and tensor.storage_offset() == 0
                and view.node.kind != "constant"):  # fmt: skip
            order = sorted(range(tensor.dim()), key=lambda d: -tensor.stride(d))
            view = self.graph.copy(view.permute(order))
            if contiguous(view.shape) != tuple(strides[d] for d in order):
                raise Unsupported("a result does not fill its memory")
        assert view.node is not None
        self.contents[memory(tensor)] = self.graph.whole(view.node, (view.node.numel,))

    def write(self, target: Tensor, value: View) -> None:
        """Write into part of a storage whose contents are known."""
        known = self.contents[memory(target)]
        size = target.untyped_storage().nbytes() // target.element_size()
        if target.numel() == size and target.storage_offset() == 0 and is_dense(target):
            self.assign(target, value)
            return
        sizes = known.node.sizes if known.node is not None else self._sizes(target, size)
        blank = self.graph.blank(sizes)
        before = self.graph.number(known.value) if known.node is None else self.graph.whole(
            known.node, known.node.sizes
        )  # fmt: skip
        region = View(
            self.graph, blank.node, target.storage_offset(), tuple(target.shape),
            tuple(0 if n == 1 else s for n, s in zip(target.shape, target.stride(), strict=True)),
        )  # fmt: skip
        mask = target.dtype == torch.bool
        node = self.graph.assemble(sizes, [(blank, before), (region, value)], mask=mask).node
        assert node is not None
        self.contents[memory(target)] = self.graph.whole(node, (node.numel,))

    def values(self, tensor: Tensor) -> Tensor:
        """The entries of a tensor that does not depend on the weights, as when it was read.

        Raises:
            Unsupported: it depends on them.
        """
        if memory(tensor) in self.contents:
            raise Unsupported("it indexes with values that depend on a weight")
        return self.recording.constants.get(id(tensor), tensor).detach()

    def _sizes(self, target: Tensor, size: int) -> tuple[int, ...]:
        """The axes of a storage that holds one number so far, from the tensor it was made for."""
        base = target._base if target._base is not None else target
        fits = base.numel() == size and base.storage_offset() == 0 and is_dense(base)
        if not fits:
            return (size,)
        order = sorted(range(base.dim()), key=lambda d: -base.stride(d))
        return dense([base.shape[d] for d in order])

    def _constant(self, tensor: Tensor) -> View:
        """A tensor that does not depend on the weights, with the values it had when it was read."""
        kept = self.recording.constants.get(id(tensor))
        tensor = (tensor if kept is None else kept).detach()
        key = (memory(tensor), tensor.storage_offset(), tensor.shape, tensor.stride(), id(kept))
        if key not in self._constants:
            self._constants[key] = self._constant_view(tensor)
        return self._constants[key]

    def _constant_view(self, tensor: Tensor) -> View:
        if tensor.is_complex() or tensor.is_quantized:
            raise Unsupported(f"it uses {tensor.dtype}")
        if tensor.numel() == 0:
            raise Unsupported("a tensor without entries has no compiled form")
        shape, strides = tuple(tensor.shape), tuple(tensor.stride())
        strides = tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))
        mask = tensor.dtype == torch.bool
        first = tensor.flatten()[0]
        if not mask and bool((tensor == first).all()):
            return self.graph.number(float(first), shape)
        own = memory(tensor)
        if own not in self._storages:
            size = tensor.untyped_storage().nbytes() // tensor.element_size()
            flat = tensor.as_strided((size,), (1,), 0)
            self._storages[own] = Node("constant", (size,), mask, tensor=flat)
        return View(self.graph, self._storages[own], tensor.storage_offset(), shape, strides)


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor's entries lie without gaps or overlaps."""
    step = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != step:
            return False
        step *= size
    return True


def axes(dims: int | Sequence[int] | None, count: int) -> list[int]:
    """The axes that a reduction names; all of them where it names none."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(count))
    return [d % count for d in ([dims] if isinstance(dims, int) else dims)] if count else []


def count_of(shape: Sequence[int], dims: Sequence[int]) -> int:
    """How many entries a reduction over these axes reduces to one."""
    return math.prod(shape[d] for d in dims)
