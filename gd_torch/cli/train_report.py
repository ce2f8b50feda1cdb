"""The results of a training run, as data for JSON and as text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output
from gd_torch.text_table import format_table

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch import Descent
    from gd_torch.data.dataset import Table


def summary(table: Table, run: Descent, arguments: argparse.Namespace, rows: int) -> dict[str, Any]:
    """Every result of the run as data for JSON; ``rows`` counts those of all processes."""
    from gd_torch.descent.distributed import all_reduce_sum
    from gd_torch.objectives.network import confusion_matrix, predict

    counts = all_reduce_sum(confusion_matrix(predict(table.X, *run.weights), table.Y))
    return {
        "mse": float(run.losses[-1]),
        "accuracy": int(counts.trace()) / rows,
        "gradient_norm": float(run.gradient_norms[-1]),
        "steps": run.steps,
        "stop": run.stop.name,
        "stop_reason": run.stop.sentence,
        "seed": arguments.seed,
        "device": str(table.X.device),
        "dtype": arguments.dtype,
        "data": str(arguments.data or "iris"),
        "rows": rows,
        "features": list(table.features),
        "classes": list(table.classes),
        "hidden": arguments.hidden,
        "learning_rate": arguments.learning_rate,
        "tolerance": arguments.tolerance,
        "standardise": arguments.standardise,
        "confusion": counts.tolist(),
        "weights": {f"W{i}": W.tolist() for i, W in enumerate(run.weights, 1)},
    }


def report(table: Table, run: Descent, result: dict[str, Any]) -> str:
    """The results as the text that is printed."""
    widths = (table.X.shape[1], result["hidden"], len(table.classes))
    data = output.printable(result["data"])
    scaled = "standardised" if result["standardise"] else "as they are"
    lines = [
        f"data      {data}: {result['rows']} rows, {widths[0]} features {scaled}, "
        f"{widths[2]} classes",
        f"net       {'-'.join(map(str, widths))}, {sum(w.numel() for w in run.weights)} weights, "
        f"seed {result['seed']}, {result['dtype']} on {result['device']}",
        f"descent   learning rate {result['learning_rate']:g}, {result['steps']} steps. "
        f"{result['stop_reason']}",
        f"MSE       {result['mse']:.6f}   (gradient norm {result['gradient_norm']:.2e})",
        f"accuracy  {result['accuracy']:.4f}",
        "",
        "confusion (row: true class, column: predicted)",
        *confusion_lines(table.classes, result["confusion"]),
    ]
    for name, W in zip(("W1", "W2"), run.weights, strict=True):
        lines += ["", f"{name} ({W.shape[0]} x {W.shape[1]})", *matrix_lines(W)]
    return "\n".join(lines)


def confusion_lines(classes: tuple[str, ...], counts: list[list[int]]) -> list[str]:
    """The confusion matrix with its class names."""
    body = [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)]
    return format_table([["", *classes], *body], align="<>", indent="  ", minimum_width=5)


def matrix_lines(W: Tensor, limit: int = 12) -> list[str]:
    """The entries of a matrix; of a large one the first ``limit`` rows and columns."""
    cells = [[f"{entry:.4g}" for entry in row] for row in W[:limit, :limit].tolist()]
    lines = format_table(cells, indent="  ", separator=" ", minimum_width=10)
    if W.shape[1] > limit:
        lines = [f"{line} ..." for line in lines]
    return [*lines, f"  ... {len(W) - limit} more rows"] if len(W) > limit else lines
