"""Checks of all files that a command names, before any work is done."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

from gd_torch.cli.parser import UsageError

READ, WRITTEN = ("data", "file"), ("json", "figure", "example", "export")
"""The arguments of all commands that name one file."""


def check_files(arguments: argparse.Namespace) -> None:
    """Raise if two arguments name the same file, or a folder cannot be written to.

    Raises:
        UsageError: a file would be read and written, or written twice.
        OSError: a folder cannot be written to, or the working directory was deleted.
    """
    try:
        os.getcwd()  # without one torch cannot be loaded
    except OSError as error:
        error.filename = "the working directory"
        raise
    given = vars(arguments)
    named: dict[str, str] = {}
    for name in (*READ, *WRITTEN):
        if given.get(name) is None:
            continue
        path = os.path.realpath(given[name])
        if path in named:
            raise UsageError(f"{named[path]} and {name} name the same file: {given[name]}")
        named[path] = name
        if name in WRITTEN:
            check_writable(given[name].parent)
            run = os.path.realpath(given["run"]) if given.get("run") else None
            if run in (path, os.path.dirname(path)):
                raise UsageError(f"{name} names a file in the directory of --run: {given[name]}")


def check_writable(folder: Path) -> None:
    """Raise PermissionError unless files can be created in the folder, or it can be created."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
