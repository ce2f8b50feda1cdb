"""Directories that are ours: their settings, their lock, and what in them may be deleted."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gd_torch.storage.atomic_files import (
    PARTIAL,
    Damaged,
    about,
    make_directory,
    read_bounded,
    seal,
    sync_directory,
    unseal,
)

SETTINGS, LOCK = "settings.json", "lock"

PATIENCE = 0.3
"""Seconds in which the holder of a lock has surely written down who it is."""


class Busy(ValueError):
    """Another process holds the run directory."""


class Occupied(ValueError):
    """A directory holds what must not be overwritten."""


class Kind(NamedTuple):
    """What tells the directories of one kind from all others.

    Attributes:
        settings: the format that their settings name.
        files: the names of all files that they consist of; nothing else is ever deleted.
        room: bytes of their settings, at most.
    """

    settings: str
    files: re.Pattern[str]
    room: int


def new_directory(parent: Path) -> Path:
    """Make a directory with a fresh name, today's date and a number, that no one else has made."""
    make_directory(parent)
    number = 1
    while True:
        directory = parent / f"{time.strftime('%Y-%m-%d')}-{number:03}"
        try:
            directory.mkdir()
        except FileExistsError:
            number += 1
            continue
        sync_directory(parent)
        return directory


def sealed_settings(kind: Kind, settings: Mapping[str, Any]) -> bytes:
    """The settings file."""
    return seal({"format": kind.settings, "version": 1, "settings": settings})


def read_settings(directory: Path, kind: Kind) -> dict[str, Any]:
    """The settings that a directory was begun with.

    Raises:
        Damaged: their file is not what was written.
    """
    path = directory / SETTINGS
    fields = unseal(path, read_bounded(path, kind.room))
    settings = fields.get("settings")
    if fields != {"format": kind.settings, "version": 1, "settings": settings}:
        raise Damaged(path, f"no {kind.settings} of version 1")
    if not isinstance(settings, dict):
        raise Damaged(path, "its settings are no object")
    return settings


def has_settings(directory: Path, kind: Kind) -> bool:
    """Whether there are settings as we write them."""
    try:
        read_settings(directory, kind)
    except Damaged:
        return False
    return True


def check_ours(directory: Path, kind: Kind) -> None:
    """Raise unless all that lies in a directory is ours.

    Its settings come first and go last: without them a file is not ours, whatever its name.

    Raises:
        Occupied: it holds something else.
    """
    names = sorted(os.listdir(directory))
    for name in names:
        if not kind.files.fullmatch(name):
            raise Occupied(f"{directory}: holds {name}, which is no part of a run")
    begun = [name for name in names if name not in (LOCK, SETTINGS + PARTIAL)]
    if begun and not has_settings(directory, kind):
        raise Occupied(f"{directory}: holds {begun[0]}, and no {SETTINGS} of a run beside it")


def clear(directory: Path, first: Sequence[str] = ()) -> None:
    """Delete all but the lock; in this order, then the rest, the settings last."""
    names = (name for name in os.listdir(directory) if name not in (LOCK, SETTINGS))
    for name in (*first, *names, SETTINGS):
        (directory / name).unlink(missing_ok=True)


def locked(directory: Path, kind: Kind) -> int:
    """A handle of the directory's lock, held by this process, whose number is in it.

    None is made in a directory that is not ours.

    Raises:
        Busy: another process holds it.
        Occupied: the directory, or the lock in it, is not ours.
        OSError: it cannot be made or written to.
    """
    path = directory / LOCK
    if not os.path.lexists(path) and not has_settings(directory, kind):
        check_ours(directory, kind)
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    until = time.monotonic() + PATIENCE
    while True:
        handle = os.open(path, flags, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            os.close(handle)
            if _alive(pid) or time.monotonic() > until:
                who = f"process {pid}" if pid.isdigit() else "another process"
                raise Busy(f"{path.parent}: {who} is running in it") from None
            time.sleep(0.01)
            continue
        try:
            with about(path):
                if not re.fullmatch(rb"[0-9]{0,20}\n?", os.pread(handle, 30, 0)):
                    raise Occupied(f"{path.parent}: holds {path.name}, which is no part of a run")
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except (OSError, Occupied):
            os.close(handle)
            raise
        return handle


def _alive(pid: str) -> bool:
    """Whether there is such a process; a number left by a killed holder is none."""
    return pid.isdigit() and os.path.exists(f"/proc/{pid}")
