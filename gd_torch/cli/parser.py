"""The argument parser of all commands, and the options that several commands share."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any, NoReturn

from gd_torch.cli import output, torchrun
from gd_torch.cli.argument_types import device_name, new_file

UNUSABLE_INPUT = 2
"""The exit status if the input cannot be used; 1 is a failed check or a failed write."""

NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
"""An argument that is a number, not an option; before Python 3.12 argparse rejects -1e2."""


class UsageError(Exception):
    """The input cannot be used; the message is printed in one line."""


class Parser(argparse.ArgumentParser):
    """A parser that accepts no abbreviated options and reports an error in one line.

    Args:
        description: what the command does.
        examples: command lines, one per line; ``{command}`` stands for the command.
        prog: the command as it was called: "gd-torch train" or the path of a script.

    Attributes:
        command: the command as it is typed in a shell.
    """

    def __init__(self, description: str, examples: str, prog: str) -> None:
        self.command = f"python {shlex.quote(prog)}" if prog.endswith(".py") else prog
        super().__init__(
            prog=re.split(r"[/\\]", prog)[-1],
            description=description,
            epilog="examples:\n" + examples.replace("{command}", self.command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._negative_number_matcher = NEGATIVE_NUMBER

    raise_errors = False
    """Whether an error raises :class:`UsageError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        if self.raise_errors:
            raise UsageError(message)
        self.exit(UNUSABLE_INPUT, f"{self.prog}: error: {output.one_line(message)}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit; of several processes only one prints the message."""
        super().exit(status, torchrun.message(message) if message else None)

    def print_help(self, file: Any = None) -> None:
        """Print the help, on the first process only."""
        if torchrun.rank() == 0:
            super().print_help(file)


def add_device(parser: Parser) -> None:
    """--device and --dtype."""
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="where to compute; auto is CUDA if available, else cpu (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float64",
        help="floating-point type (default: %(default)s)",
    )


def add_output(parser: Parser) -> None:
    """--json and --quiet."""
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
