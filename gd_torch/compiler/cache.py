"""Compiled libraries on disk, which are verified before they are loaded.

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
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gd_torch.compiler.cache_directory import is_private

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

DAY_SECONDS = 86_400.0

_load_count = 0
"""Libraries loaded by this process."""


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
    if not stat.S_ISREG(status.st_mode) or not is_private(status):
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
