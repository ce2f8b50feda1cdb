"""The groups of comparisons that benchmark.py can run."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import growth, processes
from benchmarks.comparisons import (
    Comparison,
    batch_of_nets,
    curves,
    grid,
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
    "batch": lambda: [batch_of_nets(1024, 1600), batch_of_nets(16384, 64)],
    "curve": lambda: [one_curve(), curves(1 << 16), curves(10**6)],
    "map": lambda: [trainability()],
    "grid": lambda: [grid()],
    "growth": growth.comparisons,
    "whole": processes.comparisons,
    "auto": processes.auto_comparisons,
    "torchrun": lambda: [processes.compare_sweeps(3000), processes.compare_sweeps(10_000)],
}
