"""Whole processes, from the start of the interpreter to the final weights."""

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

from benchmarks.comparisons import Comparison, Program

HERE = Path(__file__).parent
STEPS = (1000, 30_000, 100_000, 1_000_000)
AUTO_STEPS = (100, 300, 1000, 3000, 10_000, 30_000)
PROCESS_SECONDS = 600
"""A process that runs longer is ended, with an error."""

TRAIN = [str(HERE.parent / "train.py"), "--dtype", "float32", "--learning-rate", "0.5", "--steps"]
USER_NET = [str(HERE / "user_net.py")]
JAX_NET = [str(HERE / "jax_net.py")]

SWEEP = [str(HERE.parent / "sweep.py"), "--seeds", "4096", "--rates", "1", "--quiet", "--steps"]
"""A sweep of 4096 nets of 14 weights, in four parts."""

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

JAX_CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""Switches on JAX's cache for all code; by default only code that compiles for 1 s is stored."""

CACHE = tempfile.TemporaryDirectory(prefix="gd_torch-benchmark-")
"""The caches that are filled while the benchmark runs."""


@dataclass(frozen=True)
class Process(Program):
    """A process, measured by its whole processor time, that of its children included."""

    def seconds_per_step(self) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.call(self.steps)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class WallClockProcess(Program):
    """A process, measured by the clock, for work that several processes share."""

    def seconds_per_step(self) -> float:
        begin = time.perf_counter()
        self.call(self.steps)
        return time.perf_counter() - begin


def comparisons() -> list[Comparison]:
    """The 28-weight net, trained by train.py and by a user's script, with empty and full caches."""
    scripts = [("train.py", TRAIN), ("a user's script", USER_NET)]
    return [
        compare_with_jax(*script, steps, cold)
        for script in scripts
        for cold in (True, False)
        for steps in STEPS
    ]


def compare_with_jax(title: str, script: list[str], steps: int, cold: bool) -> Comparison:
    """A script against JAX with its default settings, without a cache on disk, and with a cache.

    Args:
        title, script: the script's name and its command line.
        steps: of the descent. cold: start every process with empty caches.
    """
    cache = None if cold else CACHE.name
    run = functools.partial(run_script, script, [], cache, {})
    default = functools.partial(run_script, JAX_NET, [], None, {})
    cached = functools.partial(run_script, JAX_NET, [], cache, JAX_CACHE)
    baselines = [
        Process("JAX as shipped", default, steps),
        Process("JAX, cache switched on", cached, steps),
    ]
    title = f"{title}, {steps} steps, caches {'empty' if cold else 'filled'}"
    candidate = Process("gd_torch", run, steps)
    return Comparison(title, 1, candidate, baselines, whole=True, warm=not cold)


def auto_comparisons() -> list[Comparison]:
    """The stepper "auto" against both steppers that it chooses from, in a user's script."""
    return [
        compare_steppers(steps, None if cold else CACHE.name)
        for cold in (True, False)
        for steps in AUTO_STEPS
    ]


def compare_steppers(steps: int, cache: str | None) -> Comparison:
    """The stepper "auto" against the others; without a ``cache`` every process starts with none."""
    auto, eager, compiled = (
        Process(stepper, functools.partial(run_script, USER_NET, [stepper], cache, {}), steps)
        for stepper in ("auto", "eager", "compiled")
    )
    title = f"{steps} steps, cache {'filled' if cache else 'empty'}"
    return Comparison(title, 1, auto, [eager, compiled], whole=True, warm=cache is not None)


def run_script(
    script: list[str],
    options: list[str],
    cache: str | None,
    settings: dict[str, str],
    steps: int,
) -> None:
    """Run a script in a process of its own.

    Args:
        script: its command line. options: arguments after the number of steps.
        cache: the directory of all caches; None is an empty one.
        settings: environment variables of JAX's cache; with none JAX has no cache on disk.
        steps: the number of steps.
    """
    with tempfile.TemporaryDirectory() as empty:
        directory = Path(cache or empty)
        environment = ONE_THREAD | settings | {"GD_TORCH_CACHE": str(directory / "gd_torch")}
        if settings:
            environment["JAX_COMPILATION_CACHE_DIR"] = str(directory / "jax")
        run_python([*script, str(steps), *options], environment)


def compare_sweeps(steps: int) -> Comparison:
    """A sweep in two processes against one process, one thread each."""
    two = WallClockProcess(
        "torchrun, 2 processes", functools.partial(run_sweep, TWO_PROCESSES), steps
    )
    one = WallClockProcess("1 process", functools.partial(run_sweep, []), steps)
    return Comparison(f"sweep.py, 4096 nets, {steps} steps", 1, two, [one], whole=True)


def run_sweep(launcher: list[str], steps: int) -> None:
    """Run sweep.py; ``launcher`` holds the arguments that start it in several processes."""
    run_python([*launcher, *SWEEP, str(steps)], ONE_THREAD)


def run_python(arguments: list[str], environment: dict[str, str]) -> None:
    """Run Python with these arguments and wait for its end."""
    command = [sys.executable, *arguments]
    subprocess.run(
        command, check=True, env=environment, capture_output=True, timeout=PROCESS_SECONDS
    )
