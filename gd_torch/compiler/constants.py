"""Represent tensors that do not depend on the weights as views of constant nodes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import Graph
from gd_torch.compiler.tensors import storage_address, storage_entries, strides_of
from gd_torch.compiler.views import Node, View


class Constants:
    """The constants of a trace; one node per storage.

    Args:
        graph: the graph of the views.
        overwritten: by the tensor's id, a copy of its values when it was read, for tensors that
            are overwritten later in the evaluation.
    """

    def __init__(self, graph: Graph, overwritten: Mapping[int, Tensor]) -> None:
        self.graph, self.overwritten = graph, overwritten
        self._views: dict[tuple[object, ...], View] = {}
        self._nodes: dict[tuple[int, torch.dtype], Node] = {}

    def values(self, tensor: Tensor) -> Tensor:
        """The entries that a tensor had when it was read."""
        return self.overwritten.get(id(tensor), tensor).detach()

    def view(self, tensor: Tensor) -> View:
        """The entries that a tensor had when it was read, as a view."""
        saved = self.overwritten.get(id(tensor))
        values = self.values(tensor)
        key = (
            storage_address(values),
            values.dtype,
            values.storage_offset(),
            values.shape,
            values.stride(),
            id(saved),
        )
        if key not in self._views:
            self._views[key] = self._new_view(values)
        return self._views[key]

    def _new_view(self, tensor: Tensor) -> View:
        """A view of the storage's node, or a number if all entries are equal."""
        if tensor.is_complex() or tensor.is_quantized:
            raise Unsupported(f"it uses {tensor.dtype}")
        if tensor.numel() == 0:
            return self.graph.number(0.0, tuple(tensor.shape))
        mask, shape = tensor.dtype == torch.bool, tuple(tensor.shape)
        first = tensor.flatten()[0]
        if not mask and bool((tensor == first).all()):
            return self.graph.number(float(first), shape)
        own = storage_address(tensor), tensor.dtype
        if own not in self._nodes:
            flat = storage_entries(tensor)
            self._nodes[own] = Node("constant", (flat.numel(),), mask, tensor=flat)
        offset = int(tensor.storage_offset())
        return View(self.graph, self._nodes[own], offset, shape, strides_of(tensor))
