"""Labelled data from a CSV file: numeric features, one column of class names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.data.csv_reader import Columns, read_columns


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
    """Read a CSV file with a header; all columns except ``target`` must contain finite numbers.

    Args:
        path: a UTF-8 file, comma separated, with at least two rows; empty lines are skipped.
        target: the header of the column with the class names; 2 to 1000 classes, whose names
            contain no control characters.
        dtype: floating-point dtype of X and Y.
        device: device of X and Y; None is torch's default device.

    Returns:
        A :class:`Table`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file breaks a rule above, or a number is too large for ``dtype``. The
            message gives the row (line of the file; the header is line 1) and the column.
    """
    try:
        return as_table(read_columns(path, target), dtype=dtype, device=device)
    except OverflowError as error:
        raise ValueError(f"{path}: {error}") from None


def as_table(
    columns: Columns,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Table:
    """Convert columns to tensors; the numbers are copied.

    Args:
        columns: from :func:`gd_torch.data.csv_reader.read_columns`.
        dtype, device: as for :func:`read_table`.

    Raises:
        OverflowError: a number is too large for ``dtype``.
    """
    numbers, codes, features, classes = columns
    table = torch.frombuffer(numbers, dtype=torch.float64).reshape(len(codes), len(features))
    Y = torch.nn.functional.one_hot(torch.frombuffer(codes, dtype=torch.int64), len(classes))
    device = torch.get_default_device() if device is None else device
    X = table.to(device, dtype, copy=True)
    if not X.is_meta and not bool(X.isfinite().all()):
        largest = numbers[int(table.abs().argmax())]
        raise OverflowError(f"{largest:g} is too large for {str(dtype).removeprefix('torch.')}")
    return Table(X, Y.to(device, dtype), features, classes)


def standardise(X: Tensor) -> Tensor:
    """Shift and scale every column to mean 0 and standard deviation 1 (over n, not n - 1).

    A constant column becomes zeros.

    Args:
        X: floating-point, shape (n, features).

    Returns:
        A new tensor of the same shape.

    >>> standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    # First scale by a power of two, which is exact: the square of 1e200 would overflow.
    exponent = torch.frexp(X.abs().amax(0)).exponent
    X = torch.ldexp(X, -exponent // 2)
    X = torch.ldexp(X, -exponent - -exponent // 2)
    centred = X - X.mean(0)
    deviation = centred.square().mean(0).sqrt()
    constant = X.amax(0) == X.amin(0)
    return torch.where(constant, 0.0, centred / deviation.where(~constant, 1.0))
