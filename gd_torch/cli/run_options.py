"""The options of a stored run, what is valid for each, and the checksum of its data."""

from __future__ import annotations

import argparse
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output, torchrun
from gd_torch.cli.argument_types import directory, new_file, not_negative, whole
from gd_torch.cli.parser import Parser, UsageError

if TYPE_CHECKING:
    from gd_torch.data.dataset import Table
    from gd_torch.typing import Objective, Weights

UNNAMED = Path("runs")
"""The parent of the directory that `--run` without a name makes."""

MAX_THREADS = 4096


def integer_from(least: int, most: int = 2**63 - 1) -> Callable[[Any], bool]:
    """Whether a value is an integer from ``least`` to ``most``."""
    return lambda value: type(value) is int and least <= value <= most


def matches(pattern: str) -> Callable[[Any], bool]:
    """Whether a value is a string that the whole pattern matches."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def is_number(value: Any) -> bool:
    """Whether a value is a float that is finite and not negative."""
    return type(value) is float and 0 <= value < math.inf


def is_text_or_none(value: Any) -> bool:
    """Whether a value is a string or None."""
    return value is None or isinstance(value, str)


OPTIONS: dict[str, Callable[[Any], bool]] = {
    "hidden": integer_from(1),
    "learning_rate": lambda value: is_number(value) and value > 0,
    "tolerance": is_number,
    "seed": integer_from(0),
    "data": is_text_or_none,
    "target": is_text_or_none,
    "standardise": lambda value: isinstance(value, bool),
    "device": matches("cpu|cuda(:[0-9]{1,3})?"),
    "dtype": matches("float32|float64"),
    "stepper": matches("eager|compiled"),
    "record_every": integer_from(1),
}
"""The options that make a run the same run, and what is valid for each; --steps may grow."""

FACTS: dict[str, Callable[[Any], bool]] = {
    "data_sha256": is_text_or_none,
    "threads": integer_from(1, MAX_THREADS),
    "torch": matches("[ -~]{1,100}"),
}
"""What is stored beside the options."""


AUTO = {("stepper", "auto"), ("device", "auto")}
"""Options that agree with every stored value."""

NOT_COMPARED = ("data", "steps")
"""Of the data the content is compared, not the name; steps may change."""


def collect_facts(data_sha256: str) -> dict[str, Any]:
    """The values of :data:`FACTS` in this process."""
    import torch

    threads = torch.get_num_threads()
    return {"data_sha256": data_sha256, "threads": threads, "torch": torch.__version__}


class TrainParser(Parser):
    """A parser that also returns which options were given."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None
    ) -> argparse.Namespace:
        """Parse, with the attribute ``given``: a dict of the options on the command line."""
        names = (*OPTIONS, "steps")
        arguments = super().parse_args(args, argparse.Namespace(**dict.fromkeys(names)))
        given = {name: getattr(arguments, name) for name in names}
        arguments.given = {name: value for name, value in given.items() if value is not None}
        for name, value in given.items():
            if value is None:  # argparse does not put a default over an attribute
                setattr(arguments, name, self.get_default(name))
        return arguments


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
        const=UNNAMED,
        type=directory,
        metavar="DIR",
        help="write settings, history and checkpoint to DIR (without a name: a new runs/DATE-N)",
    )
    exclusive = parser.add_mutually_exclusive_group()
    exclusive.add_argument("--resume", action="store_true", help="continue the run in DIR")
    exclusive.add_argument("--overwrite", action="store_true", help="delete the run in DIR first")
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
        help="least time between two checkpoints (default: 2)",
    )


def stepper_name(text: str) -> str:
    """The argument of --stepper; "fused" is the earlier name of compiled steps."""
    if text != "fused":
        return text
    if torchrun.rank() == 0:
        output.warn("argument --stepper: fused is called compiled now")
    return "compiled"


def resolve_stepper(
    arguments: argparse.Namespace, objective: Objective, start: Weights, callback_every: int
) -> str:
    """Choose "eager" or "compiled", once for the whole run, also when it is resumed."""
    from gd_torch import descend
    from gd_torch.compiler.operation_counter import OperationCounter
    from gd_torch.descent.cost_model import MIN_STEPS_BETWEEN_CALLBACKS, compile_after_step

    counter = OperationCounter()
    counter.counting(objective)(*start)
    saves_time = (
        compile_after_step(counter.seconds, arguments.steps, arguments.tolerance) is not None
        and callback_every >= MIN_STEPS_BETWEEN_CALLBACKS
        and start[0].device.type == "cpu"
    )
    if arguments.stepper == "eager" or (arguments.stepper == "auto" and not saves_time):
        return "eager"
    rate = arguments.learning_rate
    try:
        descend(objective, start, learning_rate=rate, steps=1, record="last", stepper="compiled")
    except RuntimeWarning as reason:
        output.warn(str(reason))
        return "eager"
    return "compiled"


def data_digest(table: Table) -> str:
    """The SHA-256 of the data's names, shapes and numbers."""
    from gd_torch.storage.checkpoint import to_bytes

    tensors = (table.X, table.Y)
    shapes = [(t.dtype, tuple(t.shape)) for t in tensors]
    found = hashlib.sha256(ascii([table.features, table.classes, shapes]).encode())
    for tensor in tensors:
        found.update(to_bytes((tensor.cpu(),)))
    return found.hexdigest()


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that the command line could not have given, whatever their checksum says.

    Raises:
        UsageError: a value is not valid; the message names it.
    """
    if set(settings) != {*OPTIONS, *FACTS}:
        raise UsageError("not the settings of a run of this command")
    if settings["stepper"] == "fused":
        raise UsageError(
            "stepper cannot be 'fused': such steps of an earlier version cannot be continued to "
            "the same bits; start again with --overwrite"
        )
    for name, is_valid in {**OPTIONS, **FACTS}.items():
        if not is_valid(settings[name]):
            raise UsageError(f"{name} cannot be {settings[name]!r:.100}")


def compare_settings(settings: dict[str, Any], given: dict[str, Any], directory: Path) -> None:
    """Raise if an option that is given differs from the setting of the run in ``directory``.

    Raises:
        UsageError: it does; the message names it.
    """
    for name, value in given.items():
        stored = settings.get(name)
        if name in NOT_COMPARED or value == stored or (name, value) in AUTO:
            continue
        if (name, value, stored) != ("device", "cuda", "cuda:0"):
            option = "--" + name.replace("_", "-")
            raise UsageError(f"{option} is {stored} in {directory}, got {value}")
