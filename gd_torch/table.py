"""Labelled data from a CSV file: numeric features, one column of class names."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


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
    with open(path, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            rows = [(reader.line_num, row) for row in reader if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    if not rows:
        raise ValueError(f"{path}: empty, a header line is required")
    header = [name.strip() for name in rows.pop(0)[1]]
    _check_header(path, header, target)
    if not rows:
        raise ValueError(f"{path}: no rows below the header")

    place = header.index(target)
    features, labels = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: row {line} has {len(row)} cells, the header has {len(header)}"
            )
        labels.append(row.pop(place).strip())
        names = header[:place] + header[place + 1 :]
        features.append([_number(path, line, *cell) for cell in zip(names, row, strict=True)])
        if not labels[-1]:
            raise ValueError(f"{path}: row {line}, column {target!r}: empty")
    classes = tuple(dict.fromkeys(labels))
    if len(classes) < 2:
        raise ValueError(
            f"{path}: a single class, {classes[0]!r}, in column {target!r}; two needed"
        )

    codes = torch.tensor([classes.index(label) for label in labels], device=device)
    X = torch.tensor(features, dtype=dtype, device=device)
    Y = torch.nn.functional.one_hot(codes, len(classes)).to(dtype)
    return Table(X, Y, tuple(header[:place] + header[place + 1 :]), classes)


def _check_header(path: Path | str, header: list[str], target: str) -> None:
    """Raise unless the header names every column once, ``target`` among them, and a feature."""
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
