"""kill -9 at random moments, over a chain of runs that are resumed."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.processes import (
    NET,
    TRAIN,
    command_line,
    files,
    finish,
    run_to_end,
    saved_step,
    start,
    uninterrupted_run,
    wait_until,
)

Line = Callable[..., list[str]]

NAIVE = f"""
import runpy, sys
import gd_torch.storage.checkpoint

def write_in_place(path, data):
    with open(path, "wb", buffering=0) as file:
        for first in range(0, len(data), 512):
            file.write(data[first:first + 512])

gd_torch.storage.checkpoint.atomic_write = write_in_place
sys.path.insert(0, {str(TRAIN.parent)!r})
sys.argv[0] = {str(TRAIN)!r}
runpy.run_path({str(TRAIN)!r}, run_name="__main__")
"""
"""The same script with a writer that writes directly to the file."""


def kill_chain(
    place: Path, kills: int, *, steps: int = 4000, net: tuple[str, ...] = NET, seed: int = 0
) -> Counter[str]:
    """Kill so many times; the end of every chain is compared with an uninterrupted run."""
    drawn, counts = random.Random(seed), Counter[str]()
    expected = uninterrupted_run(place / "uninterrupted", steps, *net)
    chain, number = place / "chain-0", 0
    while counts["kills"] < kills:
        counts.update(kill_once(command_line, chain, drawn, steps, net))
        if counts["ended"] > number:
            counts["other bits"] += files(chain) != expected
            number += 1
            chain = place / f"chain-{number}"
    if chain.exists():  # the rest without a kill
        status, _, _ = run_to_end(next_line(command_line, chain, steps, net, 60))
        counts["other bits"] += status != 0 or files(chain) != expected
        number += 1
    counts["chains"] = number
    return counts


def naive_chain(place: Path, most: int, *, steps: int = 4000, seed: int = 0) -> Counter[str]:
    """The same kills with the naive writer, up to the first that leaves no readable checkpoint."""
    drawn, counts = random.Random(seed), Counter[str]()
    while counts["kills"] < most and not counts["unreadable"]:
        chain = place / f"naive-{counts['ended']}"
        counts.update(kill_once(naive_line, chain, drawn, steps, NET))
    return counts


def naive_line(directory: Path, *more: str) -> list[str]:
    """The script with the naive writer."""
    return [sys.executable, "-c", NAIVE, "--run", str(directory), *more]


def kill_once(
    line: Line, chain: Path, drawn: random.Random, steps: int, net: tuple[str, ...]
) -> Counter[str]:
    """Start a process, kill it in its start-up or after a save, and check what it left behind."""
    from gd_torch.storage.atomic_files import CorruptFileError

    counts = Counter[str]()
    stamp = save_time(chain)
    process = start(next_line(line, chain, steps, net, drawn.choice((0, 0, 0.05))))
    aim = drawn.choice(("start-up", "anywhere", "anywhere", "save"))
    if aim == "start-up":
        time.sleep(drawn.uniform(0, 2.5))
    elif wait_until(process, lambda: save_time(chain) != stamp):
        time.sleep(drawn.uniform(0, 0.7))
    until = time.monotonic() + 0.5
    while aim == "save" and not writing(chain) and time.monotonic() < until:
        pass  # poll without a pause
    before = step_or_none(chain)
    process.kill()
    status, _, err = finish(process)
    if status >= 0:
        counts["ended"] = 1
        if status:
            raise RuntimeError(f"a run ended with status {status}: {err}")
        return counts
    counts["kills"] = 1
    moment = "inside a save" if writing(chain) else "between saves"
    counts[moment if save_time(chain) != stamp else "in the start-up"] = 1
    try:
        after = saved_step(chain)
        counts["lost"] = int(before is not None and after < before)
    except CorruptFileError:
        counts["unreadable"] = 1
    return counts


def next_line(
    line: Line, chain: Path, steps: int, net: tuple[str, ...], seconds: float
) -> list[str]:
    """The command that starts the run or resumes it."""
    more = ["--resume"] if (chain / "checkpoint.json").exists() else []
    return line(chain, "--steps", str(steps), "--save-every", str(seconds), *net, *more)


def save_time(chain: Path) -> int:
    """When the checkpoint was written last; 0 where there is none."""
    try:
        return (chain / "checkpoint.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def writing(chain: Path) -> bool:
    """Whether a file is being written, or was when its process was killed."""
    return any(chain.glob("*.partial"))


def step_or_none(chain: Path) -> int | None:
    """The step saved while the process runs; a naive writer may be in the middle."""
    from gd_torch.storage.atomic_files import CorruptFileError

    try:
        return saved_step(chain)
    except CorruptFileError:
        return None
