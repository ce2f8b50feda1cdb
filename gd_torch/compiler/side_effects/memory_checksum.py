"""Checksums of tensors, arrays and buffers, and states of random number generators."""

from __future__ import annotations

import ctypes
import random
import sys
import weakref
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

MAX_WHOLE_TENSOR_BYTES = 8 << 20
"""Tensors up to this size are read completely. Of larger ones samples are read, as torch counts
in-layout operations; only writes through NumPy or ``.data`` can then be missed."""

MAX_WHOLE_ARRAY_BYTES = 64 << 20
"""NumPy arrays up to this size are read completely, as writes are not counted. Takes 16 ms."""

MAX_WHOLE_DEVICE_BYTES = 1 << 20
"""Tensors on other devices up to this size are copied and read completely."""

SAMPLE_BLOCKS, SAMPLE_BLOCK_BYTES = 64, 4096
"""A sample: this many blocks of this size, evenly spaced, including the first and the last."""


class Identity:
    """Compares objects by identity, with a weak reference if possible."""

    __slots__ = ("_reference",)

    def __init__(self, thing: object) -> None:
        try:
            self._reference: object = weakref.ref(thing)  # the same reference object for every call
        except TypeError:
            self._reference = thing

    def __eq__(self, other: object) -> bool:
        return type(other) is Identity and self._reference is other._reference

    def __hash__(self) -> int:
        return id(self._reference)


def memory_checksum(address: int, size: int, max_whole_bytes: int) -> int:
    """The CRC-32 of ``size`` bytes at an address; of a sample if ``size`` > ``max_whole_bytes``."""
    if size == 0:
        return 0
    if size <= max(max_whole_bytes, SAMPLE_BLOCKS * SAMPLE_BLOCK_BYTES):
        return zlib.crc32((ctypes.c_char * size).from_address(address))
    checksum = 0
    for k in range(SAMPLE_BLOCKS):
        offset = (size - SAMPLE_BLOCK_BYTES) * k // (SAMPLE_BLOCKS - 1)
        block = (ctypes.c_char * SAMPLE_BLOCK_BYTES).from_address(address + offset)
        checksum = zlib.crc32(block, checksum)
    return checksum


def tensor_checksum(tensor: Tensor, max_whole_bytes: int) -> int | None:
    """The checksum of a tensor's entries in order; None on the meta device."""
    size = tensor.numel() * tensor.element_size()
    if tensor.device.type == "meta":
        return None
    if tensor.device.type != "cpu":
        tensor = _on_cpu(tensor)
        size = tensor.numel() * tensor.element_size()
    if not tensor.is_contiguous():
        tensor = tensor.detach()[sample_index(tensor.shape, size, max_whole_bytes)].contiguous()
        size = tensor.numel() * tensor.element_size()
    return memory_checksum(tensor.data_ptr(), size, max_whole_bytes)


def _on_cpu(tensor: Tensor) -> Tensor:
    """Copy the entries, or a sample of them, to the CPU."""
    flat = tensor.detach().flatten()
    step = -(-flat.numel() * flat.element_size() // MAX_WHOLE_DEVICE_BYTES)
    return flat[:: max(step, 1)].cpu()


def sample_index(shape: Sequence[int], size: int, max_whole_bytes: int) -> tuple[slice, ...]:
    """An index of evenly spaced entries in all dimensions; of all entries of a small tensor.

    >>> sample_index((10, 10), 800, 1000)
    (slice(None, None, 1), slice(None, None, 1))
    >>> sample_index((1, 10_000_000), 80_000_000, 1000)
    (slice(None, None, 1), slice(None, None, 55249))
    """
    sample = SAMPLE_BLOCKS * SAMPLE_BLOCK_BYTES // 8
    per_dimension = max(
        size if size <= max_whole_bytes else int(sample ** (1 / max(len(shape), 1))), 1
    )
    return tuple(slice(None, None, max(-(-n // per_dimension), 1)) for n in shape)


def tensor_token(tensor: Tensor, max_whole_bytes: int) -> tuple[object, ...]:
    """The token of a tensor: identity, kind, count of in-layout operations, checksum."""
    kind = (tuple(tensor.shape), tensor.dtype, tensor.device, tensor.requires_grad)
    try:
        version = None if tensor.is_inference() else tensor._version
        if tensor.layout is not torch.strided:
            return ("tensor", Identity(tensor), kind, version, None)
        layout = (tensor.data_ptr(), tensor.stride(), tensor.is_conj(), tensor.is_neg())
        return (
            "tensor",
            Identity(tensor),
            kind,
            version,
            layout,
            tensor_checksum(tensor, max_whole_bytes),
        )
    except (RuntimeError, NotImplementedError):  # a wrapper of torch.func, a fake tensor
        return ("tensor", Identity(tensor), kind, None, None)


def array_token(array: Any, identity: Identity, max_whole_bytes: int) -> tuple[object, ...]:
    """The token of a NumPy array, not of a subclass, without Python objects.

    NumPy does not count writes, so the token contains the address and the checksum.
    """
    kind = (array.shape, array.dtype.str, array.strides)
    address = array.__array_interface__["data"][0]
    contiguous = array
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        contiguous = array[sample_index(array.shape, array.nbytes, max_whole_bytes)].copy()
    start = contiguous.__array_interface__["data"][0]
    checksum = memory_checksum(start, contiguous.nbytes, max_whole_bytes)
    return ("array", identity, kind, address, checksum)


def buffer_token(thing: Any) -> tuple[object, ...]:
    """The token of a bytearray, an array.array or another buffer."""
    with memoryview(thing) as view:
        if not view.c_contiguous:
            return ("buffer", Identity(thing))
        return ("buffer", type(thing).__name__, view.nbytes, zlib.crc32(view))


def generator_token(generator: torch.Generator) -> tuple[object, ...]:
    """The token of a torch.Generator."""
    state = generator.get_state()
    return ("generator", ctypes.string_at(state.data_ptr(), state.numel()))


def random_tokens() -> list[tuple[str, tuple[object, ...]]]:
    """The global random states of Python, torch and, if it is imported, NumPy, with names."""
    states: list[tuple[str, tuple[object, ...]]] = [
        ("Python's random state", ("generator", hash(random.getstate()))),
        ("torch's random state", generator_token(torch.default_generator)),
    ]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for k, state in enumerate(torch.cuda.get_rng_state_all()):
            content = ("generator", bytes(state.tolist()))
            states.append((f"the random state of CUDA device {k}", content))
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is None or not hasattr(numpy_random, "get_state"):
        states.append(("numpy's random state", ("generator", None)))  # imported at first use
    else:
        _, key, *rest = numpy_random.get_state()
        states.append(("numpy's random state", ("generator", key.tobytes(), *rest)))
    return states
