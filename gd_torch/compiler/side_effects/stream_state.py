"""Fingerprints of open files, buffers and random number generators."""

from __future__ import annotations

import ctypes
import io
import random
import sys
import zlib
from typing import Any

import torch

from gd_torch.compiler.side_effects import hidden_names
from gd_torch.compiler.side_effects.memory_checksum import Identity, buffer_token, generator_token
from gd_torch.compiler.side_effects.state_walk import Token, Walk


def file_state(walk: Walk, file: Any, _index: int) -> Token:
    """An open file: its position; for a buffer in memory also its content."""
    try:
        if file.closed:
            return ("file", "closed")
        content = None
        if type(file) is io.BytesIO:
            content = zlib.crc32(file.getbuffer())
        elif type(file) is io.StringIO:
            content = zlib.crc32(file.getvalue().encode())
        return ("file", Identity(file), file.tell(), content)
    except (OSError, ValueError):
        walk.complete = False
        return ("file", Identity(file), None, None)


def random_state(walk: Walk, generator: Any, index: int) -> Token:
    """A random number generator: random.Random, torch.Generator or one of NumPy."""
    if issubclass(type(generator), random.SystemRandom):
        walk.hide(f"{hidden_names.RANDOM} (`random.SystemRandom`)")
        return ("opaque", "SystemRandom")
    if issubclass(type(generator), random.Random):
        return ("generator", hash(random.Random.getstate(generator)))
    if issubclass(type(generator), torch.Generator):
        return generator_token(generator)
    numpy_random: Any = sys.modules["numpy.random"]
    if issubclass(type(generator), numpy_random.Generator):
        walk.push(generator.bit_generator, index, ("through", ""))
        return ("generator",)
    if issubclass(type(generator), numpy_random.RandomState):
        return ("generator", _plain(generator.get_state(legacy=False)))
    return ("generator", _plain(generator.state))


def _plain(state: Any) -> object:
    """Convert the state of a NumPy generator to plain values."""
    if type(state) is dict:
        return tuple((name, _plain(value)) for name, value in state.items())
    return state.tobytes() if hasattr(state, "tobytes") else state


def buffer_state(walk: Walk, thing: Any, _index: int) -> Token:
    """A bytearray, array.array, memoryview, mmap or ctypes object."""
    try:
        return buffer_token(thing)
    except (TypeError, ValueError, NotImplementedError, ctypes.ArgumentError):
        walk.complete = False
        return ("opaque", type(thing).__qualname__, Identity(thing))
