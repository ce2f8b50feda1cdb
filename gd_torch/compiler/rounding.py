"""A torch dispatch mode that adds rounding noise to the results of all operations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_VIEWS = "detach alias lift lift_fresh _unsafe_view _reshape_alias contiguous"
_CREATION = (
    "empty empty_like empty_strided new_empty new_empty_strided zeros zeros_like new_zeros ones "
    "ones_like new_ones full full_like new_full fill fill_ zero zero_ arange scalar_tensor eye "
    "linspace one_hot tril_indices triu_indices"
)
_RANDOM = "rand rand_like randn randn_like bernoulli bernoulli_ uniform_ normal_ normal randperm"
_SELECTION = (
    "clone copy copy_ _to_copy neg neg_ abs sign sgn relu relu_ threshold threshold_backward "
    "clamp clamp_ clamp_min clamp_max maximum minimum fmax fmin max min amax amin where gather "
    "index index_select select_backward slice_backward masked_fill masked_fill_ cat stack flip "
    "roll repeat constant_pad_nd floor ceil round trunc frac heaviside sort topk tril triu "
    "embedding nan_to_num slice_scatter select_scatter as_strided_scatter diagonal_backward"
)
EXACT = frozenset(f"aten::{n}" for n in " ".join((_VIEWS, _CREATION, _RANDOM, _SELECTION)).split())
"""Operations that do not round."""

_SUMMED_ARGUMENT = {"mm": 0, "mv": 0, "bmm": 0, "addmm": 1, "addmv": 1, "baddbmm": 1}
"""Matrix products: the argument whose last dimension is summed over."""

CANCELLING = frozenset(("aten::_log_softmax", "aten::logsumexp"))
"""Operations that internally subtract numbers of about 1 or larger, so that the absolute rounding
error can exceed that of the result."""

_DOT_PRODUCTS = frozenset(f"aten::{name}" for name in ("dot", "vdot"))


class RoundingNoise(TorchDispatchMode):
    """Multiplies each floating result of an operation by 1 + eps a u, 1/2 <= |u| <= 1 and random.

    eps belongs to the result's dtype. a = max(1, sqrt(k) / 4) where k terms were summed for one
    entry: a sequential sum of k equal terms has a random rounding error of about
    eps sqrt(k) / 6. Views, integers and operations that do not round are not changed. The mode has
    its own generators of random numbers.

    Args:
        seed: seed of the generators.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler, which takes a second

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        out = func(*args, **(kwargs or {}))
        if func.is_view or func._schema.name in EXACT:
            return out
        terms = summed_terms(func._schema.name, args, out)
        if isinstance(out, tuple | list):
            written = [_is_written(returned) for returned in func._schema.returns]
            written += [False] * (len(out) - len(written))  # a list is one returned value
            return type(out)(map(self.perturb, out, [terms] * len(out), written))
        in_place = any(map(_is_written, func._schema.returns))
        return self.perturb(out, terms, in_place, func._schema.name in CANCELLING)

    def perturb(
        self, result: Any, terms: float = 1.0, in_place: bool = False, cancelling: bool = False
    ) -> Any:
        """The result with noise, or the result itself if it is not floating-point or complex."""
        if not isinstance(result, Tensor) or not (
            result.is_floating_point() or result.is_complex()
        ):
            return result
        real = torch.empty((), dtype=result.dtype).abs().dtype  # of a complex dtype
        u = torch.rand(
            result.shape, generator=self._generator(result.device), dtype=real, device=result.device
        )
        u = 2 * u - 1
        u = (u + u.sign()) / 2  # |u| >= 1/2, since 1 + eps u rounds to 1 near 0
        noise = u * (torch.finfo(result.dtype).eps * max(1.0, math.sqrt(terms) / 4))
        if cancelling:
            return result + noise * (1 + result.abs())
        return result.mul_(1 + noise) if in_place else result * (1 + noise)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _is_written(returned: Any) -> bool:
    """Whether a returned value is an argument that was modified in place."""
    return returned.alias_info is not None and bool(returned.alias_info.is_write)


def summed_terms(name: str, args: Any, out: Any) -> float:
    """The number of terms that an operation sums per entry of its result; 1 if it sums nothing."""
    short = name.removeprefix("aten::")
    if short in _SUMMED_ARGUMENT:
        return max(float(args[_SUMMED_ARGUMENT[short]].shape[-1]), 1.0)
    result = out[0] if isinstance(out, tuple | list) else out
    tensors = [a for a in args if isinstance(a, Tensor)]
    if not tensors or not isinstance(result, Tensor):
        return 1.0
    if name in _DOT_PRODUCTS:
        return max(float(tensors[0].numel()), 1.0)
    if "softmax" in short or "cumsum" in short or "cumprod" in short:
        dim = next((a for a in args if type(a) is int), 0)
        return max(float(tensors[0].shape[dim]), 1.0) if tensors[0].dim() else 1.0
    if "convolution" in short:
        return max(max(t.numel() for t in tensors) / max(result.shape[0], 1), 1.0)
    return max(max(t.numel() for t in tensors) / max(result.numel(), 1), 1.0)
