"""From recorded operations to statements: storages hold nodes, rules say what operations do."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gd_torch.compiler.axis_mapping import axis_mapping
from gd_torch.compiler.constants import Constants
from gd_torch.compiler.error_messages import operation_name
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import Graph
from gd_torch.compiler.registry import RULES, Operand, aten
from gd_torch.compiler.strides import contiguous, dense
from gd_torch.compiler.tensors import (
    axes_in_memory,
    fills_storage,
    storage_address,
    storage_entries,
    strides_of,
    tensors_in,
)
from gd_torch.compiler.tracing import InitialContents, Operation, Trace
from gd_torch.compiler.views import Node, View


class Lowering:
    """The statements of a recording.

    Attributes:
        graph: where they are collected.
        weights: one view per weight. value: of the objective. partials: one view per weight.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.dtype = trace.leaves[0].dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise Unsupported(f"its weights are {self.dtype}")
        self.graph = Graph(self.dtype)
        self.contents: dict[int, View] = {}  # by storage: a node or number of its entries
        self.constants = Constants(self.graph, trace.constants)
        self._add_weights()
        for operation in trace.operations:
            if isinstance(operation, InitialContents):
                self._add_contents(operation)
            else:
                self._lower(operation)
        self.value = self.view(trace.value)
        self.partials = [
            self.graph.number(0.0, leaf.shape) if partial is None else self.view(partial)
            for leaf, partial in zip(trace.leaves, trace.partials, strict=True)
        ]
        for view in (self.value, *self.partials):
            if (
                view.node is not None
                and view.node.kind == "computed"
                and axis_mapping(view) is None
            ):
                view.node.linear = True

    def _add_weights(self) -> None:
        """One node per weight; together they lie one after another."""
        base = 0
        for leaf in self.trace.leaves:
            if leaf.dtype != self.dtype:
                raise Unsupported("its weights are of different dtypes")
            node = Node("weight", dense(leaf.shape), base=base)
            self.contents[storage_address(leaf)] = self.graph.all_entries(node, (leaf.numel(),))
            base += leaf.numel()

    # ------------------------------------------------ operations

    def _lower(self, operation: Operation) -> None:
        """The statements of one operation, by its rule."""
        function = operation.function
        if torch.Tag.inplace_view in function.tags:
            return
        if function._schema.is_mutable:
            self._write(operation)
            return
        if all(storage_address(tensor) in self.contents for tensor in tensors_in(operation.result)):
            return  # a view of memory whose contents are known
        results = operation.result
        if not isinstance(results, tuple | list):
            results = (results,)
        if all(isinstance(tensor, Tensor) and tensor.numel() == 0 for tensor in results):
            for tensor in results:
                self.contents[storage_address(tensor)] = self.graph.number(0.0)
            return
        handler = RULES.get(function)
        if handler is None:
            raise Unsupported(f"{operation_name(function)} has no compiled form")
        views = handler(self, operation.result, *operation.arguments, **operation.options)
        if not isinstance(views, tuple | list):
            views = (views,)
        for tensor, view in zip(results, views, strict=True):
            if view is not None:
                self.assign(tensor, view)

    def _write(self, operation: Operation) -> None:
        """An in-place operation: its functional form, written to where its first argument lies."""
        target, *rest = operation.arguments
        name = operation.function._schema.name.removeprefix("aten::")
        overload = operation.function._overloadname
        if name in ("copy_", "fill_"):
            value = self.number(rest[0])
        elif name == "zero_":
            value = self.graph.number(0.0)
        else:
            functional = getattr(getattr(aten, name.removesuffix("_")), overload)
            value = RULES[functional](self, target, target, *rest, **operation.options)
        if target.dtype == torch.bool and not value.is_mask:
            value = value.apply("ne", 0.0)
        self.write(target, value.expand(target.shape))

    def _add_contents(self, contents: InitialContents) -> None:
        """Memory that so far held constants."""
        self.contents[storage_address(contents.tensor)] = self.constants.view(contents.values)

    # ------------------------------------------------ memory

    def view(self, operand: Operand) -> View:
        """What an argument of an operation holds; masks stay masks."""
        if isinstance(operand, View):
            return operand
        if not isinstance(operand, Tensor):
            if isinstance(operand, complex):
                raise Unsupported("it uses complex numbers")
            return self.graph.number(float(operand))
        known, shape = self.contents.get(storage_address(operand)), tuple(operand.shape)
        if operand.numel() == 0:
            return self.graph.number(0.0, shape)
        if known is None:
            return self.constants.view(operand)
        if known.node is None:
            return replace(known, shape=shape, strides=(0,) * len(shape))
        offset = int(operand.storage_offset())
        return View(self.graph, known.node, offset, shape, strides_of(operand))

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
            self.contents[storage_address(tensor)] = view
            return
        if not self._lies_as(tensor, view):
            order = axes_in_memory(tensor)
            view = self.graph.copy(view.permute(order))
            strides = strides_of(tensor)
            if contiguous(view.shape) != tuple(strides[d] for d in order):
                raise Unsupported("a result does not fill its memory")
        assert view.node is not None
        self.contents[storage_address(tensor)] = self.graph.all_entries(
            view.node, (view.node.numel,)
        )

    def _lies_as(self, tensor: Tensor, view: View) -> bool:
        """Whether the storage of ``tensor`` can hold the node of ``view`` itself."""
        assert view.node is not None
        whole = view.node.numel == tensor.numel() and view.offset == 0
        same = view.strides == strides_of(tensor) and tensor.storage_offset() == 0
        return whole and same and view.node.kind != "constant"

    def write(self, target: Tensor, value: View) -> None:
        """Write into part of a storage whose contents are known."""
        if target.numel() == 0:
            return
        if fills_storage(target):
            self.assign(target, value)
            return
        known = self.contents[storage_address(target)]
        sizes = self._sizes(target) if known.node is None else known.node.sizes
        placeholder = self.graph.placeholder(sizes)
        if known.node is None:
            before = self.graph.number(known.value)
        else:
            before = self.graph.all_entries(known.node, known.node.sizes)
        offset = int(target.storage_offset())
        region = View(self.graph, placeholder.node, offset, tuple(target.shape), strides_of(target))
        mask = target.dtype == torch.bool
        node = self.graph.write_regions(
            sizes, [(placeholder, before), (region, value)], mask=mask
        ).node
        assert node is not None
        self.contents[storage_address(target)] = self.graph.all_entries(node, (node.numel,))

    def _sizes(self, target: Tensor) -> tuple[int, ...]:
        """The axes of a storage that holds one number so far, from the tensor it was made for."""
        base = target._base if target._base is not None else target
        if not fills_storage(base):
            return (storage_entries(target.detach()).numel(),)
        return dense([base.shape[d] for d in axes_in_memory(base)])

    def values(self, tensor: Tensor) -> Tensor:
        """The entries of a tensor that does not depend on the weights, as when it was read.

        Raises:
            Unsupported: it depends on them.
        """
        if storage_address(tensor) in self.contents:
            raise Unsupported("it indexes with values that depend on a weight")
        return self.constants.values(tensor)
