"""The frame of every interactive page: HTML in one file that loads nothing from a network."""

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
    """The source of plotly.js, which is written into the page.

    Raises:
        ImportError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ImportError(
            "interactive pages need plotly; install it: pip install 'gd_torch[interactive]'"
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
    """A page with controls, the plot, a description of the plot, and a table of its numbers.

    Args:
        title, summary: plain text. alt: the plot in words. keys: the keys that can be used.
        controls, table: HTML.
        script: the name of the script that updates the page.
        data: data for the script: plotly's data and layout, and more.
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
    """An HTML table of cells of plain text."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return "\n".join(
        ["<table>", row(head, "th"), *(row(cells, "td") for cells in rows), "</table>"]
    )
