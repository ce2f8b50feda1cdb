"""Tables of text: alignment, and the tables of the commands."""

import pytest
import torch

from gd_torch.cli.train_report import confusion_lines, matrix_lines
from gd_torch.text_table import format_table


def test_columns_are_aligned():
    """Columns are as wide as their widest cell, and at least as wide as asked for."""
    rows = [["a", "1"], ["bcd", "22.5"]]
    assert format_table(rows) == ["  a     1", "bcd  22.5"]
    assert format_table(rows, align="<>") == ["a       1", "bcd  22.5"]
    assert format_table(rows, indent="| ", separator=" | ", minimum_width=5) == [
        "|     a |     1",
        "|   bcd |  22.5",
    ]


def test_rows_of_different_length_are_an_error():
    """A missing cell is not filled in silently."""
    with pytest.raises(ValueError, match="zip"):
        format_table([["a", "b"], ["c"]])


def test_large_counts_do_not_touch_the_class_names():
    """There are two spaces between a name and its counts, whatever their length."""
    assert confusion_lines(("x", "y"), [[12345, 0], [3, 1234567]]) == [
        "         x        y",
        "  x  12345        0",
        "  y      3  1234567",
    ]


def test_a_large_matrix_is_cut():
    """Rows and columns beyond the limit are counted or marked by an ellipsis."""
    lines = matrix_lines(torch.zeros(4, 3), limit=2)
    assert lines == [" ".join([" " * 11 + "0", " " * 9 + "0", "..."])] * 2 + ["  ... 2 more rows"]
