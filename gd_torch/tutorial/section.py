"""One section of the report: checks of what the text says and what follows, tables and notes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Literal

Source = Literal["text", "ours"]


@dataclass(frozen=True)
class Check:
    """One statement beside what was computed.

    Attributes:
        id: the row of the tutorial's table of contents, such as "A5".
        what: the quantity.
        source: "text", or "ours" for what the text does not say: it follows from its formulas, or
            from what we have chosen.
        expected: what is stated.
        exact: what was computed, in full precision.
        rounded: the same, rounded the way the statement is, or in words.
        agrees: whether statement and computation agree.
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
        """Check a statement that is no number with decimals."""
        self._add(Check(id, what, source, expected, computed, short(computed), bool(holds)))

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show a table of results."""
        self.parts.append(("table", len(self.tables)))
        self.tables.append({"title": title, "head": list(head), "rows": [list(r) for r in rows]})

    def note(self, sentence: str) -> None:
        """Say something in words."""
        self.parts.append(("note", sentence))

    def _add(self, check: Check) -> None:
        self.parts.append(("check", len(self.checks)))
        self.checks.append(check)

    def to_dict(self) -> dict[str, Any]:
        """Everything of this section, ready for JSON."""
        notes = [content for kind, content in self.parts if kind == "note"]
        checks = [asdict(check) for check in self.checks]
        return {"title": self.title, "checks": checks, "tables": self.tables, "notes": notes}


def summary(sections: Sequence[Section]) -> str:
    """How many statements agree, the text's and ours."""
    checks = [check for section in sections for check in section.checks]
    found = {
        source: [check.agrees for check in checks if check.source == source]
        for source in ("text", "ours")
    }
    return (
        f"{sum(found['text'])} of {len(found['text'])} statements of the text agree, "
        f"{sum(found['ours'])} of {len(found['ours'])} of ours."
    )


def as_printed(exact: float, text: str) -> str:
    """``exact`` rounded half up to as many decimals as ``text`` shows."""
    decimals = len(text.partition(".")[2])
    return str(Decimal(repr(exact)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP))


def short(value: Any) -> str:
    """A value as people read it in a table."""
    if isinstance(value, float):
        return f"{value:.10g}" if 1e-4 <= abs(value) < 1e10 else f"{value:.3g}"
    return str(value)


def render(section: Section, colour: bool) -> str:
    """The section as terminal text."""
    green, red, bold, off = ("\33[32m", "\33[31m", "\33[1m", "\33[0m") if colour else ("",) * 4
    width = max((len(check.what) for check in section.checks), default=0)
    said = max((len(check.expected) for check in section.checks), default=0)
    lines = [f"{bold}{section.title}{off}", "=" * len(section.title)]
    previous = ""
    for kind, content in section.parts:
        if kind != previous:
            lines.append("")
        previous = kind
        if kind == "note":
            lines += textwrap.wrap(str(content), 96, initial_indent="  ", subsequent_indent="  ")
        elif kind == "table":
            lines += _table(**section.tables[int(content)])
        else:
            check = section.checks[int(content)]
            mark = f"{green}ok{off}" if check.agrees else f"{red}DISAGREES{off}"
            exact = "" if short(check.exact) == check.rounded else f"  ({short(check.exact)})"
            lines.append(
                f"  {check.id:<3} {check.what:<{width}}  {check.source}: {check.expected:<{said}}  "
                f"{mark}  {check.rounded}{exact}"
            )
    return "\n".join(lines) + "\n"


def _table(title: str, head: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [head, *([short(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    body = [
        "    " + "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells
    ]
    return [f"  {title}", *body]
