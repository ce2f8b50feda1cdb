"""Compiled libraries on disk: one directory, files that are verified before they are loaded.

What is loaded is a regular file, owned by this user, that no one else may write to, whose content
has the checksum at its end. On Linux it is verified and loaded through one file descriptor: no
renaming or linking in between puts another file in its place. Only this user, or root, could
change its content in between. Without /proc the library is loaded by its path and the path is
compared with the file descriptor afterwards; that detects another file, unless it was there for
the moment of loading only.

The checksum detects damage. It is no signature: who may write as this user may also write it.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache as once
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

VERSION = 1
"""Of the files; part of every key."""

PROCESSOR = {"vendor_id", "cpu family", "model", "model name", "flags", "Features"}
PROCESSOR |= {"CPU implementer", "CPU architecture", "CPU variant", "CPU part"}
"""Lines of /proc/cpuinfo that ``-march=native`` depends on."""

MAGIC = b"gd_torch"
FOOTER = len(MAGIC) + 32
"""Bytes after the library: the magic word and a SHA-256 of key and library."""

LARGEST = 64 << 20
"""Bytes of a library; a larger file in the cache is not read."""

MOST_LIBRARIES, MOST_BYTES = 256, 256 << 20
"""What the directory may hold."""

DAY, HOUR = 86_400.0, 3_600.0

LIBRARY = re.compile(r"[0-9a-f]{64}\.so")
PREFIX = ".gd_torch-cc-"
WORKPLACE = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")

_loads = 0
"""How many libraries this process has loaded."""


def directory() -> str | None:
    """The directory of the cache, made if there is none; None if there must or can be none.

    It is ``$GD_TORCH_CACHE``, else ``gd_torch`` in the user's directory for caches. It is used if
    it belongs to this user, no one else may write to it and it allows loading of libraries.
    """
    named = os.environ.get("GD_TORCH_CACHE")
    if named is not None and named.lower() in ("", "0", "off"):
        return None
    with suppress(OSError):
        place = _default() if named is None else os.path.abspath(os.path.expanduser(named))
        if os.path.isabs(place):  # a user without a home has "~"
            os.makedirs(place, mode=0o700, exist_ok=True)
            if _ours(os.stat(place)) and not forbids_loading(place):
                return place
    return None


def _default() -> str:
    """The directory in the user's directory for caches."""
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):
        home = os.path.expanduser("~")
        caches = os.path.join(
            home, *(("Library", "Caches") if sys.platform == "darwin" else (".cache",))
        )
    return os.path.join(caches, "gd_torch")


def forbids_loading(place: str) -> bool:
    """Whether a directory is mounted with ``noexec``, where the system tells."""
    if sys.platform == "linux":
        return bool(os.statvfs(place).f_flag & os.ST_NOEXEC)
    return False


def _ours(status: os.stat_result) -> bool:
    """Whether a file or directory belongs to this user and no one else may write to it."""
    user = getattr(os, "getuid", lambda: status.st_uid)()
    return status.st_uid == user and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


# ---------------------------------------------------------------- one library


def key_of(command: tuple[str, ...], *parts: object) -> str:
    """The name of a library: a checksum of what it is made of, the compiler and the processor."""
    import hashlib

    everything = repr((VERSION, _processor(), _identity(command), parts))
    return hashlib.sha256(everything.encode()).hexdigest()


def _identity(command: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Path, size and time of the compiler, and of one that it starts, as in ``ccache gcc``."""
    import shutil

    found = []
    for path in filter(None, map(shutil.which, command)):
        with suppress(OSError):
            status = os.stat(path)
            found.append((os.path.realpath(path), status.st_size, status.st_mtime_ns))
    return found


@once
def _processor() -> tuple[str, ...]:
    """What is known of this processor without starting a process; else the machine's name."""
    lines: list[str] = []
    with suppress(OSError), open("/proc/cpuinfo", "rb", buffering=0) as file:
        first = file.read(1 << 14).split(b"\n\n")[0].decode("ascii", "replace")
        lines = [line for line in first.splitlines() if line.split(":")[0].strip() in PROCESSOR]
    system = os.uname()
    return (system.sysname, system.machine, *(lines or [system.nodename]))


def path_of(place: str, key: str) -> str:
    """The path of a library in a cache."""
    return os.path.join(place, f"{key}.so")


def take(place: str, key: str) -> ctypes.CDLL | None:
    """The library of this key, loaded; None if there is none or its file is not what was stored."""
    path = path_of(place, key)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not verified(handle, key):
            return None
        library = opened(handle, path)
        with suppress(OSError):
            if abs(time.time() - os.fstat(handle).st_mtime) > DAY:
                os.utime(handle)
        return library
    except OSError:
        return None
    finally:
        os.close(handle)


def footer(key: str, library: bytes) -> bytes:
    """What follows the library in its file; the key is part of it, so a renamed file is refused."""
    import hashlib

    return MAGIC + hashlib.sha256(key.encode() + library).digest()


def verified(handle: int, key: str) -> bool:
    """Whether an open file is the library of this key, as it was stored by this user."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or not _ours(status):
        return False
    if not FOOTER < status.st_size <= LARGEST:
        return False
    content = os.pread(handle, status.st_size, 0)
    return content[-FOOTER:] == footer(key, content[:-FOOTER])


def seal(handle: int, key: str) -> None:
    """Append the footer to a library that was just compiled, and close the file to others."""
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("the compiler made no regular file")
    os.fchmod(handle, 0o600)
    end = footer(key, os.pread(handle, status.st_size, 0))
    if os.pwrite(handle, end, status.st_size) != len(end):
        raise OSError("the library could not be written whole")
    if not verified(handle, key):
        raise OSError("the library is not what was written")


def opened(handle: int, path: str) -> ctypes.CDLL:
    """Load the library of an open file, which lies at this path.

    The loader returns what it has loaded under the same name before, and descriptors are reused.
    So every name is another: the number of the load is spelled in it, "/" for 0 and "./" for 1.
    """
    import ctypes

    global _loads
    _loads += 1
    if os.path.isdir("/proc/self/fd"):
        turns = "".join("./" if digit == "1" else "/" for digit in f"{_loads:b}")
        return ctypes.CDLL(f"/proc/self/fd/{turns}{handle}")
    library = ctypes.CDLL(path)
    if not os.path.samestat(os.lstat(path), os.fstat(handle)):
        raise OSError("the library was replaced while it was loaded")
    return library


# ---------------------------------------------------------------- all of them


@contextmanager
def workplace(parent: str) -> Iterator[str]:
    """A new directory for one compile, removed with all that is in it.

    Those that killed processes have left are removed too once they are an hour old.
    """
    import shutil
    import tempfile

    for name, status in _listed(parent, WORKPLACE):
        if stat.S_ISDIR(status.st_mode) and _ours(status) and time.time() - status.st_mtime > HOUR:
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    work = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def prune(place: str) -> None:
    """Remove the least recently used libraries beyond what the cache may hold."""
    files = [(s.st_mtime_ns, s.st_size, name) for name, s in _listed(place, LIBRARY)]
    total = 0
    for number, (_, size, name) in enumerate(sorted(files, reverse=True), 1):
        total += size
        if number > MOST_LIBRARIES or total > MOST_BYTES:
            with suppress(OSError):
                os.unlink(os.path.join(place, name))


def _listed(place: str, names: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Name and status of what has such a name in a directory; what vanishes is left out."""
    with suppress(OSError):
        for name in os.listdir(place):
            if names.fullmatch(name):
                with suppress(OSError):
                    yield name, os.lstat(os.path.join(place, name))
