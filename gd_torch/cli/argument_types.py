"""What an argument may be: numbers within limits, names of files, folders and devices.

Each is an argparse type: it returns the value or says the rule and what arrived.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

FIGURES = (".svg", ".png", ".pdf")


def number(text: str) -> float:
    """A finite number; float() alone would take nan, inf and 1_0."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text!r}")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text!r}")
    return value


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """The type of a whole number from ``least`` to ``most``, written in digits alone."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,20}", text) is None or not least <= int(text) <= most:
            limit = f" and at most {most}" if most < 2**63 - 1 else ""
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}{limit}, got {text!r}"
            )
        return int(text)

    return parse


def new_file(text: str) -> Path:
    """A path that a file can be written to: its folder exists, and nothing else has its place."""
    path = Path(text)
    try:
        if not text or path.is_dir():
            raise argparse.ArgumentTypeError(f"must name a file, got {text!r:.200}")
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"no such folder: {path.parent}")
        if os.path.lexists(path) and not path.is_file():  # /dev/null would be replaced, by root
            raise argparse.ArgumentTypeError(f"must name a regular file, got {text!r:.200}")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text:.200}: {error.strerror}") from None
    return path


def directory(text: str) -> Path:
    """A folder, there or to be made."""
    if not text or (os.path.lexists(text) and not os.path.isdir(text)):
        raise argparse.ArgumentTypeError(f"must name a directory, got {text!r}")
    return Path(text)


def figure_file(text: str) -> Path:
    """A path that a figure can be written to, in a format that its suffix names."""
    path = new_file(text)
    if path.suffix not in FIGURES:
        raise argparse.ArgumentTypeError(f"must end in {', '.join(FIGURES)}, got {text!r}")
    return path


def new_folder(text: str) -> Path:
    """A path that is a folder, or can become one: nothing on the way to it is a file."""
    path = Path(text)
    try:
        there = path
        while not there.is_dir() and not os.path.lexists(there):
            there = there.parent
        if not text or not there.is_dir():
            raise argparse.ArgumentTypeError(f"must name a folder, got {text!r:.200}")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text:.200}: {error.strerror}") from None
    return path


def device_name(text: str) -> str:
    """auto, cpu, cuda or cuda:N; whether there is such a device is found out with torch."""
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text) is None:
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N, got {text!r}")
    return text
