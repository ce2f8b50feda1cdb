"""The options of a run that is kept, and what of them and of the data makes it the same run."""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import command

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch.objectives import Objective, Weights

FRESH = Path("runs")
"""Where `--run` without a name makes one."""

OPTIONS = (
    "hidden", "learning_rate", "tolerance", "seed", "data", "target", "standardise", "device",
    "dtype", "stepper", "record_every",
)  # fmt: skip
"""What a run is made of; --steps is not among them, it may grow."""

FACTS = ("data_sha256", "threads", "torch")
"""What is kept beside the options."""


def add_run(parser: command.Parser) -> None:
    """--run, --resume, --overwrite, the schedules, --stepper and --export."""
    add = parser.add_argument
    add(
        "--stepper",
        choices=("auto", "eager", "fused"),
        default="auto",
        help="how a step is executed; auto compiles where that pays (default: auto)",
    )
    add("--export", type=command.new_file, metavar="FILE", help="write the weights for torch.load")
    add(
        "--run",
        nargs="?",
        const=FRESH,
        type=command.directory,
        metavar="DIR",
        help="keep settings, history and checkpoint in DIR; without a name in a fresh runs/DATE-N",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    what.add_argument("--overwrite", action="store_true", help="delete the run in DIR first")
    add(
        "--record-every",
        type=command.whole(1),
        default=100,
        metavar="N",
        help="steps between two lines of the history (default: 100)",
    )
    add(
        "--save-every",
        type=command.not_negative,
        default=2.0,
        metavar="SECONDS",
        help="time between two checkpoints, at least (default: 2)",
    )


def resolve(arguments: argparse.Namespace, objective: Objective, start: Weights) -> str:
    """eager or fused, once for the whole run, so that going on makes the same steps."""
    from gd_torch import descend
    from gd_torch.descent import last_eager
    from gd_torch.gauge import Gauge

    gauge = Gauge()
    gauge.watch(objective)(*start)
    pays = last_eager(gauge.seconds, arguments.steps, arguments.tolerance) is not None
    pays = pays and start[0].device.type == "cpu"
    if arguments.stepper == "eager" or (arguments.stepper == "auto" and not pays):
        return "eager"
    rate = arguments.learning_rate
    try:
        descend(objective, start, learning_rate=rate, steps=1, record="last", stepper="fused")
    except RuntimeWarning as why:
        os.write(2, f"{why}\n".encode())
        return "eager"
    return "fused"


def digest(*tensors: Tensor) -> str:
    """The SHA-256 of the data's shapes and numbers."""
    from gd_torch.checkpoint import to_bytes

    found = hashlib.sha256(repr([(t.dtype, tuple(t.shape)) for t in tensors]).encode())
    for tensor in tensors:
        found.update(to_bytes((tensor.cpu(),)))
    return found.hexdigest()
