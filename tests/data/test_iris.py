"""The data are Fisher's, not the copy with two wrong rows."""

import hashlib
from importlib.resources import files

import torch

from gd_torch import load_iris


def test_the_file_is_the_one_that_was_checked():
    """Any edit of the shipped file changes its hash."""
    content = files("gd_torch").joinpath("data/iris.csv").read_bytes()
    expected = "b6b8efc86732bc48c9fbddba53e2c191fd4f263c0ee98e2b1b7d3543e8d2121d"
    assert hashlib.sha256(content).hexdigest() == expected


def test_rows_sums_and_species():
    """150 rows, 50 a species, the column sums of the published table."""
    X, Y, species = load_iris()
    assert X.shape == (150, 4) and Y.shape == (150, 3)
    assert species == ("setosa", "versicolor", "virginica")
    assert (X * 10).round().sum(0).tolist() == [8765, 4586, 5637, 1799]
    assert Y.sum(0).tolist() == [50, 50, 50]
    assert torch.equal(Y.argmax(1), torch.arange(3).repeat_interleave(50))


def test_the_two_rows_that_the_widespread_copy_has_wrong():
    """Rows 35 and 38, counted from 1, as Fisher printed them."""
    X = load_iris().X
    assert X[34].tolist() == [4.9, 3.1, 1.5, 0.2]
    assert X[37].tolist() == [4.9, 3.6, 1.4, 0.1]


def test_the_only_duplicate_is_rows_102_and_143():
    """Every other flower is measured differently or of another species."""
    X, Y, _ = load_iris()
    rows = torch.cat([X, Y], 1)
    same = (rows[:, None] == rows).all(-1).triu(diagonal=1)
    assert (same.nonzero() + 1).tolist() == [[102, 143]]


def test_iris_in_the_dtype_and_on_the_device_asked_for(dtype, device):
    """Nothing stays behind on another device."""
    X, Y, _ = load_iris(dtype=dtype, device=device)
    assert X.dtype == Y.dtype == dtype
    assert X.device.type == Y.device.type == device
