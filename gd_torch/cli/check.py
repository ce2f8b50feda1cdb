"""``gd-torch check``: check partials derived by hand, the tutorial's or those in a file."""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output
from gd_torch.cli.argument_types import new_file, whole
from gd_torch.cli.parser import Parser, UsageError
from gd_torch.cli.result_files import write_text

if TYPE_CHECKING:
    from gd_torch.checking import PartialsReport

Case = tuple[Any, Any, Any]
"""An objective, its derivation and the point."""

DESCRIPTION = """\
Check partials derived by hand against autograd and against finite differences of the objective, and
name the mistake. Without a file, every derivation of the tutorial is checked. A file defines
`objective`, `partials` (or `hand`) and `at`; it is executed as Python code."""

EXAMPLES = """\
  {command}                        every derivation of the tutorial
  {command} --example mine.py      write a starter file with one mistake
  {command} mine.py                check the file
  {command} mine.py --json out.json

exit status: 0 every partial is ok; 1 a partial is wrong or was not checked; 2 the file cannot be
used"""

EXAMPLE = '''\
"""A 4-2-3 net and its partials by hand, with one mistake. Check it with gd-torch check FILE."""

import torch

torch.manual_seed(0)
X = torch.randn(10, 4, dtype=torch.float64)
Y = torch.rand(10, 3, dtype=torch.float64)

# the point of the check: one tensor for each argument of the objective
at = (torch.randn(4, 2, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64))


def objective(W1, W2):
    """The mean squared error, a scalar tensor."""
    H = torch.sigmoid(X @ W1)
    P = torch.sigmoid(H @ W2)
    return ((P - Y) ** 2).mean()


def partials(W1, W2):
    """One partial for each argument, of the same shape."""
    H = torch.sigmoid(X @ W1)
    P = torch.sigmoid(H @ W2)
    D2 = 2 / P.numel() * (P - Y) * P * (1 - P)
    D1 = (D2 @ W2.T) * H  # the mistake: the derivative of the sigmoid is H * (1 - H)
    return X.T @ D1, H.T @ D2
'''


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    add = parser.add_argument
    add("file", nargs="?", type=Path, help="a Python file with partials; it is executed")
    add("--example", type=new_file, metavar="FILE", help="write a starter file and exit")
    add("--json", type=new_file, metavar="FILE", help="write the report to FILE as JSON")
    add(
        "--points",
        type=whole(1, 1000),
        default=4,
        metavar="N",
        help="number of points to check at, the given one first (default: 4)",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of the points (default: 0)")
    return parser


def main(arguments: argparse.Namespace, parser: Parser) -> int:
    """Write the starter file, or check derivations."""
    if arguments.example:
        return write_example(arguments.example, parser)
    if arguments.file and not arguments.file.is_file():
        reason = "no file to execute" if arguments.file.exists() else "no such file"
        raise UsageError(f"{arguments.file}: {reason}")
    try:
        cases = read_case(arguments.file) if arguments.file else tutorial_cases()
        reports = check_cases(cases, points=arguments.points, seed=arguments.seed)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code may raise anything
        raise UsageError(f"{arguments.file}: {type(error).__name__}: {error}") from None
    output.print_report("\n".join(map(str, reports)))
    if arguments.json:
        text = json.dumps([report.to_dict() for report in reports], indent=2, allow_nan=False)
        write_text(arguments.json, text + "\n")
    return 0 if all(report.ok for report in reports) else 1


def check_cases(cases: list[Case], points: int, seed: int) -> list[PartialsReport]:
    """One report for each case."""
    import torch

    from gd_torch import check_partials

    torch.set_num_threads(1)
    return [check_partials(*case, points=points, seed=seed) for case in cases]


def tutorial_cases() -> list[Case]:
    """Every derivation of the tutorial, with the start of its descent as the point."""
    from gd_torch import (
        BOWL,
        CURVE,
        bowl_partials,
        curve_partials,
        init_weights,
        load_iris,
        network_mse,
        network_partials,
    )

    iris = load_iris()
    data = iris.X.double(), iris.Y.double()
    weights = init_weights((4, 4, 3), seed=0)
    return [
        (CURVE.objective, curve_partials, CURVE.start),
        (BOWL.objective, bowl_partials, BOWL.start),
        (network_mse(*data), network_partials(*data), weights),
    ]


def read_case(path: Path) -> list[Case]:
    """Execute the user's file and return what it defines."""
    print(f"executing {output.printable(str(path.resolve()))}", flush=True)
    names = runpy.run_path(str(path))
    hand = names.get("partials", names.get("hand"))
    missing = [name for name in ("objective", "at") if name not in names]
    if hand is None:
        missing.append("partials")
    if missing:
        raise ValueError(f"must define {', '.join(missing)}")
    return [(names["objective"], hand, names["at"])]


def write_example(path: Path, parser: Parser) -> int:
    """Write the starter file unless the file exists."""
    if path.exists():
        raise UsageError(f"{path}: exists already, choose another name")
    write_text(path, EXAMPLE)
    print(f"wrote {path}; now run: {parser.command} {path}")
    return 0
