"""Fisher's iris data: 150 flowers, 4 measurements in centimetres, 3 species."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gd_torch.data.dataset import Table, read_table


class Iris(NamedTuple):
    """The iris data as tensors.

    Attributes:
        X: sepal length, sepal width, petal length, petal width in cm, shape (150, 4).
        Y: one-hot species, shape (150, 3).
        species: the names of Y's columns.
    """

    X: Tensor
    Y: Tensor
    species: tuple[str, ...]


def load_iris(
    *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> Iris:
    """Load Fisher's 150 rows as printed, without the two errors of the UCI copy.

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of
    Eugenics 7 (1936), table I; measured by E. Anderson, "The irises of the Gaspe Peninsula",
    Bulletin of the American Iris Society 59 (1935).

    Args:
        dtype: floating-point dtype of X and Y.
        device: device of X and Y; None is torch's default device.

    Returns:
        An :class:`Iris`, which unpacks as ``X, Y, species``.

    >>> X, Y, species = load_iris()
    >>> X.shape, Y.shape, species
    (torch.Size([150, 4]), torch.Size([150, 3]), ('setosa', 'versicolor', 'virginica'))
    """
    table = iris_table(dtype=dtype, device=device)
    return Iris(table.X, table.Y, table.classes)


def iris_table(
    *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> Table:
    """Load the same rows as a :class:`Table`, with the names of the measurements."""
    path = Path(__file__).with_name("iris.csv")
    return read_table(path, "species", dtype=dtype, device=device)
