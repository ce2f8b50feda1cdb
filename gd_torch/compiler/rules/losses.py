"""Rules of loss functions that torch computes as one operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import View
from gd_torch.compiler.lowering import Lowering, Operand, aten, rule
from gd_torch.compiler.rules.reductions import indices

NONE, MEAN, SUM = 0, 1, 2
"""How torch numbers the reductions of a loss."""


def reduced(view: View, reduction: int) -> View:
    """The loss over all entries."""
    if reduction == NONE:
        return view
    return view.mean() if reduction == MEAN else view.sum()


def spread(L: Lowering, g: Operand, like: View, reduction: int) -> View:
    """The partial along each entry of a reduced loss."""
    grad = L.number(g)
    if reduction == MEAN:
        count = 1
        for size in like.shape:
            count *= size
        grad = grad / float(count)
    return grad.expand(like.shape)


@rule(aten.mse_loss.default)
def _mse(L: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN) -> View:
    d = L.number(x) - L.number(y)
    return reduced(d * d, reduction)


@rule(aten.mse_loss_backward.default)
def _mse_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int
) -> View:
    d = L.number(x) - L.number(y)
    return 2.0 * d * spread(L, g, d, reduction)


@rule(aten.huber_loss.default)
def _huber(
    L: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN, delta: float = 1.0
) -> View:
    size = (L.number(x) - L.number(y)).apply("abs")
    value = (size < delta).where(0.5 * (size * size), float(delta) * (size - 0.5 * float(delta)))
    return reduced(value, reduction)


@rule(aten.huber_loss_backward.default)
def _huber_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int, delta: float
) -> View:
    d, delta = L.number(x) - L.number(y), float(delta)
    grad = spread(L, g, d, reduction)
    inner = (d >= delta).where(grad * delta, d * grad)
    return (d <= -delta).where(-grad * delta, inner)


@rule(aten.smooth_l1_loss.default)
def _smooth_l1(
    L: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN, beta: float = 1.0
) -> View:
    size = (L.number(x) - L.number(y)).apply("abs")
    value = (size < beta).where(0.5 * (size * size) / float(beta), size - 0.5 * float(beta))
    return reduced(value, reduction)


@rule(aten.smooth_l1_loss_backward.default)
def _smooth_l1_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int, beta: float
) -> View:
    d, beta = L.number(x) - L.number(y), float(beta)
    grad = spread(L, g, d, reduction)
    inner = (d >= beta).where(grad, d * grad / beta)
    return (d <= -beta).where(-grad, inner)


@rule(aten.binary_cross_entropy.default)
def _bce(
    L: Lowering, out: Any, x: Operand, y: Operand, weight: Operand | None = None,
    reduction: int = MEAN,
) -> View:  # fmt: skip
    p, t = L.number(x), L.number(y)
    value = (t - 1.0) * (-p).apply("log1p").apply("max", -100.0)
    value = value - t * p.apply("log").apply("max", -100.0)
    return reduced(value if weight is None else value * L.number(weight), reduction)


@rule(aten.binary_cross_entropy_backward.default)
def _bce_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, y: Operand, weight: Operand | None = None,
    reduction: int = MEAN,
) -> View:  # fmt: skip
    p, t = L.number(x), L.number(y)
    slope = spread(L, g, p, reduction) * (p - t) / ((1.0 - p) * p).apply("max", 1e-12)
    return slope if weight is None else slope * L.number(weight)


@rule(aten.binary_cross_entropy_with_logits.default)
def _bce_logits(
    L: Lowering, out: Any, x: Operand, y: Operand, weight: Operand | None = None,
    pos_weight: Operand | None = None, reduction: int = MEAN,
) -> View:  # fmt: skip
    z, t = L.number(x), L.number(y)
    log_sigmoid = z.apply("min", 0.0) - (-z.apply("abs")).apply("exp").apply("log1p")
    if pos_weight is None:
        value = (1.0 - t) * z - log_sigmoid
    else:
        value = (1.0 - t) * z - ((L.number(pos_weight) - 1.0) * t + 1.0) * log_sigmoid
    return reduced(value if weight is None else value * L.number(weight), reduction)


@rule(aten.soft_margin_loss.default)
def _soft_margin(L: Lowering, out: Any, x: Operand, y: Operand, reduction: int = MEAN) -> View:
    value = (-(L.number(x) * L.number(y))).apply("exp").apply("log1p")
    return reduced(value, reduction)


@rule(aten.soft_margin_loss_backward.default)
def _soft_margin_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, y: Operand, reduction: int
) -> View:
    z, t = L.number(x), L.number(y)
    e = (-(z * t)).apply("exp")
    return -t * e * spread(L, g, z, reduction) / (e + 1.0)


# ---------------------------------------------------------------- negative log likelihood


def _hits(L: Lowering, shape: tuple[int, ...], target: Tensor) -> View:
    """Where the class axis (the last) is the target's class, as a mask."""
    index = indices(L.graph, shape, len(shape) - 1)
    return L.number(target).unsqueeze(-1).expand(shape).equals(index)


def _row_weights(
    L: Lowering, classes: int, target: Tensor, weight: Operand | None, ignore: int
) -> tuple[View, View]:
    """The weight of each row, that of its target or 0 where it is ignored, and their sum."""
    if isinstance(weight, Tensor):
        one = L.values(weight)
    else:
        one = torch.ones(classes, dtype=L.dtype)
    rows = torch.where(target == ignore, 0.0, one[target.clamp(0, classes - 1)])
    return L.number(rows), L.number(rows.sum())


@rule(aten.nll_loss_forward.default)
def _nll(
    L: Lowering, out: Any, x: Operand, target: Tensor, weight: Operand | None, reduction: int,
    ignore_index: int,
) -> Any:  # fmt: skip
    view, target = L.number(x), L.values(target)
    weights, total = _row_weights(L, view.shape[-1], target, weight, ignore_index)
    value = -(_hits(L, view.shape, target).where(view, 0.0).sum([-1]) * weights)
    if reduction == NONE:
        return value, L.graph.number(0.0)
    loss = value.sum()
    return (loss / total if reduction == MEAN else loss), total


@rule(aten.nll_loss_backward.default)
def _nll_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, target: Tensor, weight: Operand | None,
    reduction: int, ignore_index: int, total: Operand,
) -> View:  # fmt: skip
    view, grad, target = L.number(x), L.number(g), L.values(target)
    weights, total_weight = _row_weights(L, view.shape[-1], target, weight, ignore_index)
    if reduction == MEAN:
        grad = grad / total_weight
    row = -(weights * grad)
    if row.shape:
        row = row.unsqueeze(-1)
    return _hits(L, view.shape, target).where(row.expand(view.shape), 0.0)


@rule(aten.nll_loss2d_forward.default)
def _nll2d(L: Lowering, out: Any, *arguments: Any) -> Any:
    raise Unsupported("the two-dimensional nll_loss has no compiled form")
