"""Rules of activation functions and of their derivatives."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.graph import View
from gd_torch.compiler.lowering import Lowering, Operand, aten, rule

SQRT_HALF = math.sqrt(0.5)
GELU_SCALE = math.sqrt(2.0 / math.pi)
GELU_CUBE = 0.044715


@rule(aten.sigmoid_backward.default)
def _sigmoid_backward(L: Lowering, out: Any, g: Operand, y: Operand) -> View:
    value = L.number(y)
    return L.number(g) * ((1.0 - value) * value)


@rule(aten.tanh_backward.default)
def _tanh_backward(L: Lowering, out: Any, g: Operand, y: Operand) -> View:
    value = L.number(y)
    return L.number(g) * (1.0 - value * value)


@rule(aten.threshold.default)
def _threshold(L: Lowering, out: Any, x: Operand, threshold: float, value: float) -> View:
    view = L.number(x)
    return (view <= threshold).where(value, view)


@rule(aten.threshold_backward.default)
def _threshold_backward(L: Lowering, out: Any, g: Operand, x: Operand, threshold: float) -> View:
    return (L.number(x) <= threshold).where(0.0, L.number(g))


@rule(aten.leaky_relu.default)
def _leaky_relu(L: Lowering, out: Any, x: Operand, slope: float = 0.01) -> View:
    view = L.number(x)
    return (view > 0.0).where(view, view * float(slope))


@rule(aten.leaky_relu_backward.default)
def _leaky_relu_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, slope: float, is_result: bool
) -> View:
    grad = L.number(g)
    return (L.number(x) > 0.0).where(grad, grad * float(slope))


@rule(aten.prelu.default, aten._prelu_kernel.default)
def _prelu(L: Lowering, out: Any, x: Operand, weight: Operand) -> View:
    view = L.number(x)
    return (view > 0.0).where(view, view * L.number(weight))


@rule(aten._prelu_kernel_backward.default)
def _prelu_backward(L: Lowering, out: Any, g: Operand, x: Operand, weight: Operand) -> Any:
    grad, view = L.number(g), L.number(x)
    positive = view > 0.0
    return positive.where(grad, grad * L.number(weight)), positive.where(0.0, grad * view)


@rule(aten.elu.default)
def _elu(
    L: Lowering, out: Any, x: Operand, alpha: float = 1.0, scale: float = 1.0, inner: float = 1.0
) -> View:
    view = L.number(x)
    low = (view * float(inner)).apply("expm1") * float(alpha) * float(scale)
    return (view > 0.0).where(view * float(scale), low)


@rule(aten.celu.default)
def _celu(L: Lowering, out: Any, x: Operand, alpha: float = 1.0) -> View:
    return _elu(L, out, x, alpha, 1.0, 1.0 / alpha)


@rule(aten.elu_backward.default)
def _elu_backward(
    L: Lowering, out: Any, g: Operand, alpha: float, scale: float, inner: float,
    is_result: bool, x: Operand,
) -> View:  # fmt: skip
    grad, view = L.number(g), L.number(x)
    if is_result:
        low = grad * float(inner) * (view + float(alpha) * float(scale))
    else:
        factor = float(inner) * float(alpha) * float(scale)
        low = grad * factor * (view * float(inner)).apply("exp")
    return (view > 0.0).where(grad * float(scale), low)


def _cdf(x: View) -> View:
    return 0.5 * (1.0 + (x * SQRT_HALF).apply("erf"))


def _tanh_argument(x: View) -> View:
    return GELU_SCALE * (x + GELU_CUBE * (x * x * x))


@rule(aten.gelu.default)
def _gelu(L: Lowering, out: Any, x: Operand, *, approximate: str = "none") -> View:
    view = L.number(x)
    if approximate == "tanh":
        return 0.5 * view * (1.0 + _tanh_argument(view).apply("tanh"))
    return view * _cdf(view)


@rule(aten.gelu_backward.default)
def _gelu_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, *, approximate: str = "none"
) -> View:
    view = L.number(x)
    if approximate == "tanh":
        tanh = _tanh_argument(view).apply("tanh")
        inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * (view * view))
        slope = 0.5 * (1.0 + tanh) + 0.5 * view * (1.0 - tanh * tanh) * inner
    else:
        density = (-0.5 * (view * view)).apply("exp") * (1.0 / math.sqrt(2.0 * math.pi))
        slope = _cdf(view) + view * density
    return L.number(g) * slope


@rule(aten.silu.default)
def _silu(L: Lowering, out: Any, x: Operand) -> View:
    view = L.number(x)
    return view * view.apply("sigmoid")


@rule(aten.silu_backward.default)
def _silu_backward(L: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = L.number(x)
    s = view.apply("sigmoid")
    return L.number(g) * (s * (1.0 + view * (1.0 - s)))


def softplus(x: View, beta: float = 1.0, threshold: float = 20.0) -> View:
    """log(1 + exp(beta x)) / beta; x beyond the threshold."""
    scaled = x * float(beta)
    low = scaled.apply("exp").apply("log1p") / float(beta)
    return (scaled > float(threshold)).where(x, low)


@rule(aten.softplus.default)
def _softplus(L: Lowering, out: Any, x: Operand, beta: float = 1, threshold: float = 20) -> View:
    return softplus(L.number(x), beta, threshold)


@rule(aten.softplus_backward.default)
def _softplus_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, beta: float, threshold: float
) -> View:
    grad, scaled = L.number(g), L.number(x) * float(beta)
    z = scaled.apply("exp")
    return (scaled > float(threshold)).where(grad, grad * z / (z + 1.0))


@rule(aten.mish.default)
def _mish(L: Lowering, out: Any, x: Operand) -> View:
    view = L.number(x)
    return view * softplus(view, 1.0, math.inf).apply("tanh")


@rule(aten.mish_backward.default)
def _mish_backward(L: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = L.number(x)
    s, t = view.apply("sigmoid"), view.apply("exp").apply("log1p").apply("tanh")
    return L.number(g) * (t + view * s * (1.0 - t * t))


@rule(aten.log_sigmoid_forward.default)
def _log_sigmoid(L: Lowering, out: Any, x: Operand) -> Any:
    view = L.number(x)
    low = view.apply("min", 0.0)
    z = (-view.apply("abs")).apply("exp")
    return low - z.apply("log1p"), L.graph.number(0.0, out[1].shape) if out[1].numel() else None


@rule(aten.log_sigmoid_backward.default)
def _log_sigmoid_backward(L: Lowering, out: Any, g: Operand, x: Operand, buffer: Tensor) -> View:
    return L.number(g) * (-L.number(x)).apply("sigmoid")


@rule(aten.hardtanh_backward.default)
def _hardtanh_backward(
    L: Lowering, out: Any, g: Operand, x: Operand, low: float, high: float
) -> View:
    view = L.number(x)
    return (view <= low).apply("or", view >= high).where(0.0, L.number(g))


@rule(aten.hardsigmoid.default)
def _hardsigmoid(L: Lowering, out: Any, x: Operand) -> View:
    return (L.number(x) + 3.0).apply("max", 0.0).apply("min", 6.0) / 6.0


SIXTH = 0.1666666716337204
"""1/6 in float32, which torch's derivative of hardsigmoid uses in every dtype."""


@rule(aten.hardsigmoid_backward.default)
def _hardsigmoid_backward(L: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = L.number(x)
    return (view > -3.0).apply("and", view < 3.0).where(L.number(g) * SIXTH, 0.0)


@rule(aten.hardswish.default)
def _hardswish(L: Lowering, out: Any, x: Operand) -> View:
    view = L.number(x)
    return view * (view + 3.0).apply("max", 0.0).apply("min", 6.0) / 6.0


@rule(aten.hardswish_backward.default)
def _hardswish_backward(L: Lowering, out: Any, g: Operand, x: Operand) -> View:
    grad, view = L.number(g), L.number(x)
    middle = grad * (view / 3.0 + 0.5)
    return (view <= -3.0).where(0.0, (view < 3.0).where(middle, grad))


@rule(aten.softshrink.default)
def _softshrink(L: Lowering, out: Any, x: Operand, width: float = 0.5) -> View:
    view = L.number(x)
    inside = (view < -width).where(view + float(width), view * 0.0)
    return (view > width).where(view - float(width), inside)


@rule(aten.softshrink_backward.default)
def _softshrink_backward(L: Lowering, out: Any, g: Operand, x: Operand, width: float) -> View:
    view = L.number(x)
    return (view >= -width).apply("and", view <= width).where(0.0, L.number(g))


@rule(aten.hardshrink.default)
def _hardshrink(L: Lowering, out: Any, x: Operand, width: float = 0.5) -> View:
    view = L.number(x)
    return (view >= -width).apply("and", view <= width).where(0.0, view)


@rule(aten.hardshrink_backward.default)
def _hardshrink_backward(L: Lowering, out: Any, g: Operand, x: Operand, width: float) -> View:
    return _softshrink_backward(L, out, g, x, width)


@rule(aten.glu.default)
def _glu(L: Lowering, out: Any, x: Operand, dim: int = -1) -> View:
    view = L.number(x)
    half = view.shape[dim % len(view.shape)] // 2
    return view.narrow(dim, 0, half) * view.narrow(dim, half, half).apply("sigmoid")


@rule(aten.native_dropout.default)
def _native_dropout(L: Lowering, out: Any, x: Operand, p: float, train: bool) -> Any:
    raise Unsupported("it draws random numbers: dropout")
