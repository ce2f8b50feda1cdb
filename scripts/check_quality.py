"""How well check_partials names mistakes, by kind, and what gradcheck lets through beside it."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path

from gd_torch.cli.app import prepare_process, run_parsed
from gd_torch.cli.argument_types import whole
from gd_torch.cli.parser import Parser

DESCRIPTION = """\
Check every wrong derivation of tests/derivations. A kind is right when it is ranked first, wrong
when causes are named and the true one is not among them. torch.autograd.gradcheck sees the same
partials in a torch.autograd.Function, at three scales of the objective."""

EXAMPLES = "  {command} --seeds 1"

SCALES = (1.0, 1e-4, 1e-6)
HEADS = ("cases", "caught", "argument", "kind", "wrong", "unknown")


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    parser.add_argument(
        "--seeds",
        type=whole(1, 1000),
        default=3,
        metavar="N",
        help="seeds 0, 1, ... (default: 3)",
    )
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Measure, and print the table."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows, alarms, right = measure(arguments.seeds)
    print(
        "kind".ljust(28)
        + "".join(h.rjust(9) for h in HEADS)
        + "   gradcheck passes at 1, 1e-4, 1e-6"
    )
    total: Counter[str] = Counter()
    for kind in sorted(rows):
        print(line(kind, rows[kind]))
        total += rows[kind]
    print(line("all", total))
    print(f"{right} correct derivations, {alarms} false alarms")
    return 0


def measure(seeds: int) -> tuple[dict[str, Counter[str]], int, int]:
    """Counts by true kind, false alarms, and how many correct derivations there were."""
    from gd_torch import check_partials
    from tests.derivations import FAMILIES

    rows: dict[str, Counter[str]] = {}
    alarms = right = 0
    for seed in range(seeds):
        for make in FAMILIES.values():
            e = make(seed)
            right += 1
            alarms += not check_partials(e.objective, e.hand, e.at, seed=seed).ok
            for w in e.wrong:
                report = check_partials(e.objective, w.hand, e.at, seed=seed)
                rows.setdefault(w.kinds[0], Counter()).update(judged(report, w))
                rows[w.kinds[0]].update(
                    f"{scale:g}" for scale in SCALES if passes_gradcheck(e, w.hand, scale)
                )
    return rows, alarms, right


def judged(report, wrong) -> list[str]:
    """Which columns a wrong derivation counts in."""
    found = tuple(i for i, r in enumerate(report.results) if r.verdict == "wrong")
    kinds = [c.kind for i in found for c in report.results[i].causes]
    tags = ["cases"]
    tags += ["caught"] * bool(found)
    tags += ["argument"] * (found == wrong.arguments)
    tags += ["kind"] * (kinds[:1] != [] and kinds[0] in wrong.kinds)
    tags += ["wrong"] * (bool(kinds) and not set(kinds) & set(wrong.kinds))
    tags += ["unknown"] * (not kinds)
    return tags


def passes_gradcheck(example, hand, scale: float) -> bool:
    """Whether torch's own checker, with its defaults, accepts these partials."""
    import torch

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *weights):
            ctx.save_for_backward(*weights)
            return scale * example.objective(*weights)

        @staticmethod
        def backward(ctx, g):
            return tuple(g * scale * d for d in hand(*ctx.saved_tensors))

    weights = tuple(w.clone().requires_grad_() for w in example.at)
    try:
        return torch.autograd.gradcheck(Scaled.apply, weights, raise_exception=False)
    except RuntimeError:  # a partial of another shape
        return False


def line(kind: str, row: Counter[str]) -> str:
    numbers = "".join(str(row[h]).rjust(9) for h in HEADS)
    return kind.ljust(28) + numbers + "".join(str(row[f"{s:g}"]).rjust(9) for s in SCALES)


if __name__ == "__main__":
    prepare_process()
    sys.exit(run_parsed(build_parser(sys.argv[0]), main, sys.argv[1:]))
