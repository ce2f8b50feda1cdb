"""train.py --run as a user types it; what needs many processes is in test_faults.py."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT

from gd_torch.cli import main, train
from gd_torch.cli.parser import UsageError
from gd_torch.cli.run_options import check_settings
from gd_torch.storage.atomic_files import dump_checksummed

SHORT = ("--steps", "150", "--record-every", "50")


@pytest.fixture
def begun(script, tmp_path):
    """A finished run of 150 steps in the directory "first"."""
    done = script("train.py", "--run", "first", *SHORT, "--seed", "3", "--export", "w.pt")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("run       first\n")
    return tmp_path / "first"


def contents(directory):
    """Every file, byte for byte."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name not in ("lock", "lock.pid")
    }


def test_more_steps_extend_a_finished_run(script, begun, tmp_path):
    """The same files and the same report as of a run in one go; the weights are exported."""
    lines = (begun / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 100, 150]
    more = script("train.py", "--run", "first", "--resume", "--steps", "230", "--json", "a.json")
    once = script(
        "train.py", "--run", "once", *SHORT, "--seed", "3", "--steps", "230", "--json", "b.json"
    )
    assert more.returncode == once.returncode == 0
    assert contents(begun) == contents(tmp_path / "once")
    assert more.stdout == once.stdout.replace("once", "first")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    weights = torch.load(tmp_path / "w.pt", weights_only=True)
    assert {name: tuple(W.shape) for name, W in weights.items()} == {"W1": (4, 4), "W2": (4, 3)}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--hidden", "3"], "--hidden is 4 in first, got 3"),
        (["--learning-rate", "2"], "--learning-rate is 4.0 in first, got 2.0"),
        (["--seed", "0"], "--seed is 3 in first, got 0"),
        (["--no-standardise"], "--standardise is True in first, got False"),
        (["--dtype", "float32"], "--dtype is float64 in first, got float32"),
        (["--stepper", "compiled"], "--stepper is eager in first, got compiled"),
        (["--record-every", "10"], "--record-every is 50 in first, got 10"),
        (["--steps", "149"], "--steps 149: first has made 150 steps already"),
        (["--data", "d.csv", "--target", "kind"], "--target is None in first, got kind"),
        (["--target", "auto"], "--target is None in first, got auto"),
        (["--overwrite"], "not allowed with argument"),
    ],
)
def test_settings_that_differ_are_refused(more, words, script, begun):
    """They are named, in one line, with status 2; the run is unchanged."""
    before = contents(begun)
    done = script("train.py", "--run", "first", "--resume", *more)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and contents(begun) == before


def test_a_changed_file_of_data_is_refused(script, tmp_path):
    """One number of the CSV file is another: not the same run. The same numbers are."""
    rows = ["u,v,kind", *(f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(20))]
    (tmp_path / "d.csv").write_text("\n".join(rows))
    begin = script("train.py", "--run", "r", "--data", "d.csv", "--target", "kind", "--steps", "5")
    assert begin.returncode == 0
    (tmp_path / "d.csv").write_text("\n".join([*rows, ""]))
    assert script("train.py", "--run", "r", "--resume").returncode == 0
    (tmp_path / "d.csv").write_text("\n".join([*rows[:-1], "5.5,1,b"]))
    done = script("train.py", "--run", "r", "--resume")
    assert done.returncode == 2 and "r was started with different data than d.csv" in done.stderr


def test_other_names_or_scaled_numbers_are_other_data(script, tmp_path):
    """Standardising makes twice the numbers the same; they are not what the run began with."""
    rows = [f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(20)]
    doubled = [f"{2 * (i % 7)},{2 * (i % 3)},{'ab'[i % 2]}" for i in range(20)]
    table = tmp_path / "d.csv"
    table.write_text("\n".join(["u,v,kind", *rows]))
    line = ("train.py", "--run", "r", "--data", "d.csv", "--target", "kind", "--steps", "5")
    assert script(*line).returncode == 0
    for other in (["u,v,kind", *doubled], ["u,w,kind", *rows]):
        table.write_text("\n".join(other))
        done = script("train.py", "--run", "r", "--resume")
        assert (
            done.returncode == 2 and "r was started with different data than d.csv" in done.stderr
        )


def test_the_number_of_threads_changes_no_bit_of_tall_data(tmp_path):
    """One feature and 60 000 rows: the mean of a column was cut where threads cut it."""
    drawn = torch.Generator().manual_seed(0)
    numbers = torch.randn(60_000, generator=drawn, dtype=torch.float64).tolist()
    rows = (f"{number!r},{'ab'[i % 2]}" for i, number in enumerate(numbers))
    (tmp_path / "d.csv").write_text("\n".join(["u,kind", *rows]))
    line = ["--data", str(tmp_path / "d.csv"), "--target", "kind"]
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(train.load(train.build_parser("train.py").parse_args(line)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    (one, read), (two, again) = found
    assert torch.equal(one.X, two.X) and read == again


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("threads", value) for value in (-1, 0, "x", None, True, 2**40)),
        *(("hidden", value) for value in ("x", "4", -3, 0, 10**30, 4.0, None)),
        *(("stepper", value) for value in ("foo", "auto", None)),
        *(("dtype", value) for value in ("load", "float16", ["float64"])),
        *(("device", value) for value in ("garbage", "auto", 5)),
        *(("seed", value) for value in (-1, 2**70, False)),
        *(("learning_rate", value) for value in ("x", -1.0, 4, [4.0])),
        *(("standardise", value) for value in ("no", 1, None)),
        *(("record_every", value) for value in (0, "x")),
        ("tolerance", None),
        ("data", 5),
        ("target", ["kind"]),
        ("torch", 2),
        ("more", 1),
    ],
)
def test_stored_settings_are_what_the_command_line_could_give(name, value):
    """Anything else is refused by name, though its checksum fits."""
    stored = {
        "hidden": 4, "learning_rate": 4.0, "tolerance": 0.0, "seed": 0, "data": None,
        "target": None, "standardise": True, "device": "cpu", "dtype": "float64",
        "stepper": "eager", "record_every": 100, "data_sha256": "", "threads": 1, "torch": "2",
    }  # fmt: skip
    check_settings(dict(stored))
    with pytest.raises(UsageError, match=name.replace("_", ".") if name != "more" else "not"):
        check_settings(stored | {name: value})


def test_crafted_settings_are_one_line(script, begun):
    """With a valid checksum; the file is named, and no control character is printed."""
    path = begun / "settings.json"
    settings = json.loads(path.read_bytes())["settings"]
    for change in ({"hidden": "\x1b[31m\n"}, {"torch": "1.0\n2\x1b[31m"}):
        fields = {"format": "gd_torch settings", "version": 1, "settings": settings | change}
        path.write_bytes(dump_checksummed(fields))
        done = script("train.py", "--run", "first", "--resume")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr
        assert "first" in done.stderr and "settings.json" in done.stderr


def test_fused_steps_of_an_earlier_version_are_not_resumed(script, begun):
    """They were other code: the message says so, and what to do; the option is a synonym."""
    path = begun / "settings.json"
    settings = json.loads(path.read_bytes())["settings"] | {"stepper": "fused"}
    path.write_bytes(
        dump_checksummed({"format": "gd_torch settings", "version": 1, "settings": settings})
    )
    done = script("train.py", "--run", "first", "--resume")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "stepper cannot be 'fused'" in done.stderr and "--overwrite" in done.stderr
    line = ("train.py", "--run", "first", "--overwrite", *SHORT, "--stepper", "fused")
    done = script(*line)
    assert done.returncode == 0 and '"stepper": "compiled"' in path.read_text()
    assert done.stderr == "warning: argument --stepper: fused is called compiled now\n"


def test_a_result_is_not_put_into_the_run(script, begun):
    """It would damage the run."""
    for file in ("first/checkpoint.json", "first/r.json"):
        before = contents(begun)
        done = script("train.py", "--run", "first", "--resume", "--json", file)
        assert done.returncode == 2 and f"the directory of --run: {file}" in done.stderr
        assert contents(begun) == before


def test_a_directory_may_begin_with_a_dash(script, tmp_path):
    """The command that is printed can be typed as it is."""
    line = [
        sys.executable,
        str(ROOT / "scripts" / "train.py"),
        "--run=-first",
        "--stepper",
        "eager",
    ]
    process = subprocess.Popen(
        [*line, "--steps", "200000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    history, until = tmp_path / "-first" / "history.jsonl", time.monotonic() + 60
    while not (history.exists() and history.stat().st_size) and time.monotonic() < until:
        time.sleep(0.01)
    process.terminate()
    told = process.communicate(timeout=60)[1]
    again = shlex.split(told.split("continue with: python ")[1])
    assert again[1:] == ["--run=-first", "--resume"]
    step = json.loads((tmp_path / "-first" / "checkpoint.json").read_text())["step"]
    assert script("train.py", *again[1:], "--steps", str(step)).returncode == 0


SLOW = """
import os, time
fsync = os.fsync
os.fsync = lambda handle: (time.sleep(1), fsync(handle))
"""
"""A slow disk: every fsync takes a second longer."""


@pytest.mark.slow
def test_a_signal_while_a_run_is_overwritten_leaves_the_new_one(script, begun, tmp_path):
    """The old one is deleted by then: the message must not say that nothing was changed."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "sitecustomize.py").write_text(SLOW)
    line = [sys.executable, str(ROOT / "scripts" / "train.py"), "--run", "first", "--overwrite"]
    process = subprocess.Popen(
        [*line, *SHORT], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": "slow"},
    )  # fmt: skip
    until = time.monotonic() + 60
    while not list(begun.glob("*.partial")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "stopped at step 0 of 150, saved; continue with" in told
    assert script("train.py", "--run", "first", "--resume").returncode == 0


def test_a_run_is_deleted_with_overwrite_only(script, begun, tmp_path):
    """A run, or files of another kind, are kept; --overwrite deletes a run alone."""
    before = contents(begun)
    done = script("train.py", "--run", "first", *SHORT)
    assert done.returncode == 2 and "contains a run already" in done.stderr
    assert contents(begun) == before
    assert script("train.py", "--run", "first", *SHORT, "--overwrite").returncode == 0
    assert contents(begun) != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    for more in ([], ["--overwrite"]):
        done = script("train.py", "--run", "mine", *SHORT, *more)
        assert (
            done.returncode == 2
            and "mine: contains thesis.tex, which does not belong to a run" in done.stderr
        )
        assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


def test_a_run_without_a_name_gets_a_fresh_one(script, tmp_path):
    """Today's date and a number, twice."""
    for number in ("001", "002"):
        done = script("train.py", "--steps", "5", "--run")
        assert re.search(rf"run       runs/\d{{4}}-\d\d-\d\d-{number}\n", done.stdout)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_divergence_keeps_the_last_finite_state(script, tmp_path):
    """Status 3 with step and quantity; resuming ends in the same way and changes nothing."""
    line = ("train.py", "--run", "r", "--dtype", "float32", "--learning-rate", "1e40")
    first = script(*line)
    before = contents(tmp_path / "r")
    again = script("train.py", "--run", "r", "--resume")
    assert first.returncode == again.returncode == 3 and first.stdout == again.stdout
    assert "0 steps. It diverged: the next update would make a weight that is not" in first.stdout
    assert contents(tmp_path / "r") == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "--resume needs the directory: --run DIR --resume"),
        (["--run", "--resume"], "--resume needs the directory"),
        (["--overwrite"], "--overwrite needs the directory"),
        (["--run", "none", "--resume"], "none: no run to resume"),
        (["--run", ""], "must name a directory, got ''"),
        (["--run", "a-file"], "must name a directory, got 'a-file'"),
        (["--run", "r", "--record-every", "0"], "--record-every: must be a whole number"),
        (["--run", "r", "--save-every", "-1"], "--save-every: must not be negative"),
        (["--run", "r", "--stepper", "jit"], "--stepper: invalid choice"),
        (["--run", "r", "--export", "none/w.pt"], "--export: no such folder: none"),
        (["--run", "r", "--data", "none.csv", "--target", "kind"], "none.csv: No such file"),
    ],
)
def test_bad_arguments_leave_nothing_behind(arguments, words, script, tmp_path):
    """One line, status 2, no directory."""
    (tmp_path / "a-file").write_text("")
    done = script("train.py", *arguments)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_a_directory_that_cannot_be_made_is_one_line(script):
    """Status 1, as for every write that fails."""
    done = script("train.py", "--steps", "5", "--run", "/proc/none/run")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "/proc/none" in done.stderr


def test_without_a_compiler_a_run_of_compiled_steps_is_not_resumed(script, tmp_path):
    """Eager steps would give other bits; a run started without a compiler is eager throughout."""
    without = {"PATH": "/nonexistent", "CC": ""}
    begin = script("train.py", "--run", "r", *SHORT, "--stepper", "compiled", **without)
    assert begin.returncode == 0 and begin.stderr.count("\n") == 1
    assert begin.stderr.startswith("warning: the objective cannot be compiled")
    assert '"stepper": "eager"' in (tmp_path / "r" / "settings.json").read_text()
    assert script("train.py", "--run", "c", *SHORT, "--stepper", "compiled").returncode == 0
    assert '"stepper": "compiled"' in (tmp_path / "c" / "settings.json").read_text()
    done = script("train.py", "--run", "c", "--resume", "--steps", "300", **without)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "c needs compiled steps, but the objective cannot be compiled: no C" in done.stderr


def test_main_can_be_called_again_in_one_process(tmp_path, monkeypatch):
    """The options are those of the call, and the handlers of signals are restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest", "--seed", "7"])
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    line = ["train", "--run", "first", "--quiet"]
    assert main([*line, "--steps", "5", "--seed", "3", "--json", "a.json"]) == 0
    assert main([*line, "--resume"]) == 0
    assert main([*line, "--resume", "--seed", "0"]) == 2
    assert main([*line, "--resume", "--steps", "9", "--json", "b.json"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    reports = [json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json")]
    assert [report["steps"] for report in reports] == [5, 9]


def test_a_default_that_is_typed_counts_as_given():
    """Only so can it be compared with the value of a stored run."""
    parser = train.build_parser("train.py")
    assert parser.parse_args([]).given == {} and parser.parse_args([]).seed == 0
    arguments = parser.parse_args(["--seed", "0", "--no-standardise", "--steps", "2000"])
    assert arguments.given == {"seed": 0, "standardise": False, "steps": 2000}
