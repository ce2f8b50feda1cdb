"""Print reports to stdout and messages to stderr, also if a stream is closed or its disk full."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_unprinted: list[OSError] = []
"""The errors of reports that could not be printed."""


def print_report(text: str) -> None:
    """Print a report; if that fails, the error is raised later, by :func:`raise_unprinted`.

    Results can then still be written to files. A pipe closed by its reader is not an error.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        drop_output()
        if not isinstance(error, BrokenPipeError):
            _unprinted.append(error)


def raise_unprinted() -> None:
    """Raise the OSError of a report that could not be printed, if there is one."""
    if _unprinted:
        raise _unprinted.pop()


def one_line(message: str, limit: int = 1000) -> str:
    """The message as one printable line, cut after ``limit`` characters."""
    line = " ".join(message.split())
    return printable(line if len(line) <= limit else f"{line[:limit]} ...")


def printable(text: str) -> str:
    """The text with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def print_status(text: str) -> None:
    """Write a line to stderr at once, also from a signal handler; a closed stderr is ignored."""
    line = f"{printable(text)}\n"
    try:
        descriptor = sys.stderr.fileno()
    except (OSError, AttributeError):  # replaced by an object in memory
        sys.stderr.write(line)
        return
    with suppress(OSError):
        os.write(descriptor, line.encode(errors="backslashreplace"))


@functools.cache
def warn(text: str) -> None:
    """Print a warning on stderr in one line, once."""
    print_status(f"warning: {one_line(text)}")


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print each warning of the library in one line, without the position in the code."""
    warn.cache_clear()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_place, **_more: warn(str(message))
        yield


def prepare_streams() -> None:
    """Accept closed streams, characters that cannot be encoded, and a read-only home directory."""
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:  # no file may get the number of a stream
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # was closed when the process started
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # else it logs the path of its cache


def drop_output() -> None:
    """Discard the buffer of a failed stdout, which the interpreter would write again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
