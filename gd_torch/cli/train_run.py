"""What `gd-torch train --run` does: write a run directory, resume from it, stop on a signal."""

from __future__ import annotations

import argparse
import atexit
import functools
import math
import os
import re
import shlex
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gd_torch.cli import output, run_options, torchrun
from gd_torch.cli.parser import Parser, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from gd_torch import Descent
    from gd_torch.storage import RunDirectory
    from gd_torch.typing import Objective, Weights

EAGER_WARNING = r".*\brun eagerly\b"
"""What the library's warnings say when steps are not compiled, or no longer."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

MAX_PRODUCT = 1_000_000
"""Rows times weights above which a step takes so long that signals are checked after each one."""


class State(Enum):
    """What a signal does to a session, and what is said then."""

    STARTING = auto()  # exit at once; nothing has been changed
    CREATING = auto()  # wait: an old run may be deleted and the new one not written yet
    CREATED = auto()  # exit at once: the weights are saved, and a compiler may be running
    TRAINING = auto()  # stop at the next callback, which saves


@contextmanager
def open_session(arguments: argparse.Namespace, parser: Parser) -> Iterator[TrainingSession | None]:
    """The session of --run, None without it; the library's refusals become usage errors."""
    option = "--resume" if arguments.resume else "--overwrite" if arguments.overwrite else ""
    if option and (arguments.run is None or arguments.run is run_options.UNNAMED):
        raise UsageError(f"{option} needs the directory: --run DIR {option}")
    if arguments.run is None:
        yield None
        return
    if torchrun.launched():
        raise UsageError("--run is for a single process; leave it out under torchrun")
    from gd_torch.storage import CorruptFileError, DirectoryInUseError, RunLockedError

    session = TrainingSession(arguments, parser)
    try:
        if arguments.resume:
            session.open()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", EAGER_WARNING, RuntimeWarning)
            yield session
    except (RunLockedError, DirectoryInUseError, CorruptFileError) as error:
        raise UsageError(str(error)) from None
    except RuntimeWarning as error:
        reason = re.sub(r"[,;] [^,;:]*\brun eagerly", "", str(error))
        raise UsageError(f"{arguments.run} needs compiled steps, but {reason}") from None
    finally:
        session.close()


class TrainingSession:
    """Saves a run while it trains, and stops it on SIGINT and SIGTERM."""

    def __init__(self, arguments: argparse.Namespace, parser: Parser) -> None:
        directory = arguments.run
        exists = directory is not run_options.UNNAMED and any(
            os.path.lexists(directory / f"checkpoint.{suffix}") for suffix in ("json", "raw")
        )
        if arguments.resume and not exists:
            raise UsageError(f"{directory}: no run to resume; leave out --resume to start one")
        if exists and not (arguments.resume or arguments.overwrite):
            raise UsageError(f"{directory}: contains a run already; use --resume or --overwrite")
        self.arguments, self.parser = arguments, parser
        self.state = State.STARTING
        self.signal = 0
        self.step = self.saved_step = 0
        self.saved_at = time.monotonic()
        self.callback_every = 1
        self.data_sha256 = ""
        self._run: RunDirectory | None = None
        self._settings: dict[str, Any] = {}
        main_thread = threading.current_thread() is threading.main_thread()
        self._previous_handlers = {  # other threads cannot handle signals
            number: signal.signal(number, self._on_signal) for number in SIGNALS if main_thread
        }

    @property
    def run(self) -> RunDirectory:
        """The open run directory."""
        assert self._run is not None
        return self._run

    def open(self) -> None:
        """Lock the directory, and take from its settings what the command line leaves open."""
        import torch

        from gd_torch.storage import RunDirectory

        directory, given = self.arguments.run, self.arguments.given
        self._run = RunDirectory(directory)
        self._settings = self.run.settings()
        try:
            run_options.check_settings(self._settings)
        except UsageError as error:
            raise UsageError(f"{directory / 'settings.json'}: {error}") from None
        run_options.compare_settings(self._settings, given, directory)
        options = {name: self._settings[name] for name in run_options.OPTIONS}
        options["data"] = given.get("data") or (options["data"] and Path(options["data"]))
        vars(self.arguments).update(options)
        torch.set_num_threads(self._settings["threads"])  # the order of sums depends on it

    def begin(self, X: Tensor, objective: Objective, start: Weights) -> Weights:
        """Create the run, or read its checkpoint; returns the weights to continue from."""
        facts = run_options.collect_facts(self.data_sha256)
        large = len(X) * sum(w.numel() for w in start) > MAX_PRODUCT
        self.callback_every = 1 if large else math.gcd(self.arguments.record_every, 100)
        if self._run is not None:
            start = self._resume(facts, start)
        else:
            self._create(facts, X, objective, start)
        self.state = State.CREATED
        if self.signal:
            self._exit_at_once()
        return start

    def _create(
        self, facts: dict[str, Any], X: Tensor, objective: Objective, start: Weights
    ) -> None:
        from gd_torch.storage import RunDirectory
        from gd_torch.storage.directories import new_directory

        arguments = self.arguments
        arguments.stepper = run_options.resolve_stepper(
            arguments, objective, start, self.callback_every
        )
        arguments.device = str(X.device)
        settings = {name: getattr(arguments, name) for name in run_options.OPTIONS} | facts
        settings["data"] = settings["data"] and str(settings["data"])
        self.state = State.CREATING
        if arguments.run is run_options.UNNAMED:
            arguments.run = new_directory(run_options.UNNAMED)
        self._run = RunDirectory(arguments.run)
        self.run.create(settings, arguments.steps, start, overwrite=arguments.overwrite)

    def _resume(self, facts: dict[str, Any], start: Weights) -> Weights:
        directory, steps = self.arguments.run, self.arguments.given.get("steps")
        if facts["data_sha256"] != self._settings["data_sha256"]:
            data = self.arguments.data or "the built-in iris"
            raise UsageError(f"{directory} was started with different data than {data}")
        checkpoint = self.run.resume(start)
        if facts["torch"] != self._settings["torch"]:
            started = self._settings["torch"]
            self._say(f"{directory} was started with torch {started}: bits may differ")
        if steps is not None and steps < checkpoint.step:
            raise UsageError(
                f"--steps {steps}: {directory} has made {checkpoint.step} steps already"
            )
        self.step = self.saved_step = checkpoint.step
        self.arguments.steps = checkpoint.steps if steps is None else steps
        if self.arguments.steps != checkpoint.steps:
            self.run.save(checkpoint.step, checkpoint.weights, self.arguments.steps)
        return checkpoint.weights

    def on_step(self, step: int, loss: float, weights: Weights) -> bool:
        """The callback: record at fixed steps, save at intervals; returns whether to continue."""
        self.state, self.step = State.TRAINING, step
        if step % self.arguments.record_every == 0:
            self.run.append({"step": step, "loss": loss})
        if time.monotonic() - self.saved_at >= self.arguments.save_every:
            self._save(weights)
        return not self.signal

    def finish(self, result: Descent) -> int:
        """Save the last weights; returns the exit status if a signal stopped the run, else 0."""
        self.state, self.step = State.TRAINING, result.steps
        if self.step != self.saved_step:
            self._save(result.weights)
        return self.report_stop() if result.stop.name == "CALLBACK" else 0

    def report_stop(self) -> int:
        """Print where a signal stopped the run and how to continue; returns the exit status."""
        directory = self.arguments.run
        if self.state is State.STARTING:
            self._say("stopped before the first step; nothing was changed")
        else:
            gap = "=" if str(directory).startswith("-") else " "
            command = f"{self.parser.command} --run{gap}{shlex.quote(str(directory))} --resume"
            done = f"stopped at step {self.saved_step} of {self.arguments.steps}, saved"
            self._say(f"{done}; continue with: {command}")
        return 128 + self.signal

    def close(self) -> None:
        """Release the directory and restore the signal handlers."""
        if self._run is not None:
            self._run.close()
        if self._previous_handlers:
            ignore_signals_at_exit()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _save(self, weights: Weights) -> None:
        self.run.save(self.step, weights)
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def _on_signal(self, number: int, _frame: object) -> None:
        """Note the first signal, and exit where nothing must be saved; a second one kills."""
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self.signal = number
        if self.state in (State.STARTING, State.CREATED):
            self._exit_at_once()

    def _exit_at_once(self) -> None:
        """Print the message and end the process.

        ``os._exit``, because an exception is not reliable here: torch may be in the middle of its
        import, which replaces or swallows exceptions (3 of 50 signals were lost so), and a
        compiler may be running, which would have to be waited for. Nothing must be saved, and the
        kernel releases the lock.
        """
        os._exit(self.report_stop())

    def _say(self, line: str) -> None:
        output.print_status(f"{self.parser.prog}: {line}")


@functools.cache
def ignore_signals_at_exit() -> None:
    """Keep the exit status of this process, once it is exiting, from a signal."""
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in SIGNALS])
