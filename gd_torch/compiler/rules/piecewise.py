"""Rules of piecewise activation functions and of their derivatives."""

from __future__ import annotations

from typing import Any

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.views import View


@rule(aten.threshold.default)
def _threshold(lowering: Lowering, out: Any, x: Operand, threshold: float, value: float) -> View:
    view = lowering.number(x)
    return (view <= threshold).where(value, view)


@rule(aten.threshold_backward.default)
def _threshold_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, threshold: float
) -> View:
    return (lowering.number(x) <= threshold).where(0.0, lowering.number(g))


@rule(aten.leaky_relu.default)
def _leaky_relu(lowering: Lowering, out: Any, x: Operand, slope: float = 0.01) -> View:
    view = lowering.number(x)
    return (view > 0.0).where(view, view * float(slope))


@rule(aten.leaky_relu_backward.default)
def _leaky_relu_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, slope: float, is_result: bool
) -> View:
    grad = lowering.number(g)
    return (lowering.number(x) > 0.0).where(grad, grad * float(slope))


@rule(aten.prelu.default, aten._prelu_kernel.default)
def _prelu(lowering: Lowering, out: Any, x: Operand, weight: Operand) -> View:
    view = lowering.number(x)
    return (view > 0.0).where(view, view * lowering.number(weight))


@rule(aten._prelu_kernel_backward.default)
def _prelu_backward(lowering: Lowering, out: Any, g: Operand, x: Operand, weight: Operand) -> Any:
    grad, view = lowering.number(g), lowering.number(x)
    positive = view > 0.0
    return positive.where(grad, grad * lowering.number(weight)), positive.where(0.0, grad * view)


@rule(aten.hardtanh_backward.default)
def _hardtanh_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, low: float, high: float
) -> View:
    view = lowering.number(x)
    return (view <= low).apply("or", view >= high).where(0.0, lowering.number(g))


@rule(aten.hardsigmoid.default)
def _hardsigmoid(lowering: Lowering, out: Any, x: Operand) -> View:
    return (lowering.number(x) + 3.0).apply("max", 0.0).apply("min", 6.0) / 6.0


SIXTH = 0.1666666716337204
"""1/6 rounded to float32, used in torch's derivative of hardsigmoid for every dtype."""


@rule(aten.hardsigmoid_backward.default)
def _hardsigmoid_backward(lowering: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = lowering.number(x)
    return (view > -3.0).apply("and", view < 3.0).where(lowering.number(g) * SIXTH, 0.0)


@rule(aten.hardswish.default)
def _hardswish(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    return view * (view + 3.0).apply("max", 0.0).apply("min", 6.0) / 6.0


@rule(aten.hardswish_backward.default)
def _hardswish_backward(lowering: Lowering, out: Any, g: Operand, x: Operand) -> View:
    grad, view = lowering.number(g), lowering.number(x)
    middle = grad * (view / 3.0 + 0.5)
    return (view <= -3.0).where(0.0, (view < 3.0).where(middle, grad))


@rule(aten.softshrink.default)
def _softshrink(lowering: Lowering, out: Any, x: Operand, width: float = 0.5) -> View:
    view = lowering.number(x)
    inside = (view < -width).where(view + float(width), view * 0.0)
    return (view > width).where(view - float(width), inside)


@rule(aten.softshrink_backward.default)
def _softshrink_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, width: float
) -> View:
    view = lowering.number(x)
    return (view >= -width).apply("and", view <= width).where(0.0, lowering.number(g))


@rule(aten.hardshrink.default)
def _hardshrink(lowering: Lowering, out: Any, x: Operand, width: float = 0.5) -> View:
    view = lowering.number(x)
    return (view >= -width).apply("and", view <= width).where(0.0, view)


@rule(aten.hardshrink_backward.default)
def _hardshrink_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, width: float
) -> View:
    return _softshrink_backward(lowering, out, g, x, width)
