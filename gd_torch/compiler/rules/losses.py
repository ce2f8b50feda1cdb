"""Rules of loss functions that are one aten operation."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.rules.axes import axis_indices
from gd_torch.compiler.views import View

NONE, MEAN, SUM = 0, 1, 2
"""Torch's codes for the reduction of a loss."""


def reduce_loss(view: View, reduction: int) -> View:
    """Apply the reduction to the losses of all entries."""
    if reduction == NONE:
        return view
    return view.mean() if reduction == MEAN else view.sum()


def entry_gradients(lowering: Lowering, g: Operand, like: View, reduction: int) -> View:
    """The gradient with respect to the loss of each entry, from that of the reduced loss."""
    grad = lowering.number(g)
    if reduction == MEAN:
        grad = grad / float(math.prod(like.shape))
    return grad.expand(like.shape)


@rule(aten.mse_loss.default)
def _mse(lowering: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN) -> View:
    d = lowering.number(x) - lowering.number(y)
    return reduce_loss(d * d, reduction)


@rule(aten.mse_loss_backward.default)
def _mse_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int
) -> View:
    d = lowering.number(x) - lowering.number(y)
    return 2.0 * d * entry_gradients(lowering, g, d, reduction)


@rule(aten.huber_loss.default)
def _huber(
    lowering: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN, delta: float = 1.0
) -> View:
    size = (lowering.number(x) - lowering.number(y)).apply("abs")
    value = (size < delta).where(0.5 * (size * size), float(delta) * (size - 0.5 * float(delta)))
    return reduce_loss(value, reduction)


@rule(aten.huber_loss_backward.default)
def _huber_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int, delta: float
) -> View:
    d, delta = lowering.number(x) - lowering.number(y), float(delta)
    grad = entry_gradients(lowering, g, d, reduction)
    inner = (d >= delta).where(grad * delta, d * grad)
    return (d <= -delta).where(-grad * delta, inner)


@rule(aten.smooth_l1_loss.default)
def _smooth_l1(
    lowering: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN, beta: float = 1.0
) -> View:
    size = (lowering.number(x) - lowering.number(y)).apply("abs")
    value = (size < beta).where(0.5 * (size * size) / float(beta), size - 0.5 * float(beta))
    return reduce_loss(value, reduction)


@rule(aten.smooth_l1_loss_backward.default)
def _smooth_l1_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int, beta: float
) -> View:
    d, beta = lowering.number(x) - lowering.number(y), float(beta)
    grad = entry_gradients(lowering, g, d, reduction)
    inner = (d >= beta).where(grad, d * grad / beta)
    return (d <= -beta).where(-grad, inner)


@rule(aten.binary_cross_entropy.default)
def _bce(
    lowering: Lowering, out: Any, x: Operand, y: Operand, weight: Operand | None = None,
    reduction: int = MEAN,
) -> View:  # fmt: skip
    p, t = lowering.number(x), lowering.number(y)
    value = (t - 1.0) * (-p).apply("log1p").apply("max", -100.0)
    value = value - t * p.apply("log").apply("max", -100.0)
    return reduce_loss(value if weight is None else value * lowering.number(weight), reduction)


@rule(aten.binary_cross_entropy_backward.default)
def _bce_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, y: Operand, weight: Operand | None = None,
    reduction: int = MEAN,
) -> View:  # fmt: skip
    p, t = lowering.number(x), lowering.number(y)
    slope = (
        entry_gradients(lowering, g, p, reduction) * (p - t) / ((1.0 - p) * p).apply("max", 1e-12)
    )
    return slope if weight is None else slope * lowering.number(weight)


@rule(aten.binary_cross_entropy_with_logits.default)
def _bce_logits(
    lowering: Lowering, out: Any, x: Operand, y: Operand, weight: Operand | None = None,
    pos_weight: Operand | None = None, reduction: int = MEAN,
) -> View:  # fmt: skip
    z, t = lowering.number(x), lowering.number(y)
    log_sigmoid = z.apply("min", 0.0) - (-z.apply("abs")).apply("exp").apply("log1p")
    if pos_weight is None:
        value = (1.0 - t) * z - log_sigmoid
    else:
        value = (1.0 - t) * z - ((lowering.number(pos_weight) - 1.0) * t + 1.0) * log_sigmoid
    return reduce_loss(value if weight is None else value * lowering.number(weight), reduction)


@rule(aten.soft_margin_loss.default)
def _soft_margin(
    lowering: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN
) -> View:
    value = (-(lowering.number(x) * lowering.number(y))).apply("exp").apply("log1p")
    return reduce_loss(value, reduction)


@rule(aten.soft_margin_loss_backward.default)
def _soft_margin_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int
) -> View:
    z, t = lowering.number(x), lowering.number(y)
    e = (-(z * t)).apply("exp")
    return -t * e * entry_gradients(lowering, g, z, reduction) / (e + 1.0)


def _target_mask(lowering: Lowering, shape: tuple[int, ...], target: Tensor) -> View:
    """Mask of the entries whose index along the last axis is the target class."""
    index = axis_indices(lowering.graph, shape, len(shape) - 1)
    return lowering.number(target).unsqueeze(-1).expand(shape).equals(index)


def _row_weights(
    lowering: Lowering, classes: int, target: Tensor, weight: Operand | None, ignore: int
) -> tuple[View, View]:
    """The class weight of each row's target, 0 if it is ignored, and the sum over rows."""
    if isinstance(weight, Tensor):
        one = lowering.values(weight)
    else:
        one = torch.ones(classes, dtype=lowering.dtype)
    rows = torch.where(target == ignore, 0.0, one[target.clamp(0, classes - 1)])
    return lowering.number(rows), lowering.number(rows.sum())


@rule(aten.nll_loss_forward.default)
def _nll(
    lowering: Lowering, out: Any, x: Operand, target: Tensor, weight: Operand | None,
    reduction: int, ignore_index: int,
) -> Any:  # fmt: skip
    view, target = lowering.number(x), lowering.values(target)
    weights, total = _row_weights(lowering, view.shape[-1], target, weight, ignore_index)
    value = -(_target_mask(lowering, view.shape, target).where(view, 0.0).sum([-1]) * weights)
    if reduction == NONE:
        return value, lowering.graph.number(0.0)
    loss = value.sum()
    return (loss / total if reduction == MEAN else loss), total


@rule(aten.nll_loss_backward.default)
def _nll_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, target: Tensor, weight: Operand | None,
    reduction: int, ignore_index: int, total: Operand,
) -> View:  # fmt: skip
    view, grad, target = lowering.number(x), lowering.number(g), lowering.values(target)
    weights, total_weight = _row_weights(lowering, view.shape[-1], target, weight, ignore_index)
    if reduction == MEAN:
        grad = grad / total_weight
    row = -(weights * grad)
    if row.shape:
        row = row.unsqueeze(-1)
    return _target_mask(lowering, view.shape, target).where(row.expand(view.shape), 0.0)


@rule(aten.nll_loss2d_forward.default)
def _nll2d(lowering: Lowering, out: Any, *arguments: Any) -> Any:
    raise Unsupported("the two-dimensional nll_loss has no compiled form")
