"""The columns of a CSV file, before they are tensors.

Nothing here imports torch: a script can refuse a bad file at once, without paying for that import.
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

LONGEST = 1 << 20
"""Characters of the longest line that is read."""

MOST_CLASSES = 1000
"""Classes of a table at most: beyond that the target is rather a measurement or a row's name."""


class Columns(NamedTuple):
    """What a CSV file holds.

    Attributes:
        numbers: the feature cells, row after row.
        codes: per row the place of its class in ``classes``.
        features: the header of each feature column.
        classes: the names of the classes, in the order of first appearance.
    """

    numbers: array[float]
    codes: array[int]
    features: tuple[str, ...]
    classes: tuple[str, ...]


def read_columns(path: Path | str, target: str) -> Columns:
    """Read a CSV file; arguments and errors as in :func:`gd_torch.data.dataset.read_table`."""
    with open(path, encoding="utf-8-sig", newline="", opener=_at_once) as file:
        reader = csv.reader(_lines(file, path), strict=True)
        try:
            return _parse(path, reader, target)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a named pipe that nobody writes to is an empty file."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    os.set_blocking(handle, True)
    return handle


def _lines(file: TextIO, path: Path | str) -> Iterator[str]:
    """The file's lines, none longer than LONGEST: a file without line ends must not fill memory."""
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ValueError(f"{path}: not a CSV file, it has a line of {LONGEST} characters")
        yield line


def _parse(path: Path | str, reader: Reader, target: str) -> Columns:
    """Header, then row by row; the numbers are packed as they come."""
    header = [name.strip() for name in next(filter(None, reader), [])]
    _check_header(path, header, target)
    place = header.index(target)
    names = header[:place] + header[place + 1 :]
    numbers, codes = array("d"), array("q")
    classes: dict[str, int] = {}
    for row in filter(None, reader):
        line = reader.line_num
        if len(row) != len(header):
            raise ValueError(
                f"{path}: row {line} has {len(row)} cells, the header has {len(header)}"
            )
        label = _label(path, line, target, row.pop(place).strip())
        codes.append(classes.setdefault(label, len(classes)))
        if len(classes) > MOST_CLASSES:
            raise ValueError(f"{path}: column {target!r} holds more than {MOST_CLASSES} classes")
        numbers.extend(_number(path, line, *cell) for cell in zip(names, row, strict=True))
    if not codes:
        raise ValueError(f"{path}: no rows below the header")
    if len(classes) < 2:
        raise ValueError(f"{path}: column {target!r} holds a single class, {label!r:.60}")
    return Columns(numbers, codes, (*names,), (*classes,))


def _check_header(path: Path | str, header: list[str], target: str) -> None:
    """Raise unless the header names every column once, ``target`` among them, and a feature."""
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
    """The cell as a class name, which is shown on terminals: no control characters."""
    if not cell:
        raise ValueError(f"{path}: row {line}, column {column!r}: empty")
    if any(c < " " or "\x7f" <= c < "\xa0" for c in cell):
        raise ValueError(
            f"{path}: row {line}, column {column!r}: a control character in {cell!r:.60}"
        )
    return cell


def _number(path: Path | str, line: int, column: str, cell: str) -> float:
    """The cell as a finite number; float() alone would let nan, inf and 1_0 through."""
    try:
        number = float(cell) if "_" not in cell else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{path}: row {line}, column {column!r}: not a finite number: {cell!r:.60}"
        )
    return number
