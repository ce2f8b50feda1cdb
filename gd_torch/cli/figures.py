"""``gd-torch figures``: make every figure of the tutorial."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gd_torch.cli import output
from gd_torch.cli.argument_types import new_folder
from gd_torch.cli.parser import Parser
from gd_torch.torch_loading import load_torch
from gd_torch.tutorial.catalogue import FIGURES, FORMATS, NAMES

DESCRIPTION = """\
Make every figure of the tutorial, static and interactive, from live runs. Every file is written
completely or not at all."""

EXAMPLES = """\
  {command}                           every figure, into figures/
  {command} --only 05_descent 09      two of them; the number is enough
  {command} --format pdf --out slides all, as PDF
  {command} --list                    their names, and what each one shows"""


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    add = parser.add_argument
    add("--only", nargs="+", type=_name, metavar="NAME", default=NAMES, help="by name or number")
    add("--list", action="store_true", help="name the figures and stop")
    add(
        "--out",
        type=new_folder,
        default=Path("figures"),
        metavar="DIR",
        help="where the figures go (default: figures)",
    )
    add("--format", choices=FORMATS, help="of the static figures (default: each one's own)")
    add("--quiet", action="store_true", help="no progress bar, no summary")
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """List the figures, or make them."""
    if arguments.list:
        for entry in FIGURES:
            kinds = entry.suffix + (" + page" if entry.page else "")
            print(f"{entry.name:26} {kinds:11} {entry.caption}")
        return 0
    load_torch()
    from gd_torch.tutorial.figure_files import make_figures

    written = make_figures(
        arguments.only, arguments.out, arguments.format, progress=not arguments.quiet
    )
    report_missing_pages(arguments.only)
    if not arguments.quiet:
        print(f"{len(written)} files in {arguments.out}; open {written[-1]}")
    return 0


def report_missing_pages(names: Sequence[str]) -> None:
    """Print one line on stderr for the pages that cannot be made without plotly."""
    from gd_torch.tutorial.figure_files import has_plotly

    pages = [entry.name for entry in FIGURES if entry.page and entry.name in names]
    if pages and not has_plotly():
        output.print_status(
            f"interactive pages left out ({', '.join(pages)}): plotly is missing, "
            "pip install 'gd_torch[interactive]'"
        )


def _name(given: str) -> str:
    """A figure's name from the name itself or its number."""
    for name in NAMES:
        if given in (name, name[:2]):
            return name
    raise argparse.ArgumentTypeError(f"no figure {given!r}, --list names them")
