"""The groups of rows that benchmark.py knows."""

from __future__ import annotations

from collections.abc import Callable

from peers import growth, whole
from peers.contests import Contest, grid, lockstep, one_curve, single

CONTESTS: dict[str, Callable[[], list[Contest]]] = {
    "single": lambda: [*single(2), *single(4)],
    "lockstep": lambda: [lockstep(1024, 1600), lockstep(16384, 64)],
    "curve": lambda: [one_curve()],
    "grid": lambda: [grid()],
    "growth": growth.contests,
    "whole": whole.contests,
    "ranks": lambda: [whole.sweep(3000), whole.sweep(10_000)],
}
