"""The wheel that ``pip wheel .`` builds, installed in a new environment without the repository."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, status: int = 0) -> str:
    """Run a command in a clean environment; its stdout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a new environment with the wheel and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--quiet")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("gd_torch-*.whl")
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=folder)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "--quiet", "install", "--no-deps", wheel, cwd=folder)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    # the dependencies, without the editable install of the repository that may be among them
    shared = folder / "dependencies"
    shared.mkdir()
    for parent in site.getsitepackages():
        for path in Path(parent).iterdir():
            if "gd_torch" not in path.name and path.suffix != ".pth":
                (shared / path.name).symlink_to(path)
    (packages / "dependencies.pth").write_text(f"{shared}\n")
    return environment / "bin"


def test_the_wheel_holds_no_path_of_the_repository(installed, tmp_path):
    """The package is imported from the environment."""
    where = run(
        installed / "python", "-c", "import gd_torch; print(gd_torch.__file__)", cwd=tmp_path
    )
    assert where.startswith(str(installed.parent))


def test_every_subcommand_runs_from_an_empty_directory(installed, tmp_path):
    """Each command writes into the working directory, or where --out says."""
    command = installed / "gd-torch"
    assert "45 of 45" in run(command, "reproduce", "--quick", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
    run(command, "figures", "--only", "02", cwd=tmp_path)
    assert (tmp_path / "figures" / "02_tangent.svg").is_file()
    run(command, "figures", "--only", "08", "--out", "mine", "--quiet", cwd=tmp_path)
    assert (tmp_path / "mine" / "08_surface.png").is_file()
    run(command, "sweep", "--steps", "20", "--seeds", "2", "--json", "s.json", cwd=tmp_path)
    assert (tmp_path / "s.json").is_file()
    run(command, "check", "--example", "mine.py", cwd=tmp_path)
    assert "value_for_derivative" in run(command, "check", "mine.py", cwd=tmp_path, status=1)
    assert "WRONG" not in run(command, "check", cwd=tmp_path)


def test_training_from_the_wheel_ends_as_the_script_does(installed, tmp_path):
    """The same report and the same JSON, also by ``python -m gd_torch``."""
    script = [sys.executable, ROOT / "scripts" / "train.py"]
    commands = [
        script,
        [installed / "gd-torch", "train"],
        [installed / "python", "-m", "gd_torch", "train"],
    ]
    reports, files = [], []
    for i, command in enumerate(commands):
        reports.append(run(*command, "--steps", "300", "--json", f"{i}.json", cwd=tmp_path))
        files.append((tmp_path / f"{i}.json").read_bytes())
    assert reports[0] == reports[1] == reports[2]
    assert files[0] == files[1] == files[2]


def test_a_run_is_resumed_with_the_command_that_is_printed(installed, tmp_path):
    """Training with --run and --resume works from the wheel."""
    command = installed / "gd-torch"
    run(command, "train", "--run", "first", "--steps", "50", cwd=tmp_path)
    assert "run       first" in run(
        command, "train", "--run", "first", "--resume", "--steps", "80", cwd=tmp_path
    )
