"""Bad input to every script: one line on stderr, the documented status, and no file written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

RUN_CASES = """
import contextlib, io, json, os, runpy, sys

def listing():
    return sorted((path, os.lstat(os.path.join(folder, name)).st_mtime_ns)
                  for folder, folders, files in os.walk(".")
                  for name in [*folders, *files]
                  for path in [os.path.join(folder, name)])

results = []
for path, arguments in json.load(sys.stdin):
    sys.argv = [path, *arguments]
    sys.path[0] = os.path.dirname(path)
    before = listing()
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            runpy.run_path(path, run_name="__main__")
            status = None
        except SystemExit as end:
            status = end.code
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    results.append((status, out, err, "torch" in sys.modules, listing() == before))
json.dump(results, sys.stdout)
"""
"""Runs scripts one after the other in one process, for speed: a process takes 0.15 s to start.

The result of each is its status, what it printed, whether torch is imported, and whether all files
are the same as before.
"""

WATCHED = """
import atexit, os, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
seen = int(os.environ["SEEN"])
atexit.register(lambda: os.write(seen, b"torch" if "torch" in sys.modules else b"nothing"))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs one script, and writes to a pipe whether torch was imported."""

CURVE = ["--objective", "curve"]

TABLES = {
    "ok.csv": b"a,kind\n1,x\n2,y\n3,x\n",
    "empty.csv": b"",
    "blank.csv": b"\n\n\n",
    "header.csv": b"a,kind\n",
    "binary.csv": bytes(range(256)) * 9,
    "nul.csv": b"a,kind\n1,x\n\0,y\n",
    "latin1.csv": "a,kind\n1,caf\u00e9\n2,y\n".encode("latin-1"),
    "utf16.csv": "a,kind\n1,x\n2,y\n".encode("utf-16"),
    "ragged.csv": b"a,kind\n1,x\n2,y,z\n",
    "short.csv": b"a,kind\n1,x\n2\n",
    "semicolon.csv": b"a;kind\n1;x\n2;y\n",
    "line.csv": b"a,kind\n1," + b"x" * (1 << 20),
    "field.csv": b"a,kind\n1," + b"x" * 200_000 + b"\n2,y\n",
    "quote.csv": b'a,kind\n1,"x\n2,y\n',
    "one_class.csv": b"a,kind\n1,x\n2,x\n",
    "ids.csv": b"a,kind\n" + b"".join(b"1,%d\n" % i for i in range(1001)),
    "twice.csv": b"a,a,kind\n1,2,x\n2,3,y\n",
    "nameless.csv": b"a,,kind\n1,2,x\n2,3,y\n",
    "target_alone.csv": b"kind\nx\ny\n",
    "words.csv": b"a,kind\n1,x\nmany,y\n",
    "missing_cell.csv": b"a,kind\n1,x\n,y\n",
    "missing_class.csv": b"a,kind\n1,x\n2, \n",
    "nan.csv": b"a,kind\nNaN,x\n2,y\n",
    "inf.csv": b"a,kind\n1,x\n-inf,y\n",
    "1e400.csv": b"a,kind\n1,x\n1e400,y\n",
    "digits.csv": b"a,kind\n1,x\n" + b"9" * 400 + b",y\n",
    "underscore.csv": b"a,kind\n1_0,x\n2,y\n",
    "hex.csv": b"a,kind\n0x10,x\n2,y\n",
    "escape.csv": b"a,kind\n1,\x1b[2J\n2,y\n",
    "1e300.csv": b"a,kind\n1e300,x\n2,y\n",
}

DERIVATIONS = {
    "syntax.py": b"1 +",
    "nul.py": b"a = 1\0",
    "latin1.py": b"a = 'caf\xe9'",
    "deep.py": b"(" * 5000,
    "raises.py": b"raise RuntimeError('first\\nsecond')",
    "exits.py": b"import sys; sys.exit('bye')",
    "stops.py": b"class Stop(BaseException): pass\nraise Stop('enough')",
    "recurses.py": b"def f(): f()\nf()",
    "reads.py": b"at = float(input())",
    "imports.py": b"import no_such_module",
    "nothing.py": b"",
    "no_at.py": b"objective = partials = abs",
    "words.py": b"objective = partials = abs\nat = 'here'",
    "whole.py": b"objective = partials = abs\nat = 2",
    "value.py": b"def objective(w): return 1\npartials = abs\nat = 2.0",
}


@pytest.fixture
def folder(tmp_path):
    """A working directory with every bad file."""
    return fill(tmp_path)


def fill(folder: Path) -> Path:
    """Create every bad file in a folder."""
    for name, content in (TABLES | DERIVATIONS).items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("gone")
    (folder / "link.csv").symlink_to("ok.csv")
    return folder


def listing(folder: Path) -> dict[str, str]:
    """Every path in the folder, with the SHA-256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes() if path.is_file() else b""
        ).hexdigest()
        for path in folder.rglob("*")
    }


def refused(folder, name, arguments):
    """Run a script that must fail; return (status, stderr, stdout, whether torch was imported)."""
    before = listing(folder)
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(ROOT / "scripts" / name), *arguments],
        cwd=folder,
        env={**os.environ, "SEEN": str(writer)},
        pass_fds=[writer],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    with os.fdopen(reader) as seen:
        torch = seen.read() == "torch"
    assert listing(folder) == before
    assert done.stderr.startswith(f"{name}: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert len(done.stderr) < 1500
    return done.returncode, done.stderr, done.stdout, torch


def table(name: str, words: str) -> tuple[str, list[str], str]:
    """A case for train.py, with a JSON file that must not appear."""
    return "train.py", ["--data", name, "--target", "kind", "--json", "r.json"], words


AT_ONCE = [
    table("empty.csv", "empty.csv: empty, a header line is required"),
    table("blank.csv", "empty, a header line is required"),
    table("header.csv", "no rows below the header"),
    table("binary.csv", "not a CSV file in UTF-8"),
    table("nul.csv", "row 3, column 'a': not a finite number: '\\x00'"),
    table("latin1.csv", "not a CSV file in UTF-8"),
    table("utf16.csv", "not a CSV file in UTF-8"),
    table("ragged.csv", "row 3 has 3 cells, the header has 2"),
    table("short.csv", "row 3 has 1 cells, the header has 2"),
    table("semicolon.csv", "no column 'kind', the header has a;kind"),
    table("line.csv", "it has a line of 1048576 characters"),
    table("field.csv", "field larger than field limit"),
    table("quote.csv", "unexpected end of data"),
    table("one_class.csv", "a single class, 'x'"),
    table("ids.csv", "column 'kind' has more than 1000 classes"),
    table("twice.csv", "must name every column once"),
    table("nameless.csv", "must name every column once"),
    table("target_alone.csv", "no feature column"),
    table("words.csv", "row 3, column 'a': not a finite number: 'many'"),
    table("missing_cell.csv", "row 3, column 'a': not a finite number: ''"),
    table("missing_class.csv", "row 3, column 'kind': empty"),
    table("nan.csv", "not a finite number: 'NaN'"),
    table("inf.csv", "not a finite number: '-inf'"),
    table("1e400.csv", "not a finite number: '1e400'"),
    table("digits.csv", "not a finite number: '9999"),
    table("underscore.csv", "not a finite number: '1_0'"),
    table("hex.csv", "not a finite number: '0x10'"),
    table("escape.csv", "a control character in '\\x1b[2J'"),
    table("folder", "folder: Is a directory"),
    table("pipe", "empty, a header line is required"),
    table("loop", "Too many levels of symbolic links"),
    table("dangling", "No such file"),
    table("ok.csv/x", "Not a directory"),
    table("/dev/null", "empty, a header line is required"),
    table("n" * 300, "File name too long"),
    ("train.py", ["--data", "ok.csv", "--target", "", "--json", "r.json"], "no column ''"),
    ("train.py", ["--data", "", "--target", "kind"], "Is a directory"),
    ("train.py", ["--data", "ok.csv", "--target", "kind", "--json", "ok.csv"], "the same file"),
    ("train.py", ["--data", "ok.csv", "--target", "kind", "--json", "link.csv"], "the same file"),
    ("train.py", ["--json", ""], "--json: must name a file, got ''"),
    ("train.py", ["--json", "folder"], "--json: must name a file"),
    ("train.py", ["--json", "pipe"], "--json: must name a regular file"),
    ("train.py", ["--json", "loop/r.json"], "--json: no such folder: loop"),
    ("train.py", ["--json", "dangling"], "--json: must name a regular file"),
    ("train.py", ["--json", "/dev/null"], "--json: must name a regular file"),
    ("train.py", ["--json", "n" * 300], "--json: nnnn"),
    ("train.py", ["--learning-rate", "1e400"], "--learning-rate: must be a finite number"),
    ("train.py", ["--learning-rate", "1e-400"], "--learning-rate: must be positive"),
    ("train.py", ["--learning-rate", ""], "--learning-rate: must be a finite number, got ''"),
    ("train.py", ["--learning-rate"], "--learning-rate: expected one argument"),
    ("train.py", ["--steps", "9223372036854775808"], "--steps: must be a whole number"),
    ("train.py", ["--steps", "9" * 5000], "--steps: must be a whole number"),
    ("train.py", ["--steps", "\u0663"], "--steps: must be a whole number"),
    ("train.py", ["--tolerance", "nan"], "--tolerance: must be a finite number"),
    ("train.py", ["--device", "cuda:-1"], "--device: must be auto, cpu, cuda or cuda:N"),
    ("train.py", ["line\nbreak \x1b[2J"], "unrecognized arguments: line break \\x1b[2J"),
    ("sweep.py", ["--rates"], "--rates: expected at least one argument"),
    (
        "sweep.py",
        [*CURVE, "--rates", "1e-300", "1e300", "--figure", "a.svg"],
        "--figure: needs rates within a factor of 1e+100",
    ),
    ("sweep.py", [*CURVE, "--hidden", "8"], "--hidden: is for --objective net"),
    ("sweep.py", [*CURVE, "--data", "none.csv"], "--data: is for --objective net"),
    ("sweep.py", ["--starts", "-2e0", "2", "5"], "--starts: is for --objective curve"),
    ("sweep.py", ["--rates", "1", "1e400"], "--rates: must be a finite number"),
    ("sweep.py", ["--rates", "a few"], "--rates: must be a finite number, got 'a few'"),
    ("sweep.py", ["--seeds", "1000001"], "at most 1000000"),
    ("sweep.py", ["--steps", "-1"], "--steps: must be a whole number of at least 0"),
    ("sweep.py", ["--hidden", "2.5"], "--hidden: must be a whole number"),
    ("sweep.py", ["--tolerance", "-0.1"], "--tolerance: must not be negative"),
    ("sweep.py", ["--figure", "none/a.svg"], "--figure: no such folder: none"),
    ("sweep.py", ["--figure", "luck"], "--figure: must end in .svg, .png, .pdf"),
    ("sweep.py", ["--figure", "a.svg", "--json", "./a.svg"], "name the same file"),
    ("sweep.py", ["--data", "words.csv", "--target", "kind"], "row 3, column 'a'"),
    ("sweep.py", ["--data", "ok.csv", "--target", "kind", "--json", "ok.csv"], "the same file"),
    ("reproduce.py", ["--seeds", "0"], "--seeds: must be a whole number of at least 1"),
    ("reproduce.py", ["--seeds", "10001"], "at most 10000"),
    ("reproduce.py", ["--out", ""], "--out: must name a folder, got ''"),
    ("reproduce.py", ["--out", "ok.csv"], "--out: must name a folder"),
    ("reproduce.py", ["--out", "ok.csv/deeper"], "--out: must name a folder"),
    ("reproduce.py", ["--json", "none/r.json"], "--json: no such folder: none"),
    ("make_figures.py", ["--only", "99"], "--only: no figure '99', --list shows all names"),
    ("make_figures.py", ["--only", ""], "--only: no figure ''"),
    ("make_figures.py", ["--only"], "--only: expected at least one argument"),
    ("make_figures.py", ["--format", "bmp"], "--format: invalid choice"),
    ("make_figures.py", ["--out", "ok.csv"], "--out: must name a folder"),
    ("make_figures.py", ["--out", "dangling"], "--out: must name a folder"),
    ("make_figures.py", ["--out", "n" * 300], "File name too long"),
    ("check_partials.py", ["none.py"], "none.py: no such file"),
    ("check_partials.py", ["folder"], "folder: no file to execute"),
    ("check_partials.py", ["pipe"], "pipe: no file to execute"),
    ("check_partials.py", ["/dev/zero"], "/dev/zero: no file to execute"),
    ("check_partials.py", ["a.py", "b.py"], "unrecognized arguments: b.py"),
    ("check_partials.py", ["no_at.py", "--points", "0"], "--points: must be a whole number"),
    ("check_partials.py", ["no_at.py", "--points", "1001"], "at most 1000"),
    ("check_partials.py", ["no_at.py", "--seed", "-1"], "--seed: must be a whole number"),
    ("check_partials.py", ["no_at.py", "--json", "no_at.py"], "name the same file"),
    ("check_partials.py", ["--example", "no_at.py"], "no_at.py: exists already"),
    ("check_partials.py", ["--example", "none/a.py"], "--example: no such folder"),
    ("check_quality.py", ["--seeds", "0"], "--seeds: must be a whole number"),
    ("check_quality.py", ["--seeds", "1001"], "at most 1000"),
    ("benchmark.py", ["--repeats", "0"], "--repeats: must be a whole number"),
    ("benchmark.py", ["--only", "all"], "--only: invalid choice: 'all'"),
    ("benchmark.py", ["--json", "folder"], "--json: must name a file"),
    ("benchmark.py", ["--figure", "growth.gif"], "--figure: must end in .svg, .png, .pdf"),
    ("train.py", ["--resume"], "--resume needs the directory: --run DIR --resume"),
    ("train.py", ["--run", "folder", "--resume"], "no run to resume"),
    ("train.py", ["--run", "ok.csv"], "--run: must name a directory"),
    ("train.py", ["--run", "a", "--resume", "--overwrite"], "not allowed with argument --resume"),
    ("train.py", ["--export", "folder"], "--export: must name a file"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The result of every case of AT_ONCE, run in one process."""
    cases = [(str(ROOT / "scripts" / name), arguments) for name, arguments, _ in AT_ONCE]
    done = subprocess.run(
        [sys.executable, "-c", RUN_CASES],
        cwd=fill(tmp_path_factory.mktemp("bad_input")),
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", range(len(AT_ONCE)))
def test_bad_input_is_reported_at_once(results, case):
    """One line with the rule and the argument, status 2, no file changed, torch not imported."""
    name, _, words = AT_ONCE[case]
    status, out, err, torch_imported, unchanged = results[case]
    assert (status, out, torch_imported, unchanged) == (2, "", False, True)
    assert err.startswith(f"{name}: error: ") and words in err
    assert err.count("\n") == 1 and len(err) < 1500


def test_the_table_is_long_enough():
    """There are at least 50 bad inputs, and some for every script."""
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert len(AT_ONCE) >= 50 and {name for name, _, _ in AT_ONCE} == scripts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("syntax.py", "SyntaxError"),
        ("nul.py", "null bytes"),
        ("latin1.py", "SyntaxError"),
        ("deep.py", "Error"),
        ("raises.py", "RuntimeError: first second"),
        ("exits.py", "SystemExit: bye"),
        ("stops.py", "Stop: enough"),
        ("recurses.py", "RecursionError"),
        ("reads.py", "EOFError"),
        ("imports.py", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("nothing.py", "must define objective, at, partials"),
        ("no_at.py", "must define at"),
    ],
)
def test_a_derivation_that_cannot_be_executed(folder, name, words):
    """The exception of the file is reported in one line; torch is not imported before."""
    status, stderr, stdout, torch = refused(folder, "check_partials.py", [name, "--json", "r.json"])
    assert words in stderr and stderr.startswith(f"check_partials.py: error: {name}: ")
    assert (status, torch) == (2, False)
    assert stdout.splitlines()[0] == f"executing {(folder / name).resolve()}"


@pytest.mark.parametrize(
    ("name", "arguments", "status", "words"),
    [
        ("train", ["--data", "1e300.csv", "--target", "kind", "--dtype", "float32"], 2,
         "1e300.csv: 1e+300 is too large for float32"),
        ("train", ["--hidden", "9223372036854775807", "--steps", "1"], 1, "not enough memory"),
        ("train", ["--json", "/proc/r.json", "--steps", "1"], 1, "/proc"),
        ("sweep", ["--device", "cuda:999"], 2, "cuda:999 asked for, but torch sees"),
        ("sweep", ["--hidden", "9223372036854775807", "--seeds", "1"], 1, "not enough memory"),
        ("figures", ["--out", "/proc/figures"], 1, "/proc"),
        ("check", ["words.py"], 2, "`at` must be a tensor"),
        ("check", ["whole.py"], 2, "write 2.0, not 2"),
        ("check", ["value.py"], 2, "`objective` must return a tensor, got int"),
    ],
)  # fmt: skip
def test_bad_input_that_torch_finds(folder, command, name, arguments, status, words):
    """One line with the rule and the argument, no file changed; a failed write has status 1."""
    before = listing(folder)
    found, _, err = command(name, *arguments)
    assert found == status and words in err
    assert err.startswith(f"gd-torch {name}: error: ") and err.count("\n") == 1
    assert listing(folder) == before
