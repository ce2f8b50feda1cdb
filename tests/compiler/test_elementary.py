"""The elementary functions of generated code: their errors, special values and bits."""

import ctypes
import platform
import re
import shutil
import subprocess

import mpmath
import numpy as np
import pytest
import torch
from elementary_source import (
    FLAGS,
    TWO,
    TYPES,
    arguments,
    bits,
    call,
    compiled,
    compilers,
    processors,
)

from gd_torch.compiler.c_header import c_header
from gd_torch.compiler.elementary import FUNCTIONS, elementary_functions

EXACT = ("fmod", "floor", "ceil", "trunc", "round", "sign")
BOUNDS = dict.fromkeys(("exp", "log", "log1p", "expm1", "tanh"), 1.1) | {"sigmoid": 2.0}


def library(dtype):
    return compiled(dtype, compilers()[0], "-O3", "-march=native")


def exponents(rng, low, high, n):
    """Numbers of either sign whose logarithms are evenly spread."""
    return 2.0 ** rng.uniform(low, high, n) * rng.choice([-1, 1], n)


def points(name, dtype, n):
    """Arguments over the range of one function, with more points where it is difficult."""
    rng, single = np.random.default_rng(0), dtype == torch.float32
    large, most = (88, 126) if single else (709, 1020)
    every, small = exponents(rng, -most, most, n), exponents(rng, -60, -1, n)
    unit, to_two = rng.uniform(-1, 1, n), rng.uniform(0.5, 2, n)
    one = 1 + exponents(rng, -24, -2, n)
    turns = np.round(rng.uniform(0, 1e5, n)) * np.pi / 2
    sine = [rng.uniform(-10, 10, n), every, turns, exponents(rng, 18, 22, n)]
    inverse = [unit, small, rng.uniform(0.45, 0.55, n), 1 - abs(small)]
    growing = [rng.uniform(-1.17 * large, large, n), unit, small]
    chosen = {
        "exp": growing,
        "expm1": [*growing, rng.uniform(0.3, 0.5, n)],
        "exp2": [rng.uniform(-1.2 * most, most, n), unit],
        "sigmoid": [rng.uniform(-large, 1.17 * large, n), unit, small, rng.uniform(-20, 20, n)],
        "tanh": [rng.uniform(-20, 20, n), unit, rng.uniform(0.9, 1.1, n), small],
        "sinh": [rng.uniform(-large, large, n), 2 * unit, small],
        "cosh": [rng.uniform(-large, large, n), 2 * unit],
        "log1p": [abs(every), unit, -1 + abs(small), rng.uniform(-0.32, 0.45, n)],
        "asinh": [every, 3 * unit],
        "acosh": [1 + abs(every), rng.uniform(1, 3, n)],
        "atanh": [unit, small],
        "atan": [every, rng.uniform(0.4, 2.5, n)],
        "erf": [6 * unit, unit, rng.uniform(0.9, 1.1, n), small],
        "erfc": [rng.uniform(-6, 10 if single else 26.5, n), unit, rng.uniform(0.4, 1.2, n)],
    }
    chosen |= {key: [abs(every), to_two, one] for key in ("log", "log2", "log10")}
    chosen |= dict.fromkeys(("sin", "cos", "tan"), sine)
    chosen |= dict.fromkeys(("asin", "acos"), inverse)
    if name == "atan2":
        return [np.concatenate([3 * unit, every]), np.concatenate([3 * to_two, every[::-1]])]
    if name == "pow":
        x = np.concatenate([to_two, abs(every)])
        return [x, rng.uniform(-1.1, 1, 2 * n) * large / np.maximum(abs(np.log(x)), 1e-3)]
    return [np.concatenate(chosen[name])]


EXACT_FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "exp2": lambda x: mpmath.power(2, x),
    "log2": lambda x: mpmath.log(x, 2),
    "pow": mpmath.power,
}


def error(got, exact, dtype):
    """|got - exact| in units in the last place of the exact value."""
    digits, least = (24, -149) if dtype == torch.float32 else (53, -1074)
    top = mpmath.mpf(2) ** (128 if dtype == torch.float32 else 1024)
    if exact == 0 or abs(exact) >= top:
        return 0.0 if got == 0 or np.isinf(got) else np.inf
    if not np.isfinite(got):
        return np.inf
    unit = max(int(mpmath.floor(mpmath.log(abs(exact), 2))) - digits + 1, least)
    return float(abs(mpmath.mpf(float(got)) - exact) / mpmath.mpf(2) ** unit)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in EXACT])
def test_error_is_within_the_bound(name, dtype):
    """Against mpmath: 1.1 ulp for exp, log, log1p, expm1 and tanh, 2 ulp for the others;
    those evaluated in float64 for float32 are correctly rounded except for rare ties."""
    args = [a.astype(TYPES[dtype]) for a in points(name, dtype, 150)]
    got = call(library(dtype), f"vector_{name}", *args)
    function = EXACT_FUNCTIONS.get(name) or getattr(mpmath, name)
    with mpmath.workprec(1300 if name in ("sin", "cos", "tan") else 400):
        numbers = zip(got, *args, strict=True)
        errors = [error(g, function(*map(mpmath.mpf, map(float, a))), dtype) for g, *a in numbers]
    worst = int(np.argmax(errors))
    bound = BOUNDS.get(name, 2.0 if dtype == torch.float64 else 0.51)
    assert errors[worst] <= bound, [float(a[worst]).hex() for a in args]


def test_tiny_values_of_the_sigmoid_are_zero(dtype):
    """Below the smallest normal number, where torch returns 0 or a subnormal number."""
    x = -np.linspace(89, 1000, 99) if dtype == torch.float32 else -np.linspace(709.5, 1e5, 99)
    assert not call(library(dtype), "vector_sigmoid", x.astype(TYPES[dtype])).any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_those_of_torch(name, dtype):
    """Zeros and their signs, infinities, NaN, subnormal numbers, ends of domains (every pair of
    them for two arguments): the results of torch in float64, rounded."""
    t = TYPES[dtype]
    info = np.finfo(t)
    plain = [0, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 7, 1e10, np.inf, np.nan]
    plain += [float(info.smallest_subnormal), float(info.tiny), float(info.tiny) / 4]
    plain += [float(info.max), 2.0**25 + 2, 2.0**52 + 1, 2.0**53]
    values = np.array([s * v for v in plain for s in (1.0, -1.0)]).astype(t)
    x, y = np.repeat(values, len(values)), np.tile(values, len(values))
    args = [x, y] if name in TWO else [values]
    got = call(library(dtype), f"vector_{name}", *args).astype(np.float64)
    wide = [a.astype(np.float64) for a in args]
    # torch.fmod gives NaN where the quotient is large: np.fmod is right there.
    if name == "fmod":
        with np.errstate(invalid="ignore"):
            exact = np.fmod(*wide)
    else:
        exact = getattr(torch, name)(*map(torch.from_numpy, wide)).numpy()
    with np.errstate(over="ignore"):
        exact = exact.astype(t).astype(np.float64)
    special = ((exact == 0) & (got == 0)) | ~np.isfinite(exact)
    if name in EXACT:
        special[:] = True
    with np.errstate(invalid="ignore", over="ignore"):
        near = abs(got - exact) <= 4.0 * np.spacing(abs(exact).astype(t))
    same = (bits(got) == bits(exact)) | (~special & near)
    wrong = np.flatnonzero(~same)
    assert not len(wrong), [([float(a[i]) for a in args], got[i], exact[i]) for i in wrong[:8]]


@pytest.mark.parametrize("name", EXACT)
def test_exact_functions_are_exact(name, dtype):
    """Rounding and sign give the bits of torch, and fmod those of C, for random bits and numbers
    of any size.  (torch.fmod itself gives NaN where the quotient is large.)"""
    args = [arguments(dtype, 4096, seed) for seed in range(2 if name in TWO else 1)]
    got = call(library(dtype), f"vector_{name}", *args)
    with np.errstate(invalid="ignore"):
        exact = np.fmod(*args) if name == "fmod" else getattr(torch, name)(torch.tensor(args[0]))
    assert (bits(got) == bits(np.asarray(exact))).all()


def test_exact_powers_have_exact_logarithms(dtype):
    """log2(2^n) is n and log10(10^n) is n."""
    t = TYPES[dtype]
    n = np.arange(-120, 120).astype(t)
    assert (call(library(dtype), "vector_log2", np.exp2(n)) == n).all()
    ten = np.array([float(f"1e{k}") for k in range(11)]).astype(t)
    assert (call(library(dtype), "vector_log10", ten) == np.arange(11)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalar_and_vector_have_the_same_bits(name, dtype):
    """s_NAME(x) is an element of v_NAME."""
    args = [arguments(dtype, 4096, seed) for seed in range(2 if name in TWO else 1)]
    vector = call(library(dtype), f"vector_{name}", *args)
    assert (bits(vector) == bits(call(library(dtype), f"scalar_{name}", *args))).all()


def all_bits(path, dtype):
    """The results of all functions and primitives on the same arguments."""
    x, y = arguments(dtype, 8192, 0), arguments(dtype, 8192, 1)
    results = [call(path, "primitives", x, y)]
    for name in FUNCTIONS:
        args = [x, y] if name in TWO else [x]
        results.append(call(path, f"vector_{name}", *args))
    return bits(np.array(results))


def assert_same(got, expected):
    rows, columns = np.nonzero(got != expected)
    names = ("primitives", *FUNCTIONS)
    assert not len(rows), {names[row]: int(columns[rows == row][0]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O1", "-O2", "-O3"])
@pytest.mark.parametrize("processor", processors())
@pytest.mark.parametrize("compiler", compilers())
def test_bits_do_not_depend_on_compiler_level_or_processor(compiler, processor, level, dtype):
    """Every compiler, optimization level and instruction set gives the bits of the first."""
    path = compiled(dtype, compiler, level, f"-march={processor}")
    assert_same(all_bits(path, dtype), all_bits(library(dtype), dtype))


def emulated():
    """Compilers for AArch64, where this machine can emulate it and does not have it."""
    gcc, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if platform.machine() == "aarch64" or not (gcc and emulator):
        return []
    others = [f"{name} --target=aarch64-linux-gnu" for name in compilers() if "clang" in name]
    return [gcc, *others]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", emulated())
def test_bits_on_an_emulated_aarch64_are_the_same(compiler, dtype):
    """A program for AArch64 writes the bits that this processor computes."""
    program = compiled(dtype, compiler, "-O2", program=True)
    x, y = arguments(dtype, 8192, 0), arguments(dtype, 8192, 1)
    done = subprocess.run(
        ["qemu-aarch64", str(program)],
        input=x.tobytes() + y.tobytes(),
        capture_output=True,
        check=True,
    )
    got = np.frombuffer(done.stdout, TYPES[dtype]).reshape(-1, 8192)
    expected = all_bits(library(dtype), dtype)
    assert_same(bits(got[[0, *range(1, len(got), 2)]]), expected)
    assert_same(bits(got[[0, *range(2, len(got), 2)]]), expected)


def test_reductions_of_a_virtual_vector(dtype):
    """lane_sum, lane_max and lane_min of a virtual vector; the result is NaN if an element is."""
    rng = np.random.default_rng(1)
    n = 64 // np.dtype(TYPES[dtype]).itemsize
    x = rng.normal(size=1024).astype(TYPES[dtype])
    x[512 + 3] = np.nan
    got = call(library(dtype), "primitives", x, x)
    for start in range(0, 1024 - n, 16):
        virtual = x[start : start + n]
        total = virtual
        while len(total) > 1:
            total = total[: len(total) // 2] + total[len(total) // 2 :]
        expected = np.array([total[0], virtual.max(), virtual.min()], TYPES[dtype])
        assert (bits(got[start : start + 3]) == bits(expected)).all()


def test_flush_to_zero_is_set_and_restored(dtype):
    """Between FTZ_ON and FTZ_OFF results and arguments that are subnormal are zero."""
    t = TYPES[dtype]
    info = np.finfo(t)
    x, z = np.full(64, -104 if t == np.float32 else -740, t), np.ones(64, t)
    x[:2] = info.tiny, info.smallest_subnormal
    function = ctypes.CDLL(str(library(dtype))).flushed
    function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(z.ctypes.data))
    assert z[0] == z[1] == z[16] == 0 and z[2] == info.tiny / 2


@pytest.mark.parametrize("compiler", compilers())
def test_no_fused_multiply_add_is_an_error(compiler):
    """A processor without a fused multiply-add is refused when the source is compiled."""
    command = [compiler, *FLAGS, "-U__FMA__", "-U__ARM_FEATURE_FMA", "-x", "c", "-fsyntax-only"]
    text = c_header(torch.float32)
    done = subprocess.run([*command, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode and "no fused multiply-add" in done.stderr


def test_only_required_functions_are_generated(dtype):
    """Everything that a function requires is included once; an unknown name raises ValueError."""
    text = elementary_functions({"pow", "log2"}, dtype)
    assert len(re.findall(r"\bd?wide_log\(V|\bdwide_log\(dV", text)) == 1
    assert "erfc" not in elementary_functions({"exp"}, dtype)
    assert elementary_functions(set(), dtype).count("v_") == 0
    with pytest.raises(ValueError, match="cbrt"):
        elementary_functions({"exp", "cbrt"}, dtype)


def test_other_types_are_refused():
    """Code is generated only for float32 and float64."""
    with pytest.raises(TypeError, match="float16"):
        c_header(torch.float16)
