"""When stepper="auto" compiles: if the estimated remaining work exceeds the compile time.

The estimate counts operations, never time, so that the decision and the results are reproducible.
"""

from __future__ import annotations

import math

COMPILE_SECONDS = 0.15
"""Remaining eager work from which compiling is worthwhile. Compiling takes 0.3 s, loading from the
cache 0.03 s; the decision must not depend on the state of the cache, so this is in between."""

EAGER_TRIAL_SECONDS = 0.1
"""Estimated eager work before compiling if the run may end early by its tolerance."""

EAGER_START_SECONDS = 0.01
"""Estimated eager work before compiling if the run may end early only by divergence."""

MIN_STEPS_TO_COMPILE = 100
"""Runs with fewer steps are always eager; their work is not estimated."""

MIN_STEPS_BETWEEN_CALLBACKS = 50
"""Runs with more frequent callbacks are always eager, as every callback needs a verification."""

BATCH_STEP_SECONDS, BATCH_ENTRY_SECONDS = 4e-4, 1.5e-8
"""Estimated time of an eager step of a block of runs: per step, and per entry of its tensors."""

MAX_BLOCK_ENTRIES = 1 << 24
"""Largest number of entries of a tensor in an eager step of a block of runs."""

TARGET_CHUNKS = 16
"""Number of chunks of a compiled batch, unless they become too small."""

MIN_RUNS_PER_CHUNK = 256

MIN_CHUNK_WORK = 1 << 24
"""Minimum of runs * steps * entries of the largest tensor of a chunk."""


def compile_after_step(seconds: float, steps: int, tolerance: float) -> int | None:
    """The number of eager steps before compiling; None if compiling is not worthwhile.

    Args:
        seconds: estimated time of an eager step, > 0.
        steps: the step limit of the run.
        tolerance: the tolerance of the run.

    >>> compile_after_step(1e-4, 50_000, tolerance=0.0), compile_after_step(1e-4, 1000, 0.0)
    (100, None)
    """
    trial_seconds = EAGER_TRIAL_SECONDS if tolerance > 0 else EAGER_START_SECONDS
    step = math.ceil(trial_seconds / seconds)
    return step if (steps - step) * seconds > COMPILE_SECONDS else None


def runs_per_block(runs: int, entries: int) -> int:
    """The number of runs of an eager block: a power of two, or all runs.

    Args:
        runs: number of runs.
        entries: entries of the largest tensor in the evaluation of one run.
    """
    limit = max(1, MAX_BLOCK_ENTRIES // max(entries, 8))
    return min(1 << (limit.bit_length() - 1), runs)


def runs_per_chunk(runs: int, steps: int, entries: int) -> int:
    """The number of runs of a compiled batch that are executed and verified together.

    >>> runs_per_chunk(1 << 20, 1000, 1), runs_per_chunk(1 << 16, 1000, 1)
    (65536, 16777)
    """
    minimum = MIN_CHUNK_WORK // max(1, steps * entries)
    return min(runs, max(MIN_RUNS_PER_CHUNK, -(-runs // TARGET_CHUNKS), minimum))


def should_compile_batch(runs: int, steps: int, entries: int) -> bool:
    """Whether the estimated time of eager blocks exceeds the compile time."""
    block_steps = math.ceil(runs / runs_per_block(runs, entries)) * steps
    seconds = block_steps * BATCH_STEP_SECONDS + runs * steps * entries * BATCH_ENTRY_SECONDS
    return seconds > COMPILE_SECONDS
