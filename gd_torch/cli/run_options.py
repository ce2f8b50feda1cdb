"""The options of a run that is kept, and what of them and of the data makes it the same run."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output, torchrun
from gd_torch.cli.argument_types import directory, new_file, not_negative, whole
from gd_torch.cli.parser import Parser, UsageError

if TYPE_CHECKING:
    from gd_torch.data.dataset import Table
    from gd_torch.typing import Objective, Weights

FRESH = Path("runs")
"""Where `--run` without a name makes one."""

OPTIONS = (
    "hidden", "learning_rate", "tolerance", "seed", "data", "target", "standardise", "device",
    "dtype", "stepper", "record_every",
)  # fmt: skip
"""What a run is made of; --steps is not among them, it may grow."""

FACTS = ("data_sha256", "threads", "torch")
"""What is kept beside the options."""

THREADS = 4096
"""More than any machine runs at once."""


def add_run(parser: Parser) -> None:
    """--run, --resume, --overwrite, the schedules, --stepper and --export."""
    add = parser.add_argument
    add(
        "--stepper",
        type=stepper_name,
        choices=("auto", "eager", "compiled"),
        default="auto",
        help="how a step is executed; auto compiles where that saves time (default: auto)",
    )
    add("--export", type=new_file, metavar="FILE", help="write the weights for torch.load")
    add(
        "--run",
        nargs="?",
        const=FRESH,
        type=directory,
        metavar="DIR",
        help="keep settings, history and checkpoint in DIR; without a name in a fresh runs/DATE-N",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="go on with the run in DIR")
    what.add_argument("--overwrite", action="store_true", help="delete the run in DIR first")
    add(
        "--record-every",
        type=whole(1),
        default=100,
        metavar="N",
        help="steps between two lines of the history (default: 100)",
    )
    add(
        "--save-every",
        type=not_negative,
        default=2.0,
        metavar="SECONDS",
        help="time between two checkpoints, at least (default: 2)",
    )


def stepper_name(text: str) -> str:
    """The argument of --stepper; "fused" was the name of compiled steps."""
    if text != "fused":
        return text
    if torchrun.rank() == 0:
        output.warn("argument --stepper: fused is called compiled now")
    return "compiled"


def resolve(
    arguments: argparse.Namespace, objective: Objective, start: Weights, callback_every: int
) -> str:
    """eager or compiled, once for the whole run, so that going on makes the same steps."""
    from gd_torch import descend
    from gd_torch.compiler.operation_counter import OperationCounter
    from gd_torch.descent.cost_model import MIN_STEPS_BETWEEN_CALLBACKS, compile_after_step

    counter = OperationCounter()
    counter.counting(objective)(*start)
    pays = compile_after_step(counter.seconds, arguments.steps, arguments.tolerance) is not None
    pays = pays and callback_every >= MIN_STEPS_BETWEEN_CALLBACKS
    pays = pays and start[0].device.type == "cpu"
    if arguments.stepper == "eager" or (arguments.stepper == "auto" and not pays):
        return "eager"
    rate = arguments.learning_rate
    try:
        descend(objective, start, learning_rate=rate, steps=1, record="last", stepper="compiled")
    except RuntimeWarning as why:
        output.warn(str(why))
        return "eager"
    return "compiled"


def digest(table: Table) -> str:
    """The SHA-256 of the data's names, shapes and numbers."""
    from gd_torch.storage.checkpoint import to_bytes

    tensors = (table.X, table.Y)
    shapes = [(t.dtype, tuple(t.shape)) for t in tensors]
    found = hashlib.sha256(ascii([table.features, table.classes, shapes]).encode())
    for tensor in tensors:
        found.update(to_bytes((tensor.cpu(),)))
    return found.hexdigest()


def check_kept(kept: dict[str, Any], parser: Parser) -> None:
    """Refuse settings that the command line could not have given, whatever their checksum says."""
    if set(kept) != {*OPTIONS, *FACTS}:
        raise UsageError("not those of a run of this script")
    if kept["stepper"] == "fused":
        raise UsageError(
            "stepper cannot be 'fused': such steps of an earlier version cannot be continued to "
            "the same bits; begin again with --overwrite"
        )
    line = [] if kept["standardise"] is True else ["--no-standardise"]
    for name in OPTIONS:
        if name != "standardise" and kept[name] is not None:
            line.append(f"{flag(name)}={kept[name]}")
    parser.raise_errors = True
    try:
        read = vars(parser.parse_args(line))
    finally:
        parser.raise_errors = False
    for name in OPTIONS:
        value = str(read[name]) if isinstance(read[name], Path) else read[name]
        if type(value) is not type(kept[name]) or value != kept[name] or value == "auto" != name:
            raise UsageError(f"{name} cannot be {kept[name]!r:.100}")
    if not isinstance(kept["torch"], str):
        raise UsageError(f"torch cannot be {kept['torch']!r:.100}")
    if type(kept["threads"]) is not int or not 1 <= kept["threads"] <= THREADS:
        raise UsageError(f"threads cannot be {kept['threads']!r:.100}")


def flag(name: str) -> str:
    """The option of that name on the command line."""
    return "--" + name.replace("_", "-")
