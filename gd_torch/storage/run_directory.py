"""A run directory: settings, history and checkpoint of one descent, held by one process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gd_torch.storage.atomic_files import (
    PARTIAL,
    Damaged,
    about,
    make_directory,
    write_all,
    write_whole,
)
from gd_torch.storage.checkpoint import Checkpoint, name_for, read_checkpoint, write_checkpoint
from gd_torch.storage.directories import (
    SETTINGS,
    Busy,
    Kind,
    Occupied,
    check_ours,
    clear,
    locked,
    new_directory,
    read_settings,
    sealed_settings,
)
from gd_torch.typing import Weights

__all__ = ["Busy", "Occupied", "Run", "has_run", "new_directory"]

HISTORY = "history.jsonl"

STATES = ("checkpoint.json", "checkpoint.raw")

KIND = Kind(
    "gd_torch settings",
    re.compile(
        rf"lock|{HISTORY}|(settings|checkpoint)\.json({PARTIAL})?|checkpoint\.raw({PARTIAL})?"
    ),
    1 << 16,
)
"""A run directory, whose settings have at most 64 KiB."""


def has_run(directory: Path) -> bool:
    """Whether a run has begun there: its first checkpoint, or a history."""
    history = directory / HISTORY
    written = history.is_symlink() or (history.exists() and history.stat().st_size > 0)
    return written or any(os.path.lexists(directory / name) for name in STATES)


class Run:
    """A run directory, held by this process until it is closed or the process ends.

    The kernel holds the lock, so that none outlives its process. The history is only ever appended
    to; every checkpoint knows which part of it is its own, and going on begins by cutting off the
    rest. So history and weights agree whenever the process is killed.

    Args:
        directory: made if there is none.

    Raises:
        Busy: another process holds it.
        Occupied: it holds something, and no run.
        OSError: it cannot be made or written to.

    >>> import tempfile, torch
    >>> start = (torch.tensor([2.0]),)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with Run(Path(place) / "first") as run:
    ...         run.create({"learning_rate": 0.1}, 50, start)
    ...         run.append({"step": 10, "loss": 0.5})
    ...         run.save(10, (torch.tensor([1.5]),))
    ...     with Run(Path(place) / "first") as run:
    ...         state = run.resume(start)
    ...         state.step, state.steps, state.weights, run.settings()
    (10, 50, (tensor([1.5000]),), {'learning_rate': 0.1})
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.steps = 0
        self._settings: Mapping[str, Any] = {}
        self._history = -1
        make_directory(directory)
        self._lock = locked(directory, KIND)

    def create(
        self, settings: Mapping[str, Any], steps: int, start: Weights, *, overwrite: bool = False
    ) -> None:
        """Begin a run here: its settings, an empty history and a checkpoint of step 0.

        Args:
            settings: what the run is, ready for JSON, in at most 64 KiB.
            steps: how many updates it shall make.
            start: finite weights.
            overwrite: delete a run that is here already.

        Raises:
            Occupied: there is a run and ``overwrite`` is not set, or anything that is no run.
            ValueError: the settings are too large.
        """
        sealed = sealed_settings(KIND, settings)
        if len(sealed) > KIND.room:
            raise ValueError(f"`settings` must fit into {KIND.room} bytes, got {len(sealed)}")
        check_ours(self.directory, KIND)
        if has_run(self.directory) and not overwrite:
            raise Occupied(f"{self.directory}: holds a run already")
        clear(self.directory, STATES)  # the state first: no half of a run
        write_whole(self.directory / SETTINGS, sealed)
        self._settings = settings
        self._open_history(os.O_CREAT | os.O_EXCL)
        self.save(0, start, steps)

    def settings(self) -> dict[str, Any]:
        """The settings that the run was created with.

        Raises:
            Damaged: their file is not what was written.
        """
        return read_settings(self.directory, KIND)

    def resume(self, like: Weights) -> Checkpoint:
        """Go on: the checkpoint, with the history cut to what belongs to it.

        Args:
            like: tensors of the shapes, dtypes and device that the weights must have.

        Raises:
            Damaged: a file is not what was written, or does not belong to the others.
        """
        settings, state = self.settings(), read_checkpoint(self.directory, like)
        if state.settings != settings:
            raise Damaged(self.directory / name_for(like), f"does not belong to its {SETTINGS}")
        self._settings, self.steps = settings, state.steps
        self._open_history(0)
        self._take_up(*state.history)
        return state

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line to the history; it counts from the next :meth:`save` on."""
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        with about(self.directory / HISTORY):
            write_all(self._history, line)
        self._length += len(line)
        self._digest.update(line)

    def save(self, step: int, weights: Weights, steps: int | None = None) -> None:
        """Replace the checkpoint; ``steps``, if given, is how many are asked for from now on."""
        self.steps = self.steps if steps is None else steps
        with about(self.directory / HISTORY):
            os.fsync(self._history)  # a checkpoint must not promise lines that are not on the disk
        history = (self._length, self._digest.hexdigest())
        write_checkpoint(
            self.directory, Checkpoint(self._settings, step, self.steps, history, weights)
        )

    def close(self) -> None:
        """Let the directory go."""
        for handle in (self._history, self._lock):
            if handle >= 0:
                os.close(handle)
        self._history = self._lock = -1

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open_history(self, more: int) -> None:
        path = self.directory / HISTORY
        flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        if not more and (path.is_symlink() or not path.is_file()):
            raise Damaged(path, "no regular file")
        self._history = os.open(path, flags | more, 0o666)
        if not stat.S_ISREG(os.fstat(self._history).st_mode):
            raise Damaged(path, "no regular file")
        self._length, self._digest = 0, hashlib.sha256()

    def _take_up(self, length: int, digest: str) -> None:
        """Check the part that belongs to the checkpoint, and cut off what came after it."""
        path = self.directory / HISTORY
        if os.fstat(self._history).st_size < length:
            raise Damaged(path, f"shorter than the {length} bytes that its checkpoint knows of")
        while part := os.pread(self._history, min(1 << 20, length - self._length), self._length):
            self._digest.update(part)
            self._length += len(part)
        if self._digest.hexdigest() != digest:
            raise Damaged(path, "not the history that belongs to its checkpoint")
        with about(path):
            os.ftruncate(self._history, length)
