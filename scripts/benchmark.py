"""Measure gd_torch against its peers, in one process, contender after contender."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import command

DESCRIPTION = """\
Time the steps of a descent against peers: torch.optim, NumPy by hand, JAX with optax, C by hand.
All solve the same problem, a 4-h-3 net on iris in float32, in this process, in turns; the table
shows medians, their spread, and the median of the ratios turn by turn. A contender's time per step
is the difference between a long and a short run, so that setup and compiling do not count."""

EXAMPLES = """\
  pip install -c constraints.txt '.[bench]'
  python scripts/benchmark.py
  python scripts/benchmark.py --only single --repeats 9 --json benchmark.json"""

TRANSPOSED = {
    "transposed": "JAX transposed by hand",
    "sums": "JAX transposed, products as sums",
}

GROUPS = ("single", "lockstep", "curve", "grid")


def parser() -> command.Parser:
    """The arguments of this script."""
    parser = command.Parser(DESCRIPTION, EXAMPLES)
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups of rows")
    parser.add_argument(
        "--repeats",
        type=command.whole(1, 1000),
        default=5,
        metavar="N",
        help="turns of all contenders (default: %(default)s)",
    )
    command.add_output(parser)
    return parser


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
    """Contenders in one group: the first is ours, the others its peers."""

    title: str
    threads: int
    ours: Contender
    peers: list[Contender]


def main(arguments: argparse.Namespace) -> int:
    """Time every contest, show the table, write it."""
    import torch

    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        raise command.Refused("the peers are not installed: pip install '.[bench]'") from None
    from tqdm import tqdm

    chosen = [contest for group in arguments.only for contest in contests(group)]
    silent = True if arguments.quiet else None
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(chosen) * arguments.repeats, leave=False, disable=silent) as bar:
        for contest in chosen:
            bar.set_description(contest.title)
            torch.set_num_threads(contest.threads)
            rows += timed(contest, arguments.repeats, bar.update)
    machine = versions()
    print("\n".join(f"{name}: {value}" for name, value in machine.items()), end="\n\n")
    print(table(rows))
    if arguments.json:
        command.write_json(arguments.json, {"machine": machine, "rows": rows})
    return 0


def timed(
    contest: Contest, repeats: int, progress: Callable[[int], object]
) -> list[dict[str, Any]]:
    """One row per peer: medians in microseconds, and the median ratio turn by turn."""
    contenders = [contest.ours, *contest.peers]
    for contender in contenders:  # warm up and compile, for both lengths
        contender.seconds_a_step()
    turns = []
    for _ in range(repeats):
        turns.append([contender.seconds_a_step() * 1e6 for contender in contenders])
        progress(1)
    ours, *others = zip(*turns, strict=True)
    rows = []
    for peer, theirs in zip(contest.peers, others, strict=True):
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        rows.append(
            {
                "name": contest.title,
                "ours": contest.ours.name,
                "ours_us": statistics.median(ours),
                "ours_range_us": [min(ours), max(ours)],
                "peer": peer.name,
                "peer_us": statistics.median(theirs),
                "peer_range_us": [min(theirs), max(theirs)],
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "threads": contest.threads,
            }
        )
    return rows


def contests(group: str) -> list[Contest]:
    """What is measured."""
    import torch

    from gd_torch import brute_force, curve, descend, descend_many, network_mse
    from peers import c_peer, jax_peers, numpy_peer, torch_peers
    from peers.problem import RATE, data, start

    mse = network_mse(*data())

    def net(hidden: int, stepper: str, record: str = "last") -> Callable[[int], object]:
        return lambda steps: descend(
            mse, start(hidden), learning_rate=RATE, steps=steps, stepper=stepper, record=record
        )

    def single(hidden: int) -> list[Contest]:
        title = f"one net of {7 * hidden} weights"
        sgd = Contender(
            "torch.optim.SGD + backward", lambda n: torch_peers.optimiser(hidden, n), 2000
        )
        fused = Contender("fused", net(hidden, "fused"), 400_000)
        peers = [
            sgd,
            Contender("NumPy by hand", lambda n: numpy_peer.by_hand(hidden, n), 20_000),
            Contender("JAX optax scan", lambda n: jax_peers.scan(hidden, n), 40_000),
            *(
                Contender(name, lambda n, way=way: jax_peers.scan(hidden, n, layout=way), 80_000)
                for way, name in TRANSPOSED.items()
            ),
            Contender("fused, whole path", net(hidden, "fused", "all"), 400_000),
        ]
        if c_peer.available():
            peers.append(Contender("C by hand", lambda n: c_peer.descent(hidden, n), 400_000))
        eager = Contest(title, 1, Contender("eager loop", net(hidden, "eager"), 2000), [sgd])
        return [eager, Contest(title, 1, fused, peers)]

    def lockstep(runs: int, steps: int) -> Contest:
        cores = min(2, os.cpu_count() or 1)
        ours = Contender(
            "descend_many",
            lambda n: descend_many(mse, start(2, runs), RATE, steps=n, stepper="fused"),
            steps,
            runs,
        )
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
            many = Contender("C by hand", lambda n: c_peer.descent(2, n, runs, cores), steps, runs)
            peers.append(many)
        return Contest(f"{runs} nets of 14 weights", cores, ours, peers)

    def one_curve() -> Contest:
        def by_hand(steps: int) -> float:
            w = 1.9
            for _ in range(steps):
                w -= 1e-3 * (w**5 + w - 1)
            return w

        ours = Contender(
            "fused",
            lambda n: descend(
                curve, 1.9, learning_rate=1e-3, steps=n, stepper="fused", record="last"
            ),
            4_000_000,
        )
        return Contest("the curve", 1, ours, [Contender("pure Python by hand", by_hand, 1_000_000)])

    def grid() -> Contest:
        def ours(points: int) -> object:
            return brute_force(curve, torch.linspace(-2, 2, points, dtype=torch.float64))

        peer = Contender("NumPy in chunks", numpy_peer.grid, 4_000_000)
        return Contest("brute force, a point", 1, Contender("brute_force", ours, 4_000_000), [peer])

    return {
        "single": lambda: [*single(2), *single(4)],
        "lockstep": lambda: [lockstep(1024, 1600), lockstep(16384, 64)],
        "curve": lambda: [one_curve()],
        "grid": lambda: [grid()],
    }[group]()


def versions() -> dict[str, str]:
    """What the figures depend on."""
    import jax
    import numpy
    import optax
    import torch

    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "jax": jax.__version__,
        "optax": optax.__version__,
        "numpy": numpy.__version__,
    }


def processor() -> str:
    """The processor's own name, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "ours", "us", "peer", "us", "peer / ours", "range")
    cells = [
        (
            row["name"],
            row["ours"],
            f"{row['ours_us']:.3g}",
            row["peer"],
            f"{row['peer_us']:.3g}",
            f"{row['ratio']:.3g}",
            f"{row['ratio_range'][0]:.3g} to {row['ratio_range'][1]:.3g}",
        )
        for row in rows
    ]
    lines = [head, tuple("---" for _ in head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    command.run(parser(), main)
