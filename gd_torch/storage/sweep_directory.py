"""The finished parts of a large job, a file each: a killed job loses what was under way alone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gd_torch.descent import Descents
from gd_torch.storage.atomic_files import (
    PARTIAL,
    Damaged,
    make_directory,
    read_bounded,
    seal,
    unseal,
    write_whole,
)
from gd_torch.storage.checkpoint import from_bytes, to_bytes
from gd_torch.storage.directories import (
    SETTINGS,
    Kind,
    Occupied,
    check_ours,
    clear,
    locked,
    read_settings,
    sealed_settings,
)
from gd_torch.typing import Weights

FORMAT, VERSION = "gd_torch part", 1

KIND = Kind(
    "gd_torch sweep settings",
    re.compile(rf"lock|settings\.json({PARTIAL})?|part-[0-9]{{7,}}-[0-9]{{7,}}({PARTIAL})?"),
    1 << 16,
)
"""A directory of finished parts; its settings may be longer by what those asked for take."""


class Finished:
    """A directory of finished parts, held by this process until it is closed or the process ends.

    Args:
        directory: made if there is none.
        settings: what the job is, ready for JSON.
        resume: go on with the job that is there, if there is one.
        overwrite: delete the job that is there.

    Raises:
        Occupied: the directory holds a job and neither is asked for, a job of other settings, or
            anything else. Busy: another process holds it. Damaged: its settings are not what was
            written. OSError: it cannot be made or written to.

    >>> import tempfile
    >>> from gd_torch import curve, descend_many
    >>> start, rate = torch.tensor([1.9, 1.0]), 0.1
    >>> with tempfile.TemporaryDirectory() as place:
    ...     kept = Finished(Path(place) / "sweep", {"rate": rate})
    ...     kept.write(range(2), descend_many(curve, start, rate, steps=5))
    ...     kept.read(range(2), (start,)).steps, kept.read(range(2, 4), (start,))
    (tensor([5, 5]), None)
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.directory = directory
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._sealed = sealed_settings(KIND, self.settings)
        self._kind = KIND._replace(room=KIND.room + len(self._sealed))
        make_directory(directory)
        self._lock = locked(directory, self._kind)
        try:
            self._begin(resume, overwrite)
        except BaseException:
            self.close()
            raise

    def _begin(self, resume: bool, overwrite: bool) -> None:
        """Take up the job that is there, or begin this one."""
        directory = self.directory
        path = directory / SETTINGS
        if os.path.lexists(path) and resume:
            self._compare(read_settings(directory, self._kind))
            return
        check_ours(directory, self._kind)
        if os.path.lexists(path) and not overwrite:
            raise Occupied(f"{directory}: holds a sweep already")
        clear(directory)
        write_whole(path, self._sealed)

    def write(self, part: range, runs: Descents) -> None:
        """Keep the ends of the runs of a part.

        Raises:
            OSError: they could not be written; nothing is left half written.
        """
        tensors = tuple(tensor.cpu() for tensor in runs.to_tensors())
        fields = {"format": FORMAT, "version": VERSION, "settings": self.settings}
        fields |= {"runs": [part.start, part.stop], "tensors": _described(tensors)}
        write_whole(self._path(part), seal(fields, to_bytes(tensors)))

    def read(self, part: range, starts: Weights) -> Descents | None:
        """The ends of the runs of a part, None if they have not been kept.

        Args:
            part: which runs.
            starts: of all runs; their shapes, dtypes and device are those of the ends.

        Raises:
            Damaged: the file is not what was written.
        """
        path = self._path(part)
        if not os.path.lexists(path):
            return None
        count, like = len(part), starts[0]
        numbers = like.new_empty(count)
        whole = torch.empty(count, dtype=torch.int64)
        ends = [w.new_empty((count, *w.shape[1:])) for w in starts]
        expected = (*ends, numbers, numbers, whole, whole)
        size = sum(t.numel() * t.element_size() for t in expected)
        data = read_bounded(path, size + self._kind.room)
        fields = unseal(path, data, size)
        right = {"format": FORMAT, "version": VERSION, "settings": self.settings}
        right |= {"runs": [part.start, part.stop], "tensors": _described(expected)}
        if fields != right:
            raise Damaged(path, "no part of this sweep")
        return Descents.from_tensors([t.to(like.device) for t in from_bytes(data[:size], expected)])

    def close(self) -> None:
        """Let the directory go."""
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _path(self, part: range) -> Path:
        return self.directory / f"part-{part.start:07}-{part.stop:07}"

    def _compare(self, kept: Any) -> None:
        """Raise unless the settings that were kept are these."""
        if not isinstance(kept, dict) or set(kept) != set(self.settings):
            raise Occupied(f"{self.directory}: not a sweep of this kind")
        for name, value in self.settings.items():
            if kept[name] != value:
                told = f"{name} is {kept[name]!r} in {self.directory}, got {value!r}"
                raise Occupied(" ".join(told.split()))


def _described(tensors: tuple[Tensor, ...]) -> list[list[Any]]:
    return [[str(t.dtype).removeprefix("torch."), list(t.shape)] for t in tensors]
