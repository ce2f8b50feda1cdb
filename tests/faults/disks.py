"""Disks that are full, through the real script: a limit on the size of files; a small tmpfs."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.faults.processes import (
    TIMEOUT_SECONDS,
    command_line,
    files,
    run_to_end,
    saved_step,
    uninterrupted_run,
)

RECORDED = ("--stepper", "eager", "--record-every", "1", "--save-every", "0")
"""A line of history and a checkpoint at every step, so that every size strikes another write."""

HIDDEN = 100
"""Of the net on the tmpfs: its checkpoint takes several pages."""

NET = ("--hidden", str(HIDDEN), *RECORDED)

UNSHARED = ("unshare", "--map-root-user", "--mount")
"""Runs a command where it may mount, in a namespace that ends with it."""

ON_TMPFS = """
disk=$1 room=$2 origin=$3 results=$4
shift 4
try() {
    number=$1
    shift
    if [ -e "$disk/run/checkpoint.json" ]; then set -- "$@" --resume; fi
    "$@" > "$results/out-$number" 2> "$results/err-$number"
    echo $? > "$results/status-$number"
    if [ -d "$disk/run" ]; then cp -R "$disk/run" "$results/run-$number"; fi
}
set -e
mount -t tmpfs -o size=16m,nr_inodes=1000 none "$disk"
if [ -n "$origin" ]; then cp -R "$origin" "$disk/run"; fi
mount -o "remount,$room" "$disk"
set +e
try 1 "$@"
mount -o remount,rw,size=16m,nr_inodes=1000 "$disk"
try 2 "$@"
"""
"""Run a command on a disk with little room, then again with enough; copy what each leaves."""


def limited_files(place: Path, limits: Iterable[int], *, steps: int = 60) -> Counter[str]:
    """A run with a limit, in bytes, on the size of its files; then without."""
    counts = Counter[str]()
    expected = uninterrupted_run(place / "uninterrupted", steps, *RECORDED)
    halfway = place / "halfway"
    uninterrupted_run(halfway, steps // 2, *RECORDED)
    for limit, origin in itertools.product(limits, (None, halfway)):
        directory = place / f"{limit}-{origin is None}"
        if origin:
            shutil.copytree(origin, directory)
        counts.update(limit_once(directory, limit, steps, expected))
    return counts


def limit_once(directory: Path, limit: int, steps: int, expected: dict[str, bytes]) -> Counter[str]:
    """One run that cannot write what it must, and the same once there is room again."""
    before = files(directory).get("checkpoint.json")
    line = command_line(directory, "--steps", str(steps), *RECORDED)
    limited = run_to_end([*line, *["--resume"] * (before is not None)], file_size=limit)
    counts = refusal(limited, directory, "File too large")
    counts["left in the way"] = len(list(directory.glob("*.partial")))
    after = files(directory).get("checkpoint.json")
    smallest = len(expected["checkpoint.json"])
    if before is not None and limit < smallest - 60:  # no checkpoint fits
        counts["checkpoint changed"] = int(after != before)
    status, _, _ = run_to_end([*line, *["--resume"] * (after is not None)])
    counts["other bits"] = int(status != 0 or files(directory) != expected)
    return counts


def refusal(ended: tuple[int, str, str], directory: Path, reason: str) -> Counter[str]:
    """Deviations from the documented end without space: status 1, one line with file and reason."""
    status, out, err = ended
    as_documented = err.count("\n") == 1 and str(directory) in err and err.endswith(f": {reason}\n")
    other_message = int(not as_documented or out != "")
    return Counter(
        {"shortages": 1, "other status": int(status != 1), "other message": other_message}
    )


# ---------------------------------------------------------------- a real one


def can_mount() -> bool:
    """Whether a tmpfs can be mounted here, in a namespace of its own."""
    line = [*UNSHARED, "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(line, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def small_tmpfs(place: Path, *, steps: int = 200, stride: int = 1) -> Counter[str]:
    """A run on a tmpfs that is too small, in pages or in files; then on one large enough.

    Every size up to the first that is enough is tried, or every ``stride``-th, for a run from its
    start and one resumed halfway.
    """
    counts = Counter[str]()
    origins, expected = from_start_and_halfway(place, steps)
    for origin, room in itertools.product(origins, ("nr_blocks={}", "nr_inodes={}")):
        for size in range(1, 100, stride):
            results = place / f"{room.format(size)},origin={origin is not None}"
            if not on_tmpfs(results, room.format(size), origin, steps):
                continue  # what the run begins with does not fit
            if outcome(results, 1)[0] == 0:
                break
            counts.update(filled_once(results, expected, origin, "No space left on device"))
        else:
            raise RuntimeError(f"{room}: no size up to 100 was enough")
    return counts


def read_only(place: Path, *, steps: int = 60) -> Counter[str]:
    """A run on a tmpfs that may only be read; then on one that may be written to."""
    counts = Counter[str]()
    origins, expected = from_start_and_halfway(place, steps)
    for origin in origins:
        results = place / f"ro,origin={origin is not None}"
        if not on_tmpfs(results, "ro", origin, steps):
            raise RuntimeError(f"{results}: there was no run")
        counts.update(filled_once(results, expected, origin, "Read-only file system"))
        counts["files changed"] += files(results / "run-1") != (files(origin) if origin else {})
    return counts


def from_start_and_halfway(place: Path, steps: int) -> tuple[tuple[None, Path], dict[str, bytes]]:
    """What the runs begin with, nothing or half a run, and the files that both must end with."""
    uninterrupted_run(place / "halfway", steps // 2, *NET)
    return (None, place / "halfway"), uninterrupted_run(place / "uninterrupted", steps, *NET)


def on_tmpfs(results: Path, room: str, origin: Path | None, steps: int) -> bool:
    """A run on a tmpfs with this mount option, then with room; False if its origin does not fit."""
    disk = results / "disk"
    disk.mkdir(parents=True)
    train = command_line(disk / "run", "--steps", str(steps), *NET)
    shell = ["sh", "-c", ON_TMPFS, "sh", str(disk), room, str(origin or ""), str(results)]
    subprocess.run([*UNSHARED, *shell, *train], capture_output=True, timeout=2 * TIMEOUT_SECONDS)
    return (results / "status-2").exists()


def filled_once(
    results: Path, expected: dict[str, bytes], origin: Path | None, reason: str
) -> Counter[str]:
    """What the run that could not write has left, and where the next one ended."""
    from gd_torch.storage.atomic_files import CorruptFileError

    left = results / "run-1"
    counts = refusal(outcome(results, 1), results / "disk/run", reason)
    counts["left in the way"] = len(list(left.glob("*.partial")))
    try:
        first = saved_step(origin, HIDDEN) if origin else -1
        counts["checkpoint lost"] = int(saved_step(left, HIDDEN) < first)
    except CorruptFileError:
        counts["unreadable"] = 1
    counts["other bits"] = int(outcome(results, 2)[0] != 0 or files(results / "run-2") != expected)
    return counts


def outcome(results: Path, number: int) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    status, out, err = (
        (results / f"{name}-{number}").read_text() for name in ("status", "out", "err")
    )
    return int(status), out, err
