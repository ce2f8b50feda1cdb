"""The state of a run as bytes: weights to the last bit, under a checksum, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gd_torch.storage.atomic_files import Damaged, read_bounded, seal, unseal, write_whole
from gd_torch.typing import Weights

FORMAT, VERSION = "gd_torch checkpoint", 1

TEXT = 1_000_000
"""Entries of the weights that are written as text, at most.

Text can be read, compared and mended by people, and costs nothing below this: a million entries
take 22 MB and half a second. Above it the same numbers are raw little-endian bytes, a third of the
size and a fiftieth of the time, in front of the same JSON under the same checksum.
"""

ROOM = 1 << 16
"""Bytes of a checkpoint beside its weights, at most: the settings and a few numbers."""

ENTRY = 28
"""Bytes of the longest entry as text, with its quotes and its comma."""

FIELDS = ("format", "version", "settings", "step", "steps", "history", "weights")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on.

    Attributes:
        settings: what the run is, ready for JSON.
        step: how many updates have led to the weights.
        steps: how many are asked for.
        history: bytes of the history that belong to this step, and their SHA-256.
        weights: finite.
    """

    settings: Mapping[str, Any]
    step: int
    steps: int
    history: tuple[int, str]
    weights: Weights


def name_for(weights: Weights) -> str:
    """The file's name: text below :data:`TEXT` entries, else raw bytes."""
    return "checkpoint.json" if _entries(weights) <= TEXT else "checkpoint.raw"


def write_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Replace the directory's checkpoint.

    Raises:
        ValueError: a weight is not finite.
        OSError: it could not be written; the old one is as it was.
    """
    weights = checkpoint.weights
    if not all(bool(torch.isfinite(w).all()) for w in weights):
        raise ValueError("`weights` must be finite, got NaN or infinity")
    as_text = _entries(weights) <= TEXT
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "settings": checkpoint.settings,
        "step": checkpoint.step,
        "steps": checkpoint.steps,
        "history": {"bytes": checkpoint.history[0], "sha256": checkpoint.history[1]},
        "weights": [_described(w) | ({"entries": _written(w)} if as_text else {}) for w in weights],
    }
    raw = b"" if as_text else to_bytes(weights)
    write_whole(directory / name_for(weights), seal(fields, raw))


def read_checkpoint(directory: Path, like: Weights) -> Checkpoint:
    """Read the directory's checkpoint; nothing in it is executed.

    Args:
        directory: where :func:`write_checkpoint` put it.
        like: tensors of the shapes, dtypes and device that the weights must have. They limit how
            much is read.

    Raises:
        Damaged: it is not a whole checkpoint of this version with such weights, all finite.
        OSError: it cannot be read.
    """
    path = directory / name_for(like)
    as_text = _entries(like) <= TEXT
    raw = 0 if as_text else sum(w.numel() * w.element_size() for w in like)
    data = read_bounded(path, ROOM + (ENTRY * _entries(like) if as_text else raw))
    fields = unseal(path, data, raw)
    if fields.get("format") != FORMAT:
        raise Damaged(path, f"no {FORMAT}")
    version = fields.get("version")
    if type(version) is not int or version != VERSION:
        raise Damaged(path, f"format version {version!r:.50}, {VERSION} is read here")
    if tuple(fields) != FIELDS:
        raise Damaged(path, "its members are not those of a checkpoint")
    settings, step, steps, history = (fields[name] for name in FIELDS[2:6])
    if not isinstance(settings, dict):
        raise Damaged(path, "its settings are no object")
    if not (_whole(step) and _whole(steps) and step <= steps):
        raise Damaged(path, "its step must be a whole number from 0 to its steps")
    if not isinstance(history, dict) or tuple(history) != ("bytes", "sha256"):
        raise Damaged(path, "its history must have a length and a checksum")
    length, digest = history.values()
    if not _whole(length) or not isinstance(digest, str):
        raise Damaged(path, "its history must have a length and a checksum")
    weights = _weights(path, fields["weights"], like, data[:raw])
    return Checkpoint(settings, step, steps, (length, digest), weights)


def _weights(path: Path, found: Any, like: Weights, raw: bytes) -> Weights:
    """The weights, or a refusal: shapes and dtypes first, then the numbers."""
    expected = [_described(w) for w in like]
    plain = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    if not plain or [{k: each[k] for k in each if k != "entries"} for each in found] != expected:
        raise Damaged(path, f"its weights must be {expected}")
    if raw:
        weights = from_bytes(raw, like)
    else:
        weights = tuple(
            _read(path, each.get("entries"), w) for each, w in zip(found, like, strict=True)
        )
    if not all(bool(torch.isfinite(w).all()) for w in weights):
        raise Damaged(path, "its weights hold NaN or infinity")
    return weights


def _described(w: Tensor) -> dict[str, Any]:
    return {"dtype": str(w.dtype).removeprefix("torch."), "shape": list(w.shape)}


def _entries(weights: Weights) -> int:
    return sum(w.numel() for w in weights)


def _whole(given: object) -> bool:
    return type(given) is int and 0 <= given < 2**63


# ---------------------------------------------------------------- numbers


def _written(w: Tensor) -> list[str]:
    """Every entry in hexadecimal, which is exact."""
    return [entry.hex() for entry in w.double().flatten().tolist()]


def _read(path: Path, entries: Any, like: Tensor) -> Tensor:
    """The tensor of these entries, each in the one form in which it is written."""
    if not isinstance(entries, list) or len(entries) != like.numel():
        raise Damaged(
            path, f"a weight of shape {list(like.shape)} must have {like.numel()} entries"
        )
    try:
        numbers = [float.fromhex(entry) for entry in entries]
        tensor = torch.tensor(numbers, dtype=torch.float64, device="cpu").to(like.dtype)
        same = _written(tensor) == entries
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise Damaged(
            path, f"an entry of its weights is no {_described(like)['dtype']} in hexadecimal"
        )
    return tensor.reshape(like.shape).to(like.device)


def to_bytes(tensors: Weights) -> bytes:
    """All entries of all tensors, little-endian, in their order."""
    packed = bytearray()
    for w in tensors:
        flat = bytearray(w.numel() * w.element_size())
        torch.frombuffer(flat, dtype=w.dtype).copy_(w.flatten())
        packed += flat
    return bytes(packed)


def from_bytes(packed: bytes, like: Weights) -> Weights:
    """The tensors that :func:`to_bytes` packed, with the shapes, dtypes and devices of ``like``."""
    tensors, start = [], 0
    for w in like:
        end = start + w.numel() * w.element_size()
        flat = torch.frombuffer(bytearray(packed[start:end]), dtype=w.dtype)
        tensors.append(flat.reshape(w.shape).to(w.device))
        start = end
    return tuple(tensors)
