"""scripts/train.py as a user runs it."""

import json
import re

import pytest
import torch

from gd_torch import init_weights, load_iris, network_mse, predict
from gd_torch.data.dataset import standardise
from gd_torch.objectives.network import accuracy


def test_the_first_run_succeeds(script, tmp_path):
    """With no argument: accuracy of at least 0.95, and a report that says what was done."""
    done = script("train.py", "--json", "result.json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["accuracy"] >= 0.95 and result["steps"] == 2000
    assert (result["seed"], result["stop"]) == (0, "STEPS")
    for words in ("setosa", "W1 (4 x 4)", "W2 (4 x 3)", "seed 0", f"{result['mse']:.6f}"):
        assert words in done.stdout


def test_the_json_weights_give_the_json_figures(script, tmp_path):
    """Another reader of the file computes the same MSE and accuracy."""
    script("train.py", "--steps", "50", "--hidden", "2", "--seed", "3", "--json", "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    W1, W2 = (torch.tensor(result["weights"][name], dtype=torch.float64) for name in ("W1", "W2"))
    X, Y, _ = load_iris()
    X = standardise(X)
    assert network_mse(X, Y)(W1, W2).item() == pytest.approx(result["mse"], rel=1e-14)
    assert accuracy(predict(X, W1, W2), Y) == result["accuracy"]
    assert sum(map(sum, result["confusion"])) == 150
    assert W1.shape == (4, 2) and not torch.equal(W1, init_weights((4, 2, 3), seed=3)[0])


def test_the_defaults_succeed_for_nine_of_ten_seeds():
    """In fact for all of the seeds 0 to 9, run side by side with the script's own settings."""
    from gd_torch import descend
    from gd_torch.cli import train

    defaults = train.build_parser("train.py").parse_args([])
    X, Y, _ = load_iris()
    X = standardise(X) if defaults.standardise else X
    start = [init_weights((4, defaults.hidden, 3), seed=seed) for seed in range(10)]
    mse = torch.func.vmap(network_mse(X, Y))
    run = descend(
        lambda W1, W2: mse(W1, W2).sum(),
        tuple(torch.stack(W) for W in zip(*start, strict=True)),
        learning_rate=defaults.learning_rate,
        steps=defaults.steps,
        record="last",
    )
    reached = [accuracy(predict(X, *W), Y) for W in zip(*run.weights, strict=True)]
    assert sum(a >= 0.95 for a in reached) >= 9


def test_a_users_own_csv(script, tmp_path):
    """Any number of classes and features; the tolerance ends the run."""
    rows = [f"{i % 7},{i % 3},{'abcd'[i % 4]}" for i in range(40)]
    (tmp_path / "mine.csv").write_text("\n".join(["u,v,kind", *rows]))
    done = script(
        "train.py", "--data", "mine.csv", "--target", "kind", "--tolerance", "0.05",
        "--hidden", "5", "--json", "result.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["classes"] == ["a", "b", "c", "d"] and result["features"] == ["u", "v"]
    assert result["stop"] == "TOLERANCE" and result["steps"] < 2000
    assert "W1 (2 x 5)" in done.stdout and "W2 (5 x 4)" in done.stdout


def test_divergence_is_told_and_has_its_own_exit_status(script, tmp_path):
    """A rate beyond float32 makes a weight that is not finite: status 3, last finite state kept."""
    done = script(
        "train.py", "--dtype", "float32", "--learning-rate", "1e40", "--json", "result.json"
    )
    assert done.returncode == 3
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["stop"] == "WEIGHT" and result["steps"] == 0
    assert "It diverged" in done.stdout


def test_progress_goes_to_a_terminal_alone(script):
    """No bar without a terminal on stderr."""
    assert script("train.py", "--steps", "300").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "-1"], "--steps: must be a whole number of at least 0, got '-1'"),
        (["--steps", "1e3"], "--steps: must be a whole number .*got '1e3'"),
        (["--steps", "1_0"], "--steps: must be a whole number"),
        (["--learning-rate", "0"], "--learning-rate: must be positive, got '0'"),
        (["--learning-rate", "-1"], "--learning-rate: must be positive, got '-1'"),
        (["--learning-rate", "nan"], "--learning-rate: must be a finite number, got 'nan'"),
        (["--learning-rate", "1_0"], "--learning-rate: must be a finite number, got '1_0'"),
        (["--learning-rate", "inf"], "--learning-rate: must be a finite number"),
        (["--tolerance", "-1"], "--tolerance: must not be negative"),
        (["--hidden", "0"], "--hidden: must be a whole number of at least 1"),
        (["--seed", "-1"], "--seed: must be a whole number of at least 0"),
        (["--dtype", "int8"], "--dtype: invalid choice"),
        (["--device", "tpu"], "--device: must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        (["--device", "cuda:99"], "--device: cuda:99 asked for, but torch sees"),
        (["--json", "none/result.json"], "--json: no such folder: none"),
        (["--json", "."], "--json: must name a file"),
        (["--step", "3"], "unrecognized arguments: --step 3"),
        (["--data", "mine.csv"], "--data FILE and --target COLUMN go together"),
        (["--target", "kind"], "--data FILE and --target COLUMN go together"),
        (["--data", "none.csv", "--target", "kind"], "none.csv: No such file"),
        (["--data", ".", "--target", "kind"], "Is a directory"),
        (["--data", "/dev/zero", "--target", "kind"], "/dev/zero: not a CSV file"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(script, tmp_path, arguments, words):
    """The rule and what arrived, on stderr; nothing is printed or written."""
    done = script("train.py", *arguments, *(["--json", "r.json"] * ("--json" not in arguments)))
    assert done.returncode == 2
    assert re.search(words, done.stderr) and done.stderr.count("\n") == 1
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("a,kind\n1,x\nmany,y\n", "row 3, column 'a': not a finite number: 'many'"),
        ("a,kind\n1,x\n1,y,z\n", "row 3 has 3 cells"),
        ("a,kind\nnan,x\n1,y\n", "row 2, column 'a'"),
        ("a,kind\n1,x\n", "a single class, 'x'"),
        ("a,b\n1,x\n", "no column 'kind'"),
    ],
)
def test_bad_files_are_one_line_and_status_2(script, tmp_path, content, words):
    """A bad cell is named by row and column; nothing is written."""
    (tmp_path / "mine.csv").write_text(content)
    done = script("train.py", "--data", "mine.csv", "--target", "kind", "--json", "r.json")
    assert done.returncode == 2
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hidden", "1000000000000"],
        ["--json", "/dev/full/result.json"],
    ],
)
def test_what_cannot_be_done_is_one_line(script, arguments):
    """Too little memory, a folder that is none: no traceback."""
    done = script("train.py", "--steps", "1", *arguments)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
