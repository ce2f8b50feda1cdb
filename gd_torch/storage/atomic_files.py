"""Read regular files of bounded size, write files atomically, and checksum JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL_FILE = re.compile(r"\.gd_torch-[0-9a-f]{16}\.partial")
"""The names of files that are being written, or were when their process was killed."""

SAFE_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
"""Flags of ``os.open`` that the system has: follow no link, wait for no pipe, translate nothing."""


class CorruptFileError(ValueError):
    """A file is not what was written; the message is one line: its name and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file that exists, and return its descriptor.

    POSIX flags make sure that the file that is checked is the one that is opened. Without them, on
    Windows, a link or a pipe that replaces the file between the two is not noticed.

    Args:
        path: the file; a symbolic link is refused.
        flags: of ``os.open``.

    Raises:
        CorruptFileError: there is no such file, or it is not a regular one.
        OSError: it cannot be opened.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise CorruptFileError(path, "a symbolic link, not a regular file")
        if not stat.S_ISREG(mode):
            raise CorruptFileError(path, "not a regular file")
        descriptor = os.open(path, flags | SAFE_FLAGS)
    except FileNotFoundError:
        raise CorruptFileError(path, "there is no such file") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptFileError(path, "not a regular file")
    return descriptor


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of at most ``max_bytes`` bytes; of a larger file nothing is read.

    Raises:
        CorruptFileError: it is not such a file, or there is none.
        OSError: it cannot be read.
    """
    with open(open_regular(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise CorruptFileError(path, f"has {size} bytes, expected at most {max_bytes}")
        return file.read(max_bytes)


def atomic_write(path: Path, data: bytes) -> None:
    """Write or replace a file: at any moment it is the old one or the new one, also on the disk.

    The data are written to a temporary file in the same directory, which is then renamed. Any
    number of processes may write the same file at once. A process that is killed may leave its
    temporary file behind. A symbolic link at ``path`` is replaced, not followed.

    Surviving a power failure needs POSIX: on Windows the renaming may not have reached the disk.

    Raises:
        OSError: it could not be written; the old file is unchanged, or the new one is in its place
            and only the renaming may not have reached the disk. No temporary file is left.
    """
    partial = path.with_name(f".gd_torch-{secrets.token_hex(8)}.partial")
    with errors_naming(path):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS, 0o666)
        try:
            try:
                write_all(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Set the file name of an OSError, which has none where only a descriptor was used."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes; ``os.write`` alone may stop early."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def make_directory(directory: Path) -> None:
    """Make a directory and its parents where they are missing, and bring their names to disk."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to disk; without effect on Windows, which cannot do so.

    A directory that may be written to but not read cannot be synchronized either.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(PermissionError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- JSON with a checksum


def dump_checksummed(fields: Mapping[str, Any], raw: bytes = b"") -> bytes:
    """Raw bytes, then a JSON object; its last member is the SHA-256 of all bytes before it.

    >>> print(dump_checksummed({"step": 3}).decode()[:35])
    {
     "step": 3,
     "sha256": "c383bc1d2
    """
    members = (f" {_json(name)}: {_json(value)}" for name, value in fields.items())
    body = raw + ("{\n" + ",\n".join(members)).encode("ascii")
    return body + _checksum_member(body)


def load_checksummed(
    path: Path, data: bytes, format_name: str, version: int, *, raw_bytes: int = 0
) -> dict[str, Any]:
    """The members of a checksummed object after ``raw_bytes`` bytes, without format and version.

    The checksum is verified first. Then everything is refused that :func:`dump_checksummed` would
    not have written: other spacing, a member twice, a number that JSON does not have.

    Args:
        path: the file that the data are from, for messages.
        data: the whole file.
        format_name: what the member "format" must be.
        version: what the member "version" must be.
        raw_bytes: how many raw bytes come before the object.

    Raises:
        CorruptFileError: it is not what was written, or is of another format or version.
    """
    body = data[: -len(_checksum_member(b""))]
    if data != body + _checksum_member(body):
        raise CorruptFileError(
            path, "damaged, or not a file of gd_torch: its checksum does not match"
        )
    try:
        fields = json.loads(body[raw_bytes:] + b"\n}")
        same = isinstance(fields, dict) and dump_checksummed(fields, data[:raw_bytes]) == data
    except (ValueError, RecursionError):
        same = False
    if not same:
        raise CorruptFileError(path, "not in the form that gd_torch writes")
    if fields.pop("format", None) != format_name:
        raise CorruptFileError(path, f"not a {format_name} file")
    found = fields.pop("version", None)
    if type(found) is not int or found != version:
        raise CorruptFileError(
            path, f"unsupported format version {found!r:.50} (expected {version})"
        )
    return dict(fields)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _checksum_member(body: bytes) -> bytes:
    return f',\n "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode("ascii")
