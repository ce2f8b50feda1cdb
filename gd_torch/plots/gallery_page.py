"""The gallery: a page with every figure, its caption, and the command that makes it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from string import Template
from typing import NamedTuple

from gd_torch.plots.page import asset


class GalleryItem(NamedTuple):
    """One figure of the gallery; paths are relative to the gallery's own folder.

    Attributes:
        image: the path of the image. page: the path of its interactive page, if there is one.
        caption: text below the figure. alt: text that describes the image to those who cannot
            see it. command: the command that makes the figure.
    """

    image: str
    page: str | None
    caption: str
    alt: str
    command: str


def gallery(items: Sequence[GalleryItem]) -> str:
    """The gallery as HTML without scripts; the images are files in the same folder."""
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
