"""Whole processes, from the interpreter's start to the final weights: what a user waits for."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers.contests import Contender, Contest

HERE = Path(__file__).parent
STEPS = (1000, 10_000, 30_000, 100_000, 1_000_000)

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

LONGEST = 100_000
"""Steps up to which the eager loops take part: ten times more would take minutes each time."""


@dataclass(frozen=True)
class Whole(Contender):
    """A process; its time is all of it."""

    def seconds_a_step(self) -> float:
        begin = time.perf_counter()
        self.call(self.steps)
        return time.perf_counter() - begin


SWEEP = ["--seeds", "4096", "--rates", "1", "--quiet", "--steps"]
"""A sweep of 4096 nets of 14 weights, of four parts."""


def contests() -> list[Contest]:
    """The 28-weight net; every compiled step in a cache of its own, empty or filled."""
    return [contest(steps, cold) for cold in (True, False) for steps in STEPS]


def sweep(steps: int) -> Contest:
    """The runs of a sweep shared by two processes, against one; a thread each."""
    two = Whole("torchrun, 2 processes", functools.partial(swept, TORCHRUN), steps)
    one = Whole("1 process", functools.partial(swept, []), steps)
    return Contest(f"sweep.py, 4096 nets, {steps} steps", 1, two, [one], whole=True)


def swept(launcher: list[str], steps: int) -> None:
    """The whole of sweep.py."""
    command = [sys.executable, *launcher, str(HERE.parent / "sweep.py"), *SWEEP, str(steps)]
    subprocess.run(command, check=True, env=ALONE, capture_output=True, timeout=600)


def contest(steps: int, cold: bool) -> Contest:
    """Ours is "auto"; among its peers are our other steppers."""
    peers = [Whole("compiled", functools.partial(process, "net.py", "compiled", cold), steps)]
    if steps <= LONGEST:
        peers += [
            Whole("eager loop", functools.partial(process, "net.py", "eager", cold), steps),
            Whole("torch.optim.SGD", functools.partial(process, "net.py", "sgd", cold), steps),
        ]
    peers.append(Whole("JAX optax scan", functools.partial(process, "jax_net.py", "", cold), steps))
    ours = Whole("auto", functools.partial(process, "net.py", "auto", cold), steps)
    kept = "nothing kept from before" if cold else "compiled before"
    return Contest(f"{steps} steps as a process, {kept}", 1, ours, peers, whole=True, warm=not cold)


def process(script: str, mode: str, cold: bool, steps: int) -> None:
    """Run one of the scripts beside this one."""
    with tempfile.TemporaryDirectory() as empty:
        environment = ALONE | ({"TORCHINDUCTOR_CACHE_DIR": empty} if cold else {})
        command = [sys.executable, str(HERE / script), str(steps), *([mode] if mode else [])]
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)
