"""Tables of text with aligned columns, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

ALIGNMENTS = {"<": str.ljust, ">": str.rjust}


def format_table(
    rows: Sequence[Sequence[str]],
    *,
    align: str = ">",
    indent: str = "",
    separator: str = "  ",
    minimum_width: int = 0,
) -> list[str]:
    """Align the cells of each column.

    Args:
        rows: the cells, the same number in every row; a header is a row like any other.
        align: "<" (left) or ">" (right) for each column; the last one holds for all that follow.
        indent: text before each line. separator: text between two columns.
        minimum_width: of each right-aligned column, in characters.

    Returns:
        One line per row, all of the same length.

    >>> print("\\n".join(format_table([["rate", "MSE"], ["0.5", "0.0412"]], align="<>")))
    rate     MSE
    0.5   0.0412
    """
    columns = list(zip(*rows, strict=True))
    align = align.ljust(len(columns), align[-1])
    widths = [
        max(minimum_width if side == ">" else 0, *map(len, column))
        for side, column in zip(align, columns, strict=False)
    ]
    return [
        indent
        + separator.join(
            ALIGNMENTS[side](cell, width)
            for side, cell, width in zip(align, row, widths, strict=False)
        )
        for row in rows
    ]
