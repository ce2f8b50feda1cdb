"""Rules of smooth activation functions and of their derivatives."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.views import View

SQRT_HALF = math.sqrt(0.5)
GELU_SCALE = math.sqrt(2.0 / math.pi)
GELU_CUBE = 0.044715


@rule(aten.sigmoid_backward.default)
def _sigmoid_backward(lowering: Lowering, out: Any, g: Operand, y: Operand) -> View:
    value = lowering.number(y)
    return lowering.number(g) * ((1.0 - value) * value)


@rule(aten.tanh_backward.default)
def _tanh_backward(lowering: Lowering, out: Any, g: Operand, y: Operand) -> View:
    value = lowering.number(y)
    return lowering.number(g) * (1.0 - value * value)


@rule(aten.elu.default)
def _elu(
    lowering: Lowering,
    out: Any,
    x: Operand,
    alpha: float = 1.0,
    scale: float = 1.0,
    inner: float = 1.0,
) -> View:
    view = lowering.number(x)
    low = (view * float(inner)).apply("expm1") * float(alpha) * float(scale)
    return (view > 0.0).where(view * float(scale), low)


@rule(aten.celu.default)
def _celu(lowering: Lowering, out: Any, x: Operand, alpha: float = 1.0) -> View:
    return _elu(lowering, out, x, alpha, 1.0, 1.0 / alpha)


@rule(aten.elu_backward.default)
def _elu_backward(
    lowering: Lowering, out: Any, g: Operand, alpha: float, scale: float, inner: float,
    is_result: bool, x: Operand,
) -> View:  # fmt: skip
    grad, view = lowering.number(g), lowering.number(x)
    if is_result:
        low = grad * float(inner) * (view + float(alpha) * float(scale))
    else:
        factor = float(inner) * float(alpha) * float(scale)
        low = grad * factor * (view * float(inner)).apply("exp")
    return (view > 0.0).where(grad * float(scale), low)


def _cdf(x: View) -> View:
    """The distribution function of the standard normal distribution."""
    return 0.5 * (1.0 + (x * SQRT_HALF).apply("erf"))


def _tanh_argument(x: View) -> View:
    """z in the approximation 0.5 x (1 + tanh(z)) of gelu."""
    return GELU_SCALE * (x + GELU_CUBE * (x * x * x))


@rule(aten.gelu.default)
def _gelu(lowering: Lowering, out: Any, x: Operand, *, approximate: str = "none") -> View:
    view = lowering.number(x)
    if approximate == "tanh":
        return 0.5 * view * (1.0 + _tanh_argument(view).apply("tanh"))
    return view * _cdf(view)


@rule(aten.gelu_backward.default)
def _gelu_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, *, approximate: str = "none"
) -> View:
    view = lowering.number(x)
    if approximate == "tanh":
        tanh = _tanh_argument(view).apply("tanh")
        inner = GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * (view * view))
        slope = 0.5 * (1.0 + tanh) + 0.5 * view * (1.0 - tanh * tanh) * inner
    else:
        density = (-0.5 * (view * view)).apply("exp") * (1.0 / math.sqrt(2.0 * math.pi))
        slope = _cdf(view) + view * density
    return lowering.number(g) * slope


@rule(aten.silu.default)
def _silu(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    return view * view.apply("sigmoid")


@rule(aten.silu_backward.default)
def _silu_backward(lowering: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = lowering.number(x)
    s = view.apply("sigmoid")
    return lowering.number(g) * (s * (1.0 + view * (1.0 - s)))


def softplus(x: View, beta: float = 1.0, threshold: float = 20.0) -> View:
    """log(1 + exp(beta x)) / beta, or x if beta x is above the threshold."""
    scaled = x * float(beta)
    low = scaled.apply("exp").apply("log1p") / float(beta)
    return (scaled > float(threshold)).where(x, low)


@rule(aten.softplus.default)
def _softplus(
    lowering: Lowering, out: Any, x: Operand, beta: float = 1, threshold: float = 20
) -> View:
    return softplus(lowering.number(x), beta, threshold)


@rule(aten.softplus_backward.default)
def _softplus_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, beta: float, threshold: float
) -> View:
    grad, scaled = lowering.number(g), lowering.number(x) * float(beta)
    z = scaled.apply("exp")
    return (scaled > float(threshold)).where(grad, grad * z / (z + 1.0))


@rule(aten.mish.default)
def _mish(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    return view * softplus(view, 1.0, math.inf).apply("tanh")


@rule(aten.mish_backward.default)
def _mish_backward(lowering: Lowering, out: Any, g: Operand, x: Operand) -> View:
    view = lowering.number(x)
    s, t = view.apply("sigmoid"), view.apply("exp").apply("log1p").apply("tanh")
    return lowering.number(g) * (t + view * s * (1.0 - t * t))


@rule(aten.log_sigmoid_forward.default)
def _log_sigmoid(lowering: Lowering, out: Any, x: Operand) -> Any:
    view = lowering.number(x)
    low = view.apply("min", 0.0)
    z = (-view.apply("abs")).apply("exp")
    return low - z.apply("log1p"), lowering.graph.number(0.0, out[1].shape) if out[
        1
    ].numel() else None


@rule(aten.log_sigmoid_backward.default)
def _log_sigmoid_backward(
    lowering: Lowering, out: Any, g: Operand, x: Operand, buffer: Tensor
) -> View:
    return lowering.number(g) * (-lowering.number(x)).apply("sigmoid")


@rule(aten.glu.default)
def _glu(lowering: Lowering, out: Any, x: Operand, dim: int = -1) -> View:
    view = lowering.number(x)
    half = view.shape[dim % len(view.shape)] // 2
    return view.narrow(dim, 0, half) * view.narrow(dim, half, half).apply("sigmoid")


@rule(aten.native_dropout.default)
def _native_dropout(lowering: Lowering, out: Any, x: Operand, p: float, train: bool) -> Any:
    raise Unsupported("it draws random numbers: dropout")
