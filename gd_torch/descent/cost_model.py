"""When "auto" compiles: a rule of counts alone, so that a run gives the same bits every time."""

from __future__ import annotations

import math

COMPILE_SECONDS = 0.15
"""Compiling pays where more eager work than this lies ahead. It takes 0.3 s, or 0.03 s where the
library is on the disk; whether it is must not matter, so that neither case loses much."""

EAGER_TRIAL_SECONDS = 0.1
"""Eager work before compiling where a tolerance may end the run at any time."""

EAGER_START_SECONDS = 0.01
"""Eager work before compiling where only a divergence may, which happens soon."""

MIN_STEPS_TO_COMPILE = 100
"""Runs of fewer steps are eager; their work is not even estimated."""

MIN_STEPS_BETWEEN_CALLBACKS = 50
"""Runs with a callback more often than this are eager: compiled steps are verified there."""

BATCH_STEP_SECONDS, BATCH_ENTRY_SECONDS = 4e-4, 1.5e-8
"""What an eager step of a block of runs takes, and what it takes for every entry that it makes."""

ENTRIES_PER_BLOCK = 1 << 24
"""Entries of the largest tensor that an eager step of a block of runs makes, at most."""


def compile_after_step(seconds: float, steps: int, tolerance: float) -> int | None:
    """The eager steps before compiling, None where compiling does not pay.

    Args:
        seconds: what an eager step is estimated to take.
        steps: the step limit of the run.
        tolerance: of the run.

    >>> compile_after_step(1e-4, 50_000, tolerance=0.0), compile_after_step(1e-4, 1000, 0.0)
    (100, None)
    """
    trial_seconds = EAGER_TRIAL_SECONDS if tolerance > 0 else EAGER_START_SECONDS
    step = math.ceil(trial_seconds / seconds)
    return step if (steps - step) * seconds > COMPILE_SECONDS else None


def runs_per_block(runs: int, entries: int) -> int:
    """How many runs fit in an eager block, if the largest tensor of one has so many entries.

    A power of two, unless all runs fit.
    """
    fitting = max(1, ENTRIES_PER_BLOCK // max(entries, 8))
    return min(1 << (fitting.bit_length() - 1), runs)


CHUNKS = 16
"""Into how many chunks a compiled batch is cut, for the callback and for verification."""

MIN_RUNS_PER_CHUNK = 256
"""Runs of a chunk, at least."""

MIN_CHUNK_WORK = 1 << 24
"""Runs x steps x entries of the largest tensor of a chunk, at least."""


def runs_per_chunk(runs: int, steps: int, entries: int) -> int:
    """How many runs of a compiled batch are verified and reported together.

    >>> runs_per_chunk(1 << 20, 1000, 1), runs_per_chunk(1 << 16, 1000, 1)
    (65536, 16777)
    """
    least = MIN_CHUNK_WORK // max(1, steps * entries)
    return min(runs, max(MIN_RUNS_PER_CHUNK, -(-runs // CHUNKS), least))


def compiling_batch_pays(runs: int, steps: int, entries: int) -> bool:
    """Whether runs in eager blocks are estimated to take longer than compiling."""
    block_steps = math.ceil(runs / runs_per_block(runs, entries)) * steps
    seconds = block_steps * BATCH_STEP_SECONDS + runs * steps * entries * BATCH_ENTRY_SECONDS
    return seconds > COMPILE_SECONDS
