"""Import torch for a command, and find the device of its ``--device`` argument."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gd_torch.cli import torchrun
from gd_torch.cli.parser import UsageError
from gd_torch.torch_loading import load_torch

if TYPE_CHECKING:
    import torch


def find_device(name: str) -> torch.device:
    """The torch device of a ``--device`` argument.

    Raises:
        UsageError: torch has no such device.
    """
    load_torch()
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torchrun.launched():
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"argument --device: {name} asked for, but torch sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"argument --device: {name} asked for, but torch sees {torch.cuda.device_count()} "
            "CUDA device(s)"
        )
    return device
