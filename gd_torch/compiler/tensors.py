"""Storage and memory layout of tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.strides import zero_single_strides


def storage_address(tensor: Tensor) -> int:
    """The address of a tensor's storage.

    Raises:
        Unsupported: the tensor is sparse or not on the CPU.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise Unsupported(f"it uses a tensor of layout {tensor.layout} on {tensor.device}")
    return int(tensor.untyped_storage()._cdata)


def storage_entries(tensor: Tensor) -> Tensor:
    """All entries of a tensor's storage in order, shape (entries,)."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.as_strided((size,), (1,), 0)


def strides_of(tensor: Tensor) -> tuple[int, ...]:
    """A tensor's strides; 0 for axes of length 1."""
    return zero_single_strides(tensor.shape, tensor.stride())


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor's entries are contiguous in some order of axes, without overlaps."""
    step = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != step:
            return False
        step *= size
    return True


def fills_storage(tensor: Tensor) -> bool:
    """Whether a tensor is dense and contains every entry of its storage."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.numel() == size and tensor.storage_offset() == 0 and is_dense(tensor)


def axes_in_memory(tensor: Tensor) -> list[int]:
    """A tensor's axes by descending stride."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda d: -strides[d])


def tensors_in(thing: object) -> Iterator[Tensor]:
    """All tensors within nested sequences and dicts."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from tensors_in(item)
    elif isinstance(thing, dict):
        yield from tensors_in(tuple(thing.values()))


def with_replaced(thing: Any, old: Tensor, new: Tensor) -> Any:
    """A copy of nested sequences and dicts with one tensor replaced."""
    if thing is old:
        return new
    if isinstance(thing, list | tuple):
        return type(thing)([with_replaced(item, old, new) for item in thing])
    if isinstance(thing, dict):
        return {key: with_replaced(item, old, new) for key, item in thing.items()}
    return thing
