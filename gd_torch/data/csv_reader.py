"""Read a labelled CSV file into arrays.

This module does not import torch, so that a command can report a bad file without that delay.
"""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from _csv import Reader

MAX_LINE_CHARACTERS = 1 << 20
"""Longest accepted line, in characters."""

MAX_CLASSES = 1000
"""Largest number of classes: a column with more is probably a measurement or an identifier."""


class Columns(NamedTuple):
    """The parsed contents of a labelled CSV file.

    Attributes:
        numbers: the feature cells in row-major order, float64, rows * features of them.
        codes: per row the index of its class in ``classes``, int64.
        features: the header of each feature column.
        classes: the names of the classes, in order of first appearance.
    """

    numbers: array[float]
    codes: array[int]
    features: tuple[str, ...]
    classes: tuple[str, ...]


def read_columns(path: Path | str, target: str) -> Columns:
    """Read a CSV file; arguments and errors as in :func:`gd_torch.data.dataset.read_table`."""
    with open(path, encoding="utf-8-sig", newline="", opener=_open_nonblocking) as file:
        reader = csv.reader(_lines(file, path), strict=True)
        try:
            return _parse(path, reader, target)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _open_nonblocking(path: str, flags: int) -> int:
    """Open without blocking: a named pipe without a writer reads as an empty file."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(handle, True)
    return handle


def _lines(file: TextIO, path: Path | str) -> Iterator[str]:
    """Yield the lines; bounded, so that a file without line ends does not exhaust memory."""
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise ValueError(
                f"{path}: not a CSV file, it has a line of {MAX_LINE_CHARACTERS} characters"
            )
        yield line


def _parse(path: Path | str, reader: Reader, target: str) -> Columns:
    """Parse the header, then each row."""
    header = [name.strip() for name in next(filter(None, reader), [])]
    _check_header(path, header, target)
    target_index = header.index(target)
    names = header[:target_index] + header[target_index + 1 :]
    numbers, codes = array("d"), array("q")
    classes: dict[str, int] = {}
    for row in filter(None, reader):
        line = reader.line_num
        if len(row) != len(header):
            raise ValueError(
                f"{path}: row {line} has {len(row)} cells, the header has {len(header)}"
            )
        label = _label(path, line, target, row.pop(target_index).strip())
        codes.append(classes.setdefault(label, len(classes)))
        if len(classes) > MAX_CLASSES:
            raise ValueError(f"{path}: column {target!r} has more than {MAX_CLASSES} classes")
        numbers.extend(_number(path, line, *cell) for cell in zip(names, row, strict=True))
    if not codes:
        raise ValueError(f"{path}: no rows below the header")
    if len(classes) < 2:
        raise ValueError(f"{path}: column {target!r} has a single class, {label!r:.60}")
    return Columns(numbers, codes, (*names,), (*classes,))


def _check_header(path: Path | str, header: list[str], target: str) -> None:
    """Raise unless the column names are unique, not empty, and include ``target`` and a feature."""
    if not header:
        raise ValueError(f"{path}: empty, a header line is required")
    if target not in header:
        shown = ", ".join(header) if "".join(header).isprintable() else repr(header)
        raise ValueError(f"{path}: no column {target!r}, the header has {shown:.200}")
    if "" in header or len(set(header)) != len(header):
        shown = f"{header!r:.200}"
        raise ValueError(f"{path}: the header must name every column once, got {shown}")
    if len(header) < 2:
        raise ValueError(f"{path}: no feature column beside the target {target!r}")


def _label(path: Path | str, line: int, column: str, cell: str) -> str:
    """Check a class name: it must not be empty or contain control characters (it is printed)."""
    if not cell:
        raise ValueError(f"{path}: row {line}, column {column!r}: empty")
    if any(c < " " or "\x7f" <= c < "\xa0" for c in cell):
        raise ValueError(
            f"{path}: row {line}, column {column!r}: a control character in {cell!r:.60}"
        )
    return cell


def _number(path: Path | str, line: int, column: str, cell: str) -> float:
    """Convert a cell to a finite number; float() alone accepts nan, inf and 1_0."""
    try:
        number = float(cell) if "_" not in cell else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{path}: row {line}, column {column!r}: not a finite number: {cell!r:.60}"
        )
    return number
