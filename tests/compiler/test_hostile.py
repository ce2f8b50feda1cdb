"""Hostile objectives neither crash nor give silently wrong results. They run in processes."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.compiler.hostile import HOSTILE

ROOT = Path(__file__).resolve().parents[2]

CANNOT = "the objective cannot be compiled"

TIMEOUT_SECONDS = 60
"""Time limit of one hostile objective."""

GROUP = 14
"""Objectives per process; a crash names the one that was running, and the others are run again."""

QUICK = (
    "jvp_inside",
    "autograd_grad_inside",
    "hook_on_a_temporary",
    "custom_function_Raising",
    "exception_at_step_20",
    "keyboard_interrupt",
    "exception_by_the_value",
    "argument_modified",
    "constant_edited_inside",
    "returns_a_number",
)
"""Objectives that failed in earlier versions; the others are marked as slow."""

Found = dict[str, dict[str, object]]


def run_group(names: list[str], cache: Path) -> Found:
    """The results of these objectives; a failure for one that crashes its process."""
    found: Found = {}
    while names:
        lines, end = _process(names, cache)
        for line in lines:
            if "name" in line:
                found[str(line["name"])] = line
        rest = [name for name in names if name not in found]
        if rest:
            begun = [str(line["begin"]) for line in lines if "begin" in line]
            failed = [begun[-1]] if begun and begun[-1] in rest else rest
            found |= {name: {"failure": end} for name in failed}
        elif end != "exit code 0":
            found[names[-1]] = {"failure": f"after the run: {end}"}
        names = [name for name in names if name not in found]
    return found


def _process(names: list[str], cache: Path) -> tuple[list[dict[str, object]], str]:
    """The JSON lines of one process and its end; it is killed if it prints nothing for too long."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.compiler.hostile", *names],
        cwd=ROOT,
        env={**os.environ, "GD_TORCH_CACHE": str(cache), "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stderr is not None
    received: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []

    def read() -> None:
        for line in child.stdout:
            received.put(line)
        received.put(None)

    readers = [
        threading.Thread(target=read),
        threading.Thread(target=lambda: errors.append(child.stderr.read())),
    ]
    for reader in readers:
        reader.start()
    lines, end = [], ""
    while not end:
        try:
            line = received.get(timeout=TIMEOUT_SECONDS)
        except queue.Empty:
            child.kill()
            end = f"no answer within {TIMEOUT_SECONDS} s"
        else:
            if line is None:
                end = f"exit code {child.wait()}"
            elif line.startswith('{"'):
                lines.append(json.loads(line))
    child.wait()
    for reader in readers:
        reader.join()
    child.stdout.close()
    child.stderr.close()
    return lines, end if end == "exit code 0" else f"{end}\n{errors[0][-2000:]}"


@pytest.fixture(scope="module")
def result_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, object]]:
    """The result of an objective by name; it is run together with others, at most 2 at a time."""
    found: Found = {}
    cache = tmp_path_factory.mktemp("hostile")

    def result(name: str) -> dict[str, object]:
        if name in found:
            return found[name]
        if name in QUICK:
            groups = [list(QUICK[::2]), list(QUICK[1::2])]
        else:
            others = [n for n in HOSTILE if n not in QUICK]
            shared = [n for n in others if not HOSTILE[n].alone]
            groups = [shared[i : i + GROUP] for i in range(0, len(shared), GROUP)]
            groups += [[n] for n in others if HOSTILE[n].alone]
        with ThreadPoolExecutor(2) as pool:
            for part in pool.map(lambda names: run_group(names, cache), groups):
                found.update(part)
        return found[name]

    return result


def assert_same(name: str, actual: dict[str, object], expected: dict[str, object]) -> None:
    """The same exception or, to rounding, the same numbers, and no warning but the one allowed."""
    messages = actual["warnings"]
    assert all(m.startswith(CANNOT) for m in messages), messages
    assert len(messages) <= 1 or name == "compiles_itself", messages
    assert expected["warnings"] == [] or name == "compiles_itself"
    assert not expected["start modified"] and not actual["start modified"]
    assert actual.get("error") == expected.get("error"), (actual, expected)
    assert actual.get("message") == expected.get("message")
    if "error" in expected:
        return
    assert actual["steps"] == expected["steps"]
    if HOSTILE[name].impure and messages:
        return  # one evaluation more or less changes the numbers, and a warning was given
    assert actual["stop"] == expected["stop"]
    approx = pytest.approx(expected["loss"], rel=1e-8, abs=1e-10, nan_ok=True)
    assert actual["loss"] == approx, (actual, expected)
    assert actual["norm"] == pytest.approx(expected["norm"], rel=1e-7, abs=1e-9, nan_ok=True)
    for a, e in zip(actual["weights"], expected["weights"], strict=True):
        assert a == pytest.approx(e, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in HOSTILE]
)
def test_hostile_objective(name: str, result_of: Callable[[str], dict[str, object]]) -> None:
    """The process survives; compiled and automatic runs return or raise the same as eager ones."""
    found = result_of(name)
    assert "failure" not in found, found["failure"]
    assert_same(name, found["compiled"], found["eager"])
    if HOSTILE[name].auto_steps:
        assert_same(name, found["auto"], found["long eager"])


def test_there_are_enough_hostile_objectives() -> None:
    """At least 40 hostile objectives are known, and the quick ones are among them."""
    assert len(HOSTILE) >= 40
    assert set(QUICK) <= set(HOSTILE)


def test_a_crash_names_its_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a process dies, the objective that was running fails and the others are run again."""
    answers = iter(
        [
            ([{"begin": "a"}, {"name": "a"}, {"begin": "b"}], "exit code -11"),
            ([{"begin": "c"}, {"name": "c"}], "exit code 0"),
        ]
    )
    monkeypatch.setitem(globals(), "_process", lambda _names, _cache: next(answers))
    found = run_group(["a", "b", "c"], tmp_path)
    assert found["b"] == {"failure": "exit code -11"}
    assert found["a"] == {"name": "a"} and found["c"] == {"name": "c"}
