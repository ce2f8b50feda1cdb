"""Measure how often check_partials names the right mistake, and how often gradcheck sees none."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter

sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli.app import prepare_process, run_parsed
from gd_torch.cli.argument_types import whole
from gd_torch.cli.parser import Parser
from gd_torch.text_table import format_table

DESCRIPTION = """\
Check every wrong derivation of tests/derivations and count the verdicts for each kind of mistake:
"caught": some partial is wrong; "argument": exactly the wrong partials are named; "kind": the true
kind of mistake is named first; "wrong": only other kinds are named; "unknown": none is named.
"gradcheck": torch.autograd.gradcheck accepts the same partials, in a torch.autograd.Function, with
the objective multiplied by 1, 1e-4 and 1e-6."""

EXAMPLES = "  {command} --seeds 1"

SCALES = (1.0, 1e-4, 1e-6)
COLUMNS = ("cases", "caught", "argument", "kind", "wrong", "unknown")


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    parser.add_argument(
        "--seeds",
        type=whole(1, 1000),
        default=3,
        metavar="N",
        help="use the seeds 0 to N - 1 (default: 3)",
    )
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Count the verdicts and print the table."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    counts, false_alarms, correct = measure(arguments.seeds)
    columns = [*COLUMNS, *map(gradcheck_column, SCALES)]
    total: Counter[str] = sum(counts.values(), Counter())
    body = [
        [kind, *(str(row[column]) for column in columns)]
        for kind, row in [*sorted(counts.items()), ("all", total)]
    ]
    print("\n".join(format_table([["kind", *columns], *body], align="<>")))
    print(f"{correct} correct derivations, {false_alarms} false alarms")
    return 0


def measure(seeds: int) -> tuple[dict[str, Counter[str]], int, int]:
    """Counts for each kind of mistake, false alarms, and the number of correct derivations."""
    from gd_torch import check_partials
    from tests.derivations import FAMILIES

    counts: dict[str, Counter[str]] = {}
    false_alarms = correct = 0
    for seed in range(seeds):
        for make in FAMILIES.values():
            example = make(seed)
            objective, at = example.objective, example.at
            correct += 1
            false_alarms += not check_partials(objective, example.hand, at, seed=seed).ok
            for wrong in example.wrong:
                report = check_partials(objective, wrong.hand, at, seed=seed)
                row = counts.setdefault(wrong.kinds[0], Counter())
                row.update(matching_columns(report, wrong))
                row.update(
                    gradcheck_column(scale)
                    for scale in SCALES
                    if passes_gradcheck(example, wrong.hand, scale)
                )
    return counts, false_alarms, correct


def matching_columns(report, wrong) -> list[str]:
    """The columns in which a wrong derivation is counted."""
    found = tuple(i for i, r in enumerate(report.results) if r.verdict == "wrong")
    kinds = [cause.kind for i in found for cause in report.results[i].causes]
    matches = {
        "cases": True,
        "caught": bool(found),
        "argument": found == wrong.arguments,
        "kind": bool(kinds) and kinds[0] in wrong.kinds,
        "wrong": bool(kinds) and not set(kinds) & set(wrong.kinds),
        "unknown": not kinds,
    }
    return [column for column in COLUMNS if matches[column]]


def gradcheck_column(scale: float) -> str:
    """The name of the column that counts what gradcheck accepts at this scale."""
    return f"gradcheck {scale:g}"


def passes_gradcheck(example, hand, scale: float) -> bool:
    """Whether torch.autograd.gradcheck with its default settings accepts these partials."""
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


if __name__ == "__main__":
    prepare_process()
    sys.exit(run_parsed(build_parser(sys.argv[0]), main, sys.argv[1:]))
