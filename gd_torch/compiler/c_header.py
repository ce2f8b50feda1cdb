"""The fixed start of every generated C source: vector types, primitives, flush-to-zero.

The text keeps one promise: the same bits on every processor.  It holds only basic operations
of IEEE 754, square roots, integer work and explicit fused multiply-adds.  A sum over a virtual
vector of 64 bytes has one fixed order, whatever the size of the processor's own vectors.
Which NaN comes out (its sign and payload) is not part of the promise.
"""

import string
from functools import cache
from importlib import resources

import torch

__all__ = ["c_header", "read_c_file", "vector_header"]

_TYPES = {
    torch.float32: {"T": "float", "J": "int", "f": "f", "p": "ps", "size": "4"},
    torch.float64: {"T": "double", "J": "long long", "f": "", "p": "pd", "size": "8"},
}


@cache
def read_c_file(name: str) -> str:
    """The text of one file of the folder c."""
    return (resources.files(__package__) / "c" / name).read_text(encoding="utf-8")


def vector_header(dtype: torch.dtype) -> str:
    """The types and primitives of one dtype."""
    if dtype not in _TYPES:
        raise TypeError(f"generated code is for float32 and float64, not for {dtype}")
    return string.Template(read_c_file("vectors.h")).substitute(_TYPES[dtype])


def c_header(dtype: torch.dtype) -> str:
    """The start of a generated source whose numbers are of this dtype."""
    return read_c_file("target.h") + "\n" + vector_header(dtype)
