"""Directories of known files: their settings, their lock, and what may be deleted in them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from filelock import BaseFileLock, FileLock, Timeout

from gd_torch.storage.atomic_files import (
    PARTIAL_FILE,
    CorruptFileError,
    atomic_write,
    dump_checksummed,
    load_checksummed,
    make_directory,
    read_bounded,
    sync_directory,
)

SETTINGS, LOCK, LOCK_OWNER = "settings.json", "lock", "lock.pid"

SETTINGS_VERSION = 1

LOCK_TIMEOUT_SECONDS = 0.3
"""How long to wait for a lock; by then its holder has written its process id."""

LOCK_CONTENT = re.compile(rb"[0-9]{0,20}(\n[ -~\n]*)?")
"""What the two files of a lock may contain: nothing, or a process id and lines of filelock."""


class RunLockedError(ValueError):
    """Another process is using the directory."""


class DirectoryInUseError(ValueError):
    """A directory contains what must not be overwritten."""


class DirectoryFormat(NamedTuple):
    """What distinguishes the directories of one format from all others.

    Attributes:
        settings_format: the format that their settings file names.
        files: the names of the files that they consist of, beside settings and lock; nothing else
            is ever deleted.
        max_settings_bytes: the largest settings file.
    """

    settings_format: str
    files: re.Pattern[str]
    max_settings_bytes: int = 1 << 16


def new_directory(parent: Path) -> Path:
    """Make a directory with an unused name: today's date and a number."""
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


class LockedDirectory:
    """A directory of one format, locked until it is closed or the process ends.

    Where the system locks files (Linux, macOS, Windows), a process that ends in any way, also by
    ``kill -9``, leaves no lock held. On file systems without such locks filelock creates a marker
    file instead, which stays after a kill until filelock finds that its process has ended.

    Args:
        directory: made if it does not exist.
        format: what it may contain.

    Raises:
        RunLockedError: another process is using it.
        DirectoryInUseError: it contains something else.
        OSError: it cannot be made or written to.
    """

    def __init__(self, directory: Path, format: DirectoryFormat) -> None:
        self.directory, self.format = directory, format
        make_directory(directory)
        self._check_lock_files()
        if not os.path.lexists(directory / LOCK) and not self._has_settings():
            self.check_contents()  # a directory of others gets no lock file
        self._lock = self._acquire_lock()

    def close(self) -> None:
        """Release the directory."""
        self._lock.release(force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def settings(self) -> dict[str, Any]:
        """The settings that the run or sweep was created with.

        Raises:
            CorruptFileError: their file is not what was written.
        """
        path = self.directory / SETTINGS
        data = read_bounded(path, self.format.max_settings_bytes)
        fields = load_checksummed(path, data, self.format.settings_format, SETTINGS_VERSION)
        if set(fields) != {"settings"} or not isinstance(fields["settings"], dict):
            raise CorruptFileError(path, "its settings must be an object")
        return dict(fields["settings"])

    def check_contents(self) -> None:
        """Raise unless every file in the directory belongs to the format.

        Settings are written first and deleted last: without them no file belongs to the format,
        whatever its name.

        Raises:
            DirectoryInUseError: the directory contains something else.
        """
        others = []
        for name in sorted(os.listdir(self.directory)):
            if name in (LOCK, LOCK_OWNER) or PARTIAL_FILE.fullmatch(name):
                continue
            if name != SETTINGS and not self.format.files.fullmatch(name):
                raise DirectoryInUseError(self._does_not_belong(name))
            others.append(name)
        if others and not self._has_settings():
            raise DirectoryInUseError(
                f"{self.directory}: contains {others[0]}, but no {SETTINGS} of a run"
            )

    def replace_contents(self, settings: bytes, first: Sequence[str] = ()) -> None:
        """Delete all files of the format, and write a settings file.

        Args:
            settings: the new settings file, from :func:`dump_settings`.
            first: names of files that are deleted before the others. The old settings are deleted
                last, so that what a killed process leaves is known to belong to the format.

        Raises:
            DirectoryInUseError: there is a file that does not belong to the format.
            OSError: a file cannot be deleted or written.
        """
        self.check_contents()
        keep = (LOCK, LOCK_OWNER, SETTINGS)
        names = (name for name in os.listdir(self.directory) if name not in keep)
        for name in (*first, *names, SETTINGS):
            (self.directory / name).unlink(missing_ok=True)
        atomic_write(self.directory / SETTINGS, settings)

    def _has_settings(self) -> bool:
        try:
            self.settings()
        except CorruptFileError:
            return False
        return True

    def _does_not_belong(self, name: str) -> str:
        return f"{self.directory}: contains {name}, which does not belong to a run"

    def _check_lock_files(self) -> None:
        """Raise if a file of another program has the name of a lock file."""
        for name in (LOCK, LOCK_OWNER):
            path = self.directory / name
            if not os.path.lexists(path):
                continue
            with suppress(PermissionError):  # on Windows a locked file cannot be read
                try:
                    known = LOCK_CONTENT.fullmatch(read_bounded(path, 400))
                except CorruptFileError:
                    known = None
                if not known:
                    raise DirectoryInUseError(self._does_not_belong(name))

    def _acquire_lock(self) -> BaseFileLock:
        """Lock the directory, write the process id beside the lock, and delete partial files.

        The process id has a file of its own, because Windows lets no one read a locked file.
        """
        lock = FileLock(self.directory / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=LOCK_TIMEOUT_SECONDS, poll_interval=0.02)
        except Timeout:
            raise RunLockedError(
                f"{self.directory}: {self._lock_owner()} is running in it"
            ) from None
        try:
            for name in os.listdir(self.directory):
                if PARTIAL_FILE.fullmatch(name):
                    (self.directory / name).unlink(missing_ok=True)
            atomic_write(self.directory / LOCK_OWNER, f"{os.getpid()}\n".encode())
        except BaseException:
            lock.release(force=True)
            raise
        return lock

    def _lock_owner(self) -> str:
        with suppress(OSError, CorruptFileError):
            process = (
                read_bounded(self.directory / LOCK_OWNER, 30).decode("ascii", "replace").strip()
            )
            if process.isdigit():
                return f"process {process}"
        return "another process"


def dump_settings(format: DirectoryFormat, settings: Mapping[str, Any]) -> bytes:
    """The settings file of a directory."""
    header = {"format": format.settings_format, "version": SETTINGS_VERSION}
    return dump_checksummed({**header, "settings": settings})
