"""The directory of compiled libraries: where it is, and what is removed from it."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_LIBRARIES, MAX_CACHE_BYTES = 256, 256 << 20
"""Limits of the cache directory."""

HOUR_SECONDS = 3_600.0

LIBRARY_NAME = re.compile(r"[0-9a-f]{64}\.so")
TEMPORARY_PREFIX = ".gd_torch-cc-"
TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"[a-z0-9_]{8}")


def directory() -> str | None:
    """The cache directory, created if necessary; None if the cache is off or cannot be used.

    It is ``$GD_TORCH_CACHE``, else ``gd_torch`` in the user's cache directory. It must belong to
    this user, not be writable by others, and allow loading of libraries.
    """
    setting = os.environ.get("GD_TORCH_CACHE")
    if setting is not None and setting.lower() in ("", "0", "off"):
        return None
    with suppress(OSError):
        path = _default() if setting is None else os.path.abspath(os.path.expanduser(setting))
        if os.path.isabs(path):  # without a home directory it begins with "~"
            os.makedirs(path, mode=0o700, exist_ok=True)
            if is_private(os.stat(path)) and not forbids_loading(path):
                return path
    return None


def _default() -> str:
    """``gd_torch`` in the user's cache directory."""
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):
        home = os.path.expanduser("~")
        caches = os.path.join(
            home, *(("Library", "Caches") if sys.platform == "darwin" else (".cache",))
        )
    return os.path.join(caches, "gd_torch")


def forbids_loading(path: str) -> bool:
    """Whether a directory is mounted with ``noexec``; False where this is unknown."""
    if sys.platform == "linux":
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    return False


def is_private(status: os.stat_result) -> bool:
    """Whether a file or directory belongs to this user and is not writable by others."""
    user = getattr(os, "getuid", lambda: status.st_uid)()
    return status.st_uid == user and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextmanager
def temporary_directory(parent: str) -> Iterator[str]:
    """A new directory for one compilation, removed afterwards with all its files.

    Directories left by killed processes are also removed once they are an hour old.
    """
    import shutil
    import tempfile

    for name, status in _matching(parent, TEMPORARY_NAME):
        old = time.time() - status.st_mtime > HOUR_SECONDS
        if stat.S_ISDIR(status.st_mode) and is_private(status) and old:
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    path = tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def prune(directory: str) -> None:
    """Remove the least recently used libraries until the cache is within its limits."""
    files = [(s.st_mtime_ns, s.st_size, name) for name, s in _matching(directory, LIBRARY_NAME)]
    total_bytes = 0
    for number, (_, size, name) in enumerate(sorted(files, reverse=True), 1):
        total_bytes += size
        if number > MAX_LIBRARIES or total_bytes > MAX_CACHE_BYTES:
            with suppress(OSError):
                os.unlink(os.path.join(directory, name))


def _matching(directory: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Name and status of the entries that match; entries that disappear are skipped."""
    with suppress(OSError):
        for name in os.listdir(directory):
            if pattern.fullmatch(name):
                with suppress(OSError):
                    yield name, os.lstat(os.path.join(directory, name))
