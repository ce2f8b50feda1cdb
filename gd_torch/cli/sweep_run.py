"""How a sweep is run: part by part, over all processes; with --run finished parts are stored."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gd_torch.cli import torchrun
from gd_torch.cli.argument_types import directory
from gd_torch.cli.parser import Parser, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch import Descents
    from gd_torch.storage import SweepDirectory
    from gd_torch.typing import Objective, Weights

OPTIONS = (
    "objective", "hidden", "rates", "seeds", "starts", "steps", "tolerance", "part", "standardise",
    "dtype", "device",
)  # fmt: skip
"""The options that make a sweep the same sweep, beside its data."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "net": {"hidden": 2, "seeds": 10, "data": None, "target": None},
    "curve": {"starts": ["-2", "2", "201"]},
}
"""The options of one objective alone."""

PART, TOLERANCE = {"net": 1024, "curve": 65536}, {"net": 0.0, "curve": 1e-8}
"""The defaults of --part and --tolerance."""


def add_run(parser: Parser) -> None:
    """--run, --resume and --overwrite."""
    add = parser.add_argument
    add("--run", type=directory, metavar="DIR", help="write finished parts to DIR")
    exclusive = parser.add_mutually_exclusive_group()
    exclusive.add_argument("--resume", action="store_true", help="continue the sweep in DIR")
    exclusive.add_argument("--overwrite", action="store_true", help="delete the sweep in DIR first")


def complete(arguments: argparse.Namespace) -> None:
    """Fill in what depends on the objective; refuse what is for another, or needs a directory."""
    for objective, options in DEFAULTS.items():
        for name, value in options.items():
            if getattr(arguments, name) is None:
                setattr(arguments, name, value)
            elif objective != arguments.objective:
                raise UsageError(f"argument --{name}: is for --objective {objective}")
    if (arguments.resume or arguments.overwrite) and arguments.run is None:
        asked = "--resume" if arguments.resume else "--overwrite"
        raise UsageError(f"{asked} needs the directory: --run DIR {asked}")
    if arguments.part is None:
        arguments.part = PART[arguments.objective]
    if arguments.tolerance is None:
        arguments.tolerance = TOLERANCE[arguments.objective]


def all_parts(
    objective: Objective,
    starts: Weights,
    rates: Tensor,
    arguments: argparse.Namespace,
    data_sha256: str = "",
) -> Descents | None:
    """The results of all runs on the first process, None on the others."""
    from tqdm import tqdm

    from gd_torch.descent.distributed import (
        broadcast_from_rank0,
        chunk_ranges,
        concatenate,
        descend_chunks,
    )

    parts = chunk_ranges(len(rates), arguments.part)
    with _open_directory(arguments, starts, data_sha256) as stored:
        read = {part: stored.read(part, starts) for part in parts} if stored else {}
        results = {part: runs for part, runs in read.items() if runs is not None}
        missing = broadcast_from_rank0([part for part in parts if part not in results])
        silent = True if arguments.quiet else None
        before = done = len(rates) - sum(len(part) for part in missing)
        with tqdm(total=len(rates), initial=before, unit="run", leave=False, disable=silent) as bar:
            computed = descend_chunks(
                objective,
                starts,
                rates,
                missing,
                steps=arguments.steps,
                tolerance=arguments.tolerance,
                callback=lambda finished: bar.update(max(0, done + finished - bar.n)),
            )
            for part, runs in computed:
                results[part] = runs
                if stored:
                    stored.write(part, runs)
                done += len(part)
                bar.update(max(0, done - bar.n))
    return concatenate([results[part] for part in parts]) if torchrun.rank() == 0 else None


@contextmanager
def _open_directory(
    arguments: argparse.Namespace, starts: Weights, data_sha256: str
) -> Iterator[SweepDirectory | None]:
    """The directory of --run, on the first process; its errors are usage errors."""
    if arguments.run is None or torchrun.rank():
        yield None
        return
    import torch

    from gd_torch.storage import (
        CorruptFileError,
        DirectoryInUseError,
        RunLockedError,
        SweepDirectory,
    )

    settings: dict[str, Any] = {name: getattr(arguments, name) for name in OPTIONS}
    settings |= {"device": str(starts[0].device), "data": data_sha256, "torch": torch.__version__}
    try:
        with SweepDirectory(
            arguments.run, settings, resume=arguments.resume, overwrite=arguments.overwrite
        ) as stored:
            yield stored
    except (RunLockedError, DirectoryInUseError, CorruptFileError) as error:
        raise UsageError(str(error)) from None
