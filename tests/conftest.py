"""What the tests share: devices, dtypes and a way to run a script as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch

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
def script(tmp_path: Path) -> Script:
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
