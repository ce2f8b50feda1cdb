"""Rules of softmax and logsumexp, and of their derivatives."""

from __future__ import annotations

import math
from typing import Any

import torch

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.axes import Dims, reduced_axes, squeeze_reduced
from gd_torch.compiler.rules.reductions import extremum
from gd_torch.compiler.views import View


@rule(aten._softmax.default)
def _softmax(lowering: Lowering, out: Any, x: Operand, dim: int, half_to_float: bool) -> View:
    view = lowering.number(x)
    if not view.shape:
        return lowering.graph.number(1.0)
    e = (view - extremum(view, "max", dim, True)).apply("exp")
    return e / e.sum([dim], True)


@rule(aten._log_softmax.default)
def _log_softmax(lowering: Lowering, out: Any, x: Operand, dim: int, half_to_float: bool) -> View:
    view = lowering.number(x)
    if not view.shape:
        return lowering.graph.number(0.0)
    shifted = view - extremum(view, "max", dim, True)
    return shifted - shifted.apply("exp").sum([dim], True).apply("log")


@rule(aten._softmax_backward_data.default)
def _softmax_backward(
    lowering: Lowering, out: Any, g: Operand, y: Operand, dim: int, dtype: torch.dtype
) -> View:
    grad, value = lowering.number(g), lowering.number(y)
    product = grad * value
    return product - value * product.sum([dim] if value.shape else None, bool(value.shape))


@rule(aten._log_softmax_backward_data.default)
def _log_softmax_backward(
    lowering: Lowering, out: Any, g: Operand, y: Operand, dim: int, dtype: torch.dtype
) -> View:
    grad, value = lowering.number(g), lowering.number(y)
    return grad - value.apply("exp") * grad.sum([dim] if value.shape else None, bool(value.shape))


@rule(aten.logsumexp.default)
def _logsumexp(lowering: Lowering, out: Any, x: Operand, dim: Dims, keepdim: bool = False) -> View:
    view = lowering.number(x)
    over = reduced_axes(dim, len(view.shape))
    largest = extremum(view, "max", over, True)
    finite = largest.apply("abs").equals(math.inf).where(0.0, largest)
    total = (view - finite).apply("exp").sum(over, keepdim).apply("log")
    return total + squeeze_reduced(finite, over, keepdim)
