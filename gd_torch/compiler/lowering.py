"""Translate traced operations to statements by rules; every torch storage maps to a node."""

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
    """The statements of a trace.

    Attributes:
        graph: the graph of statements.
        value: view of the objective's value.
        partials: one view per weight.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.dtype = trace.leaves[0].dtype
        if self.dtype not in (torch.float32, torch.float64):
            raise Unsupported(f"its weights are {self.dtype}")
        self.graph = Graph(self.dtype)
        self.contents: dict[int, View] = {}  # by storage address: all its entries
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
        """Add one node per weight; the weights are concatenated."""
        base = 0
        for leaf in self.trace.leaves:
            if leaf.dtype != self.dtype:
                raise Unsupported("its weights are of different dtypes")
            node = Node("weight", dense(leaf.shape), base=base)
            self.contents[storage_address(leaf)] = self.graph.all_entries(node, (leaf.numel(),))
            base += leaf.numel()

    # ------------------------------------------------ operations

    def _lower(self, operation: Operation) -> None:
        """Add the statements of one operation, by its rule."""
        function = operation.function
        if torch.Tag.inplace_view in function.tags:
            return
        if function._schema.is_mutable:
            self._write(operation)
            return
        if all(storage_address(tensor) in self.contents for tensor in tensors_in(operation.result)):
            return  # a view of a known storage
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
        """Add an in-place operation: its functional form, written to its first argument."""
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
        """Add a storage that contains constants so far."""
        self.contents[storage_address(contents.tensor)] = self.constants.view(contents.values)

    # ------------------------------------------------ memory

    def view(self, operand: Operand) -> View:
        """The view of an argument of an operation; masks remain masks."""
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
        """The view of an argument, with masks converted to 1 and 0."""
        view = self.view(operand)
        return view.where(1.0, 0.0) if view.is_mask else view

    def mask(self, operand: Operand) -> View:
        """The view of an argument as a mask: where it differs from 0."""
        view = self.view(operand)
        return view if view.is_mask else view.apply("ne", 0.0)

    def assign(self, tensor: Tensor, view: View) -> None:
        """Map the storage of a result ``tensor`` to the node of ``view``."""
        if tuple(tensor.shape) != view.shape:
            raise Unsupported(f"a rule returned shape {view.shape} for {tuple(tensor.shape)}")
        if tensor.is_floating_point() and tensor.dtype != self.dtype:
            raise Unsupported(f"it computes in {tensor.dtype} with weights of {self.dtype}")
        if view.node is None:
            self.contents[storage_address(tensor)] = view
            return
        if not self._has_layout(tensor, view):
            order = axes_in_memory(tensor)
            view = self.graph.copy(view.permute(order))
            strides = strides_of(tensor)
            if contiguous(view.shape) != tuple(strides[d] for d in order):
                raise Unsupported("a result does not fill its memory")
        assert view.node is not None
        self.contents[storage_address(tensor)] = self.graph.all_entries(
            view.node, (view.node.numel,)
        )

    def _has_layout(self, tensor: Tensor, view: View) -> bool:
        """Whether the storage of ``tensor`` has the layout of the node of ``view``."""
        assert view.node is not None
        complete = view.node.numel == tensor.numel() and view.offset == 0
        same = view.strides == strides_of(tensor) and tensor.storage_offset() == 0
        return complete and same and view.node.kind != "constant"

    def write(self, target: Tensor, value: View) -> None:
        """Write ``value`` to the entries of ``target``, a view of a known storage."""
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
        """The axes of a storage that contains a single number so far, from its base tensor."""
        base = target._base if target._base is not None else target
        if not fills_storage(base):
            return (storage_entries(target.detach()).numel(),)
        return dense([base.shape[d] for d in axes_in_memory(base)])

    def values(self, tensor: Tensor) -> Tensor:
        """The values that a constant tensor had when it was read.

        Raises:
            Unsupported: it depends on the weights.
        """
        if storage_address(tensor) in self.contents:
            raise Unsupported("it indexes with values that depend on a weight")
        return self.constants.values(tensor)
