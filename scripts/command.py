"""What every script shares: its parser, its argument types, its device, its endings.

Nothing here imports torch at the top, so that `--help` and argument errors answer at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch

UNUSABLE = 2
"""Exit status for input that cannot be used; 1 is a failed check or a failed write."""


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

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: error: {' '.join(message.split())}\n")


def run(
    parser: Parser,
    main: Callable[[argparse.Namespace], int],
    given: Sequence[str] | None = None,
) -> NoReturn:
    """Parse, call ``main`` and exit with its status; every foreseen failure is one line."""
    arguments = parser.parse_args(given)
    try:
        status = main(arguments)
        sys.stdout.flush()
    except Refused as refusal:
        parser.error(str(refusal))
    except BrokenPipeError:  # the reader of stdout left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        parser.exit(1, f"{parser.prog}: error: {where}{error.strerror or error}\n")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        parser.exit(1, f"{parser.prog}: error: not enough memory\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted; every file written is whole\n")
    sys.exit(status)


def number(text: str) -> float:
    """A finite number; float() alone would take nan, inf and 1_0."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be positive, got {text!r}")
    return value


def not_negative(text: str) -> float:
    """A number of at least 0."""
    value = number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text!r}")
    return value


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """The type of a whole number from ``least`` to ``most``, written in digits alone."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[+-]?[0-9]{1,20}", text) is None or not least <= int(text) <= most:
            limit = f" and at most {most}" if most < 2**63 - 1 else ""
            raise argparse.ArgumentTypeError(
                f"must be a whole number of at least {least}{limit}, got {text!r}"
            )
        return int(text)

    return parse


def new_file(text: str) -> Path:
    """A path that a file can be written to: its folder exists, and it is no folder itself."""
    path = Path(text)
    if not text or path.is_dir():
        raise argparse.ArgumentTypeError(f"must name a file, got {text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"no such folder: {path.parent}")
    return path


def device_name(text: str) -> str:
    """auto, cpu, cuda or cuda:N; whether there is such a device is found out with torch."""
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text) is None:
        raise argparse.ArgumentTypeError(f"must be auto, cpu, cuda or cuda:N, got {text!r}")
    return text


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


def find_device(name: str) -> torch.device:
    """The torch device of a ``--device`` argument, or a refusal that says what is there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise Refused(f"argument --device: {name} asked for, but torch sees no CUDA device here")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Refused(
            f"argument --device: {name} asked for, but torch sees {torch.cuda.device_count()} "
            "CUDA device(s)"
        )
    return device


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write ``data`` as JSON, whole or not at all."""
    write_text(path, json.dumps(_plain(data), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all: to a temporary file beside ``path``, then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _plain(data: Any) -> Any:
    """The same data for JSON, which has no inf and no nan: those become strings."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data
