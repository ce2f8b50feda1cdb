"""The shell of every page: self-contained HTML that asks no network for anything."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

ASSETS = Path(__file__).with_name("pages")


def asset(name: str) -> str:
    """The text of a template, style sheet or script."""
    return (ASSETS / name).read_text(encoding="utf-8")


def plotly_js() -> str:
    """The source of plotly.js, to be inlined.

    Raises:
        ImportError: plotly is not installed; the message says how to get it.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "interactive pages need plotly: pip install 'gd_torch[interactive]'"
        ) from error
    return str(get_plotlyjs())


def build_page(
    *,
    title: str,
    summary: str,
    alt: str,
    keys: str,
    controls: str,
    table: str,
    script: str,
    data: Mapping[str, Any],
) -> str:
    """A whole page: controls, the picture, its text alternative and the same in numbers.

    Args:
        title, summary, alt, keys: plain text; ``keys`` says what the keyboard does.
        controls, table: HTML.
        script: the asset that drives the page.
        data: what the script reads: plotly's data and layout, and more.
    """
    text = {"title": title, "summary": summary, "alt": alt, "keys": keys}
    return Template(asset("page.html")).substitute(
        {name: html.escape(value) for name, value in text.items()},
        controls=controls,
        table=table,
        style=asset("page.css"),
        theme=asset("theme.js"),
        script=asset(script),
        plotly=plotly_js(),
        data=json.dumps(data, allow_nan=False, ensure_ascii=False).replace("</", "<\\/"),
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text cells as an HTML table."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "\n".join(
        ["<table>", row(head, "th"), *(row(cells, "td") for cells in rows), "</table>"]
    )
