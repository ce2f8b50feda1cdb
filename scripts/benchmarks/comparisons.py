"""The comparisons of the benchmark: gd_torch, its baselines, and the number of steps of each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmarks import c_baseline, jax_baseline, numpy_baseline, torch_baseline
from benchmarks.problem import LEARNING_RATE, Net, logistic, start
from gd_torch import brute_force, curve, descend, descend_many, init_weights

CORES = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Program:
    """A program to be timed.

    Attributes:
        call: makes the number of steps that it is called with.
        steps: the number of steps that are timed.
        divisor: the time is divided by this: the runs advanced at once, times the threads used.
    """

    name: str
    call: Callable[[int], object]
    steps: int
    divisor: int = 1

    def seconds_per_step(self) -> float:
        """Processor time, the difference of a long and a short run, without setup and compiling."""
        short = max(1, self.steps // 8)
        begin = time.process_time()
        self.call(short)
        middle = time.process_time()
        self.call(self.steps)
        end = time.process_time()
        return max((end - middle) - (middle - begin), 1e-9) / (self.steps - short) / self.divisor


@dataclass(frozen=True)
class WholeRun(Program):
    """A program that is timed as a whole, setup and compiling included."""

    def seconds_per_step(self) -> float:
        begin = time.process_time()
        self.call(self.steps)
        return (time.process_time() - begin) / self.divisor


@dataclass(frozen=True)
class Comparison:
    """A candidate, which is a program of gd_torch, and its baselines.

    Attributes:
        size: (rows, hidden nodes), if the figure of the growth shows this comparison.
        whole: the times are seconds of the whole work, not microseconds per step.
        warm: every program runs once before it is timed, to compile.
    """

    title: str
    threads: int
    candidate: Program
    baselines: list[Program]
    size: tuple[int, int] | None = None
    whole: bool = False
    warm: bool = True


def net_descent(net: Net, stepper: str, record: str | int = "last") -> Callable[[int], object]:
    """A function that makes so many steps of one net's descent."""
    objective = net.objective()
    options = {"learning_rate": LEARNING_RATE, "stepper": stepper, "record": record}
    return lambda steps: descend(objective, start(net), steps=steps, **options)


def single(hidden: int) -> list[Comparison]:
    """One net: eager steps against torch.optim, compiled steps against all baselines."""
    net, title = Net(hidden), f"one net of {7 * hidden} weights"
    sgd = Program("torch.optim.SGD + backward", lambda n: torch_baseline.optimiser(net, n), 2000)
    eager = Program("eager loop", net_descent(net, "eager"), 2000)
    baselines = [
        sgd,
        eager,
        Program("NumPy by hand", lambda n: numpy_baseline.by_hand(hidden, n), 20_000),
        Program("JAX optax scan", lambda n: jax_baseline.scan(net, n), 40_000),
    ]
    if c_baseline.available():
        baselines.append(Program("C by hand", lambda n: c_baseline.descent(hidden, n), 400_000))
    compiled = Program("compiled", net_descent(net, "compiled"), 400_000)
    return [Comparison(title, 1, eager, [sgd]), Comparison(title, 1, compiled, baselines)]


def recording(hidden: int) -> Comparison:
    """Recording the last point against recording the whole path."""
    last = Program("last point", net_descent(Net(hidden), "compiled"), 400_000)
    path = Program("whole path", net_descent(Net(hidden), "compiled", "all"), 400_000)
    return Comparison(f"recording, {7 * hidden} weights", 1, last, [path])


def logistic_regression() -> Comparison:
    """Logistic regression on 1000 rows of 20 features."""
    X, y = logistic()

    def descent(stepper: str) -> Callable[[int], object]:
        def cost(w: torch.Tensor) -> torch.Tensor:
            return F.binary_cross_entropy_with_logits(X @ w, y)

        options = {"learning_rate": LEARNING_RATE, "record": "last", "stepper": stepper}
        return lambda n: descend(cost, torch.zeros(20), steps=n, **options)

    baselines = [
        Program("JAX optax scan", jax_baseline.logistic_scan, 20_000),
        Program("eager loop", descent("eager"), 2000),
    ]
    title = "logistic regression, 1000 x 20"
    return Comparison(title, 1, Program("compiled", descent("compiled"), 60_000), baselines)


def batch_of_nets(runs: int, steps: int) -> Comparison:
    """Many nets on two threads; the time is that of one core, per step of one net."""
    net, divisor = Net(2), runs * CORES
    mse = net.objective()

    def run(n: int) -> object:
        return descend_many(mse, start(net, runs), LEARNING_RATE, steps=n, stepper="compiled")

    baselines = [
        Program("torch batch", lambda n: torch_baseline.batch(net, runs, n), steps // 8, divisor),
        Program("JAX vmap scan", lambda n: jax_baseline.scan(net, n, runs), steps // 8, divisor),
    ]
    if c_baseline.available():
        by_hand = Program(
            "C by hand", lambda n: c_baseline.descent(2, n, runs, CORES), steps, divisor
        )
        baselines.append(by_hand)
    title = f"{runs} nets of 14 weights"
    return Comparison(title, CORES, Program("descend_many", run, steps, divisor), baselines)


def curves(runs: int) -> Comparison:
    """``runs`` descents of the curve, 1000 steps each."""

    def run(steps: int) -> object:
        starts = torch.linspace(-2, 2, runs, dtype=torch.float64)
        return descend_many(curve, starts, 1e-3, steps=steps)

    baseline = WholeRun("NumPy, all at once", lambda n: numpy_baseline.curves(runs, n), 1000)
    title = f"{runs} descents of the curve, 1000 steps"
    return Comparison(
        title, CORES, WholeRun("descend_many", run, 1000, CORES), [baseline], whole=True
    )


def trainability(points: int = 256) -> Comparison:
    """A net of 28 weights for each pair of learning rates, 1000 steps."""
    mse = Net(4).objective()
    one = init_weights((4, 4, 3), seed=0, dtype=torch.float32)

    def run(steps: int) -> object:
        axis = torch.logspace(-1.5, 4, points, dtype=torch.float64)
        rates = torch.cartesian_prod(axis, axis)
        starts = tuple(W.expand(len(rates), *W.shape) for W in one)
        return descend_many(mse, starts, rates, steps=steps)

    def by_hand(steps: int) -> object:
        return c_baseline.descent(4, steps, points**2, CORES)

    baselines = [WholeRun("C by hand", by_hand, 1000, CORES)] if c_baseline.available() else []
    title = f"trainability map, {points**2} nets, 1000 steps"
    program = WholeRun("descend_many", run, 1000, CORES)
    return Comparison(title, CORES, program, baselines, whole=True, warm=False)


def one_curve() -> Comparison:
    """The tutorial's curve, against the derivative by hand in pure Python."""

    def by_hand(steps: int) -> float:
        w = 1.9
        for _ in range(steps):
            w -= 1e-3 * (w**5 + w - 1)
        return w

    def run(steps: int) -> object:
        options = {"stepper": "compiled", "record": "last"}
        return descend(curve, 1.9, learning_rate=1e-3, steps=steps, **options)

    baseline = Program("pure Python by hand", by_hand, 1_000_000)
    return Comparison("the curve", 1, Program("compiled", run, 4_000_000), [baseline])


def grid() -> Comparison:
    """Brute force over the curve; the time is per point of the grid."""

    def run(points: int) -> object:
        return brute_force(curve, torch.linspace(-2, 2, points, dtype=torch.float64))

    baseline = Program("NumPy in chunks", numpy_baseline.grid, 4_000_000)
    return Comparison("brute force, a point", 1, Program("brute_force", run, 4_000_000), [baseline])
