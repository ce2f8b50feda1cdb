"""Check the files among the arguments of a command before the command starts."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

from gd_torch.cli.parser import UsageError

INPUTS, OUTPUTS = ("data", "file"), ("json", "figure", "example", "export")
"""The arguments of all commands that are the name of a file."""


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
    values = vars(arguments)
    names: dict[str, str] = {}
    for name in (*INPUTS, *OUTPUTS):
        if values.get(name) is None:
            continue
        path = os.path.realpath(values[name])
        if path in names:
            raise UsageError(f"{names[path]} and {name} name the same file: {values[name]}")
        names[path] = name
        if name in OUTPUTS:
            check_writable(values[name].parent)
            run = os.path.realpath(values["run"]) if values.get("run") else None
            if run in (path, os.path.dirname(path)):
                raise UsageError(f"{name} names a file in the directory of --run: {values[name]}")


def check_writable(folder: Path) -> None:
    """Raise PermissionError unless files can be created in the folder, or it can be created."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
