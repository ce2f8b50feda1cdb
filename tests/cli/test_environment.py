"""Scripts in unusual environments: closed or full streams, no home directory, terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import time

import pytest
from conftest import ROOT

TRAIN = f"{sys.executable} {ROOT / 'scripts' / 'train.py'} --steps 1 --json r.json"


def shell(command, folder, **environment):
    return subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def on_terminal(*arguments, until=None, **environment):
    """Run a script with stderr on a terminal of 80 columns; return (status, shown text).

    With ``until`` stdout is on the terminal as well, and the process is killed once that text is
    shown.
    """
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / arguments[0]), *arguments[1:]],
        stdin=subprocess.DEVNULL,
        stdout=terminal if until else subprocess.DEVNULL,
        stderr=terminal,
        env={**os.environ, **environment},
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(reader, 1 << 16):
            shown += piece
            if until and until in shown:
                process.kill()
    except OSError:  # the other side was closed
        pass
    os.close(reader)
    return process.wait(timeout=120), shown.decode()


def test_closed_streams(tmp_path):
    """With stdin, stdout and stderr closed the results are written."""
    assert shell(f"{TRAIN} <&- >&- 2>&-", tmp_path).returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["steps"] == 1


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Messages for a closed stderr are not written to the lock file of the run."""
    line = f"exec {TRAIN} --steps 200000 --run first --stepper eager <&- 2>&-"
    process = subprocess.Popen(line, shell=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
    checkpoint, until = tmp_path / "first" / "checkpoint.json", time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert (tmp_path / "first" / "lock").read_bytes() == b""
    assert (tmp_path / "first" / "lock.pid").read_text() == f"{process.pid}\n"


@pytest.mark.parametrize("stderr", ["/dev/full", "closed pipe"])
def test_the_status_of_a_signal_does_not_depend_on_stderr(stderr, tmp_path):
    """The run is saved and the status is 143 if stderr is full or its reader is gone."""
    reader, full = os.pipe()
    os.close(reader)
    if stderr == "/dev/full":
        full = os.open(stderr, os.O_WRONLY)
    line = f"exec {TRAIN} --steps 200000 --run first --stepper eager"
    process = subprocess.Popen(line, shell=True, cwd=tmp_path, stdout=full, stderr=full)
    os.close(full)
    history, until = tmp_path / "first" / "history.jsonl", time.monotonic() + 60
    while not (history.exists() and history.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=60) == 143


def test_a_pipe_closed_by_its_reader_loses_no_file(tmp_path):
    """With `| head -1` the JSON is complete, also with unbuffered output."""
    done = shell(f"{TRAIN} | head -1", tmp_path, PYTHONUNBUFFERED="1")
    assert done.stdout.startswith("data ") and done.stderr == ""
    assert json.loads((tmp_path / "r.json").read_text())["steps"] == 1


@pytest.mark.parametrize("arguments", ["train.py --steps 1", "make_figures.py --list"])
def test_a_full_disk_under_stdout(tmp_path, arguments):
    """One line on stderr and status 1; the interpreter adds no message at exit."""
    done = shell(f"{sys.executable} {ROOT / 'scripts'}/{arguments} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"{arguments.split()[0]}: error: No space left on device\n"


def test_a_full_disk_under_stdout_loses_no_file(tmp_path):
    """If the report cannot be printed the files are written nevertheless."""
    done = shell(f"{TRAIN} --export w.pt > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, "train.py: error: No space left on device\n")
    assert sorted(os.listdir(tmp_path)) == ["r.json", "w.pt"]


def test_a_result_that_cannot_be_written_is_named(tmp_path):
    """The message names the file, and no incomplete file is left."""
    done = shell(f"ulimit -f 0; {TRAIN}", tmp_path)
    assert done.returncode == 1 and os.listdir(tmp_path) == []
    assert done.stderr == f"train.py: error: {tmp_path}/r.json: File too large\n"


def test_a_result_may_be_a_link_or_have_a_long_name(tmp_path):
    """The target of a link is written; a name of 255 bytes is accepted."""
    (tmp_path / "there.json").write_text("old")
    (tmp_path / "r.json").symlink_to("there.json")
    assert shell(TRAIN, tmp_path).returncode == 0
    assert (tmp_path / "r.json").is_symlink()
    assert json.loads((tmp_path / "there.json").read_text())["steps"] == 1
    name = "n" * 255
    assert shell(f"{TRAIN} --export {name}", tmp_path).returncode == 0
    assert (tmp_path / name).stat().st_size > 0


def test_a_deleted_working_directory(tmp_path):
    """One line and status 1; without the check the import of torch would abort the process."""
    done = shell(f"mkdir gone && cd gone && rmdir ../gone && {TRAIN}", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "train.py: error: the working directory: No such file or directory\n"


def test_characters_that_cannot_be_encoded_and_no_home_directory(script, tmp_path):
    """Characters are escaped; matplotlib logs nothing about its cache."""
    (tmp_path / "d.csv").write_text("größe,kind\n1,café\n2,日\n3,café\n", encoding="utf-8")
    surroundings = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "HOME": "/dev/null"}
    data = ["--data", "d.csv", "--target", "kind", "--steps", "1"]
    done = script("train.py", *data, **surroundings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\\xe9" in done.stdout and "\\u65e5" in done.stdout
    figure = ["--seeds", "2", "--rates", "1", "--figure", "f.svg"]
    done = script("sweep.py", *data, *figure, **surroundings)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["d.csv", "f.svg"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("train.py", "--steps", "300"),
        ("sweep.py", "--seeds", "2", "--steps", "5"),
        pytest.param(("make_figures.py", "--only", "02", "--out"), marks=pytest.mark.slow),
    ],
    ids=lambda arguments: arguments[0],
)
def test_progress_on_a_terminal(arguments, tmp_path):
    """A progress bar is shown on stderr, and none with --quiet."""
    arguments += (str(tmp_path),) if arguments[-1] == "--out" else ()
    status, shown = on_terminal(*arguments)
    assert status == 0 and "%|" in shown
    assert on_terminal(*arguments, "--quiet") == (0, "")


@pytest.mark.parametrize(("wish", "coloured"), [("1", False), ("", True)])
def test_colours_on_a_terminal(wish, coloured):
    """The report is coloured unless NO_COLOR is set; the progress bar is shown."""
    _, shown = on_terminal("reproduce.py", "--quick", until=b"training:", NO_COLOR=wish)
    assert "1. One weight" in shown and "training:" in shown
    assert ("\x1b[1m" in shown) == coloured
