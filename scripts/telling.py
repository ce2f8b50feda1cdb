"""What a person reads: reports on stdout, lines on stderr, on any terminal and on none."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from contextlib import suppress

unshown: list[OSError] = []
"""Why reports could not be shown; a script that has one ends with status 1."""


def show(text: str) -> None:
    """Print a report; one that cannot be shown is no reason to save nothing.

    A reader that left, as `| head` does, is none to fail either.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        drop_output()
        if not isinstance(error, BrokenPipeError):
            unshown.append(error)


def one_line(message: str, most: int = 1000) -> str:
    """What may be shown on a terminal: one line, not endless, no control characters."""
    line = " ".join(message.split())
    return printable(line if len(line) <= most else f"{line[:most]} ...")


def printable(text: str) -> str:
    """The text with what would move a terminal's cursor, or cannot be encoded, escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def tell(text: str) -> None:
    """A line on stderr, at once, from a signal's handler too; if nobody can hear it, so be it."""
    with suppress(OSError):
        os.write(2, f"{printable(text)}\n".encode(errors="backslashreplace"))


@functools.cache
def warn(text: str) -> None:
    """A warning, once, in one line on stderr."""
    tell(f"warning: {one_line(text)}")


def prepare_output() -> None:
    """Neither a closed stream, nor a letter it cannot show, nor a read-only home stops a script.

    What the library warns of is shown in one line each, without the place in the code.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) < 3:  # else a file gets a stream's number
        pass
    os.close(handle)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed from the start
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells where it keeps its cache
    warnings.showwarning = lambda message, *_place, **_more: warn(str(message))


def drop_output() -> None:
    """Forget what stdout did not take; else the interpreter would try once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
