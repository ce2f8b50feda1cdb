"""Time gd_torch against its baselines."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

sys.path.insert(0, __file__.rsplit("scripts", 1)[0])  # this clone, installed or not
from gd_torch.cli import output
from gd_torch.cli.app import prepare_process, run_parsed
from gd_torch.cli.argument_types import figure_file, whole
from gd_torch.cli.parser import Parser, UsageError, add_output
from gd_torch.cli.result_files import write_json
from gd_torch.text_table import format_table

if TYPE_CHECKING:
    from benchmarks.comparisons import Comparison

DESCRIPTION = """\
Time the steps of a descent against baselines: torch.optim, NumPy by hand, JAX with optax and C by
hand. All programs solve the same problem, one after the other, and repeat this; the table shows
median times, the median of the ratios of each repetition, and their range. Times are processor
times, user and system, which other programs affect little. The time per step is the difference
between a long and a short run, without setup and compiling. In the groups "whole" and "auto" it is
the time of a whole process and its children, such as the compiler; in "map" and for many curves the
time of the whole work; in "torchrun" wall-clock time. All groups together take about an hour, most
of it in the groups "whole" and "auto"."""

EXAMPLES = """\
  pip install -c constraints.txt '.[bench]'
  {command}
  {command} --only single --repeats 9 --json benchmark.json
  {command} --only growth --figure growth.svg"""

GROUPS = (
    "single", "logistic", "record", "batch", "curve", "map", "grid", "growth", "whole", "auto",
    "torchrun",
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
        help="repetitions of every program (default: %(default)s)",
    )
    parser.add_argument(
        "--figure",
        type=figure_file,
        metavar="FILE",
        help="figure of the group growth: .svg, .png or .pdf",
    )
    add_output(parser)
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Time every comparison, print the table and write the results."""
    if arguments.figure and "growth" not in arguments.only:
        raise UsageError("argument --figure: needs the group growth in --only")
    rows = measure(arguments)
    machine = versions()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    output.print_report(markdown_table(rows))
    if arguments.json:
        write_json(arguments.json, {"machine": machine, "rows": rows})
    if arguments.figure:
        from benchmarks.drawing import growth
        from gd_torch.plots import save

        save(growth([row for row in rows if row["size"]]), arguments.figure)
    return 0


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of all comparisons of the groups in ``--only``."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # waiting threads use no processor time
    import torch

    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        raise UsageError("the baselines are not installed: pip install '.[bench]'") from None
    from tqdm import tqdm

    from benchmarks.groups import COMPARISONS

    chosen = [comparison for group in arguments.only for comparison in COMPARISONS[group]()]
    silent = True if arguments.quiet else None
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(chosen) * arguments.repeats, leave=False, disable=silent) as bar:
        for comparison in chosen:
            bar.set_description(comparison.title)
            torch.set_num_threads(comparison.threads)
            rows += time_comparison(comparison, arguments.repeats, bar.update)
    return rows


def time_comparison(
    comparison: Comparison, repeats: int, progress: Callable[[int], object]
) -> list[dict[str, Any]]:
    """One row per baseline: median times in microseconds, and the median of the ratios."""
    programs = [comparison.candidate, *comparison.baselines]
    for program in programs if comparison.warm else ():  # compile, for both lengths
        program.seconds_per_step()
    repetitions = []
    for _ in range(repeats):
        repetitions.append([program.seconds_per_step() * 1e6 for program in programs])
        progress(1)
    candidate_times, *baseline_times = zip(*repetitions, strict=True)
    rows = []
    for baseline, times in zip(comparison.baselines, baseline_times, strict=True):
        ratios = [slow / fast for fast, slow in zip(candidate_times, times, strict=True)]
        rows.append(
            {
                "name": comparison.title,
                "candidate": comparison.candidate.name,
                "candidate_us": statistics.median(candidate_times),
                "candidate_range_us": [min(candidate_times), max(candidate_times)],
                "baseline": baseline.name,
                "baseline_us": statistics.median(times),
                "baseline_range_us": [min(times), max(times)],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "threads": comparison.threads,
                "size": comparison.size,
                "whole": comparison.whole,
            }
        )
    return rows


def versions() -> dict[str, str]:
    """The machine and the versions that the times depend on."""
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
    """The name of the processor, or its architecture if the name is unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def format_time(microseconds: float, whole: bool) -> str:
    """The time of the whole work in seconds, that of a step in microseconds."""
    return f"{microseconds / 1e6:.2f} s" if whole else f"{microseconds:.3g} us"


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table with aligned columns."""
    head = ("problem", "candidate", "time", "baseline", "time", "baseline / candidate", "range")
    cells = [
        (
            row["name"],
            row["candidate"],
            format_time(row["candidate_us"], row["whole"]),
            row["baseline"],
            format_time(row["baseline_us"], row["whole"]),
            f"{row['ratio']:.3g}",
            f"{row['ratio_range'][0]:.3g} to {row['ratio_range'][1]:.3g}",
        )
        for row in rows
    ]
    lines = format_table(
        [head, ["---"] * len(head), *cells], align="<", indent="| ", separator=" | "
    )
    return "\n".join(f"{line} |" for line in lines)


if __name__ == "__main__":
    prepare_process()
    sys.exit(run_parsed(build_parser(sys.argv[0]), main, sys.argv[1:]))
