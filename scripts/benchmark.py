"""Measure gd_torch against its baselines, in one process, candidate after candidate."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output
from gd_torch.cli.app import prepare_process, run_parsed
from gd_torch.cli.argument_types import figure_file, whole
from gd_torch.cli.parser import Parser, UsageError, add_output
from gd_torch.cli.result_files import write_json

if TYPE_CHECKING:
    from benchmarks.comparisons import Comparison

DESCRIPTION = """\
Time the steps of a descent against baselines: torch.optim, NumPy by hand, JAX with optax and C by
hand. All solve the same problem in turns; the table shows medians, their spread and the median of
the ratios turn by turn. Times are processor time, user and system, so that other programs disturb
little. A candidate's time per step is the difference between a long and a short run, so that setup
and compiling do not count; in the groups "whole" and "auto" it is all of a process with its
children, the compiler among them, in "map" and for many curves all of the work, in "ranks" the time
of the clock. All groups take about an hour, most of them for processes."""

EXAMPLES = """\
  pip install -c constraints.txt '.[bench]'
  {command}
  {command} --only single --repeats 9 --json benchmark.json
  {command} --only growth --figure growth.svg"""

GROUPS = (
    "single", "logistic", "record", "lockstep", "curve", "map", "grid", "growth", "whole", "auto",
    "ranks",
)  # fmt: skip


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of rows")
    parser.add_argument(
        "--repeats",
        type=whole(1, 1000),
        default=5,
        metavar="N",
        help="turns of all candidates (default: %(default)s)",
    )
    parser.add_argument(
        "--figure", type=figure_file, metavar="FILE", help="growth as .svg, .png or .pdf"
    )
    add_output(parser)
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Time every comparison, show the table, write it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait take no time
    import torch

    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        raise UsageError("the baselines are not installed: pip install '.[bench]'") from None
    from tqdm import tqdm

    from benchmarks.groups import COMPARISONS

    if arguments.figure and "growth" not in arguments.only:
        raise UsageError("--figure shows the group growth, which --only leaves out")
    chosen = [comparison for group in arguments.only for comparison in COMPARISONS[group]()]
    silent = True if arguments.quiet else None
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(chosen) * arguments.repeats, leave=False, disable=silent) as bar:
        for comparison in chosen:
            bar.set_description(comparison.title)
            torch.set_num_threads(comparison.threads)
            rows += timed(comparison, arguments.repeats, bar.update)
    machine = versions()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    output.print_report(table(rows))
    if arguments.json:
        write_json(arguments.json, {"machine": machine, "rows": rows})
    if arguments.figure:
        from benchmarks.drawing import growth
        from gd_torch.plots import save

        save(growth([row for row in rows if row["size"]]), arguments.figure)
    return 0


def timed(
    comparison: Comparison, repeats: int, progress: Callable[[int], object]
) -> list[dict[str, Any]]:
    """One row per baseline: medians in microseconds, and the median ratio turn by turn."""
    candidates = [comparison.ours, *comparison.baselines]
    for candidate in candidates if comparison.warm else ():  # compile, for both lengths
        candidate.seconds_a_step()
    turns = []
    for _ in range(repeats):
        turns.append([candidate.seconds_a_step() * 1e6 for candidate in candidates])
        progress(1)
    ours, *others = zip(*turns, strict=True)
    rows = []
    for baseline, theirs in zip(comparison.baselines, others, strict=True):
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {
                "name": comparison.title,
                "ours": comparison.ours.name,
                "ours_us": statistics.median(ours),
                "ours_range_us": [min(ours), max(ours)],
                "baseline": baseline.name,
                "baseline_us": statistics.median(theirs),
                "baseline_range_us": [min(theirs), max(theirs)],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "threads": comparison.threads,
                "size": comparison.size,
                "whole": comparison.whole,
            }
        )
    return rows


def versions() -> dict[str, str]:
    """What the figures depend on."""
    import jax
    import numpy
    import optax
    import torch

    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "jax": jax.__version__,
        "optax": optax.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The processor's own name, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def shown(microseconds: float, whole: bool) -> str:
    """A whole process in seconds, a step in microseconds."""
    return f"{microseconds / 1e6:.2f} s" if whole else f"{microseconds:.3g} us"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "ours", "time", "baseline", "time", "baseline / ours", "range")
    cells = [
        (
            row["name"],
            row["ours"],
            shown(row["ours_us"], row["whole"]),
            row["baseline"],
            shown(row["baseline_us"], row["whole"]),
            f"{row['ratio']:.3g}",
            f"{row['ratio_range'][0]:.3g} to {row['ratio_range'][1]:.3g}",
        )
        for row in rows
    ]
    lines = [head, tuple("---" for _ in head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    prepare_process()
    sys.exit(run_parsed(build_parser(sys.argv[0]), main, sys.argv[1:]))
