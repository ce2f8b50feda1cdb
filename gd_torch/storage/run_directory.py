"""A run directory: settings, history and checkpoint of one descent, used by one process."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gd_torch.storage.atomic_files import (
    SAFE_FLAGS,
    CorruptFileError,
    errors_naming,
    open_regular,
    write_all,
)
from gd_torch.storage.checkpoint import (
    Checkpoint,
    checkpoint_name,
    read_checkpoint,
    write_checkpoint,
)
from gd_torch.storage.directories import (
    SETTINGS,
    DirectoryFormat,
    DirectoryInUseError,
    LockedDirectory,
    dump_settings,
)
from gd_torch.typing import Weights

HISTORY = "history.jsonl"

CHECKPOINTS = ("checkpoint.json", "checkpoint.raw")

FORMAT = DirectoryFormat("gd_torch settings", re.compile("|".join((HISTORY, *CHECKPOINTS))))


def has_run(directory: Path) -> bool:
    """Whether a directory contains a started run: a checkpoint, or a history that is not empty."""
    history = directory / HISTORY
    written = history.is_symlink() or (history.exists() and history.stat().st_size > 0)
    return written or any(os.path.lexists(directory / name) for name in CHECKPOINTS)


class RunDirectory(LockedDirectory):
    """A run directory, locked until it is closed or the process ends.

    The history is only appended to. Every checkpoint stores how long the history was and its
    SHA-256, and resuming truncates the history to that length. So history and weights agree,
    whenever the process is killed.

    Args:
        directory: made if it does not exist.

    Raises:
        RunLockedError: another process is using it.
        DirectoryInUseError: it contains something, but no run.
        OSError: it cannot be made or written to.

    >>> import tempfile, torch
    >>> start = (torch.tensor([2.0]),)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with RunDirectory(Path(parent) / "first") as run:
    ...         run.create({"learning_rate": 0.1}, 50, start)
    ...         run.append({"step": 10, "loss": 0.5})
    ...         run.save(10, (torch.tensor([1.5]),))
    ...     with RunDirectory(Path(parent) / "first") as run:
    ...         checkpoint = run.resume(start)
    ...         checkpoint.step, checkpoint.steps, checkpoint.weights, run.settings()
    (10, 50, (tensor([1.5000]),), {'learning_rate': 0.1})
    """

    def __init__(self, directory: Path) -> None:
        self.steps = 0
        self._settings: Mapping[str, Any] = {}
        self._history = -1
        super().__init__(directory, FORMAT)

    def create(
        self, settings: Mapping[str, Any], steps: int, start: Weights, *, overwrite: bool = False
    ) -> None:
        """Create a run: its settings, an empty history and a checkpoint of step 0.

        Args:
            settings: of the run, ready for JSON, at most 64 KiB.
            steps: how many updates are asked for.
            start: finite weights.
            overwrite: whether to delete a run that exists.

        Raises:
            DirectoryInUseError: there is a run and ``overwrite`` is not set, or a file that does
                not belong to a run.
            ValueError: the settings are too large.
        """
        data = dump_settings(self.format, settings)
        limit = self.format.max_settings_bytes
        if len(data) > limit:
            raise ValueError(f"`settings` must fit into {limit} bytes, got {len(data)}")
        self.check_contents()
        if has_run(self.directory) and not overwrite:
            raise DirectoryInUseError(f"{self.directory}: contains a run already")
        self.replace_contents(data, first=CHECKPOINTS)  # no checkpoint without its history
        self._settings = settings
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
        self._use_history(os.open(self.directory / HISTORY, flags, 0o666))
        self.save(0, start, steps)

    def resume(self, like: Weights) -> Checkpoint:
        """Read the checkpoint, and truncate the history to what belongs to it.

        Args:
            like: tensors of the shapes, dtypes and device that the weights must have.

        Raises:
            CorruptFileError: a file is not what was written, or does not belong to the others.
        """
        settings, checkpoint = self.settings(), read_checkpoint(self.directory, like)
        if checkpoint.settings != settings:
            raise CorruptFileError(
                self.directory / checkpoint_name(like), f"does not belong to its {SETTINGS}"
            )
        self._settings, self.steps = settings, checkpoint.steps
        self._use_history(open_regular(self.directory / HISTORY, os.O_RDWR | os.O_APPEND))
        self._truncate_history(*checkpoint.history)
        return checkpoint

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one line to the history; it is kept from the next :meth:`save` on."""
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with errors_naming(self.directory / HISTORY):
            write_all(self._history, line)
        self._length += len(line)
        self._digest.update(line)

    def save(self, step: int, weights: Weights, steps: int | None = None) -> None:
        """Replace the checkpoint; ``steps``, if given, is how many are asked for from now on."""
        self.steps = self.steps if steps is None else steps
        with errors_naming(self.directory / HISTORY):
            os.fsync(self._history)  # its lines must reach the disk before the checkpoint
        history = (self._length, self._digest.hexdigest())
        checkpoint = Checkpoint(self._settings, step, self.steps, history, weights)
        write_checkpoint(self.directory, checkpoint)

    def close(self) -> None:
        """Release the directory."""
        self._use_history(-1)
        super().close()

    def _use_history(self, descriptor: int) -> None:
        if self._history >= 0:
            os.close(self._history)
        self._history = descriptor
        self._length, self._digest = 0, hashlib.sha256()

    def _truncate_history(self, length: int, digest: str) -> None:
        """Verify the part that belongs to the checkpoint, and delete what follows it."""
        path = self.directory / HISTORY
        if os.fstat(self._history).st_size < length:
            raise CorruptFileError(path, f"shorter than the {length} bytes that its checkpoint has")
        os.lseek(self._history, 0, os.SEEK_SET)
        while part := os.read(self._history, min(1 << 20, length - self._length)):
            self._digest.update(part)
            self._length += len(part)
        if self._digest.hexdigest() != digest:
            raise CorruptFileError(path, "does not belong to its checkpoint")
        with errors_naming(path):
            os.ftruncate(self._history, length)
