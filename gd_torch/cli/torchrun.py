"""Processes started by torchrun: how a script joins them, and why only the first one speaks.

Without torchrun nothing here does anything. Nothing here imports torch at the top.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GRACE = 10.0
"""Seconds in which the first process can tell an error that all have, before another tells it."""


def rank() -> int:
    """The number of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ["RANK"]) if launched() else 0


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def message(text: str) -> str:
    """What this process is to say before it ends with an error.

    An error that all processes have is told by the first one, whose end makes torchrun end the
    others while they wait here. One that is still there had an error of its own, and tells it.
    """
    if rank():
        time.sleep(GRACE)
        return f"[process {rank()}] {text}"
    return text


@contextmanager
def joined_processes(arguments: argparse.Namespace, device: torch.device) -> Iterator[None]:
    """Join the other processes; all but the first print, show and write nothing."""
    if not launched():
        yield
        return
    import torch.distributed as dist

    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=timedelta(days=7))  # a dead process ends the job
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        warnings.simplefilter("ignore")
        arguments.quiet = True
        for name in ("json", "figure", "export"):
            setattr(arguments, name, None)
    try:
        yield
    finally:
        dist.destroy_process_group()
