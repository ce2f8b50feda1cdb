"""What `train.py --run` does: a run directory that is saved to, and an ending on a signal."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output, torchrun
from gd_torch.cli.parser import Parser, UsageError
from gd_torch.cli.run_options import FRESH, OPTIONS, check_kept, flag, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch import Descent
    from gd_torch.storage.run_directory import Run
    from gd_torch.typing import Objective, Weights

GONE_EAGER = r".*\brun eagerly\b"
"""What the library's warnings say when steps are not compiled ones, or no longer."""

AUTO = {("stepper", "auto"), ("device", "auto")}
"""What may be said of any run."""

LARGE = 1_000_000
"""Rows times weights from which one step takes so long that a signal is looked for after each."""


@contextmanager
def keeping(arguments: argparse.Namespace, parser: Parser) -> Iterator[Keeper | None]:
    """A keeper where --run asks for one; every refusal of the library is one line."""
    asked = "--resume" if arguments.resume else "--overwrite" if arguments.overwrite else ""
    if asked and (arguments.run is None or arguments.run is FRESH):
        raise UsageError(f"{asked} needs the directory: --run DIR {asked}")
    if arguments.run is None:
        yield None
        return
    if torchrun.launched():
        raise UsageError("--run keeps a run of one process; leave it out under torchrun")
    keeper = Keeper(arguments, parser)
    from gd_torch.storage.atomic_files import Damaged
    from gd_torch.storage.run_directory import Busy, Occupied

    try:
        if arguments.resume:
            keeper.open()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", GONE_EAGER, RuntimeWarning)
            yield keeper
    except (Busy, Occupied, Damaged) as error:
        raise UsageError(str(error)) from None
    except RuntimeWarning as error:
        why = re.sub(r"[,;] [^,;:]*\brun eagerly", "", str(error))
        raise UsageError(f"{arguments.run} needs compiled steps, but {why}") from None
    finally:
        keeper.close()


class Keeper:
    """Saves a run while it descends, and ends it on a signal."""

    def __init__(self, arguments: argparse.Namespace, parser: Parser) -> None:
        where = arguments.run
        found = where is not FRESH and any(
            os.path.lexists(where / f"checkpoint.{kind}") for kind in ("json", "raw")
        )
        if arguments.resume and not found:
            raise UsageError(f"{where}: no run to resume; leave out --resume to begin one")
        if found and not (arguments.resume or arguments.overwrite):
            raise UsageError(f"{where}: holds a run already: --resume or --overwrite?")
        self.arguments, self.parser = arguments, parser
        self.run: Run | None = None
        self.kept: dict[str, Any] = {}
        self.data_sha256 = ""
        self.step = self.saved = self.signal = 0
        self.begun, self.leaving = False, True
        self.clock = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def open(self) -> None:
        """Take the directory, and from its settings what the command line left open."""
        import torch

        from gd_torch.storage.run_directory import Run

        where = self.arguments.run
        self.run = Run(where)
        self.kept = self.run.settings()
        try:
            check_kept(self.kept, self.parser)
        except UsageError as error:
            raise UsageError(f"{where / 'settings.json'}: {error}") from None
        self.parser.set_defaults(**dict.fromkeys((*OPTIONS, "steps")))
        given = vars(self.parser.parse_args(self.parser.argv))
        for name, value in self.kept.items():
            said = given.get(name)
            if (name, said) == ("device", "cuda"):
                said = "cuda:0"
            if said is None or name == "data" or (name, said) in AUTO:
                continue
            if said != value:
                raise UsageError(f"{flag(name)} is {value} in {where}, got {said}")
        values = {name: self.kept[name] for name in OPTIONS}
        values["data"] = given["data"] or (values["data"] and Path(values["data"]))
        vars(self.arguments).update(values, steps=given["steps"])
        torch.set_num_threads(self.kept["threads"])  # the order of sums depends on it

    def begin(self, X: Tensor, objective: Objective, start: Weights) -> Weights:
        """Create the run, or read where it stands; the weights to go on from."""
        import torch

        facts = {
            "data_sha256": self.data_sha256,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        rows = len(X) * sum(w.numel() for w in start)
        self.every = 1 if rows > LARGE else math.gcd(self.arguments.record_every, 100)
        if self.run is not None:
            weights = self._take_up(facts, start)
        else:
            self._create(facts, X, objective, start)
            weights = start
        self.begun = self.leaving = True
        if self.signal:
            self._leave()
        return weights

    def _create(
        self, facts: dict[str, Any], X: Tensor, objective: Objective, start: Weights
    ) -> None:
        from gd_torch.storage.run_directory import Run, new_directory

        arguments = self.arguments
        arguments.stepper = resolve(arguments, objective, start, self.every)
        arguments.device = str(X.device)
        settings = {name: getattr(arguments, name) for name in OPTIONS} | facts
        settings["data"] = settings["data"] and str(settings["data"])
        if arguments.run is FRESH:
            arguments.run = new_directory(FRESH)
        self.leaving = False  # a run that is overwritten is gone, the new one not there yet
        self.run = Run(arguments.run)
        self.run.create(settings, arguments.steps, start, overwrite=arguments.overwrite)

    def _take_up(self, facts: dict[str, Any], start: Weights) -> Weights:
        where, asked = self.arguments.run, self.arguments.steps
        if facts["data_sha256"] != self.kept["data_sha256"]:
            raise UsageError(f"{where}: its data were others than {self.arguments.data}")
        state = self._open_run().resume(start)
        if facts["torch"] != self.kept["torch"]:
            self._say(f"{where} was begun with torch {self.kept['torch']}: bits may differ")
        if asked is not None and asked < state.step:
            raise UsageError(f"--steps {asked}: {where} has made {state.step} steps already")
        self.step = self.saved = state.step
        self.arguments.steps = state.steps if asked is None else asked
        if self.arguments.steps != state.steps:
            self._open_run().save(state.step, state.weights, self.arguments.steps)
        return state.weights

    def after(self, step: int, loss: float, weights: Weights) -> bool:
        """The callback: one line at fixed steps, a checkpoint by the clock; whether to go on."""
        self.leaving, self.step = False, step
        if step % self.arguments.record_every == 0:
            self._open_run().append({"step": step, "loss": loss})
        if time.monotonic() - self.clock >= self.arguments.save_every:
            self._save(weights)
        return not self.signal

    def finish(self, run: Descent) -> int:
        """Save the end; the exit status if a signal came before it, else 0."""
        self.leaving, self.step = False, run.steps
        if self.step != self.saved:
            self._save(run.weights)
        if run.stop.name != "CALLBACK":
            return 0
        self._say(self._how_to_go_on())
        return 128 + self.signal

    def close(self) -> None:
        """Let the directory go; what is left is to exit, with the status that is settled."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # Python's own ending would bring back SIGINT's
        if self.run is not None:
            self.run.close()

    def _open_run(self) -> Run:
        assert self.run is not None
        return self.run

    def _save(self, weights: Weights) -> None:
        self._open_run().save(self.step, weights)
        self.saved, self.clock = self.step, time.monotonic()

    def _on_signal(self, number: int, _frame: object) -> None:
        """The first signal: stop at the next callback. The second finds the default, which kills.

        Before the first callback there is nothing to save, and a compiler may be at work.
        """
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        self.signal = number
        if self.leaving:
            self._leave()

    def _leave(self) -> None:
        """At once: a compiler may be at work, and nothing is left to save."""
        self._say(self._how_to_go_on())
        os._exit(128 + self.signal)

    def _how_to_go_on(self) -> str:
        where = self.arguments.run
        if not self.begun:
            return "stopped before the run began; nothing was changed"
        gap = "=" if str(where).startswith("-") else " "
        again = f"{self.parser.command} --run{gap}{shlex.quote(str(where))} --resume"
        return f"stopped at step {self.saved} of {self.arguments.steps}, saved; go on with: {again}"

    def _say(self, line: str) -> None:
        output.print_status(f"{self.parser.prog}: {line}")
