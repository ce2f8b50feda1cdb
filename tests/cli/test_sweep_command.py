"""gd-torch sweep: results, files and argument errors."""

import json

import pytest
import torch

from gd_torch import curve, descend, init_weights, load_iris, network_mse
from gd_torch.data.dataset import standardise


def test_every_run_equals_a_single_descent(command, tmp_path):
    """Every rate with every seed gives the loss of a single descent; the table has the medians."""
    options = ["--rates", "0.5", "2", "--seeds", "4", "--steps", "40"]
    status, out, err = command("sweep", *options, "--json", "s.json", "--figure", "s.svg")
    assert (status, err) == (0, "")
    result = json.loads((tmp_path / "s.json").read_text())
    X, Y, _ = load_iris()
    mse = network_mse(standardise(X), Y)
    for rate, losses in zip((0.5, 2.0), result["mse"], strict=True):
        for seed, loss in enumerate(losses):
            alone = descend(mse, init_weights((4, 2, 3), seed=seed), learning_rate=rate, steps=40)
            assert loss == pytest.approx(alone.losses[-1].item(), rel=1e-12)
    medians = torch.tensor(result["mse"]).double().quantile(0.5, dim=1)
    for entry, median in zip(result["rates"], medians, strict=True):
        assert entry["mse_median"] == pytest.approx(median.item(), rel=1e-6)
        assert f"{entry['mse_median']:.4f}" in out
    assert "</svg>" in (tmp_path / "s.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rates", "0"], "--rates: must be positive, got '0'"),
        (["--rates", "0.1", "nan"], "--rates: must be a finite number"),
        (["--seeds", "0"], "--seeds: must be a whole number of at least 1"),
        (["--figure", "luck.bmp"], "--figure: must end in .svg, .png, .pdf"),
        (["--part", "0"], "--part: must be a whole number of at least 1"),
        (["--objective", "curve", "--starts", "0", "1", "x"], "--starts: must be a whole number"),
        (["--objective", "curve", "--starts", "1", "0", "5"], "--starts: LOW must be below HIGH"),
        (["--objective", "curve", "--starts", "nan", "0", "5"], "--starts: must be a finite"),
        (["--objective", "curve", "--rates", "1", "--figure", "a.svg"], "needs two starts"),
        (["--data", "x.csv"], "--data FILE and --target COLUMN go together"),
    ],
)
def test_a_bad_argument_is_one_line_and_status_2(command, tmp_path, arguments, words):
    """The message holds the rule and the argument; nothing is printed or written."""
    status, out, err = command("sweep", *arguments, "--json", "s.json")
    assert (status, out) == (2, "")
    assert words in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_curve_from_many_starts(command, tmp_path):
    """Shares and steps equal those of single descents; the figure is written."""
    options = ["--objective", "curve", "--starts", "-2", "2", "9", "--rates", "0.1", "0.5", "2"]
    options += ["--steps", "200", "--json", "c.json", "--figure", "c.png"]
    status, _, err = command("sweep", *options)
    assert (status, err) == (0, "")
    result = json.loads((tmp_path / "c.json").read_text())
    for entry, steps in zip(result["rates"], result["steps"], strict=True):
        alone = [
            descend(curve, w, learning_rate=entry["learning_rate"], steps=200, tolerance=1e-8)
            for w in torch.linspace(-2, 2, 9, dtype=torch.float64)
        ]
        assert steps == [run.steps for run in alone]
        assert entry["converged"] == sum(run.converged for run in alone) / 9
        assert entry["diverged"] == sum(run.stop.diverged for run in alone) / 9
        assert entry["converged"] + entry["unfinished"] + entry["diverged"] == pytest.approx(1)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
