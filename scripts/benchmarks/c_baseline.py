"""C with the gradient derived by hand, compiled for the processor of this machine."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.problem import LEARNING_RATE, Net, data, start

SOURCE = r"""
#include <math.h>
#define ROWS 150
#define PAD 160
static inline float s(float z) { return 1.0f / (1.0f + expf(-z)); }

/* One net: W1 is 4 x HID, W2 is HID x 3; x is 4 x PAD, y is 3 x PAD, samples last. */
static void net(float *W1, float *W2, const float (*x)[PAD], const float (*y)[PAD],
                float rate, long steps) {
    float h[HID][PAD], d2[3][PAD], d1[PAD];
    for (long t = 0; t < steps; t++) {
        float g1[4][HID], g2[HID][3];
        for (int j = 0; j < HID; j++)
            for (int n = 0; n < ROWS; n++) {
                float z = 0;
                for (int i = 0; i < 4; i++) z += x[i][n] * W1[i * HID + j];
                h[j][n] = s(z);
            }
        for (int k = 0; k < 3; k++) {
            for (int n = 0; n < ROWS; n++) {
                float z = 0;
                for (int j = 0; j < HID; j++) z += h[j][n] * W2[j * 3 + k];
                float p = s(z);
                d2[k][n] = (2.0f / (3 * ROWS)) * (p - y[k][n]) * p * (1 - p);
            }
            for (int j = 0; j < HID; j++) {
                float g = 0;
                for (int n = 0; n < ROWS; n++) g += h[j][n] * d2[k][n];
                g2[j][k] = g;
            }
        }
        for (int j = 0; j < HID; j++) {
            for (int n = 0; n < ROWS; n++) {
                float e = 0;
                for (int k = 0; k < 3; k++) e += d2[k][n] * W2[j * 3 + k];
                d1[n] = e * h[j][n] * (1 - h[j][n]);
            }
            for (int i = 0; i < 4; i++) {
                float g = 0;
                for (int n = 0; n < ROWS; n++) g += x[i][n] * d1[n];
                g1[i][j] = g;
            }
        }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < HID; j++) W1[i * HID + j] -= rate * g1[i][j];
        for (int j = 0; j < HID; j++)
            for (int k = 0; k < 3; k++) W2[j * 3 + k] -= rate * g2[j][k];
    }
}

void nets(float *W1, float *W2, const float (*x)[PAD], const float (*y)[PAD],
          float rate, long steps, long runs, int threads) {
    #pragma omp parallel for num_threads(threads) if (threads > 1)
    for (long r = 0; r < runs; r++)
        net(W1 + r * 4 * HID, W2 + r * HID * 3, x, y, rate, steps);
}
"""


@functools.cache
def _library(hidden: int) -> ctypes.CDLL | None:
    """The compiled kernel, or None where there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "nets.c", Path(folder) / "nets.so"
        source.write_text(SOURCE)
        flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC"]
        command = [compiler, *flags, f"-DHID={hidden}", str(source), "-o", str(library), "-lm"]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


def available() -> bool:
    """Whether there is a compiler."""
    return _library(2) is not None


def descent(hidden: int, steps: int, runs: int = 0, threads: int = 1) -> tuple[Tensor, Tensor]:
    """The final weights after ``steps`` steps."""
    library = _library(hidden)
    net = Net(hidden)
    W1, W2 = (W.clone() for W in start(net, runs))
    x, y = (torch.nn.functional.pad(part.T, (0, 10)).contiguous() for part in data(net))
    pointer = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (W1, W2, x, y)]
    library.nets(
        *pointer, ctypes.c_float(LEARNING_RATE), ctypes.c_long(steps), ctypes.c_long(max(runs, 1)),
        ctypes.c_int(threads),
    )  # fmt: skip
    return W1, W2
