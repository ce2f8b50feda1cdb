"""Compiled libraries on disk: one directory, whose files are verified before they are loaded.

A file is loaded only if it is a regular file, owned by this user, not writable by others, and ends
with the checksum of its content. On Linux it is verified and loaded through one file descriptor, so
that renaming or linking cannot exchange it in between. Without /proc the library is loaded by its
path, and the path is compared with the descriptor afterwards; this does not detect a file that is
exchanged only during loading.

The checksum detects damage; it is not a signature: a process with this user's rights can write one.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

VERSION = 1
"""Version of the file format, a part of every key."""

PROCESSOR_FIELDS = {"vendor_id", "cpu family", "model", "model name", "flags", "Features"}
PROCESSOR_FIELDS |= {"CPU implementer", "CPU architecture", "CPU variant", "CPU part"}
"""Fields of /proc/cpuinfo that ``-march=native`` depends on."""

MAGIC = b"gd_torch"
FOOTER_BYTES = len(MAGIC) + 32
"""Bytes appended to a library: the magic word and a SHA-256 of key and library."""

MAX_LIBRARY_BYTES = 64 << 20
"""Larger files in the cache are not read."""

MAX_LIBRARIES, MAX_CACHE_BYTES = 256, 256 << 20
"""Limits of the cache directory."""

DAY_SECONDS, HOUR_SECONDS = 86_400.0, 3_600.0

LIBRARY_NAME = re.compile(r"[0-9a-f]{64}\.so")
TEMPORARY_PREFIX = ".gd_torch-cc-"
TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"[a-z0-9_]{8}")

_load_count = 0
"""Libraries loaded by this process."""


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
            if _is_private(os.stat(path)) and not forbids_loading(path):
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


def _is_private(status: os.stat_result) -> bool:
    """Whether a file or directory belongs to this user and is not writable by others."""
    user = getattr(os, "getuid", lambda: status.st_uid)()
    return status.st_uid == user and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


# ---------------------------------------------------------------- one library


def key_of(command: tuple[str, ...], *parts: object) -> str:
    """A checksum of the parts, the compiler and the processor, which names the library's file."""
    import hashlib

    everything = repr((VERSION, _processor(), _identity(command), parts))
    return hashlib.sha256(everything.encode()).hexdigest()


def _identity(command: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Path, size and modification time of every program in a command, as in ``ccache gcc``."""
    import shutil

    programs = []
    for path in filter(None, map(shutil.which, command)):
        with suppress(OSError):
            status = os.stat(path)
            programs.append((os.path.realpath(path), status.st_size, status.st_mtime_ns))
    return programs


@functools.cache
def _processor() -> tuple[str, ...]:
    """The processor as /proc/cpuinfo describes it; without that file the host name."""
    lines: list[str] = []
    with suppress(OSError), open("/proc/cpuinfo", "rb", buffering=0) as file:
        first = file.read(1 << 14).split(b"\n\n")[0].decode("ascii", "replace")
        lines = [
            line for line in first.splitlines() if line.split(":")[0].strip() in PROCESSOR_FIELDS
        ]
    system = os.uname()
    return (system.sysname, system.machine, *(lines or [system.nodename]))


def path_of(directory: str, key: str) -> str:
    """The path of a library in a cache."""
    return os.path.join(directory, f"{key}.so")


def load_cached(directory: str, key: str) -> ctypes.CDLL | None:
    """Load the library with this key; None if there is none or its file fails the verification."""
    path = path_of(directory, key)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not is_valid(descriptor, key):
            return None
        library = load_verified(descriptor, path)
        with suppress(OSError):
            if abs(time.time() - os.fstat(descriptor).st_mtime) > DAY_SECONDS:
                os.utime(descriptor)
        return library
    except OSError:
        return None
    finally:
        os.close(descriptor)


def footer(key: str, library: bytes) -> bytes:
    """The bytes appended to a library; they include the key, so a renamed file is refused."""
    import hashlib

    return MAGIC + hashlib.sha256(key.encode() + library).digest()


def is_valid(descriptor: int, key: str) -> bool:
    """Whether an open file is the unchanged library with this key, written by this user."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not _is_private(status):
        return False
    if not FOOTER_BYTES < status.st_size <= MAX_LIBRARY_BYTES:
        return False
    content = os.pread(descriptor, status.st_size, 0)
    return content[-FOOTER_BYTES:] == footer(key, content[:-FOOTER_BYTES])


def append_footer(descriptor: int, key: str) -> None:
    """Append the footer to a compiled library, make it private and verify it.

    Raises:
        OSError: the file is not a regular file, or was not written completely.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("the compiler wrote no regular file")
    os.fchmod(descriptor, 0o600)
    end = footer(key, os.pread(descriptor, status.st_size, 0))
    if os.pwrite(descriptor, end, status.st_size) != len(end):
        raise OSError("the library could not be written completely")
    if not is_valid(descriptor, key):
        raise OSError("the library differs from what was written")


def load_verified(descriptor: int, path: str) -> ctypes.CDLL:
    """Load the library of an open file that has this path.

    The loader returns an already loaded library if it has the same name, and descriptors are
    reused. Every load therefore uses a different name: its number in binary, with "/" for 0 and
    "./" for 1, is inserted into the path.

    Raises:
        OSError: it cannot be loaded, or the path belongs to another file now.
    """
    import ctypes

    global _load_count
    _load_count += 1
    if os.path.isdir("/proc/self/fd"):
        prefix = "".join("./" if digit == "1" else "/" for digit in f"{_load_count:b}")
        return ctypes.CDLL(f"/proc/self/fd/{prefix}{descriptor}")
    library = ctypes.CDLL(path)
    if not os.path.samestat(os.lstat(path), os.fstat(descriptor)):
        raise OSError("the library was replaced while it was loaded")
    return library


# ---------------------------------------------------------------- the directory


@contextmanager
def temporary_directory(parent: str) -> Iterator[str]:
    """A new directory for one compilation, removed afterwards with all its files.

    Directories left by killed processes are also removed once they are an hour old.
    """
    import shutil
    import tempfile

    for name, status in _matching(parent, TEMPORARY_NAME):
        old = time.time() - status.st_mtime > HOUR_SECONDS
        if stat.S_ISDIR(status.st_mode) and _is_private(status) and old:
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
