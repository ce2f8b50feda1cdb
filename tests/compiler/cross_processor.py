"""Compile generated programs for several processors as executables, and run them.

An executable reads the buffers and the state of a run from standard input, calls ``run`` and writes
the state back. One for another processor is run by an emulator. No header is included.
"""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from gd_torch.compiler import Program
from gd_torch.compiler.c_compiler import FLAGS
from tests.compiler.elementary_source import TYPES, processors

POINTS = 50
"""Largest number of recorded points of a run."""

HEADER = ("data", "uni", "sca", "tab", "work", "steps", "period")
"""Numbers at the start of the input, int64: bytes of the buffers, steps, and period of records."""

MAIN = """
extern long read(int, void *, unsigned long), write(int, const void *, unsigned long);
extern void *aligned_alloc(unsigned long, unsigned long);
static void *take(long size) {
    char *into = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    for (long at = 0, k; at < size; at += k)
        if ((k = read(0, into + at, size - at)) <= 0) __builtin_trap();
    return into;
}
static void give(const void *from, long size) {
    for (long at = 0, k; at < size; at += k)
        if ((k = write(1, (const char *)from + at, size - at)) <= 0) __builtin_trap();
}
int main(void) {
    static T losses[POINTS], norms[POINTS], path[POINTS * COUNT], partials[COUNT];
    const long long *const n = take(7 * sizeof(long long));
    T *const data = take(n[0]), *const uni = take(n[1]), *const sca = take(n[2]);
    int *const tab = take(n[3]);
    T *const work = take(n[4]);
    T *const w = take(COUNT * sizeof(T)), *const r = take(COUNT * sizeof(T));
    Run state = {.weights = w, .partials = partials, .rates = r, .losses = losses, .norms = norms,
                 .path = path, .limit = n[5], .period = n[6]};
    run(&state, data, uni, sca, tab, work);
    const long long ends[] = {state.step, state.code, state.slot};
    const T values[] = {state.loss, state.norm};
    give(ends, sizeof ends);
    give(values, sizeof values);
    give(w, COUNT * sizeof(T));
    give(partials, sizeof partials);
    give(losses, sizeof losses);
    give(norms, sizeof norms);
    give(path, sizeof path);
    return 0;
}
"""


@dataclass(frozen=True)
class Variant:
    """A compiler with its options, and the emulator if the processor is another one."""

    compiler: str
    processor: str
    level: str
    emulator: str = ""

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.compiler} {self.processor} {self.level}"


@dataclass(frozen=True, eq=False)
class PortableProgram:
    """A program with its buffers and the start of a run."""

    name: str
    program: Program
    weights: Tensor
    rates: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all numbers."""
        return self.program.dtype


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of a run: number of updates, stop code, and the final and recorded numbers."""

    step: int
    code: int
    numbers: np.ndarray

    def same(self, other: Outcome) -> bool:
        """Whether two runs have the same bits; NaN is NaN."""
        if (self.step, self.code) != (other.step, other.code):
            return False
        a, b = self.numbers, other.numbers
        return bool(
            ((a.view(f"i{a.itemsize}") == b.view(f"i{b.itemsize}")) | ((a != a) & (b != b))).all()
        )


def portable_program(
    name: str, objective: Callable[..., Tensor], start: tuple[Tensor, ...], rate: float
) -> PortableProgram:
    """Generate the program of an objective without compiling it for this process."""
    with mock.patch.dict(Program.__init__.__globals__, {"load_library": lambda *_, **__: None}):
        program = Program(objective, start)
    weights = program.flatten(start)
    return PortableProgram(name, program, weights, torch.full_like(weights, rate))


def needed() -> list[str]:
    """The Debian packages that are missing for the variants."""
    commands = {"gcc": "gcc", "clang": "clang"}
    if platform.machine() != "aarch64":
        commands |= {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64": "qemu-user"}
    return [package for command, package in commands.items() if not shutil.which(command)]


def variants(compiler: str, level: str) -> list[Variant]:
    """A compiler and a level for every processor that can be executed here or emulated."""
    if platform.machine() != "x86_64":
        return [Variant(compiler, "native", level)]
    here = [Variant(compiler, p, level) for p in processors() if p != "native"]
    cross = {"gcc": "aarch64-linux-gnu-gcc", "clang": "clang --target=aarch64-linux-gnu"}[compiler]
    return [*here, Variant(cross, "armv8-a", level, "qemu-aarch64")]


def build(work: PortableProgram, variant: Variant, directory: Path, *flags: str) -> Path:
    """Compile a program to a static executable, with the flags of the library."""
    path = directory / "".join(
        c if c.isalnum() else "_" for c in f"{work.name}{variant.name}{flags}"
    )
    source = f"{work.program.source.text}\n#define POINTS {POINTS}\n{MAIN}"
    machine = f"-m{'cpu' if variant.processor == 'native' else 'arch'}={variant.processor}"
    command = [*shlex.split(variant.compiler), variant.level, machine, *FLAGS, *flags]
    subprocess.run(
        [*command, "-static", "-x", "c", "-", "-o", str(path)],
        input=source.encode(),
        check=True,
    )
    return path


def run(path: Path, work: PortableProgram, steps: int, variant: Variant) -> Outcome:
    """Run an executable for a number of steps."""
    arrays, period = work.program.arrays, -(-steps // POINTS)
    given = [arrays.data, arrays.uniform, arrays.scalars, arrays.tables, arrays.work]
    sizes = [t.numel() * t.element_size() for t in given]
    parts = [np.array([*sizes, steps, period], np.int64)]
    parts += [t.contiguous().numpy() for t in (*given, work.weights, work.rates)]
    done = subprocess.run(
        [*shlex.split(variant.emulator), str(path)],
        input=b"".join(part.tobytes() for part in parts),
        capture_output=True,
        check=True,
        timeout=300,
    )
    step, code, _ = np.frombuffer(done.stdout[:24], np.int64)
    return Outcome(int(step), int(code), np.frombuffer(done.stdout[24:], TYPES[work.dtype]))
