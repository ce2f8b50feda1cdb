"""How a step's cost grows with the rows of the data and with the hidden width."""

from __future__ import annotations

from gd_torch import descend, network_mse
from peers import jax_peers
from peers.contests import Contender, Contest
from peers.problem import RATE, ROWS, data, start

ROW_COUNTS = (150, 1000, 10_000, 100_000, 1_000_000)
WIDTHS = (2, 8, 32, 128, 512, 1024, 4096)


def contests() -> list[Contest]:
    """The width at iris's 150 rows, then the rows at two hidden nodes."""
    shapes = [(ROWS, hidden) for hidden in WIDTHS] + [(rows, 2) for rows in ROW_COUNTS[1:]]
    return [contest(rows, hidden) for rows, hidden in shapes]


def contest(rows: int, hidden: int) -> Contest:
    """One size: compiled steps against eager ones and against JAX."""
    mse = network_mse(*data(rows))

    def ours(stepper: str):
        def call(steps: int) -> object:
            options = {"learning_rate": RATE, "record": "last", "stepper": stepper}
            return descend(mse, start(hidden), steps=steps, **options)

        return call

    work = rows * hidden  # a tenth of a second or so for each of them
    eager = Contender("eager loop", ours("eager"), max(16, int(2e7 / (work + 2e4))))
    compiled = Contender("compiled", ours("compiled"), max(16, int(1.5e8 / (work + 300))))
    jax = Contender("JAX optax scan", lambda n: jax_peers.scan(hidden, n, rows=rows),
                    max(16, int(6e7 / (work + 1000))))  # fmt: skip
    return Contest(f"{rows} rows, {hidden} hidden", 1, compiled, [eager, jax], (rows, hidden))
