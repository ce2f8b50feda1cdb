"""A compiled function is run between guards before it is trusted with memory.

Transposed stores that Inductor generates in torch 2.13 write beyond their buffer for some shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

GUARD, MARK = 4096, 77
"""Entries before and behind a buffer that nothing may write to, and what they hold."""


def overruns(
    compiled: Callable[[list[Tensor]], Any],
    names: dict[str, Any],
    inputs: Sequence[Tensor],
    changed: int,
) -> bool:
    """Whether a run on copies writes beyond a buffer.

    Args:
        compiled: takes a list of tensors, and allocates by ``names["empty_strided_cpu"]``.
        inputs: what it is run on; the first ``changed`` of them it works on in place.
    """
    made: list[tuple[Tensor, int]] = []

    def guarded(size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        spans = ((n - 1) * step for n, step in zip(size, stride, strict=True))
        entries = 1 + sum(spans) if all(size) else 0
        flat = torch.full((entries + 2 * GUARD,), MARK, dtype=dtype, device="cpu")
        made.append((flat, entries))
        return flat[GUARD : GUARD + entries].as_strided(size, stride)

    copies = [guarded(t.shape, t.stride(), t.dtype).copy_(t) for t in inputs[:changed]]
    allocate = names["empty_strided_cpu"]
    names["empty_strided_cpu"] = guarded
    try:
        compiled([*copies, *inputs[changed:]])
    finally:
        names["empty_strided_cpu"] = allocate
    around = (torch.cat([flat[:GUARD], flat[GUARD + n :]]) for flat, n in made)
    return any(bool((each != torch.full((), MARK, dtype=each.dtype)).any()) for each in around)
