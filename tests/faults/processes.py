"""Real processes of train.py on a run directory, and what they leave there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TRAIN = Path(__file__).resolve().parents[2] / "scripts" / "train.py"

TIMEOUT_SECONDS = 120
"""After this time a process counts as hanging."""

NET = ("--hidden", "600", "--record-every", "5", "--stepper", "eager")
"""A net whose checkpoint takes long enough to write for a kill to hit it."""


def command_line(directory: Path, *more: str) -> list[str]:
    """The real script on a run directory."""
    return [sys.executable, str(TRAIN), "--run", str(directory), *more]


def start(
    line: list[str],
    *,
    cwd: Path | None = None,
    file_size: int | None = None,
    **environment: str,
) -> subprocess.Popen[str]:
    """Start a process, with a limit on the size of its files if one is given."""

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.Popen(
        line,
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end: exit status, stdout, stderr."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, out, err


def run_to_end(line: list[str], **how: object) -> tuple[int, str, str]:
    """Run to the end."""
    return finish(start(line, **how))


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> bool:
    """Whether something happened before the process ended."""
    until = time.monotonic() + TIMEOUT_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if happened():
            return True
        time.sleep(0.002)
    return False


def uninterrupted_run(directory: Path, steps: int, *more: str) -> dict[str, bytes]:
    """The files of a run that nothing interrupts."""
    status, _, err = run_to_end(command_line(directory, "--steps", str(steps), *more))
    if status:
        raise RuntimeError(f"the uninterrupted run ended with status {status}: {err}")
    return files(directory)


def files(directory: Path) -> dict[str, bytes]:
    """History and checkpoint, byte for byte."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.glob("*"))
        if path.name in ("history.jsonl", "checkpoint.json")
    }


def saved_step(directory: Path, hidden: int = 600) -> int:
    """The step of the checkpoint, read and checked in full; -1 where there is none.

    Raises:
        CorruptFileError: it cannot be read.
    """
    import torch

    from gd_torch.storage.checkpoint import read_checkpoint

    if not (directory / "checkpoint.json").exists():
        return -1
    like = (torch.zeros(4, hidden).double(), torch.zeros(hidden, 3).double())
    return read_checkpoint(directory, like).step
