"""Files that are damaged or crafted, read by the real script."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.processes import TIMEOUT_SECONDS, command_line, start, uninterrupted_run


class Bomb:
    """What makes a directory when it is unpickled."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.where),)


def crafted_writers(good: bytes, bomb: Path) -> dict[str, Callable[[Path], object]]:
    """How to make each bad checkpoint; those of JSON have a checksum that fits."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(bomb)))
    return {
        "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb(bomb))),
        "zip": lambda path: path.write_bytes(zipped.getvalue()),
        "huge number": lambda path: path.write_bytes(with_fields(good, step=10**4000)),
        "huge shape": lambda path: path.write_bytes(with_shape(good, [2**40, 2**40])),
        "wrong shape": lambda path: path.write_bytes(with_shape(good, [3, 4])),
        "NaN weight": lambda path: path.write_bytes(with_entry(good, "nan")),
        "overflowing weight": lambda path: path.write_bytes(with_entry(good, "0x1p+99999")),
        "another version": lambda path: path.write_bytes(with_fields(good, version=99)),
        "deep nesting": lambda path: path.write_bytes(good.replace(b"[", b"[" * 5000)),
        "1 GiB of zeros": lambda path: (path.touch(), os.truncate(path, 1 << 30)),
        "link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
        "pipe": os.mkfifo,
        "directory": os.mkdir,
        "empty": lambda path: path.touch(),
    }


def with_fields(good: bytes, **changes: object) -> bytes:
    """The checkpoint with other members under a checksum that fits."""
    from gd_torch.storage.atomic_files import dump_checksummed

    fields = json.loads(good)
    del fields["sha256"]
    return dump_checksummed(fields | changes)


def with_shape(good: bytes, shape: list[int]) -> bytes:
    """Another shape of the first weight."""
    weights = json.loads(good)["weights"]
    return with_fields(good, weights=[weights[0] | {"shape": shape}, *weights[1:]])


def with_entry(good: bytes, entry: str) -> bytes:
    """Another first entry of the first weight."""
    weights = json.loads(good)["weights"]
    other = weights[0] | {"entries": [entry, *weights[0]["entries"][1:]]}
    return with_fields(good, weights=[other, *weights[1:]])


def crafted_files(place: Path) -> tuple[Counter[str], dict[str, tuple[float, float]]]:
    """Every bad checkpoint, and settings file: refused in one line, at what cost.

    The cost is in seconds of processor time and MiB of the whole process, beyond those of going
    on with a good run.
    """
    good = uninterrupted_run(place / "good", 20)["checkpoint.json"]
    bomb = place / "executed"
    counts, cost = Counter[str](), {}
    resumed = command_line(place / "good", "--resume")
    usual = [measured(resumed) for _ in "123"]
    seconds, memory = (min(column) for column in list(zip(*usual, strict=True))[1:])
    for name, make in crafted_writers(good, bomb).items():
        for file in ("checkpoint.json", "settings.json"):
            directory = place / f"{name} {file}".replace(" ", "-").replace("/", "")
            shutil.copytree(place / "good", directory)
            (directory / file).unlink()
            make(directory / file)
            refused, took, peak = measured(command_line(directory, "--resume"), file)
            counts["refused" if refused else "let in"] += 1
            cost[f"{name}, {file}"] = (took - seconds, peak - memory)
    counts["executed"] = int(bomb.exists())
    return counts, cost


def measured(line: list[str], file: str = "") -> tuple[bool, float, float]:
    """Whether a process refused that file in one line; processor time, peak memory in MiB."""
    process = start(line)
    guard = threading.Timer(TIMEOUT_SECONDS, process.kill)
    guard.start()
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    guard.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    one_line = out == "" and err.count("\n") == 1 and f"{file}: " in err
    return (
        process.returncode == 2 and one_line,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
    )
