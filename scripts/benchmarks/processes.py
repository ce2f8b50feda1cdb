"""Whole processes, from the interpreter's start to the final weights: what a user waits for."""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparisons import Candidate, Comparison

HERE = Path(__file__).parent
STEPS = (1000, 30_000, 100_000, 1_000_000)
AUTO_STEPS = (100, 300, 1000, 3000, 10_000, 30_000)

ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

SWEEP = ["--seeds", "4096", "--rates", "1", "--quiet", "--steps"]
"""A sweep of 4096 nets of 14 weights, of four parts."""

TRAIN = [str(HERE.parent / "train.py"), "--dtype", "float32", "--learning-rate", "0.5", "--steps"]
USER = [str(HERE / "user_net.py")]
JAX = [str(HERE / "jax_net.py")]

KEEP_ALL = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""Without these JAX keeps only what takes a second to compile."""


KEPT = tempfile.TemporaryDirectory(prefix="gd_torch-benchmark-")
"""Of caches that are filled while the benchmark runs."""


@dataclass(frozen=True)
class Process(Candidate):
    """A process; its time is the processor time of all of it, its children's too."""

    def seconds_a_step(self) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.call(self.steps)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Waited(Candidate):
    """A process; its time is that of the clock, for work that processes share."""

    def seconds_a_step(self) -> float:
        begin = time.perf_counter()
        self.call(self.steps)
        return time.perf_counter() - begin


def comparisons() -> list[Comparison]:
    """The 28-weight net; all caches empty or filled."""
    ways = [("train.py", TRAIN), ("a user's script", USER)]
    return [comparison(*way, n, cold) for way in ways for cold in (True, False) for n in STEPS]


def comparison(title: str, script: list[str], steps: int, cold: bool) -> Comparison:
    """Ours against JAX as shipped, which keeps nothing, and with its cache on disk."""
    if cold:
        ours = functools.partial(process, script, [], None, {})
        kept = functools.partial(process, JAX, [], None, KEEP_ALL)
    else:
        ours = functools.partial(process, script, [], KEPT.name, {})
        kept = functools.partial(process, JAX, [], KEPT.name, KEEP_ALL)
    baselines = [
        Process("JAX as shipped", functools.partial(process, JAX, [], None, {}), steps),
        Process("JAX, cache switched on", kept, steps),
    ]
    caches = "caches empty" if cold else "caches filled"
    title = f"{title}, {steps} steps, {caches}"
    return Comparison(
        title, 1, Process("gd_torch", ours, steps), baselines, whole=True, warm=not cold
    )


def choices() -> list[Comparison]:
    """What "auto" chooses against both steppers, by a user's script."""
    found = []
    for cold in (True, False):
        for steps in AUTO_STEPS:
            cache = None if cold else KEPT.name
            auto, eager, compiled = (
                Process(way, functools.partial(process, USER, [way], cache, {}), steps)
                for way in ("auto", "eager", "compiled")
            )
            caches = "cache empty" if cold else "cache filled"
            title = f"{steps} steps, {caches}"
            found.append(Comparison(title, 1, auto, [eager, compiled], whole=True, warm=not cold))
    return found


def process(
    script: list[str], more: list[str], cache: str | None, settings: dict[str, str], steps: int
) -> None:
    """Run a script; without a ``cache`` all caches are in an empty directory."""
    with tempfile.TemporaryDirectory() as empty:
        place = Path(cache or empty)
        environment = ALONE | settings | {"GD_TORCH_CACHE": str(place / "gd_torch")}
        if settings:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(place / "jax")
        command = [sys.executable, *script, str(steps), *more]
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=600)


def sweep(steps: int) -> Comparison:
    """The runs of a sweep shared by two processes, against one; a thread each."""
    two = Waited("torchrun, 2 processes", functools.partial(swept, TORCHRUN), steps)
    one = Waited("1 process", functools.partial(swept, []), steps)
    return Comparison(f"sweep.py, 4096 nets, {steps} steps", 1, two, [one], whole=True)


def swept(launcher: list[str], steps: int) -> None:
    """The whole of sweep.py."""
    command = [sys.executable, *launcher, str(HERE.parent / "sweep.py"), *SWEEP, str(steps)]
    subprocess.run(command, check=True, env=ALONE, capture_output=True, timeout=600)
