"""Make every figure of the tutorial, static and interactive, from live runs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import command
from figure_set import FIGURES, Entry

NAMES = tuple(entry.name for entry in FIGURES)
FORMATS = ("svg", "png", "pdf")
DESCRIPTION = """\
Make every figure of the tutorial, static and interactive, from live runs. Every file is written
whole or not at all."""

EXAMPLES = """\
  python scripts/make_figures.py                           every figure, into figures/
  python scripts/make_figures.py --only 05_descent 09      two of them; the number is enough
  python scripts/make_figures.py --format pdf --out slides all, as PDF
  python scripts/make_figures.py --list                    their names, and what each one shows"""


def make_figures(
    names: Sequence[str] = NAMES,
    out: Path | str = "figures",
    format: str | None = None,
    quiet: bool = False,
) -> list[Path]:
    """Compute, draw and write the named figures, their pages and the gallery.

    Without plotly everything but the interactive pages is made, and one line on stderr says so.

    Args:
        names: of :data:`NAMES`. out: the folder; pages go to ``out/interactive``.
        format: "svg", "png" or "pdf" for the static figures; None is each one's own. The
            animation is always a GIF.
        quiet: no progress bar.

    Returns: the paths written, ``out/index.html`` last. Raises OSError where it cannot write.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):  # to fail before the work, not after it
        pass
    command.load_torch()
    import torch
    from tqdm import tqdm

    import figure_maps

    figure_maps.QUIET = quiet
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny nets gain nothing from a second; and sums keep their order
    try:
        written = []
        entries = [entry for entry in FIGURES if entry.name in names]
        bar = tqdm(entries, unit="figure", disable=True if quiet else None)
        for entry in bar:
            bar.set_description(entry.name)
            written += _make(entry, out, format)
        return [*written, _write_gallery(out, written)]
    finally:
        torch.set_num_threads(threads)
        _report_missing([entry for entry in FIGURES if entry.name in names and entry.page])


def _make(entry: Entry, out: Path, format: str | None) -> list[Path]:
    """One figure, and its page if it has one and plotly is there."""
    from matplotlib.figure import Figure

    from figure_drawings import DRAWINGS, FRAME_TIMES
    from figure_pages import PAGES
    from gd_torch.plots import save, save_animation, write

    drawn = DRAWINGS[entry.name]()
    if isinstance(drawn, Figure):
        written = [save(drawn, out / f"{entry.name}.{format or entry.suffix}")]
    else:
        written = [save_animation(drawn, out / f"{entry.name}.{entry.suffix}", FRAME_TIMES)]
    if entry.page and has_plotly():
        path = out / "interactive" / f"{entry.name}.html"
        written.append(write(path, PAGES[entry.name]().encode()))
    return written


def has_plotly() -> bool:
    """Whether interactive pages can be made."""
    try:
        import plotly.offline  # noqa: F401
    except ImportError:
        return False
    return True


def _report_missing(with_page: Sequence[Entry]) -> None:
    """One line for the pages that could not be made."""
    if with_page and not has_plotly():
        pages = ", ".join(entry.name for entry in with_page)
        print(
            f"interactive pages left out ({pages}): plotly is missing, "
            "pip install 'gd_torch[interactive]'",
            file=sys.stderr,
        )


def _write_gallery(out: Path, written: Sequence[Path]) -> Path:
    """``index.html`` with every figure that is in the folder."""
    from gd_torch.plots import Exhibit, gallery, write

    exhibits = []
    for entry in FIGURES:
        suffixes = dict.fromkeys((entry.suffix, *FORMATS))
        images = [out / f"{entry.name}.{suffix}" for suffix in suffixes]
        images = [path for path in images if path in written] or [p for p in images if p.exists()]
        page = f"interactive/{entry.name}.html" if entry.page else None
        if images and images[0].suffix != ".pdf":
            command = f"python scripts/make_figures.py --only {entry.name}"
            shown = page if page and (out / page).exists() else None
            exhibits.append(Exhibit(images[0].name, shown, entry.caption, entry.alt, command))
    return write(out / "index.html", gallery(exhibits).encode())


def _name(given: str) -> str:
    """A figure's name from the name itself or its number."""
    for name in NAMES:
        if given in (name, name[:2]):
            return name
    raise argparse.ArgumentTypeError(f"no figure {given!r}, --list names them")


def parser() -> command.Parser:
    """The arguments of this script."""
    parser = command.Parser(DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--only", nargs="+", type=_name, metavar="NAME", default=NAMES, help="by name or number")
    add("--list", action="store_true", help="name the figures and stop")
    add(
        "--out",
        type=command.new_folder,
        default=Path("figures"),
        metavar="DIR",
        help="where the figures go (default: figures)",
    )
    add("--format", choices=FORMATS, help="of the static figures (default: each one's own)")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    return parser


def main(given: argparse.Namespace) -> int:
    """List the figures, or make them."""
    if given.list:
        for entry in FIGURES:
            kinds = entry.suffix + (" + page" if entry.page else "")
            print(f"{entry.name:26} {kinds:11} {entry.caption}")
        return 0
    written = make_figures(given.only, given.out, given.format, given.quiet)
    if not given.quiet:
        print(f"{len(written)} files in {given.out}; open {written[-1]}")
    return 0


if __name__ == "__main__":
    command.run(parser(), main)
