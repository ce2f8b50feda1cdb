"""The groups of rows that benchmark.py knows."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import growth, processes
from benchmarks.comparisons import (
    Comparison,
    curves,
    grid,
    lockstep,
    logistic_regression,
    one_curve,
    recording,
    single,
    trainability,
)

COMPARISONS: dict[str, Callable[[], list[Comparison]]] = {
    "single": lambda: [*single(2), *single(4)],
    "logistic": lambda: [logistic_regression()],
    "record": lambda: [recording(2), recording(4)],
    "lockstep": lambda: [lockstep(1024, 1600), lockstep(16384, 64)],
    "curve": lambda: [one_curve(), curves(1 << 16), curves(10**6)],
    "map": lambda: [trainability()],
    "grid": lambda: [grid()],
    "growth": growth.comparisons,
    "whole": processes.comparisons,
    "auto": processes.choices,
    "ranks": lambda: [processes.sweep(3000), processes.sweep(10_000)],
}
