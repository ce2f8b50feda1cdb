"""Real runs, killed, stopped, starved and misled: scripts/check_faults.py in small numbers."""

import os
import signal
import time

import pytest

from tests.faults.__main__ import clean
from tests.faults.agreement import fight, memory_growth, same_bits
from tests.faults.crafted import crafted_files
from tests.faults.disks import can_mount, limited_files, read_only, small_tmpfs
from tests.faults.kills import kill_chain, naive_chain
from tests.faults.processes import command_line, finish, saved_step, start, wait_until
from tests.faults.signals import signal_chain

pytestmark = pytest.mark.fault


def test_kills_lose_nothing(tmp_path):
    """Ten times kill -9: every checkpoint readable, none lost, the end to the bit."""
    counts = kill_chain(tmp_path, 10, steps=1500)
    assert counts["kills"] == 10 and counts["chains"] >= 1 and clean(counts, "kills"), counts


def test_a_naive_writer_does_not_survive(tmp_path):
    """The same kills find a broken checkpoint where it is written in place."""
    counts = naive_chain(tmp_path, 100, steps=1500)
    assert counts["unreadable"] == 1, counts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_say_how_to_go_on(number, tmp_path):
    """Five at random moments: status 130 or 143, one line, progress kept, the end to the bit."""
    counts = signal_chain(tmp_path, number, 5, steps=10_000)
    assert counts["signals"] == 5 and clean(counts, "signals"), counts


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
    """Status 1 and one line; the run goes on to the same bits once there is room."""
    counts = limited_files(tmp_path, [0, 700, 2000])
    assert counts["shortages"] == 6 and clean(counts, "shortages"), counts


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
"""Begins to write what it makes, as a linker does, and takes its time."""


def test_a_kill_while_compiling_spoils_no_later_run(tmp_path):
    """Ctrl-C and kill reach the compiler too; what it leaves half-made must not be taken."""
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
        assert counts["shortages"] >= 3 and clean(counts, "shortages"), counts

    def test_a_read_only_disk_is_left_as_it_is(tmp_path):
        """One line, status 1, not a byte changed; the run goes on once it may write."""
        counts = read_only(tmp_path)
        assert counts["shortages"] == 2 and clean(counts, "shortages"), counts


def test_crafted_files_are_refused_at_no_cost(tmp_path):
    """One line, status 2, memory as of a good run; nothing is executed."""
    counts, cost = crafted_files(tmp_path)
    assert counts["refused"] == len(cost) >= 28 and clean(counts, "refused"), counts
    assert max(memory for _, memory in cost.values()) < 16, cost


def test_the_same_run_gives_the_same_bits(tmp_path):
    """For 1, 2 and 4 threads, other hash seeds, other directories."""
    counts = same_bits(tmp_path, 6)
    assert counts["repeats"] == 6 and clean(counts, "repeats"), counts


def test_six_processes_have_one_winner(tmp_path):
    """The other five stop with status 2 and name it."""
    counts = fight(tmp_path, 2)
    assert counts["losers"] == 10 and clean(counts, "rounds", "losers"), counts


@pytest.mark.parametrize(("stepper", "steps"), [("compiled", 1_000_000), ("eager", 30_000)])
def test_memory_does_not_grow(stepper, steps, tmp_path):
    """Less than a MiB between a tenth and nine tenths of a run."""
    assert memory_growth(tmp_path / "run", steps, stepper) < 1
