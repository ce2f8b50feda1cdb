"""Fused torch operations written out in the steps that a derivation by hand goes through.

Each function takes the recorder (entered, so that its steps are recorded) and the operation's own
arguments. A shift that cancels, such as the maximum in a softmax, is computed outside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _shift(z: Tensor, dim: Any) -> Tensor:
    """What keeps exp in range: nothing where it is in range anyway, as on paper."""
    largest = z.amax(dim, keepdim=True)
    return largest * 0 if bool((z.abs() < 50).all()) else largest


def _softmax(mode: Any, z: Tensor, dim: int, _half: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        return e / e.sum(dim, keepdim=True)


def _log_softmax(mode: Any, z: Tensor, dim: int, _half: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        total = e.sum(dim, keepdim=True)
        _ = e / total  # the softmax itself: derivations speak of it
        return z - shift - total.log()


def _logsumexp(mode: Any, z: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    shift = _shift(z, dim)
    with mode:
        e = torch.exp(z - shift)
        total = e.sum(dim, keepdim=True)
        _ = e / total
        out = total.log() + shift
        return out if keepdim else out.reshape(torch.sum(z, dim).shape)


def _nll_loss(mode: Any, logp: Tensor, y: Tensor, weight: Any, how: int, ignore: int) -> Any:
    if weight is not None or logp.dim() != 2 or bool((y == ignore).any()):
        return None
    onehot = torch.nn.functional.one_hot(y, logp.shape[1]).to(logp.dtype)
    with mode:
        loss = -(onehot * logp).sum(1)
        return _reduced(loss, how), torch.tensor(float(len(y)), dtype=logp.dtype)


def _bce(mode: Any, p: Tensor, y: Tensor, weight: Any = None, how: int = 1) -> Tensor | None:
    if weight is not None:
        return None
    with mode:
        return _reduced(-(y * p.log() + (1 - y) * (1 - p).log()), how)


def _bce_with_logits(
    mode: Any, z: Tensor, y: Tensor, weight: Any = None, pos_weight: Any = None, how: int = 1
) -> Tensor | None:
    if weight is not None or pos_weight is not None:
        return None
    with mode:
        _ = torch.sigmoid(z)
        return _reduced(torch.nn.functional.softplus(z) - y * z, how)


def _softplus(mode: Any, z: Tensor, *_rest: Any) -> None:
    with mode:
        torch.sigmoid(z)  # its derivative: derivations speak of it


def _log_sigmoid(mode: Any, z: Tensor) -> Any:
    with mode:
        return torch.log(torch.sigmoid(z)), z.new_zeros(0)


def _silu(mode: Any, z: Tensor) -> Tensor:
    with mode:
        return z * torch.sigmoid(z)


def _mse(mode: Any, p: Tensor, y: Tensor, how: int = 1) -> Tensor:
    with mode:
        return _reduced((p - y) ** 2, how)


def _huber(mode: Any, p: Tensor, y: Tensor, how: int = 1, delta: float = 1.0) -> Tensor:
    with mode:
        r = p - y
        near, far = r**2 / 2, delta * (r.abs() - delta / 2)
        return _reduced(torch.where(r.abs() <= delta, near, far), how)


def _smooth_l1(mode: Any, p: Tensor, y: Tensor, how: int = 1, beta: float = 1.0) -> Tensor | None:
    if beta == 0:
        return None
    with mode:
        r = p - y
        near, far = r**2 / (2 * beta), r.abs() - beta / 2
        return _reduced(torch.where(r.abs() < beta, near, far), how)


def _reduced(loss: Tensor, how: int) -> Tensor:
    """0 none, 1 mean, 2 sum: torch's codes for a loss's reduction."""
    return loss.mean() if how == 1 else loss.sum() if how == 2 else loss


def _var(
    mode: Any, x: Tensor, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> Tensor:
    dims = list(range(x.dim())) if dim is None else dim
    with mode:
        centred = x - x.mean(dims, keepdim=True)
        squares = (centred**2).sum(dims, keepdim=keepdim)
        return squares / (x.numel() / squares.numel() - (1 if correction is None else correction))


def _std(mode: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    var = _var(mode, x, *args, **kwargs)
    with mode:
        return var.sqrt()


def _norm(
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
    return _normalised(mode, x, dims, gain, bias, eps, [1] * (x.dim() - len(shape)) + list(shape))


def _batch_norm(
    mode: Any,
    x: Tensor,
    gain: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    _momentum: float,
    eps: float,
) -> Any:
    if not training or mean is not None or var is not None:
        return None
    dims = [d for d in range(x.dim()) if d != 1]
    return _normalised(mode, x, dims, gain, bias, eps, [1, -1] + [1] * (x.dim() - 2))


def _normalised(
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


DECOMPOSED: dict[str, Any] = {
    "aten._softmax.default": _softmax,
    "aten._safe_softmax.default": lambda mode, z, dim, _dtype=None: _softmax(mode, z, dim),
    "aten._log_softmax.default": _log_softmax,
    "aten.logsumexp.default": _logsumexp,
    "aten.nll_loss_forward.default": _nll_loss,
    "aten.binary_cross_entropy.default": _bce,
    "aten.binary_cross_entropy_with_logits.default": _bce_with_logits,
    "aten.softplus.default": _softplus,
    "aten.log_sigmoid_forward.default": _log_sigmoid,
    "aten.silu.default": _silu,
    "aten.mse_loss.default": _mse,
    "aten.huber_loss.default": _huber,
    "aten.smooth_l1_loss.default": _smooth_l1,
    "aten.var.correction": _var,
    "aten.std.correction": _std,
    "aten.linalg_vector_norm.default": _norm,
    "aten.native_layer_norm.default": _layer_norm,
    "aten.native_batch_norm.default": _batch_norm,
    "aten.addmm.default": _addmm,
}
"""Operation -> its steps; a rule that returns None leaves the operation as it is."""
