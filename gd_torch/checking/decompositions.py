"""Fused torch operations, decomposed into the steps that a derivation goes through.

Each function takes the trace mode, which it enters so that the steps are recorded, and the
arguments of the operation. It returns None to leave the operation as it is. A shift that cancels,
such as the maximum in a softmax, is computed outside the mode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _shift(z: Tensor, dim: Any) -> Tensor:
    """What is subtracted before exp so that it does not overflow; zero where it would not."""
    largest = z.amax(dim, keepdim=True)
    return largest * 0 if bool((z.abs() < 50).all()) else largest


def _softmax(mode: Any, z: Tensor, dim: int, _half_to_float: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        return e / e.sum(dim, keepdim=True)


def _log_softmax(mode: Any, z: Tensor, dim: int, _half_to_float: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        total = e.sum(dim, keepdim=True)
        _ = e / total  # the softmax, which derivations use
        return z - shift - total.log()


def _logsumexp(mode: Any, z: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        total = e.sum(dim, keepdim=True)
        _ = e / total  # the softmax, which derivations use
        out = total.log() + shift
        return out if keepdim else out.reshape(torch.sum(z, dim).shape)


def _nll_loss(
    mode: Any, log_p: Tensor, y: Tensor, weight: Any, reduction: int, ignore_index: int
) -> Any:
    if weight is not None or log_p.dim() != 2 or bool((y == ignore_index).any()):
        return None
    onehot = torch.nn.functional.one_hot(y, log_p.shape[1]).to(log_p.dtype)
    with mode:
        loss = -(onehot * log_p).sum(1)
        return _reduce(loss, reduction), torch.tensor(float(len(y)), dtype=log_p.dtype)


def _binary_cross_entropy(
    mode: Any, p: Tensor, y: Tensor, weight: Any = None, reduction: int = 1
) -> Tensor | None:
    if weight is not None:
        return None
    with mode:
        return _reduce(-(y * p.log() + (1 - y) * (1 - p).log()), reduction)


def _binary_cross_entropy_with_logits(
    mode: Any, z: Tensor, y: Tensor, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Tensor | None:
    if weight is not None or pos_weight is not None:
        return None
    with mode:
        _ = torch.sigmoid(z)  # derivations use it
        return _reduce(torch.nn.functional.softplus(z) - y * z, reduction)


def _softplus(mode: Any, z: Tensor, *_rest: Any) -> None:
    with mode:
        torch.sigmoid(z)  # its derivative, which derivations use


def _log_sigmoid(mode: Any, z: Tensor) -> Any:
    with mode:
        return torch.log(torch.sigmoid(z)), z.new_zeros(0)


def _silu(mode: Any, z: Tensor) -> Tensor:
    with mode:
        return z * torch.sigmoid(z)


def _mse(mode: Any, p: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    with mode:
        return _reduce((p - y) ** 2, reduction)


def _huber(mode: Any, p: Tensor, y: Tensor, reduction: int = 1, delta: float = 1.0) -> Tensor:
    with mode:
        r = p - y
        near, far = r**2 / 2, delta * (r.abs() - delta / 2)
        return _reduce(torch.where(r.abs() <= delta, near, far), reduction)


def _smooth_l1(
    mode: Any, p: Tensor, y: Tensor, reduction: int = 1, beta: float = 1.0
) -> Tensor | None:
    if beta == 0:
        return None
    with mode:
        r = p - y
        near, far = r**2 / (2 * beta), r.abs() - beta / 2
        return _reduce(torch.where(r.abs() < beta, near, far), reduction)


def _reduce(loss: Tensor, reduction: int) -> Tensor:
    """Torch's codes for the reduction of a loss: 0 none, 1 mean, 2 sum."""
    return loss.mean() if reduction == 1 else loss.sum() if reduction == 2 else loss


def _variance(
    mode: Any, x: Tensor, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> Tensor:
    dims = list(range(x.dim())) if dim is None else dim
    with mode:
        centred = x - x.mean(dims, keepdim=True)
        squares = (centred**2).sum(dims, keepdim=keepdim)
        return squares / (x.numel() / squares.numel() - (1 if correction is None else correction))


def _standard_deviation(mode: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    variance = _variance(mode, x, *args, **kwargs)
    with mode:
        return variance.sqrt()


def _vector_norm(
    mode: Any,
    x: Tensor,
    order: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Tensor | None:
    if order != 2 or dtype is not None:
        return None
    dims = list(range(x.dim())) if dim is None else dim
    with mode:
        return (x**2).sum(dims, keepdim=keepdim).sqrt() if dims else (x**2).sqrt()


def _layer_norm(mode: Any, x: Tensor, shape: Any, gain: Any, bias: Any, eps: float) -> Any:
    dims = list(range(x.dim() - len(shape), x.dim()))
    return _normalize(mode, x, dims, gain, bias, eps, [1] * (x.dim() - len(shape)) + list(shape))


def _batch_norm(
    mode: Any,
    x: Tensor,
    gain: Any,
    bias: Any,
    running_mean: Any,
    running_var: Any,
    training: bool,
    _momentum: float,
    eps: float,
) -> Any:
    if not training or running_mean is not None or running_var is not None:
        return None
    dims = [d for d in range(x.dim()) if d != 1]
    return _normalize(mode, x, dims, gain, bias, eps, [1, -1] + [1] * (x.dim() - 2))


def _normalize(
    mode: Any, x: Tensor, dims: list[int], gain: Any, bias: Any, eps: float, shape: list[int]
) -> Any:
    with mode:
        mean = x.mean(dims, keepdim=True)
        centred = x - mean
        inverse = ((centred**2).mean(dims, keepdim=True) + eps).rsqrt()
        out = centred * inverse
        out = out if gain is None else out * gain.reshape(shape)
        return out if bias is None else out + bias.reshape(shape), mean, inverse


def _addmm(mode: Any, c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    if beta != 1 or alpha != 1:
        return None
    with mode:
        return a @ b + c


DECOMPOSITIONS: dict[str, Any] = {
    "aten._softmax.default": _softmax,
    "aten._safe_softmax.default": lambda mode, z, dim, _dtype=None: _softmax(mode, z, dim),
    "aten._log_softmax.default": _log_softmax,
    "aten.logsumexp.default": _logsumexp,
    "aten.nll_loss_forward.default": _nll_loss,
    "aten.binary_cross_entropy.default": _binary_cross_entropy,
    "aten.binary_cross_entropy_with_logits.default": _binary_cross_entropy_with_logits,
    "aten.softplus.default": _softplus,
    "aten.log_sigmoid_forward.default": _log_sigmoid,
    "aten.silu.default": _silu,
    "aten.mse_loss.default": _mse,
    "aten.huber_loss.default": _huber,
    "aten.smooth_l1_loss.default": _smooth_l1,
    "aten.var.correction": _variance,
    "aten.std.correction": _standard_deviation,
    "aten.linalg_vector_norm.default": _vector_norm,
    "aten.native_layer_norm.default": _layer_norm,
    "aten.native_batch_norm.default": _batch_norm,
    "aten.addmm.default": _addmm,
}
"""Name of an aten operation -> the function that executes its steps."""
