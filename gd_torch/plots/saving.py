"""The one place that writes figures: identical bytes for identical figures, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gd_torch.plots.style import styled
from gd_torch.storage.atomic_files import atomic_write

UNDATED: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}
"""What to leave out of the metadata, per format, so that two runs write the same bytes."""

DPI = 130


@styled
def save(figure: Figure, path: Path | str) -> Path:
    """Write a figure as .svg, .png or .pdf.

    The bytes depend on the figure alone (no date, fixed ids). They go to a temporary file in the
    same folder that is then renamed: whatever interrupts, ``path`` is whole, old or new. The first
    save settles the figure's layout, which would otherwise drift a little with every draw.

    Returns:
        The path written.

    Raises:
        ValueError: another suffix. OSError: the folder cannot be written.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".").lower()
    if kind not in UNDATED:
        raise ValueError(f"`path` must end in .svg, .png or .pdf, got {path.name!r}")
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=DPI, metadata=UNDATED[kind])
    return write(path, drawn.getvalue())


@styled
def save_animation(frames: Iterable[Figure], path: Path | str, milliseconds: Sequence[int]) -> Path:
    """Write figures of one size as a .gif that repeats; ``milliseconds`` says how long each stays.

    All frames share one palette, so nothing flickers. Returns and raises as :func:`save`.
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
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = bytes(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.frombytes("RGBA", canvas.get_width_height(), pixels).convert("RGB")


def write(path: Path, content: bytes) -> Path:
    """Put ``content`` at ``path`` in one move, in a folder that is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path.resolve(), content)  # through a link, to where it leads
    return path
