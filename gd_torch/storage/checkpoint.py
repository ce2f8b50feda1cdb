"""Checkpoints: the exact weights of a run with its settings and step, under a checksum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gd_torch.storage.atomic_files import (
    CorruptFileError,
    atomic_write,
    dump_checksummed,
    load_checksummed,
    read_bounded,
)
from gd_torch.typing import Weights

FORMAT, VERSION = "gd_torch checkpoint", 1

MAX_TEXT_ENTRIES = 1_000_000
"""Most entries of weights that are written as text.

Text can be read and compared by people, and is cheap up to here: a million entries take 22 MB and
half a second. More entries are written as raw little-endian bytes, a third of the size in a
fiftieth of the time, before the same JSON under the same checksum.
"""

MAX_OTHER_BYTES = 1 << 16
"""Most bytes of a checkpoint beside its weights: the settings and a few numbers."""

ENTRY_BYTES = 28
"""Bytes of the longest entry as text, with its quotes and its comma."""

FIELDS = ("settings", "step", "steps", "history", "weights")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is needed to resume a run.

    Attributes:
        settings: of the run, ready for JSON.
        step: number of updates that led to the weights.
        steps: number of updates that are asked for.
        history: length in bytes of the history up to this step, and its SHA-256.
        weights: finite.
    """

    settings: Mapping[str, Any]
    step: int
    steps: int
    history: tuple[int, str]
    weights: Weights


def checkpoint_name(weights: Weights) -> str:
    """The file's name: text up to :data:`MAX_TEXT_ENTRIES` entries, else raw bytes."""
    return "checkpoint.json" if _is_text(weights) else "checkpoint.raw"


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint of a directory.

    Raises:
        ValueError: a weight is not finite.
        OSError: it could not be written; the old one is unchanged.
    """
    weights = checkpoint.weights
    if not _all_finite(weights):
        raise ValueError("`weights` must be finite, got NaN or infinity")
    as_text = _is_text(weights)
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "settings": checkpoint.settings,
        "step": checkpoint.step,
        "steps": checkpoint.steps,
        "history": {"bytes": checkpoint.history[0], "sha256": checkpoint.history[1]},
        "weights": [_described(w) | ({"entries": _to_text(w)} if as_text else {}) for w in weights],
    }
    raw = b"" if as_text else to_bytes(weights)
    atomic_write(directory / checkpoint_name(weights), dump_checksummed(fields, raw))


def read_checkpoint(directory: Path, like: Weights) -> Checkpoint:
    """Read the checkpoint of a directory; nothing in it is executed.

    Args:
        directory: where :func:`write_checkpoint` wrote it.
        like: tensors of the shapes, dtypes and device that the weights must have. They limit how
            much is read.

    Raises:
        CorruptFileError: it is not a complete checkpoint of this version with such weights, all
            finite.
        OSError: it cannot be read.
    """
    path = directory / checkpoint_name(like)
    as_text = _is_text(like)
    raw_bytes = 0 if as_text else sum(w.numel() * w.element_size() for w in like)
    weights_bytes = ENTRY_BYTES * _entries(like) if as_text else raw_bytes
    data = read_bounded(path, MAX_OTHER_BYTES + weights_bytes)
    fields = load_checksummed(path, data, FORMAT, VERSION, raw_bytes=raw_bytes)
    if tuple(fields) != FIELDS:
        raise CorruptFileError(path, "its members are not those of a checkpoint")
    settings, step, steps, history, weights = fields.values()
    if not isinstance(settings, dict):
        raise CorruptFileError(path, "its settings must be an object")
    if not (_is_count(step) and _is_count(steps) and step <= steps):
        raise CorruptFileError(path, "its step must be a whole number from 0 to its steps")
    match history:
        case {"bytes": length, "sha256": str(digest)} if len(history) == 2 and _is_count(length):
            return Checkpoint(
                settings, step, steps, (length, digest), _weights(path, weights, like, data)
            )
    raise CorruptFileError(path, "its history must have a length and a checksum")


def _weights(path: Path, found: Any, like: Weights, data: bytes) -> Weights:
    """The weights of a file: first their shapes and dtypes are checked, then their numbers."""
    expected = [_described(w) for w in like]
    valid = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    if not valid or [{k: each[k] for k in each if k != "entries"} for each in found] != expected:
        raise CorruptFileError(path, f"its weights must be {expected}")
    if _is_text(like):
        weights = tuple(
            _from_text(path, each.get("entries"), w) for each, w in zip(found, like, strict=True)
        )
    else:
        weights = from_bytes(data, like)
    if not _all_finite(weights):
        raise CorruptFileError(path, "its weights contain NaN or infinity")
    return weights


def _all_finite(weights: Weights) -> bool:
    return all(bool(torch.isfinite(w).all()) for w in weights)


def _described(w: Tensor) -> dict[str, Any]:
    return {"dtype": str(w.dtype).removeprefix("torch."), "shape": list(w.shape)}


def _entries(weights: Weights) -> int:
    return sum(w.numel() for w in weights)


def _is_text(weights: Weights) -> bool:
    return _entries(weights) <= MAX_TEXT_ENTRIES


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


# ---------------------------------------------------------------- numbers


def _to_text(w: Tensor) -> list[str]:
    """Every entry in hexadecimal, which is exact."""
    return [entry.hex() for entry in w.double().flatten().tolist()]


def _from_text(path: Path, entries: Any, like: Tensor) -> Tensor:
    """The tensor of these entries; each must be written as :func:`_to_text` writes it."""
    if not isinstance(entries, list) or len(entries) != like.numel():
        raise CorruptFileError(
            path, f"a weight of shape {list(like.shape)} must have {like.numel()} entries"
        )
    try:
        numbers = [float.fromhex(entry) for entry in entries]
        tensor = torch.tensor(numbers, dtype=torch.float64, device="cpu").to(like.dtype)
        same = _to_text(tensor) == entries
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        dtype = _described(like)["dtype"]
        raise CorruptFileError(path, f"an entry of its weights is not a {dtype} in hexadecimal")
    return tensor.reshape(like.shape).to(like.device)


def to_bytes(tensors: Weights) -> bytes:
    """The entries of all tensors, little-endian, in order."""
    data = bytearray()
    for w in tensors:
        flat = bytearray(w.numel() * w.element_size())
        torch.frombuffer(flat, dtype=w.dtype).copy_(w.flatten())
        data += flat
    return bytes(data)


def from_bytes(data: bytes, like: Weights) -> Weights:
    """Undo :func:`to_bytes`; shapes, dtypes and devices are those of ``like``."""
    tensors, start = [], 0
    for w in like:
        end = start + w.numel() * w.element_size()
        flat = torch.frombuffer(bytearray(data[start:end]), dtype=w.dtype)
        tensors.append(flat.reshape(w.shape).to(w.device))
        start = end
    return tuple(tensors)
