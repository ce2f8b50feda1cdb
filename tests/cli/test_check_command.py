"""scripts/check_partials.py: status, messages and files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_partials.py"


def run(*args):
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tutorial():
    """Without an argument every derivation of the tutorial is checked and is ok."""
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  ok  ") == 5


def test_example(tmp_path):
    """The starter file runs at once; its mistake is found, named and written as JSON."""
    mine, out = tmp_path / "mine.py", tmp_path / "out.json"
    assert run("--example", mine).returncode == 0
    done = run(mine, "--json", out)
    assert done.returncode == 1, done.stderr
    assert f"executing {mine}" in done.stdout
    first = json.loads(out.read_text())[0]["results"][0]
    assert first["causes"][0]["kind"] == "value_for_derivative"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.py", "out.json"]
    assert run("--example", mine).returncode == 2


@pytest.mark.parametrize("text", ["objective = 1", "1 +", "raise SystemExit(0)", "1 / 0"])
def test_unusable(tmp_path, text):
    """A file that cannot be used: status 2, one line on stderr, no traceback."""
    (tmp_path / "bad.py").write_text(text)
    done = run(tmp_path / "bad.py")
    assert done.returncode == 2
    assert done.stderr.startswith("check_partials.py: error: ") and done.stderr.count("\n") == 1


def test_no_such_file(tmp_path):
    """A missing file is named."""
    done = run(tmp_path / "none.py")
    assert done.returncode == 2 and "no such file" in done.stderr
