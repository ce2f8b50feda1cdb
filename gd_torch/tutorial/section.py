"""One section of the report: checks of statements, tables and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

from gd_torch.text_table import format_table

Source = Literal["text", "derived"]


@dataclass(frozen=True)
class Check:
    """One statement and the computed value.

    Attributes:
        id: the row of the tutorial's table of contents, such as "A5".
        what: the quantity.
        source: "text" for a statement of the tutorial's text; "derived" for one that follows from
            the text's formulas or from a setting chosen here.
        expected: the stated value.
        exact: the computed value, in full precision.
        rounded: the computed value, rounded to the decimals that are stated, or in words.
        agrees: whether the stated and the computed value agree.
    """

    id: str
    what: str
    source: Source
    expected: str
    exact: float | int | str
    rounded: str
    agrees: bool


@dataclass
class Section:
    """A titled group of checks, tables and notes, in the order in which they are read."""

    title: str
    checks: list[Check] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    parts: list[tuple[str, int | str]] = field(default_factory=list)

    def number(
        self, id: str, what: str, expected: str, exact: float, source: Source = "text"
    ) -> None:
        """Check a number, rounded half up to the decimals that are stated."""
        rounded = as_printed(exact, expected)
        self._add(Check(id, what, source, expected, exact, rounded, rounded == expected))

    def fact(
        self,
        id: str,
        what: str,
        expected: str,
        computed: float | str,
        holds: bool,
        source: Source = "text",
    ) -> None:
        """Check a statement other than a number with decimals."""
        self._add(Check(id, what, source, expected, computed, short(computed), bool(holds)))

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table of results."""
        self.parts.append(("table", len(self.tables)))
        self.tables.append({"title": title, "head": list(head), "rows": [list(r) for r in rows]})

    def note(self, sentence: str) -> None:
        """Add a paragraph of text."""
        self.parts.append(("note", sentence))

    def _add(self, check: Check) -> None:
        self.parts.append(("check", len(self.checks)))
        self.checks.append(check)

    def to_dict(self) -> dict[str, Any]:
        """The whole section as data for JSON."""
        notes = [content for kind, content in self.parts if kind == "note"]
        checks = [asdict(check) for check in self.checks]
        return {"title": self.title, "checks": checks, "tables": self.tables, "notes": notes}


def summary(sections: Sequence[Section]) -> str:
    """One sentence: how many statements of the text, and how many derived ones, agree."""
    checks = [check for section in sections for check in section.checks]
    found = {
        source: [check.agrees for check in checks if check.source == source]
        for source in ("text", "derived")
    }
    return (
        f"{sum(found['text'])} of {len(found['text'])} statements of the text agree, and "
        f"{sum(found['derived'])} of {len(found['derived'])} derived ones."
    )


def as_printed(exact: float, text: str) -> str:
    """``exact`` rounded half up to as many decimals as ``text`` shows."""
    decimals = len(text.partition(".")[2])
    return str(Decimal(repr(exact)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def short(value: Any) -> str:
    """A value as text, with at most ten significant digits."""
    if isinstance(value, float):
        return f"{value:.10g}" if 1e-4 <= abs(value) < 1e10 else f"{value:.3g}"
    return str(value)


def render(section: Section, colour: bool) -> str:
    """The section as text for a terminal, in colour if ``colour``."""
    green, red, bold, off = ("\33[32m", "\33[31m", "\33[1m", "\33[0m") if colour else ("",) * 4
    statements = format_table(
        [(f"{c.id:<3} {c.what}", f"{c.source}: {c.expected}") for c in section.checks],
        align="<",
        indent="  ",
    )
    lines = [f"{bold}{section.title}{off}", "=" * len(section.title)]
    previous = ""
    for kind, content in section.parts:
        if kind != previous:
            lines.append("")
        previous = kind
        if kind == "note":
            lines += textwrap.wrap(str(content), 96, initial_indent="  ", subsequent_indent="  ")
        elif kind == "table":
            lines += _table_lines(**section.tables[int(content)])
        else:
            check = section.checks[int(content)]
            mark = f"{green}ok{off}" if check.agrees else f"{red}DISAGREES{off}"
            exact = "" if short(check.exact) == check.rounded else f"  ({short(check.exact)})"
            lines.append(f"{statements[int(content)]}  {mark}  {check.rounded}{exact}")
    return "\n".join(lines) + "\n"


def _table_lines(title: str, head: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [head, *([short(cell) for cell in row] for row in rows)]
    return [f"  {title}", *format_table(cells, indent="    ")]
