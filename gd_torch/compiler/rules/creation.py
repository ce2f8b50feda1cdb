"""Rules of copies, conversions and filled tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, Rule, aten, rule
from gd_torch.compiler.strides import contiguous
from gd_torch.compiler.views import View


@rule(aten.clone.default, aten.contiguous.default, aten.lift_fresh_copy.default)
def _same(lowering: Lowering, out: Any, x: Operand, **options: Any) -> View:
    return lowering.view(x)


@rule(aten._to_copy.default)
def _to_copy(lowering: Lowering, out: Tensor, x: Tensor, **options: Any) -> View:
    if out.dtype == torch.bool:
        return lowering.mask(x)
    if out.dtype == lowering.dtype:
        return lowering.number(x)
    if x.dtype == torch.bool and not out.dtype.is_complex:
        return lowering.number(x)  # 0 and 1 in any dtype
    raise Unsupported(f"it converts {x.dtype} to {out.dtype}")


def _filled(value: float) -> Rule:
    """The rule of a tensor filled with a number."""
    return lambda lowering, out, *a, **k: lowering.graph.number(value, out.shape)


for _function in (aten.zeros_like.default, aten.new_zeros.default):
    rule(_function)(_filled(0.0))


for _function in (aten.ones_like.default, aten.new_ones.default):
    rule(_function)(_filled(1.0))


@rule(aten.full_like.default, aten.new_full.default)
def _full(lowering: Lowering, out: Tensor, x: Any, *rest: Any, **options: Any) -> View:
    value = rest[-1] if rest else options["fill_value"]
    return lowering.graph.number(float(value), out.shape)


@rule(aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default)
def _empty(lowering: Lowering, out: Tensor, *arguments: Any, **options: Any) -> View:
    return lowering.graph.number(0.0, out.shape)  # overwritten before it is read


@rule(aten.fill.Scalar, aten.fill.Tensor)
def _fill(lowering: Lowering, out: Tensor, x: Any, value: Operand) -> View:
    return lowering.number(value).expand(out.shape)


@rule(aten._unsafe_view.default, aten._reshape_copy.default, aten.view_copy.default)
def _reshaped(lowering: Lowering, out: Tensor, x: Operand, *shape: Any) -> View:
    copied = lowering.graph.copy(lowering.view(x))
    if copied.node is None:
        return lowering.graph.number(copied.value, out.shape)
    return View(lowering.graph, copied.node, 0, tuple(out.shape), contiguous(out.shape))
