"""Atomic files, checkpoints, and the directories of runs and sweeps."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gd_torch.storage.atomic_files import CorruptFileError, atomic_write
    from gd_torch.storage.directories import DirectoryInUseError, RunLockedError
    from gd_torch.storage.run_directory import RunDirectory
    from gd_torch.storage.sweep_directory import SweepDirectory

__all__ = [
    "CorruptFileError",
    "DirectoryInUseError",
    "RunDirectory",
    "RunLockedError",
    "SweepDirectory",
    "atomic_write",
]

_MODULES = {
    "CorruptFileError": "atomic_files",
    "DirectoryInUseError": "directories",
    "RunDirectory": "run_directory",
    "RunLockedError": "directories",
    "SweepDirectory": "sweep_directory",
    "atomic_write": "atomic_files",
}
"""The module that defines each name; loaded on first use, because some import torch."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
