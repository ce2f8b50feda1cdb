"""The sweep of the curve: descents from many starts with many learning rates."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output
from gd_torch.cli.argument_types import number, whole
from gd_torch.cli.device import find_device
from gd_torch.cli.parser import UsageError
from gd_torch.cli.result_files import write_json
from gd_torch.cli.sweep_run import all_parts
from gd_torch.text_table import format_table

if TYPE_CHECKING:
    from torch import Tensor


MAXIMUM_RATIO = 1e100
"""The largest ratio of learning rates in a figure; matplotlib's log axes end at about 1e300."""


def check(arguments: argparse.Namespace) -> None:
    """Convert ``--starts`` to numbers, and check that a figure can be drawn.

    Raises:
        UsageError: ``--starts`` is not a range, or ``--figure`` needs other settings.
    """
    try:
        low, high = (number(text) for text in arguments.starts[:2])
        count = whole(1, 1_000_000)(arguments.starts[2])
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"argument --starts: {error}") from None
    if low >= high:
        raise UsageError(f"argument --starts: LOW must be below HIGH, got {low:g} {high:g}")
    arguments.starts = (low, high, count)
    rising = all(a < b for a, b in zip(arguments.rates, arguments.rates[1:], strict=False))
    if arguments.figure and not (rising and len(arguments.rates) > 1 and count > 1):
        raise UsageError("argument --figure: needs two starts and two --rates in rising order")
    if arguments.figure and arguments.rates[-1] / arguments.rates[0] > MAXIMUM_RATIO:
        raise UsageError(f"argument --figure: needs rates within a factor of {MAXIMUM_RATIO:g}")
    if arguments.figure and arguments.steps < 2:
        raise UsageError("argument --figure: needs --steps of at least 2")


def run_sweep(arguments: argparse.Namespace) -> int:
    """Make all runs; the first process prints the table and writes the files."""
    import torch

    from gd_torch import curve
    from gd_torch.tutorial.outcomes import classify_runs

    dtype = getattr(torch, arguments.dtype)
    starts = torch.linspace(*arguments.starts, dtype=dtype, device=find_device(arguments.device))
    rates = torch.tensor(arguments.rates, dtype=torch.float64)
    run_rates = rates.repeat_interleave(len(starts))
    run_starts = starts.repeat(len(rates))
    runs = all_parts(curve, (run_starts,), run_rates, arguments)
    if runs is None:
        return 0
    outcomes = classify_runs(runs, run_rates.to(run_starts))
    shape = len(rates), len(starts)
    outcomes, steps = outcomes.reshape(shape).cpu(), runs.steps.reshape(shape).cpu()
    rows = [summarise(*results) for results in zip(arguments.rates, outcomes, steps, strict=True)]
    output.print_report(report(rows, arguments))
    if arguments.json:
        results = {"weights": runs.weights[0].reshape(shape).tolist(), "steps": steps.tolist()}
        results["outcomes"] = outcomes.tolist()
        settings = {"starts": list(arguments.starts), "most_steps": arguments.steps}
        write_json(arguments.json, {**settings, "rates": rows, **results})
    if arguments.figure:
        from gd_torch.plots import learning_rate_map, save

        figure = learning_rate_map(starts.cpu().double(), rates, outcomes, steps, arguments.steps)
        save(figure, arguments.figure)
    return 0


def summarise(rate: float, outcomes: Tensor, steps: Tensor) -> dict[str, Any]:
    """The results of one learning rate over all starts."""
    from gd_torch.plots import Outcome

    converged, diverged = (outcomes == o for o in (Outcome.CONVERGES, Outcome.DIVERGES))
    return {
        "learning_rate": rate,
        "converged": float(converged.double().mean()),
        "unfinished": float((~converged & ~diverged).double().mean()),
        "diverged": float(diverged.double().mean()),
        "median_steps": int(steps[converged].median()) if converged.any() else None,
    }


def report(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The table that is printed."""
    low, high, count = arguments.starts
    title = f"The curve from {count} starts between {low:g} and {high:g}, {arguments.steps} steps"
    cells = [["rate", "converged", "unfinished", "diverged", "median steps"]]
    for result in rows:
        rate, *shares, steps = result.values()
        median = "-" if steps is None else str(steps)
        cells.append([f"{rate:g}", *(f"{share:.1%}" for share in shares), median])
    return "\n".join([title, *format_table(cells, indent=" ", separator=" ", minimum_width=12)])
