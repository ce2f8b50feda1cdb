"""SIGINT and SIGTERM at random moments, over a chain of runs that are resumed."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

from tests.faults.processes import (
    command_line,
    files,
    finish,
    run_to_end,
    saved_step,
    start,
    uninterrupted_run,
    wait_until,
)

NET = ("--stepper", "eager", "--record-every", "50")


def signal_chain(
    place: Path, number: signal.Signals, times: int, *, steps: int = 20_000, seed: int = 0
) -> Counter[str]:
    """So many signals: the exit status, the message, the progress, and the bits in the end."""
    drawn, counts = random.Random(seed), Counter[str]()
    expected = uninterrupted_run(place / "uninterrupted", steps, *NET)
    chain = place / "chain-0"
    while counts["signals"] < times:
        counts.update(stop_once(chain, number, drawn, steps))
        if counts["ended"] > counts["chains"]:
            counts["other bits"] += files(chain) != expected
            counts["chains"] += 1
            chain = place / f"chain-{counts['chains']}"
    if chain.exists():
        status, _, _ = run_to_end(next_line(chain, steps))
        counts["other bits"] += status != 0 or files(chain) != expected
        counts["chains"] += 1
    return counts


def stop_once(
    chain: Path, number: signal.Signals, drawn: random.Random, steps: int
) -> Counter[str]:
    """Start a process and stop it at any moment from its handler's installation on."""
    counts = Counter[str]()
    process = start(next_line(chain, steps))
    wait_until(process, lambda: handles_sigterm(process.pid))
    time.sleep(drawn.uniform(0, 4))
    seen = last_recorded(chain)
    began = time.monotonic()
    process.send_signal(number)
    status, out, err = finish(process)
    waited = time.monotonic() - began
    if status == 0 and out:
        counts["ended"] = 1
        return counts
    counts["signals"] = 1
    counts["other status"] = int(status != 128 + number)
    lines = err.splitlines()
    as_documented = len(lines) == 1 and ("--resume" in err or "nothing was changed" in err)
    counts["other message"] = int(not as_documented or out != "")
    counts["progress lost"] = int(saved_step(chain, 4) < seen)
    counts["wrong step in message"] = int("--resume" in err and not has_saved_step(err, chain))
    counts["over a second"] = int(waited > 1)
    return counts


def handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler for SIGTERM."""
    found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


def next_line(chain: Path, steps: int) -> list[str]:
    """The command that starts the run or resumes it."""
    more = ["--resume"] if (chain / "checkpoint.json").exists() else []
    return command_line(chain, "--steps", str(steps), *NET, *more)


def last_recorded(chain: Path) -> int:
    """The last step of the history so far, whose checkpoint may not be written yet."""
    history = chain / "history.jsonl"
    lines = history.read_text().splitlines() if history.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=-1)


def has_saved_step(err: str, chain: Path) -> bool:
    """Whether the step in the message is the one that was saved."""
    return f"stopped at step {saved_step(chain, 4)} of " in err
