"""``gd-torch sweep``: descents from many seeds, or starts, with many learning rates."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output, sweep_curve, sweep_run, torchrun, train
from gd_torch.cli.argument_types import figure_file, not_negative, positive, whole
from gd_torch.cli.device import find_device
from gd_torch.cli.parser import Parser, add_device, add_output
from gd_torch.cli.result_files import write_json
from gd_torch.text_table import format_table

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch import Descents
    from gd_torch.data.dataset import Table

DESCRIPTION = """\
Train the net of the command train from many seeds with many learning rates, and show how the result
depends on either. Or descend the tutorial's curve from many starts.

Each process uses one core. With torchrun any number of processes share the runs; the results are
the same to the bit."""

EXAMPLES = """\
  {command}
  {command} --hidden 4 --rates 0.5 1 2 4 8 --seeds 100 --steps 2000
  {command} --no-standardise --figure seeds.svg --json seeds.json
  {command} --objective curve --starts -2 2 401 --figure map.png
  torchrun --nproc-per-node=8 -m gd_torch sweep --seeds 10000
  {command} --seeds 10000 --run seeds             save finished parts
  {command} --seeds 10000 --run seeds --resume    continue after an interruption"""


def build_parser(prog: str) -> Parser:
    """The arguments of this command."""
    parser = Parser(DESCRIPTION, EXAMPLES, prog)
    add = parser.add_argument
    add(
        "--objective",
        choices=("net", "curve"),
        default="net",
        help="the objective (default: net)",
    )
    add("--hidden", type=whole(1), metavar="N", help="hidden nodes (default: 2)")
    add(
        "--rates",
        type=positive,
        nargs="+",
        default=[0.1, 0.3, 1.0, 3.0, 10.0],
        metavar="ALPHA",
        help="learning rates (default: 0.1 0.3 1 3 10)",
    )
    add(
        "--seeds",
        type=whole(1, 1_000_000),
        metavar="N",
        help="train from the seeds 0 to N - 1 (default: 10)",
    )
    add(
        "--starts",
        nargs=3,
        metavar=("LOW", "HIGH", "N"),
        help="N starts from LOW to HIGH on the curve (default: -2 2 201)",
    )
    add_descent(parser)
    train.add_data(parser)
    add("--figure", type=figure_file, metavar="FILE", help="heat map as .svg, .png or .pdf")
    sweep_run.add_run(parser)
    add_device(parser)
    add_output(parser)
    return parser


def add_descent(parser: Parser) -> None:
    """--steps, --tolerance and --part."""
    add = parser.add_argument
    add("--steps", type=whole(0), default=3000, metavar="N", help="updates (default: 3000)")
    add(
        "--tolerance",
        type=not_negative,
        metavar="T",
        help="a run has converged if its gradient norm is below T (default: 0; curve: 1e-8)",
    )
    add(
        "--part",
        type=whole(1),
        metavar="N",
        help="runs that a process advances together (default: 1024; curve: 65536)",
    )


def main(arguments: argparse.Namespace, _parser: Parser) -> int:
    """Load the data, make all runs, print the table and write the files."""
    sweep_run.complete(arguments)
    if arguments.objective == "curve":
        sweep_curve.check(arguments)
        device = find_device(arguments.device)
        run_sweep = sweep_curve.run_sweep
    else:
        table, data_sha256 = train.load(arguments)
        device = table.X.device
        run_sweep = functools.partial(train_nets, table, data_sha256)
    import torch

    torch.set_num_threads(1)  # the number of threads would change the last bits of sums
    with torchrun.joined_processes(arguments, device):
        return run_sweep(arguments)


def train_nets(table: Table, data_sha256: str, arguments: argparse.Namespace) -> int:
    """Train all nets; the first process prints the table and writes the files."""
    X, Y = table.X, table.Y
    rates, seeds = arguments.rates, arguments.seeds
    runs = descents(X, Y, arguments, data_sha256)
    if runs is None:
        return 0
    losses = runs.losses.reshape(len(rates), seeds)
    correct = accuracies(X, Y, runs).reshape(len(rates), seeds)
    diverged = runs.diverged.reshape(len(rates), seeds)
    rows = [
        summarise(rate, *results)
        for rate, *results in zip(rates, losses, correct, diverged, strict=True)
    ]
    output.print_report(report(rows, seeds))
    if arguments.json:
        settings = {name: getattr(arguments, name) for name in ("hidden", "steps", "standardise")}
        results = {"mse": losses.tolist(), "accuracy": correct.tolist()}
        write_json(arguments.json, {**settings, "seeds": seeds, "rates": rows, **results})
    if arguments.figure:
        from gd_torch.plots import learning_rate_by_seed, save

        title = f"{seeds} seeds, {len(rates)} learning rates, {arguments.steps} steps"
        figure = learning_rate_by_seed(rates, range(seeds), losses.cpu(), title=title)
        save(figure, arguments.figure)
    return 0


def descents(
    X: Tensor, Y: Tensor, arguments: argparse.Namespace, data_sha256: str
) -> Descents | None:
    """The runs of all seeds with the first rate, then with the second rate, and so on."""
    import torch

    from gd_torch import init_weights, network_mse

    widths = (X.shape[1], arguments.hidden, Y.shape[1])
    drawn = [
        init_weights(widths, seed=seed, dtype=X.dtype, device=X.device)
        for seed in range(arguments.seeds)
    ]
    repeats = len(arguments.rates)
    starts = tuple(torch.stack(W).repeat(repeats, 1, 1) for W in zip(*drawn, strict=True))
    rates = torch.tensor(arguments.rates, dtype=torch.float64).repeat_interleave(arguments.seeds)
    return sweep_run.all_parts(network_mse(X, Y), starts, rates, arguments, data_sha256)


def accuracies(X: Tensor, Y: Tensor, runs: Descents) -> Tensor:
    """The accuracy of every run, shape (runs,)."""
    import torch

    from gd_torch import predict
    from gd_torch.objectives.network import accuracy

    return torch.tensor(
        [accuracy(predict(X, W1, W2), Y) for W1, W2 in zip(*runs.weights, strict=True)]
    )


def summarise(rate: float, losses: Tensor, correct: Tensor, diverged: Tensor) -> dict[str, Any]:
    """The results of one learning rate over all seeds."""
    lowest, low, median, high, highest = losses.double().quantile(
        losses.new_tensor((0, 0.25, 0.5, 0.75, 1)).double()
    )
    return {
        "learning_rate": rate,
        "mse_lowest": float(lowest),
        "mse_quartile_1": float(low),
        "mse_median": float(median),
        "mse_quartile_3": float(high),
        "mse_highest": float(highest),
        "accuracy_median": float(correct.median()),
        "share_095": float((correct >= 0.95).double().mean()),
        "diverged": int(diverged.sum()),
    }


def report(rows: list[dict[str, Any]], seeds: int) -> str:
    """The table that is printed."""
    cells = [
        ["rate", "lowest", "25 %", "median", "75 %", "highest", "accuracy", ">= 0.95", "diverged"]
    ]
    for result in rows:
        rate, *losses, accuracy, share, diverged = result.values()
        numbers = [*(f"{loss:.4f}" for loss in losses), f"{accuracy:.3f}", f"{share:.0%}"]
        cells.append([f"{rate:g}", *numbers, str(diverged)])
    lines = format_table(cells, indent="  ", minimum_width=8)
    return "\n".join([f"MSE and accuracy over {seeds} seeds", *lines])
