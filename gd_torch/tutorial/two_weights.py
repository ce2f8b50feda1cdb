"""Part 2: the bowl, its partials, single-weight steps and the scan of directions (B1 to B8)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from gd_torch import BOWL, Descent, bowl, bowl_partials, descend, partials
from gd_torch.tutorial.section import Section

ALPHA = 0.1
"""The learning rate; the text gives none for the bowl."""


@dataclass(frozen=True)
class BestDirection:
    """The best of the steps of one length from the start in all directions.

    Attributes:
        length: the length of the step.
        steepest: the direction of the negative gradient, in degrees.
        along_gradient: the loss after a step in that direction.
        off: the angle from there to the best direction, in degrees, -180 to 180.
        lowest: the loss after a step in the best direction.
    """

    length: float
    steepest: float
    along_gradient: float
    off: float
    lowest: float

    @property
    def best(self) -> float:
        """The best direction, in degrees."""
        return self.steepest + self.off


@dataclass(frozen=True)
class Bowl:
    """Every computed result of part 2.

    Attributes:
        run: the descent from the start.
        single: (w1, w2, y) after a step in w1 only, and after a step in w2 only.
        scans: the best direction of a step as long as that of the gradient, and of a tiny one.
    """

    run: Descent
    single: tuple[tuple[float, float, float], ...]
    scans: tuple[BestDirection, BestDirection]


def compute() -> Bowl:
    """The run from (-8, 7), each weight's single step, and scans of a full and a tiny step."""
    w1, w2 = BOWL.start
    d1, d2 = (d.item() for d in partials(bowl)(w1, w2))
    run = descend(bowl, BOWL.start, learning_rate=ALPHA, steps=1000, tolerance=1e-8)
    points = ((w1 - ALPHA * d1, w2), (w1, w2 - ALPHA * d2))
    single = tuple((*point, _value(point)) for point in points)
    full = ALPHA * math.hypot(d1, d2)
    return Bowl(run, single, (scan_directions(full), scan_directions(1e-3)))


def scan_directions(length: float) -> BestDirection:
    """Make a step of ``length`` from the start in directions 0.01 degrees apart."""
    w1, w2 = BOWL.start
    d1, d2 = (d.item() for d in partials(bowl)(w1, w2))
    steepest = math.degrees(math.atan2(-d2, -d1)) % 360
    off = torch.arange(-18_000, 18_000, dtype=torch.float64) / 100
    angle = (steepest + off).deg2rad()
    losses = bowl(w1 + length * angle.cos(), w2 + length * angle.sin())
    best = int(losses.argmin())
    return BestDirection(
        length, steepest, losses[18_000].item(), off[best].item(), losses[best].item()
    )


def _value(point: tuple[float, float]) -> float:
    return float(bowl(*torch.tensor(point, dtype=torch.float64)))


def section(computed: Bowl) -> Section:
    """The report of part 2."""
    part = Section("2. Two weights: y = 2 w1^2 + w2^2")
    _partials(part)
    _path(part, computed.run)
    _single_steps(part, computed)
    _directions(part, *computed.scans)
    return part


def _partials(part: Section) -> None:
    w1, w2 = BOWL.start
    d1, d2 = (d.item() for d in partials(bowl)(w1, w2))
    moved = partials(bowl)(w1, w2 + 1)[0].item(), partials(bowl)(w1 + 1, w2)[1].item()
    held = "neither partial sees the other weight"
    part.fact("B2", "the other weight is held constant", held, "4 w1 and 2 w2", moved == (d1, d2))
    part.number("B3", "y at (-8, 7)", "177", _value((w1, w2)), "derived")
    part.number("B3", "dy/dw1 there", "-32", d1)
    part.number("B3", "dy/dw2 there", "14", d2)
    part.fact(
        "B4", "slope along each axis", "tangents", "(1, 0, -32), (0, 1, 14)", (d1, d2) == (-32, 14)
    )
    zero = all(d.item() == 0 for d in partials(bowl)(*BOWL.minimiser))
    part.fact("B5", "both partials are zero at", "(0, 0)", "(0, 0)", zero)


def _path(part: Section, run: Descent) -> None:
    points = torch.stack(run.path, 1)  # (steps + 1, 2)
    factors = torch.tensor((0.6, 0.8), dtype=torch.float64)
    exact = points[0] * factors ** torch.arange(len(points))[:, None]
    close = torch.allclose(points, exact, rtol=1e-12, atol=0.0)
    part.fact(
        "B6", "factors of w1 and w2 a step at 0.1", "0.6 and 0.8", "0.6 and 0.8", close, "derived"
    )
    lengths = points.diff(dim=0).norm(dim=1)
    ends = f"{lengths[0].item():.3g} to {lengths[-1].item():.3g}"
    part.fact("B6", "step lengths", "big first, then small", ends, bool((lengths.diff() < 0).all()))
    end = math.hypot(*points[-1].tolist())
    part.fact("B6", "distance to (0, 0) at the end", "near, not at", end, 0 < end < 1e-8)
    step = points.diff(dim=0)
    turn = math.degrees(torch.atan2(step[:3, 1], step[:3, 0]).diff().abs().sum())
    part.fact("B6", "the path bends: turn in three steps", "bends", f"{turn:.1f} degrees", turn > 1)
    part.table(
        f"Descent from (-8, 7) at learning rate {ALPHA} (the text gives none)",
        ("step", "w1", "w2", "y"),
        [(i, *points[i].tolist(), run.losses[i].item()) for i in (0, 1, 2, 3, 10, run.steps)],
    )


def _single_steps(part: Section, computed: Bowl) -> None:
    (_, _, first), (_, _, second) = computed.single
    both = computed.run.losses[1].item()
    higher = min(first, second) > both
    part.number("B7", "y after a step in w1 only", "95.08", first, "derived")
    part.number("B7", "y after a step in w2 only", "159.36", second, "derived")
    part.number("B7", "y after a step in both", "77.44", both, "derived")
    part.fact("B7", "both single steps end higher", "higher", f"by {first - both:.2f}", higher)


def _directions(part: Section, full: BestDirection, tiny: BestDirection) -> None:
    bowl_hand = bowl_partials(*(torch.tensor(w, dtype=torch.float64) for w in BOWL.start))
    summed = math.degrees(math.atan2(-bowl_hand[1].item(), -bowl_hand[0].item())) % 360
    close = abs(summed - full.steepest) < 1e-9
    part.fact("B8", "direction: vector sum of the two steps", "the sum", full.steepest, close)
    near = abs(tiny.off) < 0.01
    part.fact("B8", "best for a step of 0.001", "the fastest way", f"{tiny.best:.2f} deg", near)
    gain = full.along_gradient - full.lowest
    part.fact(
        "B8", "best for a step of 3.49", "another", f"{full.best:.2f} deg", gain > 0, "derived"
    )
    part.note(
        f"A step of length {full.length:.4f} against the gradient ({full.steepest:.2f} deg) ends "
        f"at y = {full.along_gradient:.2f}, the same length towards {full.best:.2f} deg at "
        f"{full.lowest:.2f}: the gradient shows the fastest way at the point, not the best step."
    )
