"""The gallery: one page with every figure, its caption, and the command that makes it again."""

from __future__ import annotations

import html
from collections.abc import Sequence
from string import Template
from typing import NamedTuple

from gd_torch.plots.page import asset


class GalleryItem(NamedTuple):
    """One figure of the gallery; paths are relative to the gallery's own folder.

    Attributes:
        image: the picture's path. page: the interactive page's path, if there is one.
        caption, alt: what the reader learns, and the picture in words. command: how it is made.
    """

    image: str
    page: str | None
    caption: str
    alt: str
    command: str


def gallery(items: Sequence[GalleryItem]) -> str:
    """The gallery as HTML, without any script; the pictures are files beside it."""
    figures = "\n".join(_figure(item) for item in items)
    return Template(asset("gallery.html")).substitute(style=asset("page.css"), figures=figures)


def _figure(item: GalleryItem) -> str:
    image, page, caption, alt, command = (part and html.escape(part) for part in item)
    link = (
        f' <a href="{page}">Open the interactive page</a> (made by the command below).'
        if page
        else ""
    )
    return (
        f'<figure>\n<img src="{image}" alt="{alt}">\n'
        f"<figcaption>{caption}{link}<br><code>{command}</code></figcaption>\n</figure>"
    )
