"""What a run imports, and what happens to the garbage collector: start-up is most of a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SLOW = (
    "sympy", "mpmath", "torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes",
    "torch._functorch._aot_autograd.runtime_wrappers", "matplotlib", "gd_torch.checking",
    "gd_torch.plots",
)  # fmt: skip
"""What takes long to import and no run needs. torch itself imports the rest of torch.fx."""

END = f"""
import sys
found = [name for name in {SLOW!r} if name in sys.modules]
assert not found, found
"""

NET = """
from gd_torch import descend, init_weights, load_iris, network_mse
X, Y, _ = load_iris()
objective, start = network_mse(X / 4, Y), init_weights((4, 4, 3))
"""

MIXED = """
import torch
import torch.nn.functional as F
from gd_torch import descend
X, c = torch.linspace(-1, 1, 60).reshape(12, 5), torch.arange(12) % 3
def objective(W, b):
    Z = F.layer_norm(torch.einsum("ni,io->no", X, W), (3,)) + b
    picked = Z.gather(1, c[:, None]).flip(0).cumsum(0).std()
    return F.cross_entropy(torch.where(Z > 0, Z.clamp(max=2), Z.exp()), c) + 0.01 * picked
start = (torch.ones(5, 3) + torch.arange(3), torch.zeros(3))
"""

RUN = "descend(objective, start, learning_rate=0.1, steps={steps}, stepper={stepper!r})\n"

MANY = """
import torch
from gd_torch import curve, descend_many
starts = torch.linspace(-1, 1, 300, dtype=torch.float64)
descend_many(curve, starts, 0.01, steps=50, tolerance=1e-3, stepper={stepper!r})
"""


def errors_of(text: str) -> str:
    """Run a program in a process with one thread; what it writes to stderr, "" if it succeeds."""
    done = subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.stderr or (f"status {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(objective + RUN.format(steps=steps, stepper=stepper), id=f"{name}-{stepper}")
        for name, objective in (("net", NET), ("mixed", MIXED))
        for stepper, steps in (("eager", 20), ("compiled", 200), ("auto", 5000))
    ]
    + [
        pytest.param(MANY.format(stepper=stepper), id=f"many-{stepper}")
        for stepper in ("eager", "compiled", "auto")
    ],
)
def test_a_run_imports_no_compiler_of_torch_and_no_plots(text):
    """Neither sympy nor torch's compiler is imported by a run, whatever its stepper."""
    assert errors_of(text + END) == ""


def test_training_imports_no_compiler_of_torch_and_no_plots(tmp_path):
    """train.py is as light; after it the collector is frozen, so that its end is quick."""
    program = f"""
import gc
from gd_torch.cli.app import run
options = ["--steps", "3000", "--json", {str(tmp_path / "result.json")!r}]
assert run("train", options, "train.py") == 0
assert gc.get_freeze_count() > 100_000
{END}"""
    assert errors_of(program) == ""
    assert json.loads((tmp_path / "result.json").read_text())["steps"] == 3000


@pytest.mark.parametrize("before", ["", "gc.disable()", "gc.freeze()", "gc.set_threshold(1, 2, 3)"])
def test_the_collector_is_as_it_was_after_the_import(before):
    """Importing the library leaves the collector on or off, and its thresholds."""
    program = f"""
import gc
{before}
def state():
    return gc.isenabled(), gc.get_threshold()
was = state()
from gd_torch import descend
assert state() == was, (state(), was)
"""
    assert errors_of(program) == ""


@pytest.mark.slow
def test_later_garbage_is_collected_although_the_imported_objects_are_frozen():
    """What torch's import made is never searched again; cycles made later are freed, also at exit.

    A process that has imported torch, frozen its objects or disabled the collector is left alone.
    """
    program = """
import gc, weakref
from gd_torch import descend
assert gc.get_freeze_count() > 100_000
class Node: pass
node = Node()
node.self, gone = node, weakref.ref(node)
del node
gc.collect()
assert gone() is None
"""
    assert errors_of(program) == ""
    for before in ("gc.freeze()", "gc.disable()", "import torch"):
        program = f"""
import gc
{before}
from gd_torch import descend
assert gc.get_freeze_count() < 100_000
"""
        assert errors_of(program) == ""


def test_names_that_are_imported_late_are_public():
    """dir(), the star import and attributes know every public name; none is imported before."""
    program = """
import gd_torch, sys
assert "torch" not in sys.modules
assert set(gd_torch.__all__) <= set(dir(gd_torch))
assert not hasattr(gd_torch, "no_such_name")
assert gd_torch.grid_search.search_cost and gd_torch.plots.save
from gd_torch import *
assert all(globals()[name] is getattr(gd_torch, name) for name in gd_torch.__all__)
assert check_partials is gd_torch.check_partials and PartialsReport and assert_partials
"""
    assert errors_of(program) == ""
