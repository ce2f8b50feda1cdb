"""The same bits everywhere, one process in a directory, and memory that does not grow."""

from __future__ import annotations

import itertools
import re
import signal
import time
from collections import Counter
from pathlib import Path

from tests.faults.processes import command_line, files, finish, run_to_end, start, uninterrupted_run


def same_bits(place: Path, repeats: int, *, steps: int = 300) -> Counter[str]:
    """The same run again: other threads, hash seeds and directories, in turns."""
    counts = Counter[str]()
    expected = uninterrupted_run(place / "uninterrupted", steps)
    report = None
    for i, threads in zip(range(repeats), itertools.cycle("124")):
        directory = place / f"again-{i}"
        directory.mkdir()
        how = {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": str(i)}
        line = command_line(Path("run"), "--steps", str(steps))
        status, out, _ = run_to_end(line, cwd=directory, **how)
        report = report or out
        counts["repeats"] += 1
        counts["other bits"] += status != 0 or files(directory / "run") != expected
        counts["other report"] += out != report
    return counts


def lock_contention(place: Path, rounds: int, *, processes: int = 6) -> Counter[str]:
    """Start several processes in one directory at once: one runs, the others name it and exit."""
    counts = Counter[str]()
    for i in range(rounds):
        directory = place / f"round-{i}"
        line = command_line(directory, "--steps", "1000000", "--stepper", "eager")
        running = [start(line) for _ in range(processes)]
        ended_early, until = [], time.monotonic() + 60
        while len(running) > 1 and time.monotonic() < until:
            time.sleep(0.05)
            ended = [each for each in running if each.poll() is not None]
            ended_early += ended
            running = [each for each in running if each not in ended]
        for each in running:
            each.send_signal(signal.SIGTERM)
        stopped = [finish(each)[0] == 128 + signal.SIGTERM for each in running]
        refused = [finish(each) for each in ended_early]
        counts["rounds"] += 1
        counts["not one running"] += stopped != [True]
        owner = running[0].pid if running else 0
        expected = re.compile(rf"train\.py: error: .*: process {owner} is running in it\n")
        counts["refused"] += len(refused)
        counts["other message"] += sum(
            status != 2 or out != "" or expected.fullmatch(err) is None
            for status, out, err in refused
        )
    return counts


def memory_growth(directory: Path, steps: int, stepper: str) -> float:
    """MiB that the process grows by between a tenth and nine tenths of a run."""
    every = max(1, steps // 1000)
    line = command_line(directory, "--steps", str(steps), "--stepper", stepper)
    process = start([*line, "--record-every", str(every), "--save-every", "0.5"])
    history = directory / "history.jsonl"
    found: dict[int, float] = {}
    while process.poll() is None:
        time.sleep(0.01)
        tenths = 10 * recorded(history) * every // steps
        if 1 <= tenths <= 9:
            found[tenths] = max(found.get(tenths, 0.0), resident(process.pid))
    status, _, err = finish(process)
    if status or len(found) < 3 or not all(found.values()):
        raise RuntimeError(f"status {status}, {len(found)} samples: {err}")
    return found[max(found)] - found[min(found)]


def recorded(history: Path) -> int:
    """Lines so far."""
    return history.read_bytes().count(b"\n") if history.exists() else 0


def resident(pid: int) -> float:
    """MiB of memory that the process has written to."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
