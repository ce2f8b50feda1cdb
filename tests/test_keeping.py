"""train.py --run as a user types it; what needs many processes is in test_faults.py."""

import json
import re

import pytest
import torch

SHORT = ("--steps", "150", "--record-every", "50")


@pytest.fixture
def begun(script, tmp_path):
    """A finished run of 150 steps in the directory "first"."""
    done = script("train.py", "--run", "first", *SHORT, "--seed", "3", "--export", "w.pt")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("run       first\n")
    return tmp_path / "first"


def contents(directory):
    """Every file, byte for byte."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


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
        (["--stepper", "fused"], "--stepper is eager in first, got fused"),
        (["--record-every", "10"], "--record-every is 50 in first, got 10"),
        (["--steps", "149"], "--steps 149: first has made 150 steps already"),
        (["--data", "d.csv", "--target", "kind"], "--target is None in first, got kind"),
        (["--overwrite"], "not allowed with argument"),
    ],
)
def test_settings_that_differ_are_refused(more, words, script, begun):
    """They are named, in one line, with status 2; the run is as it was."""
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
    assert done.returncode == 2 and "r: its data were others than d.csv" in done.stderr


def test_nothing_is_overwritten_unasked(script, begun, tmp_path):
    """A run, or files of another kind, are kept; --overwrite deletes a run alone."""
    before = contents(begun)
    done = script("train.py", "--run", "first", *SHORT)
    assert done.returncode == 2 and "holds a run already" in done.stderr
    assert contents(begun) == before
    assert script("train.py", "--run", "first", *SHORT, "--overwrite").returncode == 0
    assert contents(begun) != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    for more in ([], ["--overwrite"]):
        done = script("train.py", "--run", "mine", *SHORT, *more)
        assert done.returncode == 2 and "mine: holds thesis.tex" in done.stderr
        assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


def test_a_run_without_a_name_gets_a_fresh_one(script, tmp_path):
    """Today's date and a number, twice."""
    for number in ("001", "002"):
        done = script("train.py", "--steps", "5", "--run")
        assert re.search(rf"run       runs/\d{{4}}-\d\d-\d\d-{number}\n", done.stdout)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_divergence_keeps_the_last_finite_state(script, tmp_path):
    """Status 3, the step and the quantity named; going on ends the same way and changes nothing."""
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


def test_without_a_compiler_a_run_of_compiled_steps_is_not_taken_up(script, tmp_path):
    """Eager steps would give other bits; a run begun without one is eager from the start."""
    without = {"PATH": "/nonexistent", "CXX": "/nonexistent"}
    begin = script("train.py", "--run", "r", *SHORT, "--stepper", "fused", **without)
    assert begin.returncode == 0 and "cannot be compiled" in begin.stderr
    assert '"stepper": "eager"' in (tmp_path / "r" / "settings.json").read_text()
    assert script("train.py", "--run", "c", *SHORT, "--stepper", "fused").returncode == 0
    assert '"stepper": "fused"' in (tmp_path / "c" / "settings.json").read_text()
    done = script("train.py", "--run", "c", "--resume", **without)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "c: its steps are compiled ones" in done.stderr
