"""The tutorial from end to end: every number of its text, computed, compared and shown."""

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

DESCRIPTION = """\
Walk through the tutorial on gradient descent and partial derivatives: for each statement of its
text, what is computed (rounded as the text rounds, and exact), and whether the two agree; the same
for what follows from it, marked "derived". Then train nets with 14 and 28 weights on Fisher's iris
data from many seeds, measure the claims that the text makes, and make every figure but the one that
takes minutes."""

EXAMPLES = """\
  {command}
  {command} --quick --json report.json   the numbers alone, in seconds

exit status: 0 everything agrees; 1 a statement disagrees or a file could not be written; 2 unusable
input"""


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    parser.add_argument(
        "--seeds",
        type=whole(1, 10_000),
        default=100,
        metavar="N",
        help="nets trained side by side in part 3 (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="ten seeds, and no figures")
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
    """Compute section by section, show each as soon as it is there."""
    if not arguments.quick:
        check_writable(arguments.out)
    load_torch()
    import torch
    from tqdm import tqdm

    from gd_torch.tutorial import claims, matrices, one_weight, two_weights
    from gd_torch.tutorial.catalogue import LONG, NAMES
    from gd_torch.tutorial.figure_files import make_figures
    from gd_torch.tutorial.section import Section, render, summary

    torch.set_num_threads(1)  # a second thread only adds waiting to tensors this small
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    sections: list[Section] = []

    def show(section: Section) -> None:
        sections.append(section)
        print(render(section, colour), flush=True)

    one, two = one_weight.compute(), two_weights.compute()
    show(one_weight.section(one))
    show(two_weights.section(two))
    total = sum(setting.steps for setting in matrices.SETTINGS)
    silent = True if arguments.quiet else None  # None: silent where stderr is no terminal
    seeds = 10 if arguments.quick else arguments.seeds
    with tqdm(total=total, unit="step", desc="training", leave=False, disable=silent) as bar:
        three = matrices.compute(seeds, bar.update)
    show(matrices.section(three))
    show(claims.section(one, two))

    checks = [check for section in sections for check in section.checks]
    wrong = [check for check in checks if not check.agrees]
    if arguments.json:
        agree = {"agree": len(checks) - len(wrong), "disagree": len(wrong)}
        write_json(
            arguments.json, {**agree, "sections": [section.to_dict() for section in sections]}
        )
    print(summary(sections), flush=True)
    if not arguments.quick:
        names = [name for name in NAMES if name not in LONG]
        figures = make_figures(names, arguments.out, progress=not arguments.quiet)
        report_missing_pages(names)
        print(f"The figures, with captions: {figures[-1]}")
        command = parser.command.replace("reproduce.py", "make_figures.py")
        command = command.replace(" reproduce", " figures")
        print(f"Left out, it takes minutes: {command} --only {' '.join(LONG)}")
    return 1 if wrong else 0
