"""Overloads of aten with special treatment in a trace."""

from __future__ import annotations

from typing import Any

import torch

from gd_torch.compiler.registry import aten

RESHAPES = {
    *(aten.squeeze_.default, aten.squeeze_.dim, aten.squeeze_.dims, aten.unsqueeze_.default),
    *(aten.t_.default, aten.transpose_.default, aten.detach_.default, aten.as_strided_.default),
}
"""In-place operations that change the shape of a tensor, not its memory."""

METADATA = {aten.is_same_size.default, aten._has_same_storage_numel.default}
"""Operations that read only shapes."""

NUMBER_READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
"""Overloads that return a Python number."""


def is_view(function: Any) -> bool:
    """Whether an overload returns a view of its argument's memory."""
    return bool(function.is_view or torch.Tag.inplace_view in function.tags)
