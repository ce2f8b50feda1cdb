"""How a step's cost grows with the rows of the data, their features and the hidden width."""

from __future__ import annotations

import torch

from benchmarks import jax_baseline
from benchmarks.comparisons import Candidate, Comparison, of_net
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
    """The width at iris's 150 rows, the rows at two hidden nodes, then many features."""
    nets = [*(Net(hidden) for hidden in WIDTHS), *(Net(2, rows) for rows in ROW_COUNTS[1:]), *WIDE]
    return [comparison(net) for net in nets]


def comparison(net: Net) -> Comparison:
    """One size: compiled steps against eager ones and against JAX.

    Compiled steps are so many that the evaluations that verify them, log2 of the steps, are few.
    """
    work = net.rows * net.hidden * (net.features + 3)  # a tenth of a second or so for each of them
    eager = Candidate("eager loop", of_net(net, "eager"), max(16, int(1.5e8 / (work + 1.5e5))))
    compiled = Candidate("compiled", of_net(net, "compiled"), max(400, int(1e9 / (work + 2e3))))
    jax = Candidate("JAX optax scan", lambda n: jax_baseline.scan(net, n),
                    max(16, int(4e8 / (work + 7000))))  # fmt: skip
    if net not in WIDE:
        title, size = f"{net.rows} rows, {net.hidden} hidden", (net.rows, net.hidden)
        return Comparison(title, 1, compiled, [eager, jax], size)
    digits = str(net.dtype).removeprefix("torch.")
    cost = ", cross entropy" if net.entropy else ""
    title = f"{net.rows} x {net.features}-{net.hidden}-{net.outputs}, {digits}{cost}"
    return Comparison(title, 1, compiled, [eager, jax])
