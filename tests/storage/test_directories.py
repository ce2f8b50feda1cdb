"""The rules of directories: which are runs, what --overwrite deletes, which names are new."""

import os
import re
import subprocess
import sys

import pytest
import torch

from gd_torch.storage import (
    CorruptFileError,
    DirectoryInUseError,
    RunDirectory,
    RunLockedError,
    atomic_write,
)
from gd_torch.storage.directories import new_directory

START = (torch.tensor([1.5, -2.0]),)
PARTIAL = ".gd_torch-0123456789abcdef.partial"
"""As a kill in the middle of a write leaves it."""


@pytest.fixture
def created(tmp_path):
    """The directory of a run of no steps."""
    with RunDirectory(tmp_path / "run") as run:
        run.create({"seed": 0}, 20, START)
    return tmp_path / "run"


def contents(directory):
    """The bytes of every file."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_run_consists_of_these_files(created):
    """Settings, history, checkpoint, and two files of the lock."""
    names = ["checkpoint.json", "history.jsonl", "lock", "lock.pid", "settings.json"]
    assert sorted(os.listdir(created)) == names
    assert (created / "lock.pid").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    "names",
    [[], ["lock"], ["lock", "lock.pid"], [PARTIAL], ["lock", "lock.pid", PARTIAL]],
    ids=" ".join,
)
def test_a_run_is_created_where_an_unfinished_start_left_no_settings(names, tmp_path):
    """Lock files and partial files alone are no one's work."""
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with RunDirectory(tmp_path) as run:
        run.create({}, 5, START)
        assert run.resume(START).step == 0
    assert PARTIAL not in os.listdir(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint.json.bak", "Checkpoint.json", "history.jsonl~", ".gd_torch-0.partial",
        "settings.json.partial", "part-0000000-0000005", "directory",
    ],
)  # fmt: skip
def test_one_other_file_protects_the_whole_directory(name, created):
    """Nothing is deleted, not even the run; names must match in full."""
    (created / name).mkdir() if name == "directory" else (created / name).write_text("mine")
    before = sorted(os.listdir(created))
    expected = f"contains {re.escape(name)}, which does not belong to a run"
    with RunDirectory(created) as run, pytest.raises(DirectoryInUseError, match=expected):
        run.create({}, 5, START, overwrite=True)
    assert sorted(os.listdir(created)) == before
    with RunDirectory(created) as run:
        assert run.resume(START).step == 0  # it can still be resumed


def test_overwrite_deletes_the_files_of_the_run_only(created, tmp_path):
    """Files beside the directory stay; a checkpoint of the other format goes."""
    (tmp_path / "checkpoint.json").write_text("mine")
    (created / "checkpoint.raw").write_bytes(b"old")
    (created / "history.jsonl").write_bytes(b"old\n")
    (created / PARTIAL).write_bytes(b"{")
    with RunDirectory(created) as run:
        run.create({"seed": 1}, 5, START, overwrite=True)
    names = ["checkpoint.json", "history.jsonl", "lock", "lock.pid", "settings.json"]
    assert sorted(os.listdir(created)) == names
    assert (created / "history.jsonl").read_bytes() == b""
    assert (tmp_path / "checkpoint.json").read_text() == "mine"


def test_overwrite_deletes_links_not_what_they_lead_to(created, tmp_path):
    """A link with the name of a run's file is deleted itself."""
    (tmp_path / "mine").write_text("mine")
    (created / "history.jsonl").unlink()
    (created / "history.jsonl").symlink_to(tmp_path / "mine")
    with RunDirectory(created) as run:
        with pytest.raises(CorruptFileError, match="symbolic link"):
            run.resume(START)
        run.create({}, 5, START, overwrite=True)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (created / "history.jsonl").is_symlink()


@pytest.mark.parametrize("name", ["lock", "lock.pid"])
@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to(path.parent.parent / "mine"),
        lambda path: path.write_text("mine"),
        lambda path: path.write_bytes(b"7" * 1000),
    ],
    ids=["pipe", "directory", "link", "text", "long"],
)
def test_a_lock_file_of_others_is_refused(make, name, created, tmp_path):
    """It is neither written to nor replaced nor waited for."""
    (tmp_path / "mine").write_text("1")
    (created / name).unlink()
    make(created / name)
    before = (created / name).lstat()
    with pytest.raises(DirectoryInUseError, match=f"contains {name}, which does not belong"):
        RunDirectory(created)
    after = (created / name).lstat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert (tmp_path / "mine").read_text() == "1"


def test_a_lock_of_version_0_1_is_taken_over(created):
    """It has the process id in the lock file itself."""
    (created / "lock").write_text("12345\n")
    (created / "lock.pid").unlink()
    with RunDirectory(created) as run:
        assert run.resume(START).step == 0


def test_the_process_that_is_named_is_the_holder(created):
    """Not an earlier one that was killed; a directory that is closed is free at once."""
    (created / "lock.pid").write_text("12345\n")
    with RunDirectory(created), pytest.raises(RunLockedError) as refusal:
        RunDirectory(created)
    assert str(refusal.value) == f"{created}: process {os.getpid()} is running in it"
    RunDirectory(created).close()


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from gd_torch.storage import atomic_write
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic_write(Path(sys.argv[1]), b"new")
"""


def test_what_a_killed_write_leaves_is_deleted_with_the_next_lock(created):
    """The old file is complete until then, and the run can be resumed."""
    before = contents(created)
    line = [sys.executable, "-c", KILLED_WHILE_WRITING, str(created / "checkpoint.json")]
    assert subprocess.run(line, check=False).returncode == -9
    (partial,) = created.glob("*.partial")
    assert partial.read_bytes() == b"new"
    with RunDirectory(created) as run:
        assert run.resume(START).step == 0
    assert contents(created) == before


def test_many_writers_of_one_file_leave_one_of_their_versions(tmp_path):
    """Each writes to a temporary file of its own."""
    code = (
        "import sys; from pathlib import Path; from gd_torch.storage import atomic_write\n"
        "for _ in range(50): atomic_write(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "file")]
    writers = [subprocess.Popen([*line, letter]) for letter in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert (tmp_path / "file").read_bytes() in [letter * 100_000 for letter in (b"a", b"b", b"c")]
    assert os.listdir(tmp_path) == ["file"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    """The temporary file has a short name of its own."""
    path = tmp_path / ("x" * 255)
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"


def test_new_names_are_counted_up(tmp_path):
    """Today's date and a number; a name that exists, also as a file or link, is skipped."""
    first, second = new_directory(tmp_path / "runs"), new_directory(tmp_path / "runs")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-001", first.name)
    assert second.name == first.name[:-1] + "2" and list(first.iterdir()) == []
    (tmp_path / "runs" / (first.name[:-1] + "3")).write_text("mine")
    (tmp_path / "runs" / (first.name[:-1] + "4")).symlink_to("nowhere")
    assert new_directory(tmp_path / "runs").name == first.name[:-1] + "5"
