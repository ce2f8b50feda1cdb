"""Who is measured against whom, and for how many steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gd_torch import brute_force, curve, descend, descend_many, network_mse
from peers import c_peer, jax_peers, numpy_peer, torch_peers
from peers.problem import RATE, data, start

TRANSPOSED = {
    "transposed": "JAX transposed by hand",
    "sums": "JAX transposed, products as sums",
}


@dataclass(frozen=True)
class Contender:
    """Something that makes ``steps`` steps when called, and its number of steps to be timed by."""

    name: str
    call: Callable[[int], object]
    steps: int
    per: int = 1

    def seconds_a_step(self) -> float:
        """From a short and a long run."""
        short = max(1, self.steps // 8)
        begin = time.perf_counter()
        self.call(short)
        middle = time.perf_counter()
        self.call(self.steps)
        end = time.perf_counter()
        return max((end - middle) - (middle - begin), 1e-9) / (self.steps - short) / self.per


@dataclass(frozen=True)
class Contest:
    """Contenders in one group: the first is ours, the others its peers.

    Attributes:
        size: (rows, hidden nodes) where the cost is plotted against them.
        whole: the times are those of whole processes, not of steps.
        warm: everyone has a turn that does not count, to compile.
    """

    title: str
    threads: int
    ours: Contender
    peers: list[Contender]
    size: tuple[int, int] | None = None
    whole: bool = False
    warm: bool = True


def net(hidden: int, stepper: str, record: str = "last") -> Callable[[int], object]:
    """Our descent of one net."""
    mse = network_mse(*data())
    return lambda steps: descend(
        mse, start(hidden), learning_rate=RATE, steps=steps, stepper=stepper, record=record
    )


def single(hidden: int) -> list[Contest]:
    """One net: the eager loop, then the compiled one."""
    title = f"one net of {7 * hidden} weights"
    sgd = Contender("torch.optim.SGD + backward", lambda n: torch_peers.optimiser(hidden, n), 2000)
    compiled = Contender("compiled", net(hidden, "compiled"), 400_000)
    peers = [
        sgd,
        Contender("NumPy by hand", lambda n: numpy_peer.by_hand(hidden, n), 20_000),
        Contender("JAX optax scan", lambda n: jax_peers.scan(hidden, n), 40_000),
        *(
            Contender(name, lambda n, way=way: jax_peers.scan(hidden, n, layout=way), 80_000)
            for way, name in TRANSPOSED.items()
        ),
        Contender("compiled, whole path", net(hidden, "compiled", "all"), 400_000),
    ]
    if c_peer.available():
        peers.append(Contender("C by hand", lambda n: c_peer.descent(hidden, n), 400_000))
    eager = Contest(title, 1, Contender("eager loop", net(hidden, "eager"), 2000), [sgd])
    return [eager, Contest(title, 1, compiled, peers)]


def lockstep(runs: int, steps: int) -> Contest:
    """Many nets side by side, on two threads."""
    cores = min(2, os.cpu_count() or 1)
    mse = network_mse(*data())

    def ours(n: int) -> object:
        return descend_many(mse, start(2, runs), RATE, steps=n, stepper="compiled")

    peers = [
        Contender("torch batch", lambda n: torch_peers.batch(2, runs, n), steps // 8, runs),
        Contender("JAX vmap scan", lambda n: jax_peers.scan(2, n, runs=runs), steps // 8, runs),
        *(
            Contender(
                name,
                lambda n, way=way: jax_peers.scan(2, n, runs=runs, layout=way),
                steps // 4,
                runs,
            )
            for way, name in TRANSPOSED.items()
        ),
    ]
    if c_peer.available():
        by_hand = Contender("C by hand", lambda n: c_peer.descent(2, n, runs, cores), steps, runs)
        peers.append(by_hand)
    title = f"{runs} nets of 14 weights"
    return Contest(title, cores, Contender("descend_many", ours, steps, runs), peers)


def one_curve() -> Contest:
    """The tutorial's curve, against the derivative by hand in pure Python."""

    def by_hand(steps: int) -> float:
        w = 1.9
        for _ in range(steps):
            w -= 1e-3 * (w**5 + w - 1)
        return w

    def ours(steps: int) -> object:
        options = {"stepper": "compiled", "record": "last"}
        return descend(curve, 1.9, learning_rate=1e-3, steps=steps, **options)

    peer = Contender("pure Python by hand", by_hand, 1_000_000)
    return Contest("the curve", 1, Contender("compiled", ours, 4_000_000), [peer])


def grid() -> Contest:
    """Brute force over the curve, a point at a time."""

    def ours(points: int) -> object:
        return brute_force(curve, torch.linspace(-2, 2, points, dtype=torch.float64))

    peer = Contender("NumPy in chunks", numpy_peer.grid, 4_000_000)
    return Contest("brute force, a point", 1, Contender("brute_force", ours, 4_000_000), [peer])
