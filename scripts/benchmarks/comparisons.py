"""Who is measured against whom, and for how many steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmarks import c_baseline, jax_baseline, numpy_baseline, torch_baseline
from benchmarks.problem import RATE, Net, logistic, start
from gd_torch import brute_force, curve, descend, descend_many, init_weights

CORES = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Candidate:
    """Something that makes ``steps`` steps when called, and its number of steps to be timed by."""

    name: str
    call: Callable[[int], object]
    steps: int
    per: int = 1

    def seconds_a_step(self) -> float:
        """Processor time, from a short and a long run: what other programs take does not count."""
        short = max(1, self.steps // 8)
        begin = time.process_time()
        self.call(short)
        middle = time.process_time()
        self.call(self.steps)
        end = time.process_time()
        return max((end - middle) - (middle - begin), 1e-9) / (self.steps - short) / self.per


@dataclass(frozen=True)
class Whole(Candidate):
    """Something whose time is all of it."""

    def seconds_a_step(self) -> float:
        begin = time.process_time()
        self.call(self.steps)
        return (time.process_time() - begin) / self.per


@dataclass(frozen=True)
class Comparison:
    """Candidates in one group: the first is ours, the others its baselines.

    Attributes:
        size: (rows, hidden nodes) where the cost is plotted against them.
        whole: the times are seconds of all the work, not microseconds of a step.
        warm: everyone has a turn that does not count, to compile.
    """

    title: str
    threads: int
    ours: Candidate
    baselines: list[Candidate]
    size: tuple[int, int] | None = None
    whole: bool = False
    warm: bool = True


def of_net(net: Net, stepper: str, record: str | int = "last") -> Callable[[int], object]:
    """Our descent of one net."""
    objective = net.objective()
    options = {"learning_rate": RATE, "stepper": stepper, "record": record}
    return lambda steps: descend(objective, start(net), steps=steps, **options)


def single(hidden: int) -> list[Comparison]:
    """One net: the eager loop, then the compiled one."""
    net, title = Net(hidden), f"one net of {7 * hidden} weights"
    sgd = Candidate("torch.optim.SGD + backward", lambda n: torch_baseline.optimiser(net, n), 2000)
    eager = Candidate("eager loop", of_net(net, "eager"), 2000)
    baselines = [
        sgd,
        eager,
        Candidate("NumPy by hand", lambda n: numpy_baseline.by_hand(hidden, n), 20_000),
        Candidate("JAX optax scan", lambda n: jax_baseline.scan(net, n), 40_000),
    ]
    if c_baseline.available():
        baselines.append(Candidate("C by hand", lambda n: c_baseline.descent(hidden, n), 400_000))
    compiled = Candidate("compiled", of_net(net, "compiled"), 400_000)
    return [Comparison(title, 1, eager, [sgd]), Comparison(title, 1, compiled, baselines)]


def recording(hidden: int) -> Comparison:
    """The whole path of a run, against its last point alone."""
    last = Candidate("last point", of_net(Net(hidden), "compiled"), 400_000)
    path = Candidate("whole path", of_net(Net(hidden), "compiled", "all"), 400_000)
    return Comparison(f"recording, {7 * hidden} weights", 1, last, [path])


def logistic_regression() -> Comparison:
    """1000 rows, 20 features."""
    X, y = logistic()

    def ours(stepper: str) -> Callable[[int], object]:
        def cost(w: torch.Tensor) -> torch.Tensor:
            return F.binary_cross_entropy_with_logits(X @ w, y)

        options = {"learning_rate": RATE, "record": "last", "stepper": stepper}
        return lambda n: descend(cost, torch.zeros(20), steps=n, **options)

    baselines = [
        Candidate("JAX optax scan", jax_baseline.logistic_scan, 20_000),
        Candidate("eager loop", ours("eager"), 2000),
    ]
    title = "logistic regression, 1000 x 20"
    return Comparison(title, 1, Candidate("compiled", ours("compiled"), 60_000), baselines)


def lockstep(runs: int, steps: int) -> Comparison:
    """Many nets on two threads; microseconds of both cores for a step of one net."""
    net, per = Net(2), runs * CORES
    mse = net.objective()

    def ours(n: int) -> object:
        return descend_many(mse, start(net, runs), RATE, steps=n, stepper="compiled")

    baselines = [
        Candidate("torch batch", lambda n: torch_baseline.batch(net, runs, n), steps // 8, per),
        Candidate("JAX vmap scan", lambda n: jax_baseline.scan(net, n, runs), steps // 8, per),
    ]
    if c_baseline.available():
        by_hand = Candidate(
            "C by hand", lambda n: c_baseline.descent(2, n, runs, CORES), steps, per
        )
        baselines.append(by_hand)
    title = f"{runs} nets of 14 weights"
    return Comparison(title, CORES, Candidate("descend_many", ours, steps, per), baselines)


def curves(runs: int) -> Comparison:
    """So many descents of the curve, 1000 steps each."""

    def ours(steps: int) -> object:
        starts = torch.linspace(-2, 2, runs, dtype=torch.float64)
        return descend_many(curve, starts, 1e-3, steps=steps)

    baseline = Whole("NumPy, all at once", lambda n: numpy_baseline.curves(runs, n), 1000)
    title = f"{runs} descents of the curve, 1000 steps"
    return Comparison(
        title, CORES, Whole("descend_many", ours, 1000, CORES), [baseline], whole=True
    )


def trainability(points: int = 256) -> Comparison:
    """A net of 28 weights for each pair of learning rates, 1000 steps."""
    mse = Net(4).objective()
    one = init_weights((4, 4, 3), seed=0, dtype=torch.float32)

    def ours(steps: int) -> object:
        axis = torch.logspace(-1.5, 4, points, dtype=torch.float64)
        rates = torch.cartesian_prod(axis, axis)
        starts = tuple(W.expand(len(rates), *W.shape) for W in one)
        return descend_many(mse, starts, rates, steps=steps)

    def by_hand(steps: int) -> object:
        return c_baseline.descent(4, steps, points**2, CORES)

    baselines = [Whole("C by hand", by_hand, 1000, CORES)] if c_baseline.available() else []
    title = f"trainability map, {points**2} nets, 1000 steps"
    candidate = Whole("descend_many", ours, 1000, CORES)
    return Comparison(title, CORES, candidate, baselines, whole=True, warm=False)


def one_curve() -> Comparison:
    """The tutorial's curve, against the derivative by hand in pure Python."""

    def by_hand(steps: int) -> float:
        w = 1.9
        for _ in range(steps):
            w -= 1e-3 * (w**5 + w - 1)
        return w

    def ours(steps: int) -> object:
        options = {"stepper": "compiled", "record": "last"}
        return descend(curve, 1.9, learning_rate=1e-3, steps=steps, **options)

    baseline = Candidate("pure Python by hand", by_hand, 1_000_000)
    return Comparison("the curve", 1, Candidate("compiled", ours, 4_000_000), [baseline])


def grid() -> Comparison:
    """Brute force over the curve, a point at a time."""

    def ours(points: int) -> object:
        return brute_force(curve, torch.linspace(-2, 2, points, dtype=torch.float64))

    baseline = Candidate("NumPy in chunks", numpy_baseline.grid, 4_000_000)
    return Comparison(
        "brute force, a point", 1, Candidate("brute_force", ours, 4_000_000), [baseline]
    )
