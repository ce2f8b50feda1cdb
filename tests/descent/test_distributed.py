"""Several processes under torchrun: the results of one process, and an end on every error."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import NO_CUDA, ROOT

from gd_torch import load_iris, network_mse
from gd_torch.descent.distributed import chunk_ranges, data_parallel_mean, local_rows

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def start(folder, processes, script, *arguments):
    """Start torchrun on a script, with pipes, in a new session."""
    path = script if os.path.isabs(script) else str(ROOT / "scripts" / script)
    return subprocess.Popen(
        [*TORCHRUN, str(processes), path, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(job, limit=90):
    """Wait for its status, stdout and stderr; a timeout fails the test."""
    try:
        out, told = job.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        job.terminate()
        job.communicate(timeout=60)
        raise
    return job.returncode, out, told


def ours(told):
    """The lines written by the script, not by torchrun."""
    return [line for line in told.splitlines() if ".py: error:" in line or "interrupted" in line]


SWEEPS = {
    "net": ["--rates", "0.5", "2", "--seeds", "8", "--steps", "40", "--part", "3"],
    "curve": ["--objective", "curve", "--starts", "-2", "2", "41", "--part", "50"],
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_sweep_of_two_processes_is_that_of_one_to_the_bit(script, tmp_path, kind):
    """The same table, once, and the same file, also if chunks do not divide the runs evenly."""
    alone = script("sweep.py", *SWEEPS[kind], "--json", "1.json")
    assert (alone.returncode, alone.stderr) == (0, "")
    status, out, told = end(start(tmp_path, 2, "sweep.py", *SWEEPS[kind], "--json", "2.json"))
    assert status == 0, told
    assert out == alone.stdout
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


@pytest.mark.slow
def test_training_on_shared_rows_is_training_on_all(script, tmp_path):
    """Three processes with different numbers of rows: the same weights to rounding."""
    rows = [f"{i % 7},{i % 3},{'abcd'[i % 4]}" for i in range(41)]
    (tmp_path / "mine.csv").write_text("\n".join(["u,v,kind", *rows]))
    options = ["--data", "mine.csv", "--target", "kind", "--tolerance", "0.02"]
    alone = script("train.py", *options, "--json", "1.json")
    assert alone.returncode == 0, alone.stderr
    status, out, told = end(start(tmp_path, 3, "train.py", *options, "--json", "3.json"))
    assert status == 0, told
    one, three = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 3))
    for name in ("W1", "W2"):
        a, b = (torch.tensor(x.pop("weights").pop(name) if name == "W2" else x["weights"][name])
                for x in (one, three))  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for name in ("mse", "gradient_norm"):
        assert three.pop(name) == pytest.approx(one.pop(name), rel=1e-9)
    assert one == three and one["stop"] == "TOLERANCE"
    assert out.count("accuracy") == 1


def test_errors_of_arguments_are_printed_once(tmp_path):
    """One line of the script, a status other than 0, no files."""
    status, out, told = end(start(tmp_path, 2, "sweep.py", "--rates", "0", "--json", "s.json"))
    assert status != 0 and out == ""
    assert ours(told) == ["sweep.py: error: argument --rates: must be positive, got '0'"]
    assert list(tmp_path.iterdir()) == []


def test_errors_of_input_are_printed_once(tmp_path):
    """Every process reads the file; only the first one prints."""
    (tmp_path / "bad.csv").write_text("a,kind\n1,x\nmany,y\n")
    job = start(tmp_path, 2, "train.py", "--data", "bad.csv", "--target", "kind")
    status, out, told = end(job)
    assert status != 0 and out == ""
    assert len(ours(told)) == 1 and "row 3, column 'a'" in ours(told)[0]
    assert 'Traceback (most recent call last):\n  File "' + str(ROOT) not in told


@pytest.mark.slow
def test_more_processes_than_rows_are_refused(tmp_path):
    """Every process needs a row."""
    (tmp_path / "two.csv").write_text("a,kind\n1,x\n2,y\n")
    job = start(tmp_path, 3, "train.py", "--data", "two.csv", "--target", "kind")
    status, _, told = end(job)
    assert status != 0
    assert ours(told) == ["train.py: error: 2 rows cannot be shared by 3 processes"]


def workers(job, script):
    """The process ids of the script by rank, once all are in a process group."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        found = {}
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(job.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        for pid in map(int, children.stdout.split()):
            with open(f"/proc/{pid}/environ") as file:
                entries = dict(e.split("=", 1) for e in file.read().split("\0") if "=" in e)
            with open(f"/proc/{pid}/cmdline") as file:
                if script in file.read():
                    found[int(entries["RANK"])] = pid
        if len(found) == 2:
            return found
        time.sleep(0.1)
    raise AssertionError("the processes did not start")


LONG = {
    "train.py": ["--steps", "100000000"],
    "sweep.py": ["--seeds", "2000", "--steps", "1000000", "--part", "1000"],
}


@pytest.mark.fault
@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_job(tmp_path, name, victim):
    """After kill -9 of one process during the steps the other one ends."""
    job = start(tmp_path, 2, name, *LONG[name], "--json", "s.json")
    pids = workers(job, name)
    time.sleep(8)  # they are at their steps
    os.kill(pids[victim], signal.SIGKILL)
    status, out, _ = end(job, 60)
    assert status != 0 and out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_ends_the_job(tmp_path, name):
    """An interrupt of torchrun ends all processes, without partial files or a traceback."""
    job = start(tmp_path, 2, name, *LONG[name], "--json", "s.json")
    workers(job, name)
    time.sleep(8)
    os.kill(job.pid, signal.SIGINT)
    status, out, told = end(job, 60)
    assert status != 0 and out == "" and len(ours(told)) <= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault
def test_an_error_of_one_process_is_printed_and_ends_all(tmp_path):
    """If the second process fails, its error is printed, not only that of the connection."""
    (tmp_path / "job.py").write_text(
        "import sys\n"
        "from gd_torch.cli import torchrun, train\n"
        "from gd_torch.cli.app import prepare_process, run_parsed\n"
        "from gd_torch.cli.parser import UsageError\n"
        "def main(arguments, parser):\n"
        "    if torchrun.rank() == 1:\n"
        "        raise UsageError('only mine')\n"
        "    return train.main(arguments, parser)\n"
        "prepare_process()\n"
        "sys.exit(run_parsed(train.build_parser(sys.argv[0]), main, sys.argv[1:]))\n"
    )
    job = start(tmp_path, 2, str(tmp_path / "job.py"), "--steps", "100000000")
    status, _, told = end(job, 60)
    assert status != 0 and "[process 1] job.py: error: only mine" in told


@NO_CUDA
@pytest.mark.cuda
def test_one_process_on_cuda_sweeps_and_trains(tmp_path):
    """An NCCL process group can be created and used."""
    for name in ("sweep.py", "train.py"):
        status, _, told = end(start(tmp_path, 1, name, "--steps", "20", "--device", "cuda"))
        assert status == 0, told


def test_chunks_cover_every_run_once():
    """For sizes around a multiple of the number of runs."""
    for size in (1, 3, 4, 5, 12, 13):
        assert [run for chunk in chunk_ranges(12, size) for run in chunk] == list(range(12))
    with pytest.raises(ValueError, match="`size` must be at least 1"):
        chunk_ranges(3, 0)


def test_without_a_group_one_process_has_all_rows():
    """Loss and partials are those of the plain objective."""
    X, Y, _ = load_iris()
    mse = network_mse(X, Y)
    W1 = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    W2 = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    assert local_rows(150) == slice(0, 150)
    for objective in (mse, data_parallel_mean(mse, 150)):
        value = objective(W1, W2)
        got = (value.detach(), *torch.autograd.grad(value, (W1, W2)))
        if objective is mse:
            expected = got
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)
