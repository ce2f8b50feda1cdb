"""Faults injected into real runs: ``python -m tests.faults`` in small numbers."""

import os
import signal
import time

import pytest

from tests.faults.__main__ import nothing_wrong
from tests.faults.agreement import lock_contention, memory_growth, same_bits
from tests.faults.crafted import crafted_files
from tests.faults.disks import can_mount, limited_files, read_only, small_tmpfs
from tests.faults.kills import kill_chain, naive_chain
from tests.faults.processes import command_line, finish, saved_step, start, wait_until
from tests.faults.signals import signal_chain

pytestmark = pytest.mark.fault


def test_a_run_survives_kill_9(tmp_path):
    """After ten times kill -9 every checkpoint is readable, none is lost, the last bits agree."""
    counts = kill_chain(tmp_path, 10, steps=1500)
    assert counts["kills"] == 10 and counts["chains"] >= 1 and nothing_wrong(counts, "kills"), (
        counts
    )


def test_a_writer_that_is_not_atomic_does_not_survive(tmp_path):
    """The same kills find a broken checkpoint where it is written in place."""
    counts = naive_chain(tmp_path, 100, steps=1500)
    assert counts["unreadable"] == 1, counts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_print_how_to_continue(number, tmp_path):
    """Five at random moments: status 130 or 143, one line, progress saved, the same last bits."""
    counts = signal_chain(tmp_path, number, 5, steps=10_000)
    assert counts["signals"] == 5 and nothing_wrong(counts, "signals"), counts


def test_a_second_signal_kills_at_once(tmp_path):
    """While the first one waits for a long step and a long save; the old checkpoint stays."""
    process = start(
        command_line(
            tmp_path / "run", "--hidden", "100000", "--steps", "1000", "--record-every", "1"
        )
    )
    history = tmp_path / "run" / "history.jsonl"
    assert wait_until(process, lambda: history.exists() and history.stat().st_size > 0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    status, out, err = finish(process)
    assert (status, out, err) == (-signal.SIGTERM, "", "")
    assert saved_step(tmp_path / "run", 100_000) >= 0


def test_a_limit_on_file_sizes_leaves_the_last_checkpoint(tmp_path):
    """Status 1 and one line; resumed with enough room it ends with the same bits."""
    counts = limited_files(tmp_path, [0, 700, 2000])
    assert counts["shortages"] == 6 and nothing_wrong(counts, "shortages"), counts


SLOW_COMPILER = """#!/bin/sh
made=
for word; do
    if [ "$before" = -o ]; then made=$word; fi
    before=$word
done
if [ -n "$SLOW" ]; then
    printf half > "$made"
    touch "$SLOW"
    sleep 60
fi
exec cc "$@"
"""
"""A compiler that writes half of its output, as a linker does, and then waits."""


def test_a_kill_while_compiling_spoils_no_later_run(tmp_path):
    """kill reaches the compiler too; its incomplete output must not be used."""
    compiler, mark = tmp_path / "slow-cc", tmp_path / "half-made"
    compiler.write_text(SLOW_COMPILER)
    compiler.chmod(0o755)
    cache = {"CC": str(compiler), "GD_TORCH_CACHE": str(tmp_path / "cache")}
    line = command_line(tmp_path / "run", "--stepper", "compiled", "--steps", "300")
    process = start(["setsid", *line], **cache, SLOW=str(mark))
    assert wait_until(process, mark.exists)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    assert finish(start(line, **cache, SLOW=""))[0::2] == (0, "")
    assert '"stepper": "compiled"' in (tmp_path / "run" / "settings.json").read_text()


if can_mount():

    def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
        """The same on a real one, a tmpfs with too few pages or too few files."""
        counts = small_tmpfs(tmp_path, stride=6)
        assert counts["shortages"] >= 3 and nothing_wrong(counts, "shortages"), counts

    def test_a_read_only_disk_is_left_as_it_is(tmp_path):
        """One line, status 1, not a byte changed; the run can be resumed once it may write."""
        counts = read_only(tmp_path)
        assert counts["shortages"] == 2 and nothing_wrong(counts, "shortages"), counts


def test_crafted_files_are_refused_at_no_cost(tmp_path):
    """One line, status 2, memory as of a good run; nothing is executed."""
    counts, cost = crafted_files(tmp_path)
    assert counts["refused"] == len(cost) >= 28 and nothing_wrong(counts, "refused"), counts
    assert max(memory for _, memory in cost.values()) < 16, cost


def test_the_same_run_gives_the_same_bits(tmp_path):
    """For 1, 2 and 4 threads, other hash seeds, other directories."""
    counts = same_bits(tmp_path, 6)
    assert counts["repeats"] == 6 and nothing_wrong(counts, "repeats"), counts


def test_one_of_six_processes_runs(tmp_path):
    """The other five exit with status 2 and name it."""
    counts = lock_contention(tmp_path, 2)
    assert counts["refused"] == 10 and nothing_wrong(counts, "rounds", "refused"), counts


@pytest.mark.parametrize(("stepper", "steps"), [("compiled", 1_000_000), ("eager", 30_000)])
def test_memory_does_not_grow(stepper, steps, tmp_path):
    """Less than a MiB between a tenth and nine tenths of a run."""
    assert memory_growth(tmp_path / "run", steps, stepper) < 1
