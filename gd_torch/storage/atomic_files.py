"""Files that are whole or refused: written aside, then renamed; JSON under a checksum."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"
"""What is added to a file's name while it is being written."""


class Damaged(ValueError):
    """A file is not what was written; the message is one line: its name and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes.

    Nothing is read of a larger file, a symbolic link, a pipe or a device.

    Raises:
        Damaged: it is no such file, or there is none.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    if path.is_symlink():
        raise Damaged(path, "a symbolic link, not a regular file")
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise Damaged(path, "there is no such file") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(path, "not a regular file")
        if found.st_size > most:
            raise Damaged(path, f"has {found.st_size} bytes, at most {most} can be right")
        parts, left = [], most
        while part := os.read(handle, left):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(handle)
    return b"".join(parts)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file, so that at any moment it is the old one or the new one, on the disk too.

    The name used meanwhile is fixed: what a killed process leaves behind is used again. Two
    processes must not write the same file at once.

    Raises:
        OSError: it could not be written; the file is as it was, or the new one of which only the
            name may not have reached the disk, and nothing is left beside it.
    """
    beside = path.with_name(path.name + PARTIAL)
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(beside, flags, 0o666)
    try:
        with about(path):
            try:
                write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(beside, path)
            sync_directory(path.parent)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def write_result(path: Path, data: bytes) -> None:
    """Write a file that people asked for, whole or not at all; through a link, where it leads.

    Unlike :func:`write_whole` under a fresh name meanwhile, so that any number of processes may do
    so at once, and with the permissions of a new file.

    Raises:
        OSError: it could not be written; the file is as it was, and nothing is left beside it.
    """
    path = path.resolve()
    with about(path):
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".gd_torch-")
        try:
            try:
                write_all(handle, data)
                os.fchmod(handle, 0o666 & ~_umask())
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(beside, path)
        except BaseException:
            os.unlink(beside)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Name the file in an OSError, which does not where only its handle was used."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_all(handle: int, data: bytes) -> None:
    """Write all of it; os.write alone may stop in the middle."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def make_directory(directory: Path) -> None:
    """Make a directory and those above it where there are none; bring their names to the disk."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- the seal


def seal(fields: Mapping[str, Any], raw: bytes = b"") -> bytes:
    """A JSON object, one member a line, its last one the SHA-256 of all bytes before it.

    >>> print(seal({"step": 3}).decode()[:35])
    {
     "step": 3,
     "sha256": "c383bc1d2
    """
    members = (f" {_json(name)}: {_json(value)}" for name, value in fields.items())
    body = raw + ("{\n" + ",\n".join(members)).encode("ascii")
    return body + _end(body)


def unseal(path: Path, data: bytes, raw: int = 0) -> dict[str, Any]:
    """The members of a sealed object behind ``raw`` raw bytes; the checksum is looked at first.

    What :func:`seal` would not have written to the byte is refused: another spacing, a member
    twice, a number that JSON does not have.

    Raises:
        Damaged: it is not what was sealed.
    """
    body = data[: -len(_end(b""))]
    if data != body + _end(body):
        raise Damaged(path, "damaged or no file of gd_torch: its checksum does not fit")
    try:
        fields = json.loads(body[raw:] + b"\n}")
        same = isinstance(fields, dict) and seal(fields, data[:raw]) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise Damaged(path, "not in the form that gd_torch writes")
    return dict(fields)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _end(body: bytes) -> bytes:
    return f',\n "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode("ascii")
