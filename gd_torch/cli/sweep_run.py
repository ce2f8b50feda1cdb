"""How a sweep is made: part by part, over all processes, its finished parts kept and taken up."""

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
    from gd_torch.storage.sweep_directory import Finished
    from gd_torch.typing import Objective, Weights

OPTIONS = (
    "objective", "hidden", "rates", "seeds", "starts", "steps", "tolerance", "part", "standardise",
    "dtype", "device",
)  # fmt: skip
"""What makes a sweep the same sweep, beside its data."""

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
    add("--run", type=directory, metavar="DIR", help="keep finished parts in DIR")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--resume", action="store_true", help="go on with the sweep in DIR")
    what.add_argument("--overwrite", action="store_true", help="delete the sweep in DIR first")


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
    """All runs on the first process, None on the others."""
    from tqdm import tqdm

    from gd_torch.descent.distributed import (
        broadcast_from_rank0,
        chunk_ranges,
        concatenate,
        descend_chunks,
    )

    every = chunk_ranges(len(rates), arguments.part)
    with _kept(arguments, starts, data_sha256) as kept:
        found = {part: kept.read(part, starts) for part in every} if kept else {}
        ends = {part: runs for part, runs in found.items() if runs is not None}
        todo = broadcast_from_rank0([part for part in every if part not in ends])
        silent = True if arguments.quiet else None
        before = done = len(rates) - sum(len(part) for part in todo)
        with tqdm(total=len(rates), initial=before, unit="run", leave=False, disable=silent) as bar:
            made = descend_chunks(
                objective,
                starts,
                rates,
                todo,
                steps=arguments.steps,
                tolerance=arguments.tolerance,
                callback=lambda finished: bar.update(max(0, done + finished - bar.n)),
            )
            for part, runs in made:
                ends[part] = runs
                if kept:
                    kept.write(part, runs)
                done += len(part)
                bar.update(max(0, done - bar.n))
    return concatenate([ends[part] for part in every]) if torchrun.rank() == 0 else None


@contextmanager
def _kept(
    arguments: argparse.Namespace, starts: Weights, data_sha256: str
) -> Iterator[Finished | None]:
    """The directory of --run, on the first process; its refusals are one line."""
    if arguments.run is None or torchrun.rank():
        yield None
        return
    import torch

    from gd_torch.storage.atomic_files import Damaged
    from gd_torch.storage.run_directory import Busy, Occupied
    from gd_torch.storage.sweep_directory import Finished

    settings: dict[str, Any] = {name: getattr(arguments, name) for name in OPTIONS}
    settings |= {"device": str(starts[0].device), "data": data_sha256, "torch": torch.__version__}
    try:
        kept = Finished(
            arguments.run, settings, resume=arguments.resume, overwrite=arguments.overwrite
        )
        try:
            yield kept
        finally:
            kept.close()
    except (Busy, Occupied, Damaged) as error:
        raise UsageError(str(error)) from None
