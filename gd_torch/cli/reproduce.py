"""``gd-torch reproduce``: compute every number of the tutorial and compare it with the text."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gd_torch.cli.argument_types import new_folder, whole
from gd_torch.cli.figures import report_missing_pages
from gd_torch.cli.file_checks import check_writable
from gd_torch.cli.parser import Parser, add_output
from gd_torch.cli.result_files import write_json
from gd_torch.torch_loading import load_torch
from gd_torch.tutorial.catalogue import LONG, NAMES
from gd_torch.tutorial.section import Section, render, summary

DESCRIPTION = """\
Check every statement of the tutorial on gradient descent and partial derivatives: print the
computed value, rounded to the decimals of the text and exact, and whether it agrees with the text.
Statements marked "derived" are not in the text; they follow from its formulas. Then train nets of
14 and 28 weights on Fisher's iris data from many seeds, measure the claims of the text, and make
all figures but the one that takes minutes."""

EXAMPLES = """\
  {command}
  {command} --quick --json report.json   the numbers without figures, in seconds

exit status: 0 all statements agree; 1 a statement disagrees or a file could not be written; 2
unusable input"""


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    parser.add_argument(
        "--seeds",
        type=whole(1, 10_000),
        default=100,
        metavar="N",
        help="number of seeds in part 3 (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="use ten seeds and make no figures")
    parser.add_argument(
        "--out",
        type=new_folder,
        default=Path("figures"),
        metavar="DIR",
        help="where the figures go (default: figures)",
    )
    add_output(parser)
    return parser


def main(arguments: argparse.Namespace, parser: Parser) -> int:
    """Print section by section, then write the report and make the figures."""
    if not arguments.quick:
        check_writable(arguments.out)
    load_torch()
    import torch

    torch.set_num_threads(1)  # tensors this small are no faster on more threads
    sections = print_sections(10 if arguments.quick else arguments.seeds, arguments.quiet)
    checks = [check for section in sections for check in section.checks]
    agree = sum(check.agrees for check in checks)
    if arguments.json:
        counts = {"agree": agree, "disagree": len(checks) - agree}
        write_json(
            arguments.json, {**counts, "sections": [section.to_dict() for section in sections]}
        )
    print(summary(sections), flush=True)
    if not arguments.quick:
        write_figures(arguments, parser)
    return 0 if agree == len(checks) else 1


def print_sections(seeds: int, quiet: bool) -> list[Section]:
    """Compute all sections of the report, print each as soon as it is complete."""
    from tqdm import tqdm

    from gd_torch.tutorial import claims, matrices, one_weight, two_weights

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    sections: list[Section] = []

    def add(section: Section) -> None:
        sections.append(section)
        print(render(section, colour), flush=True)

    one, two = one_weight.compute(), two_weights.compute()
    add(one_weight.section(one))
    add(two_weights.section(two))
    total = sum(setting.steps for setting in matrices.SETTINGS)
    disable = True if quiet else None  # None: no bar if stderr is not a terminal
    with tqdm(total=total, unit="step", desc="training", leave=False, disable=disable) as bar:
        three = matrices.compute(seeds, bar.update)
    add(matrices.section(three))
    add(claims.section(one, two))
    return sections


def write_figures(arguments: argparse.Namespace, parser: Parser) -> None:
    """Make all figures but those that take long, and print where they are."""
    from gd_torch.tutorial.figure_files import make_figures

    names = [name for name in NAMES if name not in LONG]
    figures = make_figures(names, arguments.out, progress=not arguments.quiet)
    report_missing_pages(names)
    print(f"The figures, with captions: {figures[-1]}")
    command = parser.command.replace("reproduce.py", "make_figures.py")
    command = command.replace(" reproduce", " figures")
    print(f"Not made, because it takes minutes: {command} --only {' '.join(LONG)}")
