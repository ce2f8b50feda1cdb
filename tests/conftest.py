"""What the tests share: devices, dtypes and a way to run a script as a user does."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch

from gd_torch.cli.app import run as run_command

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background by a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or every child would ignore it too

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[NO_CUDA, pytest.mark.cuda])])
def device(request: pytest.FixtureRequest) -> str:
    """Every device that a descent runs on."""
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Both precisions that are promised."""
    return request.param


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on what an earlier one drew from torch's generator."""
    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is allowed for a missing GPU only; any other one fails."""
    report = yield
    if report.skipped and os.environ.get("CI") and "no CUDA device" not in str(report.longrepr):
        report.outcome = "failed"
    return report


Script = Callable[..., subprocess.CompletedProcess[str]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run ``gd-torch ARGUMENTS`` in this process, in an empty working directory.

    Returns the exit status, stdout and stderr. This is faster than a process, which imports torch.
    """
    from gd_torch.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def process(tmp_path: Path) -> Script:
    """Run ``scripts/NAME`` as a real process in an empty working directory."""

    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "scripts" / name), *arguments],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


COMMANDS = {
    "train.py": "train",
    "sweep.py": "sweep",
    "reproduce.py": "reproduce",
    "make_figures.py": "figures",
    "check_partials.py": "check",
}
"""The subcommand of each script."""


@pytest.fixture
def script(tmp_path: Path, process: Script) -> Script:
    """Run what ``scripts/NAME`` runs in an empty working directory.

    It runs in this process, which spares the import of torch, unless environment variables are
    given.
    """

    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        if environment:
            return process(name, *arguments, **environment)
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(tmp_path),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("default")
            status = run_command(COMMANDS[name], arguments, str(ROOT / "scripts" / name))
        return subprocess.CompletedProcess(name, status, out.getvalue(), err.getvalue())

    return run
