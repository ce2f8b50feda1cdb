"""The time per step against the rows of the data, their features and the hidden nodes."""

from __future__ import annotations

import torch

from benchmarks import jax_baseline
from benchmarks.comparisons import Comparison, Program, net_descent
from benchmarks.problem import Net

ROW_COUNTS = (150, 1000, 10_000, 100_000, 1_000_000)
WIDTHS = (2, 8, 32, 128, 512, 1024, 4096)

WIDE = (
    Net(4, 150, 5000, 3, torch.float64),
    Net(8, 1000, 784, 10, torch.float64),
    Net(8, 5000, 100, 2, torch.float64),
    Net(32, 1000, 784, 10, entropy=True),
)
"""Nets whose first product is most of the work; the last one with tanh and the cross entropy."""


def comparisons() -> list[Comparison]:
    """More hidden nodes with the 150 rows of iris, more rows with two of them, more features."""
    nets = [*(Net(hidden) for hidden in WIDTHS), *(Net(2, rows) for rows in ROW_COUNTS[1:]), *WIDE]
    return [compare(net) for net in nets]


def compare(net: Net) -> Comparison:
    """Compiled steps of one net against eager steps and against JAX.

    The numbers of steps take about 0.1 s each. Compiled steps are verified by eager evaluations,
    log2 of the steps; the number of steps is large enough that their time does not matter.
    """
    work = net.rows * net.hidden * (net.features + 3)
    eager = Program("eager loop", net_descent(net, "eager"), max(16, int(1.5e8 / (work + 1.5e5))))
    compiled = Program("compiled", net_descent(net, "compiled"), max(400, int(1e9 / (work + 2e3))))
    jax = Program("JAX optax scan", lambda n: jax_baseline.scan(net, n),
                    max(16, int(4e8 / (work + 7000))))  # fmt: skip
    if net not in WIDE:
        title, size = f"{net.rows} rows, {net.hidden} hidden", (net.rows, net.hidden)
        return Comparison(title, 1, compiled, [eager, jax], size)
    digits = str(net.dtype).removeprefix("torch.")
    cost = ", cross entropy" if net.entropy else ""
    title = f"{net.rows} x {net.features}-{net.hidden}-{net.outputs}, {digits}{cost}"
    return Comparison(title, 1, compiled, [eager, jax])
