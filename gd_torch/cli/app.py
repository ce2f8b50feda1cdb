"""The ``gd-torch`` command: run a subcommand and report every expected failure in one line."""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from gd_torch.cli import output, torchrun
from gd_torch.cli.file_checks import check_files
from gd_torch.cli.parser import Parser, UsageError

COMMANDS = {
    "reproduce": "compute every number of the tutorial and compare it with the text",
    "train": "train a two-layer net on iris or on a CSV file",
    "sweep": "train from many starts with many learning rates",
    "figures": "make the figures of the tutorial",
    "check": "check partials derived by hand and name the mistakes",
}
"""The subcommands; each is a module of this package with ``build_parser(prog)`` and ``main``."""

DESCRIPTION = (
    "Gradient descent you can read, see and check.\n\ncommands:\n"
    + "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items())
    + "\n\n'gd-torch COMMAND --help' shows the options of a command, with examples."
)

EXAMPLES = """\
  gd-torch reproduce --quick
  gd-torch train --hidden 2 --seed 3
  gd-torch figures --only 05 09 --out figures"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ``gd-torch`` command.

    Args:
        argv: the arguments. None takes those of the process and prepares its standard streams.

    Returns:
        The exit status: 0 done, 1 a failed check or write, 2 unusable input, others as the
        subcommand's ``--help`` says.
    """
    if argv is None:
        prepare_process()
        argv = sys.argv[1:]
    if argv and argv[0] in COMMANDS:
        return run(argv[0], argv[1:], f"gd-torch {argv[0]}")
    parser = Parser(DESCRIPTION, EXAMPLES, "gd-torch")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of the above")
    parser.add_argument("--version", action="version", version=_version())
    try:
        parser.parse_args(argv or ["--help"])
    except SystemExit as end:
        return _status(end)
    raise AssertionError("the parser accepts only --help and --version here")


def run_script(command: str) -> NoReturn:
    """Run a subcommand as the script that calls this, and exit with its status."""
    prepare_process()
    sys.exit(run(command, sys.argv[1:], sys.argv[0]))


def prepare_process() -> None:
    """Settings of a process that runs one command and exits."""
    output.prepare_streams()
    atexit.register(gc.freeze)  # no garbage collection at exit, which takes up to 1 s


def run(command: str, argv: Sequence[str], prog: str) -> int:
    """Run one subcommand; every expected failure is one line on stderr."""
    module = importlib.import_module(f"gd_torch.cli.{command}")
    return run_parsed(module.build_parser(prog), module.main, argv)


def run_parsed(
    parser: Parser, main: Callable[[argparse.Namespace, Parser], int], argv: Sequence[str]
) -> int:
    """Parse the arguments, call ``main`` and return the exit status."""
    try:
        with output.warnings_in_one_line():
            return _guarded(parser, main, argv)
    except SystemExit as end:
        return _status(end)


def _guarded(
    parser: Parser, main: Callable[[argparse.Namespace, Parser], int], argv: Sequence[str]
) -> int:
    arguments = parser.parse_args(argv)
    try:
        check_files(arguments)
        status = main(arguments, parser)
        sys.stdout.flush()
        output.raise_unprinted()
    except UsageError as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        parser.error(f"{error}: is gd_torch installed here? See the set-up in README.md")
    except BrokenPipeError:  # the reader of stdout has closed it, as `| head` does
        output.drop_output()
        status = 1
    except OSError as error:
        output.drop_output()
        where = f"{error.filename}: " if error.filename else ""
        reason = output.one_line(f"{where}{error.strerror or error}")
        parser.exit(1, f"{parser.prog}: error: {reason}\n")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("memory|overflow", str(error)):
            raise
        parser.exit(1, f"{parser.prog}: error: not enough memory\n")
    except KeyboardInterrupt:
        text = f"\n{parser.prog}: interrupted; every file written is complete\n"
        parser.exit(130, None if torchrun.rank() else text)
    return status


def _status(end: SystemExit) -> int:
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"gd_torch {version('gd_torch')}"
    except PackageNotFoundError:
        return "gd_torch, not installed"
