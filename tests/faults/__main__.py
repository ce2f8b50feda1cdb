"""Inject faults into real runs: kills, signals, full disks, bad files, several processes."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gd_torch.cli.app import run_parsed
from gd_torch.cli.argument_types import new_file, whole
from gd_torch.cli.parser import Parser
from gd_torch.cli.result_files import write_json

DESCRIPTION = """\
Inject faults into real runs of train.py: kill them, stop them, fill their disk, damage their files,
start six in one directory. Each line says ok or WRONG; every count of what went wrong must be 0,
except for the writer that is not atomic. All of it takes some 40 minutes on two cores; the tests do
the same in small numbers."""

EXAMPLES = """\
  {command}
  {command} --only kills naive --kills 20

exit status: 0 every line is ok; 1 it is not"""

GOOD = ("between saves", "inside a save", "in the start-up", "ended", "chains", "over a second")
"""Counts of what happened, not of what went wrong."""


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    add = parser.add_argument
    for name, default, what in (
        ("kills", 300, "kill -9 over a chain of runs"),
        ("signals", 100, "of each of SIGINT and SIGTERM"),
        ("limits", 20, "limits on the size of files"),
        ("repeats", 20, "of one run, for 1, 2 and 4 threads in turns"),
        ("rounds", 20, "of six processes for one directory"),
        ("steps", 1_000_000, "of the run whose memory is watched"),
    ):
        what = f"{what} (default: {default})"
        add(f"--{name}", type=whole(1), default=default, metavar="N", help=what)
    add("--only", nargs="+", choices=tuple(CHECKS), metavar="NAME", help=", ".join(CHECKS))
    add("--json", type=new_file, metavar="FILE", help="write all figures to FILE")
    return parser


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Check, and print a line for each."""
    found: dict[str, Any] = {}
    wrong = False
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        for name in arguments.only or CHECKS:
            room = Path(place) / name
            room.mkdir()
            for title, figures, good in CHECKS[name](room, arguments):
                print(
                    f"{'ok   ' if good else 'WRONG'}  {title.ljust(26)}  {shown(figures)}",
                    flush=True,
                )
                found[title] = dict(figures)
                wrong = wrong or not good
            if arguments.json:
                write_json(arguments.json, found)
    return int(wrong)


Row = tuple[str, dict[str, Any], bool]


def check_kills(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """kill -9 of the program."""
    from tests.faults.kills import kill_chain

    counts = kill_chain(place, arguments.kills)
    yield "kill -9", counts, nothing_wrong(counts, "kills")


def check_naive(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """kill -9 with a writer that writes directly to the file, which must fail."""
    from tests.faults.kills import naive_chain

    counts = naive_chain(place, arguments.kills)
    yield "kill -9, not atomic", counts, counts["unreadable"] > 0


def check_signals(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Both signals."""
    from tests.faults.signals import signal_chain

    for number in (signal.SIGINT, signal.SIGTERM):
        room = place / number.name
        room.mkdir()
        counts = signal_chain(room, number, arguments.signals)
        yield number.name, counts, nothing_wrong(counts, "signals")


def check_disk(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """A limit on file sizes at every size that a run of 60 steps meets; a tmpfs of every size."""
    from tests.faults.disks import can_mount, limited_files, read_only, small_tmpfs

    limits = [2400 * i // arguments.limits for i in range(arguments.limits)]
    counts = limited_files(place / "limited", limits)
    yield "file size limit", counts, nothing_wrong(counts, "shortages")
    if not can_mount():
        yield "full disk: not tried", {"tmpfs mounted": 0}, True
        return
    for name, check in (("full disk", small_tmpfs), ("read-only disk", read_only)):
        counts = check(place / name)
        yield name, counts, nothing_wrong(counts, "shortages")


def check_files(place: Path, _arguments: argparse.Namespace) -> Iterator[Row]:
    """Crafted files: refused, in less than a second and no memory beyond a good run's."""
    from tests.faults.crafted import crafted_files

    counts, cost = crafted_files(place)
    seconds, memory = (max(column) for column in zip(*cost.values(), strict=True))
    figures = {
        **counts,
        "most extra seconds": round(seconds, 2),
        "most extra MiB": round(memory, 1),
    }
    yield "crafted files", figures, nothing_wrong(counts, "refused") and seconds < 1 and memory < 16


def check_bits(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """The same run again."""
    from tests.faults.agreement import same_bits

    counts = same_bits(place, arguments.repeats)
    yield "the same run again", counts, nothing_wrong(counts, "repeats")


def check_locks(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Six processes in one directory."""
    from tests.faults.agreement import lock_contention

    counts = lock_contention(place, arguments.rounds)
    yield "six in one directory", counts, nothing_wrong(counts, "rounds", "refused")


def check_memory(place: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    """Growth over many steps."""
    from tests.faults.agreement import memory_growth

    for stepper in ("compiled", "eager"):
        grown = memory_growth(place / stepper, arguments.steps, stepper)
        yield (
            f"memory, {stepper}",
            {"steps": arguments.steps, "MiB grown": round(grown, 3)},
            grown < 1,
        )


CHECKS: dict[str, Callable[[Path, argparse.Namespace], Iterator[Row]]] = {
    "kills": check_kills,
    "naive": check_naive,
    "signals": check_signals,
    "disk": check_disk,
    "files": check_files,
    "bits": check_bits,
    "locks": check_locks,
    "memory": check_memory,
}


def nothing_wrong(counts: dict[str, int], *done: str) -> bool:
    """Whether every count of what went wrong is 0; ``done`` names other counts."""
    return all(not n for name, n in counts.items() if name not in (*done, *GOOD))


def shown(figures: dict[str, Any]) -> str:
    """The figures of a line."""
    return ", ".join(f"{name} {number}" for name, number in figures.items())


if __name__ == "__main__":
    sys.exit(run_parsed(build_parser("python -m tests.faults"), main, sys.argv[1:]))
