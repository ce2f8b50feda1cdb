"""Write figures to files: equal figures give equal bytes, and no file is left incomplete."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gd_torch.plots.style import styled
from gd_torch.storage.atomic_files import atomic_write

METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}
"""Metadata that is left out, for each format, because it depends on the date or on versions."""

DPI = 130


@styled
def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure as .svg, .png or .pdf.

    The bytes depend on the figure alone: there is no date, and ids are fixed. They are written to a
    temporary file that is then renamed, so an interrupted save leaves the old file as it was. The
    first save fixes the layout of the figure, which would otherwise change slightly with each draw.

    Returns:
        The path written.

    Raises:
        ValueError: the suffix is none of these. OSError: the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in METADATA:
        raise ValueError(f"`path` must end in .svg, .png or .pdf, got {path.name!r}")
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=DPI, metadata=METADATA[kind])
    return write(path, drawn.getvalue())


@styled
def save_animation(frames: Iterable[Figure], path: Path | str, milliseconds: Sequence[int]) -> Path:
    """Write figures of one size as an animated .gif that repeats.

    All frames share one palette, so that colours do not flicker.

    Args:
        frames: the figures. path: the file. milliseconds: the time of each frame.

    Returns:
        The path written.

    Raises:
        ValueError: the suffix is not .gif. OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".gif":
        raise ValueError(f"`path` must end in .gif, got {path.name!r}")
    images = [_pixels(figure) for figure in frames]
    palette = images[-1].quantize(64, method=Image.Quantize.MEDIANCUT)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    drawn = io.BytesIO()
    indexed[0].save(
        drawn,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=list(milliseconds),
        loop=0,
        optimize=True,
    )
    return write(path, drawn.getvalue())


def _pixels(figure: Figure) -> Image.Image:
    """One frame as an RGB image."""
    figure.set_dpi(90)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = bytes(canvas.buffer_rgba())
    return Image.frombytes("RGBA", canvas.get_width_height(), pixels).convert("RGB")


def write(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` completely or not at all; create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path.resolve(), content)  # through a link, to where it leads
    return path
