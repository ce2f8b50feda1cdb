"""Commands in several processes started by torchrun: only the first process prints and writes.

Without torchrun these functions have no effect. The module does not import torch at the top.
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

ERROR_DELAY_SECONDS = 10.0
"""How long other processes wait before they report an error, so that the first one reports it."""


def rank() -> int:
    """The rank of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ["RANK"]) if launched() else 0


def launched() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def message(text: str) -> str:
    """The text that this process prints before it exits with an error.

    An error of all processes is printed by the first one only: when it exits, torchrun ends the
    others while they wait here. A process that is still running after the wait has an error of its
    own, and prints it.
    """
    if rank():
        time.sleep(ERROR_DELAY_SECONDS)
        return f"[process {rank()}] {text}"
    return text


@contextmanager
def joined_processes(arguments: argparse.Namespace, device: torch.device) -> Iterator[None]:
    """Join the other processes; all but the first one print nothing and write no files."""
    if not launched():
        yield
        return
    import torch.distributed as dist

    backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=timedelta(days=7))  # a dead process ends the job
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until exit
        warnings.simplefilter("ignore")
        arguments.quiet = True
        for name in ("json", "figure", "export"):
            setattr(arguments, name, None)
    try:
        yield
    finally:
        dist.destroy_process_group()
