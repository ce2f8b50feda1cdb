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
    """Read a CSV file with a header; every column but ``target`` must hold finite numbers.

    Args:
        path: a UTF-8 file, comma separated, at least two rows; empty lines are passed over.
        target: the header of the column that names the class; 2 to 1000 classes, no control
            characters in their names.
        dtype: floating dtype of X and Y.
        device: where X and Y live; None is torch's default device.

    Returns:
        A :class:`Table`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no such table; a bad cell is named by row (the file's line, the
            header being line 1) and column.
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
    """The columns as tensors, which own their numbers.

    Raises:
        OverflowError: a number is too large for ``dtype``; it is named.
    """
    numbers, codes, features, classes = columns
    given = torch.frombuffer(numbers, dtype=torch.float64).reshape(len(codes), len(features))
    Y = torch.nn.functional.one_hot(torch.frombuffer(codes, dtype=torch.int64), len(classes))
    device = torch.get_default_device() if device is None else device
    X = given.to(device, dtype, copy=True)
    if not X.is_meta and not bool(X.isfinite().all()):
        largest = numbers[int(given.abs().argmax())]
        raise OverflowError(f"{largest:g} is too large for {str(dtype).removeprefix('torch.')}")
    return Table(X, Y.to(device, dtype), features, classes)


def standardise(X: Tensor) -> Tensor:
    """Shift and scale every column to mean 0 and standard deviation 1 (over n, not n - 1).

    A column that holds one value alone becomes zeros.

    Args:
        X: shape (n, features).

    >>> standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    # By a power of two first, which rounds nothing: squares of 1e200 would overflow.
    exponent = torch.frexp(X.abs().amax(0)).exponent
    X = torch.ldexp(X, -exponent // 2)
    X = torch.ldexp(X, -exponent - -exponent // 2)
    centred = X - X.mean(0)
    deviation = centred.square().mean(0).sqrt()
    constant = X.amax(0) == X.amin(0)
    return torch.where(constant, 0.0, centred / deviation.where(~constant, 1.0))
