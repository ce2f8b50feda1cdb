"""Types of command-line arguments: numbers within limits, names of files, folders and devices.

Each function returns the value, or raises an ArgumentTypeError with the rule and the argument.
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
    """A finite number; float() alone would accept nan, inf and 1_0."""
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


def whole(minimum: int, maximum: int = 2**63 - 1) -> Callable[[str], int]:
    """The type of a whole number from ``minimum`` to ``maximum``, written in decimal digits."""

    def parse(text: str) -> int:
        digits = re.fullmatch(r"[+-]?[0-9]{1,20}", text)
        if digits is None or not minimum <= int(text) <= maximum:
            limit = f" and at most {maximum}" if maximum < 2**63 - 1 else ""
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {minimum}{limit}, got {text!r}"
            )
        return int(text)

    return parse


def new_file(text: str) -> Path:
    """A path that a file can be written to: its folder exists, and it is a regular file or new."""
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
    """The path of a directory, or of nothing."""
    if not text or (os.path.lexists(text) and not os.path.isdir(text)):
        raise argparse.ArgumentTypeError(f"must name a directory, got {text!r}")
    return Path(text)


def figure_file(text: str) -> Path:
    """A path that a figure can be written to, with a suffix of :data:`FIGURES`."""
    path = new_file(text)
    if path.suffix not in FIGURES:
        raise argparse.ArgumentTypeError(f"must end in {', '.join(FIGURES)}, got {text!r}")
    return path


def new_folder(text: str) -> Path:
    """The path of a folder that exists or can be created: no part of the path is a file."""
    path = Path(text)
    try:
        existing = path
        while not existing.is_dir() and not os.path.lexists(existing):
            existing = existing.parent
        if not text or not existing.is_dir():
            raise argparse.ArgumentTypeError(f"must name a folder, got {text!r:.200}")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text:.200}: {error.strerror}") from None
    return path


def device_name(text: str) -> str:
    """auto, cpu, cuda or cuda:N; whether the device exists is checked later, with torch."""
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text) is None:
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N, got {text!r}")
    return text
