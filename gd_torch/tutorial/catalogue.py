"""The figures of the tutorial: names, captions and text alternatives.

This module does not import torch or matplotlib, so that --list and --help answer at once.
"""

from __future__ import annotations

from typing import NamedTuple


class FigureSpec(NamedTuple):
    """The specification of one figure.

    Attributes:
        name: the name of the file without suffix. suffix: its default format.
        page: whether there is an interactive page of the same name.
        caption: text below the figure. alt: the image in words.
    """

    name: str
    suffix: str
    page: bool
    caption: str
    alt: str


FIGURES = (
    FigureSpec(
        "01_brute_force", "svg", False,
        "Brute force evaluates every point of a grid. More decimals give a lower value, but not "
        "the minimum, and every further weight multiplies the cost by the number of values tried.",
        "Four enlarged pieces of the curve with grid points of 1 to 4 decimals, and below them a "
        "straight line on a log scale from 100 evaluations for one weight to 1e56 for 28.",
    ),
    FigureSpec(
        "02_tangent", "svg", False,
        "The slope at the start of the descent: its sign gives the direction, its size the "
        "steepness.",
        "The curve with its minimum near 0.75 and the tangent of slope 25.66 at w = 1.9.",
    ),
    FigureSpec(
        "03_overshoot", "svg", False,
        "Learning rate 1 moves by the whole slope: the weight jumps to the other side, further "
        "each time, until the loss overflows. Both axes are logarithmic away from 0.",
        "Arrows on the curve from 1.9 to -23.8 to 7.57 million, and the weight after each of four "
        "steps, of alternating sign and up to 9.6e171.",
    ),
    FigureSpec(
        "04_first_steps", "svg", False,
        "The first two steps with learning rate 0.01, as noted by hand, rounded at every step, and "
        "exact.",
        "Tangents at 1.9, 1.64 and 1.52 on the curve with arrows of length alpha times slope, and "
        "a table of rounded and exact weights and slopes.",
    ),
    FigureSpec(
        "05_descent", "gif", True,
        "A whole descent: the steps shrink as the slope does, although the learning rate stays. "
        "The page has a slider for the step and one for the learning rate.",
        "A point moves down the curve towards the minimum, while a second plot shows the length of "
        "each step falling on a log scale.",
    ),
    FigureSpec(
        "06_learning_rates", "svg", False,
        "Four learning rates from the same start, on the same axes.",
        "Four columns. Learning rates 0.001, 0.01 and 0.1 reach the minimum in 6915, 682 and 74 "
        "steps; 0.5 leaves the picture with its first step.",
    ),
    FigureSpec(
        "07_learning_rate_map", "png", False,
        "How 1 048 576 runs end, by start and learning rate: the steps until they converge, too "
        "slow, bouncing without end, or diverged.",
        "A map over starts from -3 to 3 and learning rates from 0.001 to 3: converging runs in "
        "the middle, grey below them, vermilion above, and a hatched strip of bouncing runs "
        "between.",
    ),
    FigureSpec(
        "08_surface", "png", True,
        "Two weights: a surface. Each partial is the slope along one axis, the other weight held "
        "constant. The surface on the page can be rotated.",
        "A bowl with the point (-8, 7) near its rim and two tangents there, of slope -32 along w1 "
        "and 14 along w2.",
    ),
    FigureSpec(
        "09_paths", "png", True,
        "The descent from (-8, 7), and one step of both weights, of w1 only and of w2 only. On the "
        "page each path can be hidden and shown.",
        "Four paths in a bowl: the descent bends towards the minimum; the wide joint step lies "
        "under its first step; the steps of one weight end higher.",
    ),
    FigureSpec(
        "10_paths_from_above", "svg", False,
        "The same four paths from above, at equal scale: the joint step is the vector sum of the "
        "two single ones.",
        "Elliptic contours with four paths from (-8, 7). The values after one step are 77.44 for "
        "both weights, 95.08 for w1 only and 159.36 for w2 only.",
    ),
    FigureSpec(
        "11_one_at_a_time", "svg", False,
        "Updating one weight at a time against both at once, per gradient evaluation.",
        "A stepped path and a curved path from above, and the values of both against gradient "
        "evaluations on a log scale: updates of both weights at once fall twice as fast.",
    ),
    FigureSpec(
        "12_directions", "svg", False,
        "The loss after a step of one length in all directions. The gradient is the steepest "
        "direction at the point; for a step of some length another one ends lower.",
        "Loss against direction with its lowest point beside the negative gradient, and for four "
        "step lengths how far off the best direction is.",
    ),
    FigureSpec(
        "13_convergence", "svg", False,
        "200 seeds of each net, learning rate 1, 3000 steps on the iris data in centimetres.",
        "Loss against steps on log scales for 14 and for 28 weights, every seed a faint line, the "
        "median bold.",
    ),
    FigureSpec(
        "14_learning_rate_by_seed", "svg", False,
        "The 14-weight net's loss after 3000 steps, for six learning rates and ten seeds.",
        "A table of sixty losses, coloured on a log scale; columns differ as much as rows do.",
    ),
    FigureSpec(
        "15_loss_landscape", "png", False,
        "The 14-weight net's loss on the plane that fits its own path best, and beside it the true "
        "loss against the one this plane shows.",
        "A heat map with the path from its start to the valley, and two curves of loss against "
        "steps that differ at the start and at the end.",
    ),
    FigureSpec(
        "16_matrices", "svg", False,
        "Every scalar partial computed alone, by autograd with the other weights held constant, "
        "and the same numbers as two matrices. The times are measured when the figure is made.",
        "Rings and dots that coincide for 14 and for 28 partials, and bars of the time of one "
        "gradient each way.",
    ),
    FigureSpec(
        "17_trainability", "png", False,
        "The 28-weight net after 1000 steps, for 65 536 pairs of learning rates of W1 and W2, and "
        "36 864 more in a part of the map enlarged. Learnt: an MSE below 1/9, the lowest of a net "
        "that does not distinguish two of the species. Standardised iris data, seed 0; after "
        "J. Sohl-Dickstein, arXiv:2402.06184 (2024).",
        "Two square maps with log axes. Pairs with which the net learns, from grey to dark blue "
        "for a low MSE, are surrounded by pale orange ones, with which it does not; the upper "
        "boundary consists of scattered points, in the enlarged part as well.",
    ),
)  # fmt: skip

LONG = ("17_trainability",)
"""Figures that take a minute or more; the command reproduce does not make them."""

NAMES = tuple(spec.name for spec in FIGURES)

FORMATS = ("svg", "png", "pdf")
"""The formats of static figures."""
