"""Write the figures of the catalogue, their interactive pages and the gallery."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from gd_torch.plots import GalleryItem, gallery, save, save_animation, write
from gd_torch.tutorial import trainability_data
from gd_torch.tutorial.catalogue import FIGURES, FORMATS, NAMES, FigureSpec
from gd_torch.tutorial.drawings import DRAWINGS, FRAME_TIMES
from gd_torch.tutorial.pages import PAGES


def make_figures(
    names: Sequence[str] = NAMES,
    out: Path | str = "figures",
    format: str | None = None,
    *,
    progress: bool = False,
) -> list[Path]:
    """Compute, draw and write the named figures, their pages and the gallery.

    Without plotly the interactive pages are left out.

    Args:
        names: some of :data:`~gd_torch.tutorial.catalogue.NAMES`.
        out: the folder, created if necessary; pages go to ``out/interactive``.
        format: "svg", "png" or "pdf" for the static figures; None is the default of each figure.
            The animation is always a GIF.
        progress: show progress bars where stderr is a terminal.

    Returns:
        The paths written, ``out/index.html`` last.

    Raises:
        OSError: a file could not be written.
    """
    out = _writable_folder(Path(out))
    trainability_data.QUIET = not progress
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small nets run no faster on more, and sums keep their order
    try:
        written = []
        chosen = [spec for spec in FIGURES if spec.name in names]
        bar = tqdm(chosen, unit="figure", disable=None if progress else True)
        for spec in bar:
            bar.set_description(spec.name)
            written += _make(spec, out, format)
        return [*written, write_gallery(out, written)]
    finally:
        torch.set_num_threads(threads)


def _writable_folder(path: Path) -> Path:
    """Create the folder if necessary; raise an OSError now if it cannot be written."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        return path


def has_plotly() -> bool:
    """Whether interactive pages can be made."""
    try:
        import plotly.offline  # noqa: F401
    except ImportError:
        return False
    return True


def _make(spec: FigureSpec, out: Path, format: str | None) -> list[Path]:
    """Write one figure, and its page if it has one and plotly is installed."""
    drawn = DRAWINGS[spec.name]()
    if isinstance(drawn, Figure):
        written = [save(drawn, out / f"{spec.name}.{format or spec.suffix}")]
    else:
        written = [save_animation(drawn, out / f"{spec.name}.{spec.suffix}", FRAME_TIMES)]
    if spec.page and has_plotly():
        path = out / "interactive" / f"{spec.name}.html"
        written.append(write(path, PAGES[spec.name]().encode()))
    return written


def write_gallery(out: Path, written: Sequence[Path]) -> Path:
    """Write ``index.html`` with every figure that is in the folder."""
    items = []
    for spec in FIGURES:
        suffixes = dict.fromkeys((spec.suffix, *FORMATS))
        images = [out / f"{spec.name}.{suffix}" for suffix in suffixes]
        images = [path for path in images if path in written] or [p for p in images if p.exists()]
        page = f"interactive/{spec.name}.html" if spec.page else None
        if images and images[0].suffix != ".pdf":
            command = f"python scripts/make_figures.py --only {spec.name}"
            shown = page if page and (out / page).exists() else None
            items.append(GalleryItem(images[0].name, shown, spec.caption, spec.alt, command))
    return write(out / "index.html", gallery(items).encode())
