"""Runs and figures on a system without the names that only POSIX has, as Windows."""

import subprocess
import sys

from conftest import ROOT

WITHOUT_POSIX = f"""
import os, signal, sys, warnings
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})

sys.modules["fcntl"] = None
for name in ("fchmod", "getuid", "pread", "pwrite"):
    delattr(os, name)
for name in ("NOFOLLOW", "CLOEXEC", "DIRECTORY", "NONBLOCK"):
    delattr(os, f"O_{{name}}")
del signal.SIGHUP
warnings.filterwarnings("ignore", "only soft file lock is available")

from gd_torch import curve, descend, plots
from gd_torch.cli import main
from gd_torch.storage import RunDirectory
from filelock import FileLock, SoftFileLock

assert FileLock is SoftFileLock
short = ["--record-every", "10", "--quiet"]
assert main(["train", "--run", "first", "--steps", "20", "--json", "a.json", *short]) == 0
with RunDirectory(Path("first")):
    assert main(["train", "--run", "first", "--resume"]) == 2  # locked
assert main(["train", "--run", "first", "--resume", "--steps", "40"]) == 0
assert main(["train", "--run", "once", "--steps", "40", *short]) == 0
run = descend(curve, 1.9, learning_rate=0.1, steps=1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    descend(curve, 1.9, learning_rate=0.1, steps=200, stepper="compiled")
assert ["POSIX system" in str(warning.message) for warning in caught] == [True], caught
plots.save(plots.tangent(curve, run, (-1, 2)), "figure.svg")
print(os.getpid())
"""


def test_nothing_but_posix_names_is_missing(tmp_path):
    """Train, resume to the same bits, be refused while another holds the lock, save a figure."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    process = done.stdout.split()[-1]
    assert done.stderr == (f"gd-torch train: error: first: process {process} is running in it\n")
    for name in ("history.jsonl", "checkpoint.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    assert (tmp_path / "figure.svg").read_bytes().endswith(b"</svg>\n")
    assert not list(tmp_path.rglob("*.partial"))
