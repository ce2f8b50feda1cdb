"""Labelled data from a CSV file: numeric features, one column of class names."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

import torch
from torch import Tensor

if TYPE_CHECKING:
    from _csv import Reader

LONGEST = 1 << 20
"""Characters of the longest line that is read."""


class Table(NamedTuple):
    """A labelled table.

    Attributes:
        X: features, shape (n, features).
        Y: one-hot classes, shape (n, classes).
        features: the header of each column of ``X``.
        classes: the name of each column of ``Y``, in the order of first appearance.
    """

    X: Tensor
    Y: Tensor
    features: tuple[str, ...]
    classes: tuple[str, ...]


def read_table(
    path: Path | str,
    target: str,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Table:
    """Read a CSV file with a header; every column but ``target`` must hold finite numbers.

    Args:
        path: a UTF-8 file, comma separated, at least two rows; empty lines are passed over.
        target: the header of the column that names the class.
        dtype: floating dtype of X and Y.
        device: where X and Y live; None is torch's default device.

    Returns:
        A :class:`Table`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no such table; a bad cell is named by row (the file's line, the
            header being line 1) and column.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_lines(file, path), strict=True)
        try:
            return _parse(path, reader, target, dtype, device)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _lines(file: TextIO, path: Path | str) -> Iterator[str]:
    """The file's lines, none longer than LONGEST: a file without line ends must not fill memory."""
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ValueError(f"{path}: not a CSV file, it has a line of {LONGEST} characters")
        yield line


def _parse(
    path: Path | str,
    reader: Reader,
    target: str,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Table:
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
        label = row.pop(place).strip()
        if not label:
            raise ValueError(f"{path}: row {line}, column {target!r}: empty")
        codes.append(classes.setdefault(label, len(classes)))
        numbers.extend(_number(path, line, *cell) for cell in zip(names, row, strict=True))
    if not codes:
        raise ValueError(f"{path}: no rows below the header")
    if len(classes) < 2:
        raise ValueError(f"{path}: column {target!r} holds a single class, {label!r}")

    X = torch.frombuffer(numbers, dtype=torch.float64).reshape(len(codes), len(names))
    Y = torch.nn.functional.one_hot(torch.frombuffer(codes, dtype=torch.int64), len(classes))
    device = torch.get_default_device() if device is None else device
    return Table(X.to(device, dtype, copy=True), Y.to(device, dtype), (*names,), (*classes,))


def _check_header(path: Path | str, header: list[str], target: str) -> None:
    """Raise unless the header names every column once, ``target`` among them, and a feature."""
    if not header:
        raise ValueError(f"{path}: empty, a header line is required")
    if target not in header:
        raise ValueError(f"{path}: no column {target!r}, the header has {', '.join(header)}")
    if "" in header or len(set(header)) != len(header):
        raise ValueError(f"{path}: the header must name every column once, got {header}")
    if len(header) < 2:
        raise ValueError(f"{path}: no feature column beside the target {target!r}")


def _number(path: Path | str, line: int, column: str, cell: str) -> float:
    """The cell as a finite number; float() alone would let nan, inf and 1_0 through."""
    try:
        number = float(cell) if "_" not in cell else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path}: row {line}, column {column!r}: not a finite number: {cell!r}")
    return number


def standardise(X: Tensor) -> Tensor:
    """Shift and scale every column to mean 0 and standard deviation 1 (over n, not n - 1).

    A column that holds one value alone becomes zeros.

    Args:
        X: shape (n, features).

    >>> standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    centred = X - X.mean(0)
    deviation = centred.square().mean(0).sqrt()
    constant = X.amax(0) == X.amin(0)
    return torch.where(constant, 0.0, centred / deviation.where(~constant, 1.0))
