"""Tests of every script, and of the report of reproduce."""

import json
import resource
import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_at_once_and_shows_examples(name, process):
    """--help takes less than 0.5 s of processor time, because torch is not imported."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = process(name, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and "examples:" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_take_no_abbreviations(name, process):
    """An abbreviated option is an error in one line, with status 2."""
    done = process(name, "--hel")
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_the_report_agrees_with_the_text(command, tmp_path):
    """With ten seeds every statement agrees, and the JSON holds what is printed."""
    status, out, err = command("reproduce", "--quick", "--json", "report.json")
    assert (status, err) == (0, "")
    report = json.loads((tmp_path / "report.json").read_text())
    checks = [check for section in report["sections"] for check in section["checks"]]
    assert report["agree"] == len(checks) and report["disagree"] == 0
    shown = {check["id"] for check in checks}
    assert shown >= {f"A{i}" for i in range(2, 11)} | {f"B{i}" for i in range(2, 9)}
    assert shown >= {"C1", "C2", "C3", "C4"} | set("1234567")
    for check in checks:
        assert check["what"] in out
        assert f"{check['source']}: {check['expected']}" in out
    said = sum(check["source"] == "text" for check in checks)
    derived = len(checks) - said
    agree = f"{said} of {said} statements of the text agree, and {derived} of {derived} derived"
    assert agree in out and said > derived > 10


@pytest.mark.slow
def test_a_disagreement_is_printed_and_gives_status_1(tmp_path):
    """With another formula for the curve the report disagrees and the exit status is 1."""
    code = (
        "import sys\n"
        "import gd_torch, gd_torch.objectives.tutorial as o\n"
        "gd_torch.curve = lambda w: o.curve(w) + w / 100\n"
        "from gd_torch.cli import main\n"
        "sys.exit(main(['reproduce', '--quick']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "DISAGREES  25.67" in done.stdout and "statements of the text agree" in done.stdout


def test_the_benchmark_names_missing_packages(process, tmp_path):
    """Without JAX the benchmark prints one line, exits with status 2 and writes nothing."""
    (tmp_path / "jax.py").write_text("raise ImportError('not here')")
    done = process("benchmark.py", "--json", "b.json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "the baselines are not installed" in done.stderr and not (tmp_path / "b.json").exists()


def test_a_pipe_closed_by_its_reader_is_not_an_error():
    """`train.py | head -1` prints no error."""
    done = subprocess.run(
        f"{sys.executable} {ROOT / 'scripts' / 'train.py'} --steps 1 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("data ") and done.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_the_help_is_printed(command, arguments):
    """The help names every command; status 0."""
    status, out, err = command(*arguments)
    assert (status, err) == (0, "")
    for name in ("reproduce", "train", "sweep", "figures", "check"):
        assert f"\n  {name} " in out


def test_an_unknown_command_is_one_line(command):
    """Status 2, and the message names the commands."""
    status, out, err = command("nonsense")
    assert (status, out, err.count("\n")) == (2, "", 1) and "'nonsense'" in err and "train" in err
