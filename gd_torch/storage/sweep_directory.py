"""A sweep directory: the finished parts of a sweep, a file each; a kill loses unfinished ones."""

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
    CorruptFileError,
    atomic_write,
    dump_checksummed,
    load_checksummed,
    read_bounded,
)
from gd_torch.storage.checkpoint import from_bytes, to_bytes
from gd_torch.storage.directories import (
    SETTINGS,
    DirectoryFormat,
    DirectoryInUseError,
    LockedDirectory,
    dump_settings,
)
from gd_torch.typing import Weights

PART_FORMAT, PART_VERSION = "gd_torch part", 1

FORMAT = DirectoryFormat("gd_torch sweep settings", re.compile("part-[0-9]{7,}-[0-9]{7,}"))


class SweepDirectory(LockedDirectory):
    """A directory of finished parts, locked until it is closed or the process ends.

    Args:
        directory: made if it does not exist.
        settings: of the sweep, ready for JSON.
        resume: whether to continue the sweep that exists, if there is one.
        overwrite: whether to delete the sweep that exists.

    Raises:
        DirectoryInUseError: the directory contains a sweep and neither is set, a sweep with other
            settings, or something else. RunLockedError: another process is using it.
            CorruptFileError: its settings are not what was written. OSError: it cannot be made or
            written to.

    >>> import tempfile
    >>> from gd_torch import curve, descend_many
    >>> start, rate = torch.tensor([1.9, 1.0]), 0.1
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with SweepDirectory(Path(parent) / "sweep", {"rate": rate}) as sweep:
    ...         sweep.write(range(2), descend_many(curve, start, rate, steps=5))
    ...         sweep.read(range(2), (start,)).steps, sweep.read(range(2, 4), (start,))
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
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        data = dump_settings(FORMAT, self._settings)
        limit = FORMAT.max_settings_bytes + len(data)  # settings have no fixed limit of their own
        super().__init__(directory, FORMAT._replace(max_settings_bytes=limit))
        try:
            exists = os.path.lexists(directory / SETTINGS)
            if exists and resume:
                self._compare(self.settings())
                return
            self.check_contents()
            if exists and not overwrite:
                raise DirectoryInUseError(f"{directory}: contains a sweep already")
            self.replace_contents(data)
        except BaseException:
            self.close()
            raise

    def write(self, part: range, runs: Descents) -> None:
        """Write the results of the runs of a part.

        Raises:
            OSError: they could not be written; no incomplete file is left.
        """
        tensors = tuple(tensor.cpu() for tensor in runs.to_tensors())
        header = {"format": PART_FORMAT, "version": PART_VERSION}
        data = dump_checksummed({**header, **self._described(part, tensors)}, to_bytes(tensors))
        atomic_write(self._path(part), data)

    def read(self, part: range, starts: Weights) -> Descents | None:
        """The results of the runs of a part, None if they have not been written.

        Args:
            part: which runs.
            starts: of all runs; the results have their shapes, dtypes and device.

        Raises:
            CorruptFileError: the file is not what was written.
        """
        path = self._path(part)
        if not os.path.lexists(path):
            return None
        count, first = len(part), starts[0]
        numbers = first.new_empty(count)
        integers = torch.empty(count, dtype=torch.int64)
        weights = [w.new_empty((count, *w.shape[1:])) for w in starts]
        expected = (*weights, numbers, numbers, integers, integers)
        size = sum(tensor.numel() * tensor.element_size() for tensor in expected)
        data = read_bounded(path, size + self.format.max_settings_bytes)
        fields = load_checksummed(path, data, PART_FORMAT, PART_VERSION, raw_bytes=size)
        if fields != self._described(part, expected):
            raise CorruptFileError(path, "does not belong to this sweep")
        tensors = from_bytes(data[:size], expected)
        return Descents.from_tensors([tensor.to(first.device) for tensor in tensors])

    def _path(self, part: range) -> Path:
        return self.directory / f"part-{part.start:07}-{part.stop:07}"

    def _described(self, part: range, tensors: tuple[Tensor, ...]) -> dict[str, Any]:
        """The members of a part's file: which sweep and which runs, dtypes and shapes."""
        described = [[str(t.dtype).removeprefix("torch."), list(t.shape)] for t in tensors]
        return {
            "settings": self._settings,
            "runs": [part.start, part.stop],
            "tensors": described,
        }

    def _compare(self, stored: dict[str, Any]) -> None:
        """Raise unless the stored settings are those of this sweep."""
        if set(stored) != set(self._settings):
            raise DirectoryInUseError(f"{self.directory}: contains a sweep with other options")
        for name, value in self._settings.items():
            if stored[name] != value:
                message = f"{name} is {stored[name]!r} in {self.directory}, got {value!r}"
                raise DirectoryInUseError(" ".join(message.split()))
