"""Overloads of aten that a recording treats in a way of their own."""

from __future__ import annotations

from typing import Any

import torch

from gd_torch.compiler.registry import aten

RESHAPES = {
    *(aten.squeeze_.default, aten.squeeze_.dim, aten.squeeze_.dims, aten.unsqueeze_.default),
    *(aten.t_.default, aten.transpose_.default, aten.detach_.default, aten.as_strided_.default),
}
"""In-place operations that change a tensor's shape alone, not its memory."""

METADATA = {aten.is_same_size.default, aten._has_same_storage_numel.default}
"""Operations that look at shapes alone."""

NUMBER_READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
"""Overloads that return a Python number."""


def is_view(function: Any) -> bool:
    """Whether an overload looks at the same memory in another way."""
    return bool(function.is_view or torch.Tag.inplace_view in function.tags)
