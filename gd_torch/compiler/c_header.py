"""The header of every generated C source: vector types, primitives, flush-to-zero.

The results are bit-identical on every processor, except for the sign and payload of NaNs. The code
uses only basic IEEE 754 operations, square roots, integer arithmetic and explicit fused
multiply-adds. A sum over a virtual vector of 64 bytes has a fixed order, independent of the vector
size of the processor.
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
    """The text of a file in ``c/``."""
    return (resources.files(__package__) / "c" / name).read_text(encoding="utf-8")


def vector_header(dtype: torch.dtype) -> str:
    """C text of the types and primitives of a dtype.

    Raises:
        TypeError: the dtype is neither float32 nor float64.
    """
    if dtype not in _TYPES:
        raise TypeError(f"generated code supports float32 and float64, got {dtype}")
    return string.Template(read_c_file("vectors.h")).substitute(_TYPES[dtype])


def c_header(dtype: torch.dtype) -> str:
    """C text of the header of a source of this dtype; raises as :func:`vector_header`."""
    return read_c_file("target.h") + "\n" + vector_header(dtype)
