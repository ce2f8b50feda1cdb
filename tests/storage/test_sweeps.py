"""Sweep directories: finished parts are stored, and a resumed sweep gives the same bits."""

import os
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT

from gd_torch import curve, descend_many
from gd_torch.storage import (
    CorruptFileError,
    DirectoryInUseError,
    RunDirectory,
    RunLockedError,
    SweepDirectory,
)

START = torch.tensor([1.9, 1.0, 1e9], dtype=torch.float64)
RUNS = descend_many(curve, START, 0.1, steps=5)
PART = range(3)
SWEEP = ["sweep.py", "--seeds", "12", "--rates", "1", "3", "--steps", "300", "--part", "5"]


def test_a_part_is_read_to_the_bit(tmp_path):
    """Also of a run that diverged, whose loss is no number."""
    kept = SweepDirectory(tmp_path / "sweep", {"rates": (0.1, 0.2)})
    kept.write(PART, RUNS)
    found = kept.read(PART, (START,))
    for ours, theirs in zip(found.to_tensors(), RUNS.to_tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    assert kept.read(range(3, 6), (START,)) is None
    kept.close()


def test_every_flip_and_every_truncation_of_a_part_is_refused(tmp_path):
    """A bit anywhere in the file, or its end missing."""
    kept = SweepDirectory(tmp_path, {})
    kept.write(PART, RUNS)
    (path,) = tmp_path.glob("part-*")
    whole = path.read_bytes()
    for place in range(len(whole)):
        for wrong in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :],
        ):
            path.write_bytes(wrong)
            with pytest.raises(CorruptFileError):
                kept.read(PART, (START,))
    path.write_bytes(whole)
    assert kept.read(PART, (START,)) is not None
    kept.close()


def test_a_part_of_another_sweep_or_of_other_runs_is_refused(tmp_path):
    """Settings and place are in every file, so that files cannot be mixed up."""
    one, two = (
        SweepDirectory(tmp_path / "one", {"seed": 1}),
        SweepDirectory(tmp_path / "two", {"seed": 2}),
    )
    one.write(PART, RUNS)
    (path,) = (tmp_path / "one").glob("part-*")
    for wrong in (tmp_path / "two" / path.name, tmp_path / "one" / "part-0000003-0000006"):
        wrong.write_bytes(path.read_bytes())
    with pytest.raises(CorruptFileError, match="does not belong to this sweep"):
        two.read(PART, (START,))
    with pytest.raises(CorruptFileError, match="does not belong to this sweep"):
        one.read(range(3, 6), (START,))
    one.close()
    two.close()


def test_what_is_there_is_not_overwritten_unless_asked(tmp_path):
    """Neither a sweep, nor one of other settings, nor anything else."""
    kept = SweepDirectory(tmp_path, {"seed": 1})
    kept.write(PART, RUNS)
    with pytest.raises(RunLockedError, match=str(os.getpid())):
        SweepDirectory(tmp_path, {"seed": 1})
    kept.close()
    with pytest.raises(DirectoryInUseError, match="contains a sweep already"):
        SweepDirectory(tmp_path, {"seed": 1})
    with pytest.raises(DirectoryInUseError, match=r"seed is 1 in .* got 2"):
        SweepDirectory(tmp_path, {"seed": 2}, resume=True)
    SweepDirectory(tmp_path, {"seed": 1}, resume=True).close()
    assert len(list(tmp_path.glob("part-*"))) == 1
    SweepDirectory(tmp_path, {"seed": 2}, overwrite=True).close()
    assert not list(tmp_path.glob("part-*"))
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(DirectoryInUseError, match=r"letter\.txt, which does not belong"):
        SweepDirectory(tmp_path, {"seed": 1}, overwrite=True)


def test_what_others_made_is_left_alone(tmp_path):
    """Files with the names of parts, parts without their settings, a run of another kind."""
    kept = SweepDirectory(tmp_path / "sweep", {"seed": 1})
    kept.write(PART, RUNS)
    kept.close()
    (tmp_path / "sweep" / "settings.json").unlink()
    with RunDirectory(tmp_path / "run") as run:
        run.create({"seed": 1}, 5, (START,))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-1-2").write_text("mine")
    for name in ("sweep", "run", "parts"):
        before = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for how in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises((DirectoryInUseError, CorruptFileError)):
                SweepDirectory(tmp_path / name, {"seed": 1}, **how)
            lock = {"lock.pid": f"{os.getpid()}\n".encode()} if "lock" in before else {}
            after = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
            assert after == before | lock
    SweepDirectory(tmp_path / "begun", {}).close()
    with (
        pytest.raises(DirectoryInUseError, match=r"settings\.json"),
        RunDirectory(tmp_path / "begun") as run,
    ):
        run.create({}, 5, (START,), overwrite=True)


def test_a_sweep_of_many_rates_can_be_resumed(tmp_path):
    """Its settings, and those in every part, may be longer than 64 KiB."""
    settings = {"rates": [0.1 + i / 7 for i in range(5000)]}
    kept = SweepDirectory(tmp_path, settings)
    kept.write(PART, RUNS)
    kept.close()
    assert (tmp_path / "settings.json").stat().st_size > 1 << 16
    again = SweepDirectory(tmp_path, settings, resume=True)
    assert again.read(PART, (START,)) is not None
    again.close()


def test_a_sweep_continues_where_it_stopped(script, tmp_path):
    """Only the missing part is computed, and every number is that of an uninterrupted sweep."""
    assert script(*SWEEP, "--json", "whole.json").returncode == 0
    first = script(*SWEEP, "--run", "kept", "--json", "first.json")
    assert first.returncode == 0, first.stderr
    parts = sorted((tmp_path / "kept").glob("part-*"))
    assert len(parts) == 5
    ages = [part.stat().st_mtime_ns for part in parts]
    parts[2].unlink()
    again = script(*SWEEP, "--run", "kept", "--resume", "--json", "again.json")
    assert again.returncode == 0, again.stderr
    newer = [part.stat().st_mtime_ns > age for part, age in zip(parts, ages, strict=True)]
    assert newer == [False, False, True, False, False]
    texts = {(tmp_path / f"{name}.json").read_text() for name in ("whole", "first", "again")}
    assert len(texts) == 1 and again.stdout == first.stdout
    other = script(*SWEEP, "--hidden", "3", "--run", "kept", "--resume")
    assert other.returncode == 2 and "hidden is 2 in kept, got 3" in other.stderr
    occupied = script(*SWEEP, "--run", "kept")
    assert occupied.returncode == 2 and "contains a sweep already" in occupied.stderr


@pytest.mark.fault
def test_a_sweep_killed_at_any_time_is_resumed_to_the_same_numbers(script, tmp_path):
    """kill -9, four times; finished parts are kept."""
    sweep = [*SWEEP[:-1], "1"]
    assert script(*sweep, "--json", "whole.json").returncode == 0
    command = [sys.executable, str(ROOT / "scripts" / sweep[0]), *sweep[1:], "--run", "kept"]
    for kept in (2, 7, 12, 18):
        resume = ["--resume"] if (tmp_path / "kept" / "settings.json").exists() else []
        process = subprocess.Popen([*command, *resume], cwd=tmp_path, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("kept/part-*"))) < kept and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
    assert script(*sweep, "--run", "kept", "--resume", "--json", "end.json").returncode == 0
    assert (tmp_path / "end.json").read_text() == (tmp_path / "whole.json").read_text()
