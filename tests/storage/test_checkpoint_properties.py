"""Generated checkpoints: a valid one is read to the bit, anything else is refused."""

import json
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gd_torch.storage.atomic_files import CorruptFileError, dump_checksummed
from gd_torch.storage.checkpoint import FIELDS, Checkpoint, read_checkpoint, write_checkpoint

examples = settings(max_examples=200, deadline=None, derandomize=True, database=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
WEIGHTS = st.lists(st.lists(NUMBERS, min_size=1, max_size=6), min_size=1, max_size=3)
LIKE = (torch.zeros(2, 2, dtype=torch.float64), torch.zeros(()))
GOOD = Checkpoint({"seed": 3}, 7, 9, (0, "none"), (torch.ones(2, 2).double(), torch.tensor(0.5)))


def fields_of(directory):
    """The members of the checkpoint there, without the checksum."""
    fields = json.loads((directory / "checkpoint.json").read_text())
    del fields["sha256"]
    return fields


def read_or_none(directory, like=LIKE):
    """The checkpoint, or None where it was refused as documented."""
    try:
        return read_checkpoint(directory, like)
    except CorruptFileError as error:
        told = str(error)
    assert "\n" not in told and "checkpoint.json" in told
    return None


@examples
@given(WEIGHTS, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**53))
def test_weights_come_back_to_the_bit(tmp_path_factory, rows, dtype, step):
    """Every finite number, negative zero and denormals among them."""
    directory = tmp_path_factory.mktemp("run")
    weights = tuple(torch.tensor(row, dtype=dtype) for row in rows)
    write_checkpoint(directory, Checkpoint({}, step, step, (1, "a"), weights))
    found = read_checkpoint(directory, weights)
    assert (found.step, found.steps, found.history) == (step, step, (1, "a"))
    for ours, theirs in zip(found.weights, weights, strict=True):
        assert ours.dtype == dtype and ours.numpy().tobytes() == theirs.numpy().tobytes()


@examples
@given(st.binary(max_size=600))
def test_no_bytes_are_a_checkpoint_by_chance(tmp_path_factory, data):
    """Whatever is in the file."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "checkpoint.json").write_bytes(data)
    assert read_or_none(directory) is None


@examples
@given(st.sampled_from(("format", "version", *FIELDS)), JSON)
def test_a_checksummed_file_with_another_member_is_refused_or_true(tmp_path_factory, name, value):
    """The checksum may be right and a member wrong: then what is read is what was written."""
    directory = tmp_path_factory.mktemp("run")
    write_checkpoint(directory, GOOD)
    fields = fields_of(directory) | {name: value}
    (directory / "checkpoint.json").write_bytes(dump_checksummed(fields))
    found = read_or_none(directory)
    if found is not None:
        assert name in ("settings", "step", "steps")
        assert getattr(found, name) == value and 0 <= found.step <= found.steps


@examples
@given(st.integers(0, 1), JSON | st.lists(st.text(max_size=12) | NUMBERS, max_size=5))
def test_a_checksummed_file_with_other_entries_is_refused(tmp_path_factory, which, entries):
    """Entries are hexadecimal numbers, as many as the shape says, all finite."""
    directory = tmp_path_factory.mktemp("run")
    write_checkpoint(directory, GOOD)
    fields = fields_of(directory)
    fields["weights"][which]["entries"] = entries
    (directory / "checkpoint.json").write_bytes(dump_checksummed(fields))
    found = read_or_none(directory)
    if found is not None:
        assert all(isinstance(entry, str) for entry in entries)
        read = found.weights[which].flatten().tolist()
        assert read == [float.fromhex(entry) for entry in entries] and all(map(math.isfinite, read))
