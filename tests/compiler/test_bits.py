"""Generated programs give the same bits on every processor, with every compiler and level."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from gd_torch import curve, init_weights, load_iris, network_mse
from gd_torch.compiler import Program, RecordBuffer
from tests.compiler.cross_processor import (
    POINTS,
    Outcome,
    PortableProgram,
    Variant,
    build,
    needed,
    portable_program,
    run,
    variants,
)
from tests.compiler.objectives import cases

STEPS = 2000
"""Steps of a run on the processor of this machine."""

EMULATED_STEPS = 300
"""Steps of a run on an emulated processor; it is compared with a run of the same length."""

DTYPES = {"float64": torch.float64, "float32": torch.float32}

OBJECTIVES = 30
"""Number of named objectives in addition to the networks and the curve."""

FEW_OBJECTIVES = 8
"""Number of objectives for all compilers and levels."""


def problems(kind: str) -> list[tuple[str, object, tuple[torch.Tensor, ...], float]]:
    """Name, objective, start and rate: nets of 14 and 28 weights, the curve, and others."""
    dtype = DTYPES[kind]
    X, Y, _ = load_iris()
    mse = network_mse(X.to(dtype), Y.to(dtype))
    found = [
        (f"net of {7 * hidden}", mse, init_weights((4, hidden, 3), dtype=dtype), 0.5)
        for hidden in (2, 4)
    ]
    found.append(("curve", curve, (torch.tensor(1.9, dtype=dtype),), 0.01))
    ordinary = [case for case in cases(dtype).values() if case.must_compile]
    chosen = ordinary[:: len(ordinary) // OBJECTIVES][:OBJECTIVES]
    return found + [(c.name, c.objective, c.start, c.learning_rate) for c in chosen]


def portable_programs(kind: str) -> list[PortableProgram]:
    """The programs of all problems, not compiled yet."""
    return [portable_program(*problem) for problem in problems(kind)]


def outcome(work: PortableProgram, variant: Variant, directory: Path) -> dict[int, Outcome]:
    """Compile and run, by the number of steps."""
    path = build(work, variant, directory)
    counts = (EMULATED_STEPS,) if variant.emulator else (EMULATED_STEPS, STEPS)
    return {steps: run(path, work, steps, variant) for steps in counts}


def differences(work: list[PortableProgram], some: list[Variant], directory: Path) -> list[str]:
    """The runs in which a variant gives other bits than the first one."""
    pairs = list(itertools.product(work, some))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda pair: outcome(*pair, directory), pairs))
    first = {item.name: r for (item, variant), r in zip(pairs, results, strict=True)
             if variant is some[0]}  # fmt: skip
    return [
        f"{item.name}, {variant.name}, {steps} steps"
        for (item, variant), result in zip(pairs, results, strict=True)
        for steps, one in result.items()
        if not one.same(first[item.name][steps])
    ]


@pytest.fixture(scope="module")
def complete() -> None:
    """All compilers and the emulator must be installed."""
    missing = needed()
    if missing:
        pytest.fail(f"install the Debian packages {' '.join(missing)}")


@pytest.mark.slow
@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("kind", DTYPES)
def test_bits_do_not_depend_on_the_processor(kind: str, tmp_path: Path) -> None:
    """Vectors of 64, 32 and 16 bytes: weights, losses, norms and steps of 33 objectives."""
    work = portable_programs(kind)
    assert len(work) == OBJECTIVES + 3
    assert differences(work, variants("gcc", "-O2"), tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize("kind", DTYPES)
def test_bits_do_not_depend_on_compiler_and_level(kind: str, tmp_path: Path) -> None:
    """gcc and clang at -O2 and -O3, for all processors: the same bits for 8 objectives."""
    every = portable_programs(kind)
    work = every[:3] + every[3 :: OBJECTIVES // (FEW_OBJECTIVES - 3)][: FEW_OBJECTIVES - 3]
    some = [v for c, level in itertools.product(("gcc", "clang"), ("-O2", "-O3"))
            for v in variants(c, level)]  # fmt: skip
    assert len(work) == FEW_OBJECTIVES
    assert differences(work, some, tmp_path) == []


@pytest.mark.parametrize("kind", DTYPES)
def test_the_program_in_use_has_the_bits_of_another_processor(kind: str, tmp_path: Path) -> None:
    """The program loaded for this processor against one with vectors of 32 bytes, if available."""
    every = problems(kind)
    for name, objective, start, rate in (every[0], every[2], every[17]):
        work = portable_program(name, objective, start, rate)
        one = variants("gcc", "-O2")[0]
        other = run(build(work, one, tmp_path), work, STEPS, one)
        program = Program(objective, start)
        weights = work.weights.clone()
        room = [torch.zeros(POINTS, dtype=work.dtype) for _ in range(2)]
        path = torch.zeros(POINTS, program.count, dtype=work.dtype)
        record = RecordBuffer(STEPS // POINTS, *room, path)
        here = program.run(weights, work.rates, 0.0, 0, STEPS, record)
        ends = torch.tensor([here.loss, here.gradient_norm], dtype=work.dtype)
        parts = (ends, weights, program.partials, *room, path.reshape(-1))
        numbers = np.concatenate([part.numpy() for part in parts])
        assert other.same(Outcome(here.step, here.code, numbers)), name


def test_other_bits_are_detected(tmp_path: Path) -> None:
    """If the compiler may contract to fused multiply-adds, the bits differ."""
    one, two, *_ = [*variants("gcc", "-O2"), *variants("gcc", "-O3")]
    work = portable_program(*problems("float64")[2])
    exact = run(build(work, one, tmp_path), work, STEPS, one)
    loose = build(work, two, tmp_path, "-ffp-contract=fast", "-ffast-math")
    assert not exact.same(run(loose, work, STEPS, two))
