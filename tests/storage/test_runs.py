"""Run directories: what is written is read to the bit, and everything else is refused."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gd_torch import descend, init_weights, load_iris, network_mse
from gd_torch.storage import DirectoryInUseError, RunDirectory, RunLockedError
from gd_torch.storage.atomic_files import CorruptFileError, atomic_write, dump_checksummed
from gd_torch.storage.checkpoint import (
    MAX_TEXT_ENTRIES,
    Checkpoint,
    checkpoint_name,
    read_checkpoint,
    write_checkpoint,
)
from gd_torch.storage.run_directory import has_run

START = (torch.tensor([1.5, -2.0]), torch.tensor([[0.1, 1e-310]], dtype=torch.float64))
LEFT_BEHIND = ".gd_torch-0123456789abcdef.partial"
"""As a kill in the middle of a write leaves it."""

EMPTY = hashlib.sha256().hexdigest()


def state(weights=START, **other):
    """A checkpoint of step 3 of 10."""
    return Checkpoint(**{
        "settings": {"seed": 0}, "step": 3, "steps": 10, "history": (0, EMPTY), "weights": weights,
    } | other)  # fmt: skip


def begun(directory, settings=None):
    """A run with 20 steps, of which 10 are recorded and saved, and closed."""
    with RunDirectory(directory) as run:
        run.create(settings or {"seed": 0}, 20, START)
        run.append({"step": 10, "loss": 0.5})
        run.save(10, START)
    return directory


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_come_back_to_the_bit(dtype, tmp_path):
    """Subnormal numbers, both zeros and the largest number among them."""
    limits = torch.finfo(dtype)
    edges = [0.0, -0.0, limits.max, -limits.max, limits.tiny, limits.smallest_normal / 2, 1 / 3]
    w = torch.cat((torch.tensor(edges, dtype=torch.float64), torch.randn(50).double())).to(dtype)
    write_checkpoint(tmp_path, state((w, w[3])))
    back = read_checkpoint(tmp_path, (w, w[3])).weights
    assert back[1].shape == () and back[0].dtype == dtype
    assert torch.equal(back[0].view(torch.uint8), w.view(torch.uint8))


def test_large_weights_are_raw_bytes_under_the_same_rules(tmp_path):
    """Above a million entries: to the bit, and a flip, a cut or a NaN is refused."""
    w = (torch.randn(MAX_TEXT_ENTRIES // 2 + 1), torch.randn(3, MAX_TEXT_ENTRIES // 6 + 1))
    path = tmp_path / "checkpoint.raw"
    write_checkpoint(tmp_path, state(w))
    assert checkpoint_name(w) == path.name and path.stat().st_size < 4.1 * MAX_TEXT_ENTRIES
    assert all(map(torch.equal, read_checkpoint(tmp_path, w).weights, w))
    data = path.read_bytes()
    for place in (0, 1000, 4 * MAX_TEXT_ENTRIES, len(data) - 300, len(data) - 1):
        path.write_bytes(flipped(data, place, 1))
        with pytest.raises(CorruptFileError, match="checksum"):
            read_checkpoint(tmp_path, w)
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptFileError, match="checksum"):
        read_checkpoint(tmp_path, w)
    not_finite = torch.full((1,), torch.nan).view(torch.uint8).numpy().tobytes() + data[4:]
    body = not_finite[: not_finite.rindex(b',\n "sha256"')]
    path.write_bytes(body + checksum_member(body))
    with pytest.raises(CorruptFileError, match="NaN"):
        read_checkpoint(tmp_path, w)


def flipped(data, place, mask):
    """The same bytes with some bits of one byte flipped."""
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def checksum_member(body):
    """The checksum, written down without the library."""
    return f',\n "sha256": "{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()


def test_every_truncation_and_every_flip_is_refused(tmp_path):
    """Each length, each byte with each single bit and with all bits flipped, each byte doubled."""
    write_checkpoint(tmp_path, state())
    path = tmp_path / "checkpoint.json"
    data = path.read_bytes()
    damaged = [data[:length] for length in range(len(data))] + [data + b"\n", data + data]
    damaged += [
        flipped(data, place, mask)
        for place in range(len(data))
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255)
    ]
    damaged += [data[:place] + data[place - 1 :] for place in range(1, len(data))]
    for other in damaged:
        path.write_bytes(other)
        with pytest.raises(CorruptFileError) as refusal:
            read_checkpoint(tmp_path, START)
        assert str(refusal.value).startswith(f"{path}: ") and "\n" not in str(refusal.value)
    path.write_bytes(data)
    assert read_checkpoint(tmp_path, START).step == 3


def crafted(**changes):
    """A checkpoint with a right checksum, whatever its members are."""
    weights = [
        {"dtype": "float32", "shape": [2], "entries": ["0x1.8000000000000p+0"] * 2},
        {"dtype": "float64", "shape": [1, 2], "entries": ["0x1.8000000000000p+0"] * 2},
    ]
    fields = {
        "format": "gd_torch checkpoint", "version": 1, "settings": {}, "step": 3, "steps": 10,
        "history": {"bytes": 0, "sha256": EMPTY}, "weights": weights,
    } | changes  # fmt: skip
    return dump_checksummed({name: value for name, value in fields.items() if value is not None})


def entries(*first):
    """Weights of the right shapes with other entries."""
    return [
        {"dtype": "float32", "shape": [2], "entries": [*first]},
        {"dtype": "float64", "shape": [1, 2], "entries": ["0x1.8000000000000p+0"] * 2},
    ]


def with_checksum(old, new):
    """The crafted checkpoint with other text in its body, and the checksum that fits."""
    data = crafted().replace(old, new)
    body = data[: data.rindex(b',\n "sha256"')]
    return body + checksum_member(body)


ONE = "0x1.8000000000000p+0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (crafted(version=2), r"unsupported format version 2 \(expected 1\)"),
        (crafted(version=None), "unsupported format version None"),
        (crafted(format="another"), "not a gd_torch checkpoint file"),
        (crafted(settings=[]), "settings must be an object"),
        (crafted(step=-1), "whole number"),
        (crafted(step=11), "whole number"),
        (crafted(step=2.0), "whole number"),
        (crafted(step=True), "whole number"),
        (crafted(steps=10**30), "whole number"),
        (with_checksum(b'"step": 3', b'"step": ' + b"9" * 5000), "form"),
        (crafted(history=None), "members"),
        (crafted(more=1), "members"),
        (crafted(history={"bytes": -1, "sha256": EMPTY}), "length"),
        (crafted(history={"bytes": 0, "sha256": 0}), "length"),
        (crafted(history=[0]), "length"),
        (crafted(weights={}), "weights must be"),
        (crafted(weights=[]), "weights must be"),
        (crafted(weights=[1, 2]), "weights must be"),
        (crafted(weights=entries(ONE, ONE)[::-1]), "weights must be"),
        (crafted(weights=[entries(ONE, ONE)[0] | {"shape": [2**62]}] * 2), "weights must be"),
        (crafted(weights=[entries(ONE, ONE)[0] | {"dtype": "int64"}] * 2), "weights must be"),
        (crafted(weights=[{"dtype": "float32", "shape": [2]}] * 2), "weights must be"),
        (crafted(weights=entries(ONE)), "2 entries"),
        (crafted(weights=entries(ONE, ONE, ONE)), "2 entries"),
        (crafted(weights=entries(ONE, "nan")), "NaN"),
        (crafted(weights=entries(ONE, "-inf")), "NaN or infinity"),
        (crafted(weights=entries(ONE, "0x1.0000000000000p+999999")), "hexadecimal"),
        (crafted(weights=entries(ONE, "0x1.8p0")), "hexadecimal"),
        (crafted(weights=entries(ONE, "1.5")), "hexadecimal"),
        (crafted(weights=entries(ONE, 1.5)), "hexadecimal"),
        (crafted(weights=entries(ONE, None)), "hexadecimal"),
        (crafted(weights=entries(ONE, "__import__('os')")), "hexadecimal"),
        (crafted(weights=entries(ONE, (0.1).hex())), "not a float32"),
        (with_checksum(b'"step": 3', b'"step":  3'), "form"),
        (with_checksum(b'"step": 3', b'"step": 3,\n "step": 3'), "form"),
        (with_checksum(b'"step": 3', b'"step": NaN'), "form"),
        (with_checksum(b'"settings": {}', b'"settings": ' + b"[" * 50_000), "form"),
        (b"[1]" + checksum_member(b"[1]"), "form"),
        (b"", "checksum"),
        (b"{}", "checksum"),
        (b"PK\x03\x04" + bytes(500), "checksum"),
        (pickle.dumps({"step": 3}), "checksum"),
        (bytes(1 << 20), "bytes, expected at most"),
    ],
)  # fmt: skip
def test_crafted_files_are_refused(data, words, tmp_path):
    """One line with the file and the reason, even where the checksum is right."""
    assert read_from(tmp_path, crafted()).step == 3
    with pytest.raises(CorruptFileError, match=words) as refusal:
        read_from(tmp_path, data)
    assert str(refusal.value).startswith(str(tmp_path)) and "\n" not in str(refusal.value)


def read_from(directory, data):
    """Read a checkpoint of these bytes."""
    (directory / "checkpoint.json").write_bytes(data)
    return read_checkpoint(directory, START)


def test_a_pickle_is_not_executed(tmp_path):
    """A pickle that would make a directory when it is loaded makes none."""

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    for data in (pickle.dumps(Bomb()), pickle.dumps(Bomb(), protocol=0)):
        with pytest.raises(CorruptFileError):
            read_from(tmp_path, data)
        with pytest.raises(CorruptFileError):
            read_from(tmp_path, data + checksum_member(data))
    assert not (tmp_path / "executed").exists()


def make_zeros(path):
    with open(path, "wb") as file:
        file.truncate(1 << 30)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_zeros, "has 1073741824 bytes"),
        (lambda path: path.symlink_to("/dev/zero"), "symbolic link"),
        (lambda path: path.symlink_to(path), "symbolic link"),
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "not a regular file"),
        (lambda _: None, "no such file"),
    ],
    ids=["zeros", "device", "loop", "pipe", "directory", "none"],
)
def test_what_is_no_small_regular_file_is_not_read(make, words, tmp_path):
    """Neither a gigabyte nor a device nor a pipe without a writer keeps the reader busy."""
    make(tmp_path / "checkpoint.json")
    with pytest.raises(CorruptFileError, match=words):
        read_checkpoint(tmp_path, START)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """The old checkpoint stays."""
    write_checkpoint(tmp_path, state())
    before = (tmp_path / "checkpoint.json").read_bytes()
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="finite"):
            write_checkpoint(tmp_path, state((torch.tensor([1.0, bad]), START[1])))
    assert (tmp_path / "checkpoint.json").read_bytes() == before
    assert os.listdir(tmp_path) == ["checkpoint.json"]


def test_a_file_is_replaced_whole(tmp_path):
    """A link in its place is replaced, not followed; a failed write leaves nothing behind."""
    path, other = tmp_path / "x", tmp_path / "other"
    atomic_write(path, b"old")
    other.write_bytes(b"mine")
    path.unlink()
    path.symlink_to(other)
    atomic_write(path, b"new")
    assert (path.read_bytes(), other.read_bytes()) == (b"new", b"mine") and not path.is_symlink()
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic_write(tmp_path / "directory", b"newer")
    assert sorted(os.listdir(tmp_path)) == ["directory", "other", "x"]


def test_history_after_the_checkpoint_is_cut_off(tmp_path):
    """Lines of steps that a kill has undone are gone, a broken last one too."""
    directory = begun(tmp_path / "run")
    history = directory / "history.jsonl"
    before = history.read_bytes()
    assert [json.loads(line) for line in before.splitlines()] == [{"step": 10, "loss": 0.5}]
    history.write_bytes(before + b'{"step": 15, "loss": 0.4}\n{"ste')
    with RunDirectory(directory) as run:
        found = run.resume(START)
        assert (found.step, found.steps, history.read_bytes()) == (10, 20, before)
        run.append({"step": 15})
    assert history.read_bytes() == before + b'{"step": 15}\n'


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("history.jsonl", lambda data: data[:-1], "shorter than"),
        ("history.jsonl", lambda data: flipped(data, 3, 1), "does not belong to its checkpoint"),
        ("settings.json", lambda data: flipped(data, 80, 1), "checksum"),
        (
            "settings.json",
            lambda _: dump_checksummed({"format": "gd_torch settings", "version": 2}),
            "version",
        ),
        ("settings.json", lambda data: data.replace(b"x", b"y") + data, "checksum"),
        ("checkpoint.json", lambda _: crafted(), "does not belong to its settings"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(name, damage, words, tmp_path):
    """Settings, history and checkpoint must be of one run, or it is not resumed."""
    directory = begun(tmp_path / "run")
    (directory / name).write_bytes(damage((directory / name).read_bytes()))
    with RunDirectory(directory) as run, pytest.raises(CorruptFileError, match=words) as refusal:
        run.resume(START)
    assert name in str(refusal.value)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir])
def test_a_history_that_is_no_file_is_refused(make, tmp_path):
    """A pipe would hang, a device would never end."""
    directory = begun(tmp_path / "run")
    (directory / "history.jsonl").unlink()
    make(directory / "history.jsonl")
    with (
        RunDirectory(directory) as run,
        pytest.raises(CorruptFileError, match=r"history\.jsonl: .*not a regular file"),
    ):
        run.resume(START)


def test_a_run_is_deleted_with_overwrite_only(tmp_path):
    """Files that do not belong to a run are never deleted."""
    directory = begun(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with RunDirectory(directory) as run:
        with pytest.raises(DirectoryInUseError, match="contains a run already"):
            run.create({}, 5, START)
        assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
        run.create({"seed": 1}, 5, START, overwrite=True)
        assert (run.settings(), run.resume(START).step) == ({"seed": 1}, 0)
        assert (directory / "history.jsonl").read_bytes() == b""
        (directory / "notes.txt").write_text("mine")
        with pytest.raises(
            DirectoryInUseError, match=r"contains notes\.txt, which does not belong to a run"
        ):
            run.create({}, 5, START, overwrite=True)
        assert (directory / "notes.txt").exists() and run.resume(START).step == 0


@pytest.mark.parametrize(
    "name", ["settings.json", "checkpoint.json", "history.jsonl", "lock", "lock.pid", "notes.txt"]
)
@pytest.mark.parametrize("beside", [(), ("other.txt",)])
def test_what_others_made_is_left_alone(name, beside, tmp_path):
    """The names alone make no run: nothing is deleted, and no lock file is written."""
    for each in (name, *beside):
        (tmp_path / each).write_text('{"mine": 1}')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for overwrite in (False, True):
        with pytest.raises(DirectoryInUseError, match="contains"), RunDirectory(tmp_path) as run:
            run.create({}, 5, START, overwrite=overwrite)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_is_deleted_from_its_checkpoint_to_its_settings(tmp_path, monkeypatch):
    """Killed anywhere in between, it is still known as a run, and overwritten the next time."""
    unlink = Path.unlink
    for most in range(10):
        directory = begun(tmp_path / str(most))
        left = most

        def counted(path, missing_ok=False):
            nonlocal left
            if path.exists() and (left := left - 1) < 0:
                raise KeyboardInterrupt
            unlink(path, missing_ok=missing_ok)

        with monkeypatch.context() as patch, RunDirectory(directory) as run:
            patch.setattr(Path, "unlink", counted)
            try:
                run.create({"seed": 1}, 5, START, overwrite=True)
                break
            except KeyboardInterrupt:
                assert most < 3
        with RunDirectory(directory) as run:
            run.create({"seed": 2}, 5, START, overwrite=True)
            assert run.resume(START).step == 0
    assert most == 3


def test_settings_that_could_not_be_read_again_are_not_written(tmp_path):
    """64 KiB is the limit of both."""
    with (
        RunDirectory(tmp_path / "run") as run,
        pytest.raises(ValueError, match="must fit into 65536 bytes"),
    ):
        run.create({"name": "x" * 70_000}, 5, START)
    with RunDirectory(tmp_path / "run") as run:
        run.create({"name": "x" * 65_000}, 5, START)
        assert len(run.settings()["name"]) == 65_000


def test_a_history_without_a_checkpoint_is_a_run(tmp_path):
    """It is deleted with `overwrite` only; an empty history is not."""
    directory = begun(tmp_path / "run")
    (directory / "checkpoint.json").unlink()
    assert has_run(directory)
    with RunDirectory(directory) as run, pytest.raises(DirectoryInUseError):
        run.create({}, 5, START)
    (directory / "history.jsonl").write_bytes(
        b""
    )  # as a kill before the first checkpoint leaves it
    (directory / LEFT_BEHIND).write_bytes(b"{")
    with RunDirectory(directory) as run:
        run.create({}, 5, START)


def test_one_process_at_a_time_uses_a_run(tmp_path):
    """A second one is refused and names the first; a killed process leaves no lock held."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from gd_torch.storage import RunDirectory\n"
        "run = RunDirectory(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=f"run: process {holder.pid} is running in it"):
            RunDirectory(tmp_path / "run")
        holder.kill()
    assert (tmp_path / "run" / "lock.pid").read_text() == f"{holder.pid}\n"
    RunDirectory(tmp_path / "run").close()
    with (
        RunDirectory(tmp_path / "run"),
        pytest.raises(RunLockedError, match=f"process {os.getpid()} "),
    ):
        RunDirectory(tmp_path / "run")


@pytest.mark.parametrize("stepper", ["eager", "compiled"])
def test_a_resumed_run_ends_with_the_same_bits(stepper, tmp_path):
    """Saved at any step and resumed: the weights and the history of an uninterrupted run."""
    X, Y, _ = load_iris()
    mse, start = network_mse(X, Y), init_weights((4, 2, 3))

    def train(run, weights, first, cut):
        def after(step, loss, now):
            run.append({"step": step, "loss": loss})
            if step >= cut:
                run.save(step, now)
            return step < cut

        return descend(
            mse, weights, learning_rate=1.0, steps=300, record="last", stepper=stepper,
            callback=after, callback_every=10, first_step=first,
        )  # fmt: skip

    with RunDirectory(tmp_path / "uninterrupted") as run:
        run.create({}, 300, start)
        uninterrupted = train(run, start, 0, 300)
    with RunDirectory(tmp_path / "cut") as run:
        run.create({}, 300, start)
        train(run, start, 0, 50)
        run.append({"step": 60, "loss": "undone"})
    for cut in (60, 180, 300):
        with RunDirectory(tmp_path / "cut") as run:
            found = run.resume(start)
            end = train(run, found.weights, found.step, cut)
    assert all(map(torch.equal, end.weights, uninterrupted.weights)) and end.steps == 300
    for name in ("history.jsonl", "checkpoint.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (
            tmp_path / "uninterrupted" / name
        ).read_bytes()


def test_settings_must_be_ready_for_json(tmp_path):
    """NaN, tensors and paths are refused before anything is written."""
    for bad in ({"a": float("nan")}, {"a": START[0]}, {"a": Path("x")}):
        with RunDirectory(tmp_path / "run") as run, pytest.raises((ValueError, TypeError)):
            run.create(bad, 5, START)
        assert not has_run(tmp_path / "run")
