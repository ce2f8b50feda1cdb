"""Part 3: nets of 14 and 28 weights, their matrix partials, and training on iris (C1 to C4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch import (
    Descent,
    bowl,
    bowl_partials,
    curve,
    curve_partials,
    descend,
    init_weights,
    load_iris,
    network_mse,
    network_partials,
    partials,
    predict,
)
from gd_torch.data.dataset import standardise
from gd_torch.objectives.network import accuracy
from gd_torch.tutorial.section import Section

POINTS = 100
"""The number of random points at which autograd is compared with the closed form."""


@dataclass(frozen=True)
class Setting:
    """The settings of a training on iris."""

    hidden: int
    standardised: bool
    learning_rate: float
    steps: int

    @property
    def name(self) -> str:
        """The settings as the report prints them."""
        inputs = "standardised" if self.standardised else "raw cm"
        weights = 7 * self.hidden
        return f"{weights} weights, {inputs}, rate {self.learning_rate:g}, {self.steps} steps"


SETTINGS = (
    Setting(2, False, 1.0, 3000),
    Setting(4, False, 1.0, 3000),
    Setting(2, True, 1.0, 3000),
    Setting(4, True, 4.0, 2000),
)
"""The two nets of the tutorial, one with standardised inputs, and the defaults of train.py."""


@dataclass(frozen=True)
class Spread:
    """Results of training from many seeds; each tensor has the shape (seeds,)."""

    setting: Setting
    start_mse: Tensor
    mse: Tensor
    accuracy: Tensor


@dataclass(frozen=True)
class Matrices:
    """Every computed result of part 3."""

    errors: dict[str, float]
    spreads: tuple[Spread, ...]


def compute(seeds: int, progress: Callable[[int], object]) -> Matrices:
    """Compare all partials, then train with every setting from the seeds 0 to ``seeds`` - 1.

    Args:
        seeds: the number of seeds. progress: called with the number of steps just made.
    """
    return Matrices(errors(), tuple(train(setting, seeds, progress) for setting in SETTINGS))


Partials = Callable[..., Sequence[Tensor]]


def errors() -> dict[str, float]:
    """Name of the partial -> largest relative error of autograd against the closed form."""
    X, Y, _ = load_iris()
    generator = torch.Generator().manual_seed(0)
    cases: list[tuple[str, Partials, Partials, tuple[tuple[int, ...], ...]]] = [
        ("dy/dw", partials(curve), curve_partials, ((),)),
        ("dy/dw1, dy/dw2", partials(bowl), bowl_partials, ((), ())),
    ]
    for hidden in (2, 4):
        name = f"dMSE/dW1, dMSE/dW2 ({7 * hidden} weights)"
        auto, hand = partials(network_mse(X, Y)), network_partials(X, Y)
        cases.append((name, auto, hand, ((4, hidden), (hidden, 3))))
    worst = {}
    for name, computed, derived, shapes in cases:
        worst[name] = 0.0
        for _ in range(POINTS):
            at = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
            worst[name] = max(worst[name], relative_error(computed(*at), derived(*at)))
    return worst


def relative_error(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest difference of any entry, relative to the largest entry of its tensor."""
    return max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True)
    )


def train(setting: Setting, seeds: int, progress: Callable[[int], object]) -> Spread:
    """Train from every seed at once, by a descent of the sum of all losses.

    The partials of the sum are those of each net: no loss depends on the weights of another net.
    """
    X, Y, _ = load_iris()
    X = standardise(X) if setting.standardised else X
    mse = torch.func.vmap(network_mse(X, Y))
    drawn = [init_weights((4, setting.hidden, 3), seed=seed) for seed in range(seeds)]
    start = tuple(torch.stack(weights) for weights in zip(*drawn, strict=True))

    every = 50

    def report_progress() -> None:
        progress(every)

    run = descend(
        lambda W1, W2: mse(W1, W2).sum(),
        start,
        learning_rate=setting.learning_rate,
        steps=setting.steps,
        record="last",
        callback=lambda *_: report_progress(),
        callback_every=every,
    )
    correct = [accuracy(predict(X, W1, W2), Y) for W1, W2 in zip(*run.weights, strict=True)]
    return Spread(setting, mse(*start), mse(*run.weights), torch.tensor(correct))


def section(computed: Matrices) -> Section:
    """The report of part 3."""
    part = Section("3. Fourteen and twenty-eight weights: MSE(W1, W2) of a net on iris")
    _counts(part)
    for name, error in computed.errors.items():
        part.fact(
            "C2", f"autograd = closed form: {name}", "equal", error, error <= 1e-12, "derived"
        )
    _training(part, computed.spreads)
    return part


def _counts(part: Section) -> None:
    X, Y, _ = load_iris()
    mse = network_mse(X, Y)
    for id, hidden, text in (("C1", 2, "14"), ("C3", 4, "28")):
        weights = init_weights((4, hidden, 3))
        count = sum(W.numel() for W in weights)
        shapes = " and ".join(" x ".join(map(str, W.shape)) for W in weights)
        part.number(id, f"weights in {shapes}", text, count)
        part.number("C2", "matrix partials for all of them", "2", len(partials(mse)(*weights)))
        both = one_step(mse, weights)
        moved = all(bool((a != b).all()) for a, b in zip(both.weights, weights, strict=True))
        part.fact("C2", "one step updates both matrices", "at once", "every weight moved", moved)


def one_step(mse: Callable[..., Tensor], weights: tuple[Tensor, ...]) -> Descent:
    """A single update of all weights."""
    return descend(mse, weights, learning_rate=1.0, steps=1)


def _training(part: Section, spreads: Sequence[Spread]) -> None:
    rows = []
    for spread in spreads:
        lower = float((spread.mse < spread.start_mse).double().mean())
        part.fact(
            "C4",
            f"MSE falls: {spread.setting.name}",
            "descends",
            f"{lower:.0%} of seeds",
            lower == 1,
        )
        quartiles = [f"{q:.4f}" for q in quantiles(spread.mse)]
        middle = quantiles(spread.accuracy)[2]
        good = float((spread.accuracy >= 0.95).double().mean())
        rows.append((spread.setting.name, *quartiles, f"{middle:.3f}", f"{good:.0%}"))
    seeds = len(spreads[0].mse)
    part.table(
        f"MSE and accuracy after training from {seeds} seeds",
        ("setting", "lowest", "25 %", "median", "75 %", "highest", "accuracy", ">= 0.95"),
        rows,
    )
    part.note(
        "The result of a single seed says little: with the same settings runs end anywhere between "
        "the lowest and the highest MSE. The last row shows the default settings of train.py."
    )


def quantiles(values: Tensor) -> list[float]:
    """The lowest value, the quartiles and the highest value."""
    return (
        values.double()
        .quantile(torch.tensor((0, 0.25, 0.5, 0.75, 1), dtype=torch.float64))
        .tolist()
    )
