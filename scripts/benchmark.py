"""Measure gd_torch against its peers, in one process, contender after contender."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import command

if TYPE_CHECKING:
    from peers.contests import Contest

DESCRIPTION = """\
Time the steps of a descent against peers: torch.optim, NumPy by hand, JAX with optax, C by hand.
All solve the same problem in turns; the table shows medians, their spread, and the median of the
ratios turn by turn. Times are processor time, user and system, so that other programs disturb
little. A contender's time per step is the difference between a long and a short run, so that setup
and compiling do not count; in the groups "whole" and "auto" it is all of a process with its
children, the compiler among them, in "map" and for many curves all of the work, in "ranks" the time
of the clock. All groups take about an hour, most of them for processes."""

EXAMPLES = """\
  pip install -c constraints.txt '.[bench]'
  python scripts/benchmark.py
  python scripts/benchmark.py --only single --repeats 9 --json benchmark.json
  python scripts/benchmark.py --only growth --figure growth.svg"""

GROUPS = (
    "single", "logistic", "record", "lockstep", "curve", "map", "grid", "growth", "whole", "auto",
    "ranks",
)  # fmt: skip


def parser() -> command.Parser:
    """The arguments of this script."""
    parser = command.Parser(DESCRIPTION, EXAMPLES)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of rows")
    parser.add_argument(
        "--repeats",
        type=command.whole(1, 1000),
        default=5,
        metavar="N",
        help="turns of all contenders (default: %(default)s)",
    )
    parser.add_argument(
        "--figure", type=command.figure_file, metavar="FILE", help="growth as .svg, .png or .pdf"
    )
    command.add_output(parser)
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Time every contest, show the table, write it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait take no time
    import torch

    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        raise command.Refused("the peers are not installed: pip install '.[bench]'") from None
    from tqdm import tqdm

    from peers.groups import CONTESTS

    if arguments.figure and "growth" not in arguments.only:
        raise command.Refused("--figure shows the group growth, which --only leaves out")
    chosen = [contest for group in arguments.only for contest in CONTESTS[group]()]
    silent = True if arguments.quiet else None
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(chosen) * arguments.repeats, leave=False, disable=silent) as bar:
        for contest in chosen:
            bar.set_description(contest.title)
            torch.set_num_threads(contest.threads)
            rows += timed(contest, arguments.repeats, bar.update)
    machine = versions()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    command.show(table(rows))
    if arguments.json:
        command.write_json(arguments.json, {"machine": machine, "rows": rows})
    if arguments.figure:
        from gd_torch.plots import save
        from peers.drawing import growth

        save(growth([row for row in rows if row["size"]]), arguments.figure)
    return 0


def timed(
    contest: Contest, repeats: int, progress: Callable[[int], object]
) -> list[dict[str, Any]]:
    """One row per peer: medians in microseconds, and the median ratio turn by turn."""
    contenders = [contest.ours, *contest.peers]
    for contender in contenders if contest.warm else ():  # compile, for both lengths
        contender.seconds_a_step()
    turns = []
    for _ in range(repeats):
        turns.append([contender.seconds_a_step() * 1e6 for contender in contenders])
        progress(1)
    ours, *others = zip(*turns, strict=True)
    rows = []
    for peer, theirs in zip(contest.peers, others, strict=True):
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {
                "name": contest.title,
                "ours": contest.ours.name,
                "ours_us": statistics.median(ours),
                "ours_range_us": [min(ours), max(ours)],
                "peer": peer.name,
                "peer_us": statistics.median(theirs),
                "peer_range_us": [min(theirs), max(theirs)],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "threads": contest.threads,
                "size": contest.size,
                "whole": contest.whole,
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
    head = ("what", "ours", "time", "peer", "time", "peer / ours", "range")
    cells = [
        (
            row["name"],
            row["ours"],
            shown(row["ours_us"], row["whole"]),
            row["peer"],
            shown(row["peer_us"], row["whole"]),
            f"{row['ratio']:.3g}",
            f"{row['ratio_range'][0]:.3g} to {row['ratio_range'][1]:.3g}",
        )
        for row in rows
    ]
    lines = [head, tuple("---" for _ in head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    command.run(parser(), main)
