"""Reading a user's own CSV file."""

import pytest
import torch

from gd_torch.data.csv_reader import MAX_LINE_CHARACTERS
from gd_torch.data.dataset import read_table, standardise


@pytest.fixture
def table(tmp_path):
    """Write a file and read it."""

    def read(content, target="kind"):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(path, target)

    return read


def test_a_table_in_any_column_order(table):
    """The target may stand anywhere; classes come in order of first appearance."""
    X, Y, features, classes = table("a,kind,b\n1,x,2\n3.5,y,-4e-1\n\n5,x,6\n")
    assert X.tolist() == [[1, 2], [3.5, -0.4], [5, 6]]
    assert Y.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert (features, classes) == (("a", "b"), ("x", "y"))


def test_what_spreadsheets_write(table):
    """A byte-order mark, CRLF line ends, quotes and blanks around cells are fine."""
    X, _, features, classes = table('\ufeffa,"kind"\r\n 1 ,"x, y"\r\n2,z\r\n')
    assert X.tolist() == [[1], [2]]
    assert (features, classes) == (("a",), ("x, y", "z"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty, a header line is required"),
        ("\n\n", "empty, a header line is required"),
        ("a,kind\n", "no rows below the header"),
        ("a,kind\n1,x\noops,y\n", "row 3, column 'a': not a finite number: 'oops'"),
        ("a,kind\n1,x\n,y\n", "row 3, column 'a': not a finite number: ''"),
        ("a,kind\nnan,x\n1,y\n", "row 2, column 'a': not a finite number: 'nan'"),
        ("a,kind\n-inf,x\n1,y\n", "row 2, column 'a': not a finite number: '-inf'"),
        ("a,kind\n1e999,x\n1,y\n", "not a finite number: '1e999'"),
        ("a,kind\n1_0,x\n1,y\n", "not a finite number: '1_0'"),
        ("a,kind\n1,x\n1,y,2\n", "row 3 has 3 cells, the header has 2"),
        ("a,kind\n1,x\n1\n", "row 3 has 1 cells, the header has 2"),
        ("a,kind\n1,x\n1,\n", "row 3, column 'kind': empty"),
        ("a,kind\n1,x\n1,x\n", "column 'kind' has a single class, 'x'"),
        ("a,b\n1,x\n", "no column 'kind', the header has a, b"),
        ("kind\nx\ny\n", "no feature column beside the target 'kind'"),
        ("a,a,kind\n1,2,x\n", "must name every column once"),
        ("a,,kind\n1,2,x\n", "must name every column once"),
        (b"\x80\x81,kind\n", "not a CSV file in UTF-8"),
        ('a,kind\n"1,x\n', "not a CSV file in UTF-8"),
        ("a,kind\n1,x" + "y" * MAX_LINE_CHARACTERS, "it has a line of"),
    ],
)
def test_unusable_files_are_refused_by_row_and_column(table, content, words):
    """The message names the file and the place."""
    with pytest.raises(ValueError, match=rf"data\.csv: .*{words}"):
        table(content)


def test_a_missing_file_is_an_oserror(tmp_path):
    """As for any open()."""
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv", "kind")


def test_standardised_columns():
    """Mean 0, deviation 1 over n; a constant column becomes zeros, even one that rounds."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 3, generator=generator, dtype=torch.float64) * 7 + 3
    X = torch.cat([X, torch.full((50, 1), 0.1, dtype=torch.float64)], 1)
    Z = standardise(X)
    assert Z.mean(0).abs().max() < 1e-14
    torch.testing.assert_close(Z[:, :3].square().mean(0), torch.ones(3, dtype=torch.float64))
    assert Z[:, 3].eq(0).all()


@pytest.mark.parametrize("size", [1e-300, 1e200, 5e307])
def test_numbers_of_any_size_are_standardised(size):
    """Their squares would leave the floats; the result does not depend on the unit."""
    X = torch.tensor([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(standardise(X * size), standardise(X))


def test_a_number_too_large_for_the_dtype_is_named(tmp_path):
    """Nothing becomes infinity silently."""
    (tmp_path / "data.csv").write_text("a,kind\n1e300,x\n2,y\n")
    with pytest.raises(ValueError, match=r"data\.csv: 1e\+300 is too large for float32"):
        read_table(tmp_path / "data.csv", "kind", dtype=torch.float32)
