"""gd-torch check and scripts/check_partials.py: status, messages and files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_partials.py"


def run(*args):
    command = [sys.executable, str(SCRIPT), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tutorial(command):
    """Without an argument every derivation of the tutorial is checked and is ok."""
    status, out, err = command("check")
    assert (status, err) == (0, "")
    assert out.count("  ok  ") == 5


def test_example(command, tmp_path):
    """The starter file can be checked as it is; its mistake is named and written as JSON."""
    mine, out = tmp_path / "mine.py", tmp_path / "out.json"
    assert command("check", "--example", str(mine))[0] == 0
    status, printed, err = command("check", str(mine), "--json", str(out))
    assert (status, err) == (1, "")
    assert f"executing {mine}" in printed
    first = json.loads(out.read_text())[0]["results"][0]
    assert first["causes"][0]["kind"] == "value_for_derivative"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.py", "out.json"]
    assert command("check", "--example", str(mine))[0] == 2


@pytest.mark.parametrize("text", ["objective = 1", "1 +", "raise SystemExit(0)", "1 / 0"])
def test_unusable_file(tmp_path, text):
    """A file that cannot be used gives status 2 and one line on stderr."""
    (tmp_path / "bad.py").write_text(text)
    done = run(tmp_path / "bad.py")
    assert done.returncode == 2
    assert done.stderr.startswith("check_partials.py: error: ") and done.stderr.count("\n") == 1


def test_no_such_file(command):
    """The message names a missing file."""
    status, _, err = command("check", "none.py")
    assert status == 2 and "none.py: no such file" in err
