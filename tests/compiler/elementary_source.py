"""Sources that call every elementary function, compiled with each compiler that is found."""

import atexit
import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from gd_torch.compiler.c_header import c_header
from gd_torch.compiler.elementary import FUNCTIONS, elementary_functions

FLAGS = ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wall", "-Wextra", "-Werror"]
TWO = ("pow", "atan2", "fmod")
TYPES = {torch.float32: np.float32, torch.float64: np.float64}
INTEGERS = {torch.float32: np.int32, torch.float64: np.int64}
WORK = Path(tempfile.mkdtemp(prefix="elementary"))
atexit.register(shutil.rmtree, WORK, ignore_errors=True)


def compilers() -> list[str]:
    """The C compilers of this machine, each once."""
    names = ["cc", "gcc", "clang", *(f"clang-{n}" for n in range(14, 22))]
    found = {os.path.realpath(path): name for name in names if (path := shutil.which(name))}
    return sorted(found.values())


def processors() -> list[str]:
    """The instruction sets (values of -march) that this machine can run."""
    if platform.machine() != "x86_64":
        return ["native"]
    flags = Path("/proc/cpuinfo").read_text().split()
    wide = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= set(flags)
    return ["x86-64-v3", "native"] + ["x86-64-v4"] * wide


_PRIMITIVES = """
void primitives(long n, const T *x, const T *y, T *z) {
    for (long i = 0; i + 16 <= n; i += 16) {
        V p[H];
        for (int k = 0; k < H; k++) p[k] = *(const VU *)(x + i + k * LANES);
        T r[16] = {lane_sum(p), lane_max(p), lane_min(p), s_max(x[i], y[i]), s_min(x[i], y[i]),
                   vmax(K(x[i]), K(y[i]))[0], vmin(K(x[i]), K(y[i]))[0], s_sqrt(x[i]),
                   vsqrt(K(x[i]))[0], s_fma(x[i], y[i], x[i + 1]),
                   vfma(K(x[i]), K(y[i]), K(x[i + 1]))[0], s_abs(x[i]), vabs(K(x[i]))[0],
                   SEL(K(x[i]) < K(y[i]), K(x[i]), K(y[i]))[0], s_flush(x[i]),
                   vflush(K(x[i]))[0]};
        for (int k = 0; k < 16; k++) z[i + k] = r[k];
    }
}
static __attribute__((noinline)) void halve(const T *x, T *z) {
    z[0] = x[0] * (T)0.5;
    z[1] = x[1] + x[1];
    *(VU *)(z + 16) = v_exp(*(const VU *)(x + 16));
}
void flushed(const T *x, T *z) {
    FTZ_ON;
    halve(x, z);
    FTZ_OFF;
    z[2] = x[0] * (T)0.5;
}
"""
_MAIN = """
#define N 8192
extern long read(int, void *, unsigned long), write(int, const void *, unsigned long);
static T x[N] __attribute__((aligned(64))), y[N] __attribute__((aligned(64))), z[N];
static void put(void) {
    for (long at = 0, k; at < (long)sizeof z; at += k)
        if ((k = write(1, (char *)z + at, sizeof z - at)) <= 0) __builtin_trap();
}
static void get(T *into) {
    for (long at = 0, k; at < (long)sizeof z; at += k)
        if ((k = read(0, (char *)into + at, sizeof z - at)) <= 0) __builtin_trap();
}
int main(void) {
    get(x);
    get(y);
"""


@functools.cache
def source(dtype: torch.dtype, program: bool = False) -> str:
    """vector_NAME and scalar_NAME over arrays; as a program, all of them over standard input."""
    text = c_header(dtype) + elementary_functions(FUNCTIONS, dtype)
    calls = "    primitives(N, x, y, z); put();\n"
    for name in FUNCTIONS:
        extra, y, yi = (", const T *y", ", *(const VU *)(y + i)", ", y[i]")
        if name not in TWO:
            extra = y = yi = ""
        text += (
            f"void vector_{name}(long n, const T *x{extra}, T *z) {{\n"
            "    for (long i = 0; i + LANES <= n; i += LANES)\n"
            f"        *(VU *)(z + i) = v_{name}(*(const VU *)(x + i){y});\n}}\n"
            f"void scalar_{name}(long n, const T *x{extra}, T *z) {{\n"
            f"    for (long i = 0; i < n; i++) z[i] = s_{name}(x[i]{yi});\n}}\n"
        )
        y = ", y" if name in TWO else ""
        calls += f"    vector_{name}(N, x{y}, z); put(); scalar_{name}(N, x{y}, z); put();\n"
    text += _PRIMITIVES
    return text + _MAIN + calls + "    return 0;\n}\n" if program else text


@functools.cache
def compiled(dtype: torch.dtype, command: str, *options: str, program: bool = False) -> Path:
    """The library (or program) that this compiler makes; libm is not linked."""
    stem = "-".join((str(dtype), command, *options)).replace("/", "_").replace(" ", "")
    path = WORK / f"{stem}{'.exe' if program else '.so'}"
    text = path.with_suffix(".c")
    text.write_text(source(dtype, program))
    how = ["-static"] if program else ["-shared", "-fPIC", "-nostdlib", "-Wl,--no-undefined"]
    subprocess.run(
        [*command.split(), *options, *FLAGS, *how, str(text), "-o", str(path)],
        check=True,
    )
    return path


def call(library: Path, name: str, *arrays: np.ndarray) -> np.ndarray:
    """One function of the library over arrays, padded to whole vectors."""
    n = len(arrays[0])
    padded = [np.concatenate([a, np.ones(-n % 16, a.dtype)]) for a in arrays]
    result = np.empty_like(padded[0])
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*padded, result)]
    getattr(ctypes.CDLL(str(library)), name)(ctypes.c_long(len(result)), *pointers)
    return result[:n]


def bits(numbers: np.ndarray) -> np.ndarray:
    """The bits of the numbers, with one NaN for all."""
    integers = numbers.view(np.int32 if numbers.dtype == np.float32 else np.int64)
    return np.where(numbers != numbers, integers.dtype.type(-1), integers)


def arguments(dtype: torch.dtype, n: int, seed: int) -> np.ndarray:
    """Special values first, then random bits, then numbers of ordinary size."""
    t, rng = TYPES[dtype], np.random.default_rng(seed)
    info = np.finfo(t)
    plain = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 88.0, 104.0, 709.9, 745.0, 1e30, np.inf, np.nan]
    plain += [float(info.smallest_subnormal), float(info.tiny), float(info.max)]
    special = [sign * value for value in plain for sign in (1, -1)]
    pairs = [(a, b)[seed % 2] for a in special for b in special]
    size = 8 * info.dtype.itemsize
    some = rng.integers(-(2 ** (size - 1)), 2 ** (size - 1), n // 4, dtype=INTEGERS[dtype])
    near = rng.uniform(-1, 1, n // 4), rng.uniform(-90, 90, n // 8), rng.uniform(0.5, 2, n // 4)
    far = rng.uniform(-750, 750, n)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [np.array(part).astype(t) for part in (pairs, some.view(t), *near, far)]
        return np.concatenate(parts)[:n]
