"""Result files, written whole or not at all."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    write_text(path, json.dumps(_plain(data), indent=2, allow_nan=False) + "\n")


def write_weights(path: Path, weights: Sequence[torch.Tensor]) -> None:
    """Write W1, W2, ... so that `torch.load(path, weights_only=True)` reads them."""
    import torch

    packed = io.BytesIO()
    torch.save({f"W{i}": W.cpu() for i, W in enumerate(weights, 1)}, packed)
    write_bytes(path, packed.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` whole or not at all."""
    from gd_torch.storage.atomic_files import atomic_write

    atomic_write(path.resolve(), data)


def _plain(data: Any) -> Any:
    """The same data for JSON, which has no inf and no nan: those become strings."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data
