"""What every script shares: its parser, its argument types, its device, its endings.

Nothing here imports torch at the top, so that `--help` and argument errors answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import launch
import telling
from argument_types import (  # noqa: F401 - the scripts find them here
    device_name,
    directory,
    figure_file,
    new_file,
    new_folder,
    not_negative,
    number,
    positive,
    whole,
)
from telling import printable, show, tell  # noqa: F401 - the scripts find them here
from writing import (  # noqa: F401 - the scripts find them here
    write_bytes,
    write_json,
    write_text,
    write_weights,
)

if TYPE_CHECKING:
    import torch

    from gd_torch.data.csv_reader import Columns

UNUSABLE = 2
"""Exit status for input that cannot be used; 1 is a failed check or a failed write."""


READ, WRITTEN = ("data", "file"), ("json", "figure", "example", "export")
"""The arguments of all scripts that name one file."""


NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
"""What is a number and no option; before 3.12 argparse took -1e2 for one."""


class Refused(Exception):
    """Input that cannot be used; the message is the one line that people see."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and refuses in one line."""

    def __init__(self, description: str, examples: str) -> None:
        super().__init__(
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self._negative_number_matcher = NEGATIVE

    raising = False
    """Whether an error is to be handled, not told."""

    def error(self, message: str) -> NoReturn:
        if self.raising:
            raise Refused(message)
        self.exit(UNUSABLE, f"{self.prog}: error: {telling.one_line(message)}\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Leave; of many processes one speaks."""
        super().exit(status, launch.message(message) if message else None)

    def print_help(self, file: Any = None) -> None:
        """On the first process alone."""
        if launch.rank() == 0:
            super().print_help(file)


def run(
    parser: Parser,
    main: Callable[[argparse.Namespace], int],
    given: Sequence[str] | None = None,
) -> NoReturn:
    """Parse, call ``main`` and exit with its status; every foreseen failure is one line."""
    telling.prepare_output()
    atexit.register(gc.freeze)  # at the end nothing is searched for garbage: up to 1 s of waiting
    arguments = parser.parse_args(given)
    try:
        _check_files(arguments)
        status = main(arguments)
        sys.stdout.flush()
        if telling.unshown:
            raise telling.unshown[0]
    except Refused as refusal:
        parser.error(str(refusal))
    except ModuleNotFoundError as error:
        parser.error(f"{error}: is gd_torch installed here? See the set-up in README.md")
    except BrokenPipeError:  # the reader of stdout left, as `| head` does
        telling.drop_output()
        status = 1
    except OSError as error:
        telling.drop_output()
        where = f"{error.filename}: " if error.filename else ""
        reason = telling.one_line(f"{where}{error.strerror or error}")
        parser.exit(1, f"{parser.prog}: error: {reason}\n")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("memory|overflow", str(error)):
            raise
        parser.exit(1, f"{parser.prog}: error: not enough memory\n")
    except KeyboardInterrupt:
        told = f"\n{parser.prog}: interrupted; every file written is whole\n"
        parser.exit(130, None if launch.rank() else told)
    sys.exit(status)


def _check_files(arguments: argparse.Namespace) -> None:
    """Before any work: no file is read and written, or written twice; every folder takes files.

    Raises:
        OSError: a folder takes none, or the working directory is gone.
    """
    try:
        os.getcwd()  # without one torch cannot be loaded
    except OSError as error:
        error.filename = "the working directory"
        raise
    given = vars(arguments)
    places: dict[str, str] = {}
    for name in (*READ, *WRITTEN):
        if given.get(name) is None:
            continue
        place = os.path.realpath(given[name])
        if place in places:
            raise Refused(f"{places[place]} and {name} name the same file: {given[name]}")
        places[place] = name
        if name in WRITTEN:
            check_writable(given[name].parent)
            kept = os.path.realpath(given["run"]) if given.get("run") else None
            if kept in (place, os.path.dirname(place)):
                raise Refused(f"{name} names a file in the directory of --run: {given[name]}")


def check_writable(folder: Path) -> None:
    """Raise unless files can be made in the folder, or it can be made itself."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def add_device(parser: Parser) -> None:
    """--device and --dtype."""
    parser.add_argument(
        "--device",
        type=device_name,
        default="auto",
        metavar="auto|cpu|cuda|cuda:N",
        help="where to compute; auto takes CUDA if there is any (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float64",
        help="precision (default: %(default)s)",
    )


def add_output(parser: Parser) -> None:
    """--json and --quiet."""
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def load_torch() -> None:
    """Import torch, with the garbage collector off; what it makes is never searched for garbage."""
    from gd_torch import torch_loading

    torch_loading.load_torch()
    gc.freeze()


def find_device(name: str) -> torch.device:
    """The torch device of a ``--device`` argument, or a refusal that says what is there."""
    load_torch()
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launch.launched():
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Refused(f"argument --device: {name} asked for, but torch sees no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refused(
            f"argument --device: {name} asked for, but torch sees {torch.cuda.device_count()} "
            "CUDA device(s)"
        )
    return device


def read_columns(path: Path, target: str) -> Columns:
    """A CSV file's columns, or a refusal; the reader does not import torch."""
    from gd_torch.data import csv_reader as reader

    try:
        return reader.read_columns(path, target)
    except ValueError as error:
        raise Refused(str(error)) from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
