"""Hostile objectives: each may crash, make a value constant, or change its process.

    python -m tests.compiler.hostile NAME ...

runs the named objectives one after the other, with eager, compiled and automatic steps, and prints
two JSON lines for each: its name before it starts, then its results. The parent process therefore
knows which objective crashed the interpreter.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import math
import os
import signal
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gd_torch import descend

F64 = torch.float64


@dataclass(frozen=True)
class Hostile:
    """How one hostile objective is run.

    Attributes:
        make: builds a fresh objective and its start, so that no state passes between steppers.
        steps: steps of the compiled run and its eager reference.
        auto_steps: steps of the automatic run and its eager reference; 0 leaves them out.
        impure: the objective counts its calls or reads a clock: results may differ from eager ones
            if a warning says that the steps are eager.
        alone: it changes global state and needs a process of its own.
    """

    make: Callable[[], tuple[Callable[..., object], object]]
    steps: int = 40
    auto_steps: int = 2500
    impure: bool = False
    alone: bool = False
    learning_rate: float = 0.01


HOSTILE: dict[str, Hostile] = {}


def hostile(**settings: object) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a function that builds an objective to the table, by its name."""

    def add(make: Callable[[], object]) -> Callable[[], object]:
        HOSTILE[make.__name__] = Hostile(make, **settings)  # type: ignore[arg-type]
        return make

    return add


def numbers(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=F64)


def bowl(w: Tensor) -> Tensor:
    """A plain objective, the part that is not hostile."""
    return (w - numbers(1.0, 2.0, 3.0)).square().sum()


THREE = numbers(0.5, -0.3, 0.2)
TIME = torch.linspace(0, 1, 12, dtype=F64)[:, None]


# ------------------------------------------------------------------------ derivatives in objectives


@hostile()
def jvp_inside():
    """Forward-mode derivatives: u' = -u."""

    def objective(W, V):
        u, du = torch.func.jvp(lambda s: torch.tanh(s @ W) @ V, (TIME,), (torch.ones_like(TIME),))
        return (du + u).square().mean() + (u[0] - 1).square().sum()

    return objective, (torch.ones(1, 4, dtype=F64), torch.ones(4, 1, dtype=F64))


@hostile()
def vmap_inside():
    return lambda w: torch.func.vmap(lambda t: (w * t).sum().sin())(TIME).mean(), THREE


@hostile(auto_steps=1500)
def func_grad_inside():
    def objective(w):
        u = lambda t: torch.tanh(w * t).sum()  # noqa: E731
        slopes = torch.func.vmap(torch.func.grad(u))(TIME[:, 0])
        return (slopes + 1).square().mean()

    return objective, THREE


@hostile(auto_steps=1500)
def autograd_grad_inside():
    def objective(W):
        t = TIME.clone().requires_grad_()
        u = torch.tanh(t @ W).sum(1)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        return (du + 1).square().mean()

    return objective, numbers(0.3, -0.7)[None]


@hostile(auto_steps=1500)
def gradient_penalty_inside():
    def objective(w):
        (slope,) = torch.autograd.grad(bowl(w), w, create_graph=True)
        return bowl(w) + 0.01 * slope.square().sum()

    return objective, THREE


@hostile(auto_steps=500)
def jacobian_inside():
    return (
        lambda w: (
            torch.autograd.functional.jacobian(torch.sin, w, create_graph=True).sum() + bowl(w)
        )
    ), THREE


@hostile(auto_steps=500)
def hessian_inside():
    return lambda w: torch.func.hessian(lambda v: v.pow(3).sum())(w).sum() + bowl(w), THREE


@hostile(auto_steps=500)
def backward_inside():
    def objective(w):
        v = w.detach().clone().requires_grad_()
        bowl(v).backward()
        return bowl(w) + (w * v.grad).sum() * 0.01

    return objective, THREE


# -------------------------------------------------------------------------------------------- hooks


@hostile()
def hook_on_a_temporary():
    def objective(w):
        y = w * 2
        if y.requires_grad:
            y.register_hook(lambda g: g * 0.5)
        return bowl(y)

    return objective, THREE


@hostile()
def hook_on_the_weight():
    def objective(w):
        if w.requires_grad:
            w.register_hook(lambda g: g.clamp(-1, 1))
        return bowl(w)

    return objective, THREE


@hostile()
def hook_that_depends_on_the_slope():
    def objective(w):
        y = w * 1.0
        if y.requires_grad:
            y.register_hook(lambda g: g * 0.1 if float(g.norm()) < 2 else g)
        return bowl(y)

    return objective, THREE


@hostile()
def module_hooks():
    layer = nn.Linear(3, 2).double()
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0).view(2, 3) / 6)
        layer.bias.zero_()
    layer.register_forward_hook(lambda _module, _inputs, output: output * 2)
    layer.register_full_backward_hook(lambda _module, inputs, _outputs: (inputs[0] * 0.5,))
    return lambda w: (layer(w[None]) - 1).square().sum() + bowl(w), THREE


@hostile()
def saved_tensors_hooks_inside():
    def objective(w):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t / 2):
            y = w.exp() * w
        return bowl(y)

    return objective, THREE


@hostile(auto_steps=500)
def checkpoint_inside():
    from torch.utils.checkpoint import checkpoint

    return lambda w: bowl(checkpoint(lambda v: v.sin().exp(), w, use_reentrant=False)), THREE


# -------------------------------------------------------------------------------- custom functions


class Cube(torch.autograd.Function):
    """A correct function."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2


class NumpyCube(torch.autograd.Function):
    """A correct function that computes in numpy."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().numpy() ** 3)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.from_numpy(3 * x.detach().numpy() ** 2)


class WrongShape(Cube):
    """A backward of the wrong shape."""

    @staticmethod
    def backward(_ctx, g):
        return g.repeat(2)


class Raising(Cube):
    """A backward that raises."""

    @staticmethod
    def backward(_ctx, _g):
        raise ArithmeticError("no derivative here")


class Straight(Cube):
    """A derivative that is not the one of the forward pass, as in straight-through estimators."""

    @staticmethod
    def forward(ctx, x):
        ctx.needs = ctx.needs_input_grad
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g if ctx.needs[0] else None


class Once(Cube):
    """A backward that cannot be differentiated again."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2


class Doubled(torch.autograd.Function):
    """A function that edits its input."""

    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(_ctx, g):
        return 2 * g


class BranchingBackward(Cube):
    """A backward with a Python branch on a value."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * x**2 if float(x.sum()) < 1.5 else 0.1 * g


for _kind in (Cube, NumpyCube, WrongShape, Raising, Straight, Once, BranchingBackward):
    HOSTILE[f"custom_function_{_kind.__name__}"] = Hostile(
        lambda kind=_kind: (lambda w: bowl(kind.apply(w * 1.0)), THREE + 0.3)
    )


@hostile()
def custom_function_Doubled():
    return lambda w: bowl(Doubled.apply(w * 1.0)), THREE


# ---------------------------------------------------------------------------- threads and processes


@hostile(auto_steps=500)
def thread_inside():
    def objective(w):
        found = []
        thread = threading.Thread(target=lambda: found.append(w * 2))
        thread.start()
        thread.join()
        return bowl(found[0])

    return objective, THREE


@hostile(impure=True)
def thread_that_goes_on():
    state = numbers(0.0)

    def count():
        for _ in range(50):
            state.add_(1e-9)
            time.sleep(1e-3)

    threading.Thread(target=count, daemon=True).start()
    return lambda w: bowl(w) + 0 * state.sum(), THREE


@hostile(alone=True, steps=5, auto_steps=0)
def fork_inside():
    def objective(w):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return bowl(w)

    return objective, THREE


@hostile(alone=True)
def signal_handler_inside():
    seen = []

    def objective(w):
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
        os.kill(os.getpid(), signal.SIGUSR1)
        return bowl(w)

    return objective, THREE


@hostile(alone=True)
def signals_during_the_run():
    def ring(*_):
        sum(range(100))

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    return bowl, THREE


@hostile(alone=True)
def number_of_threads_changed():
    def objective(w):
        torch.set_num_threads(2)
        return bowl(w)

    return objective, THREE


@hostile(alone=True)
def default_dtype_changed():
    def objective(w):
        torch.set_default_dtype(F64)
        return bowl(w) + torch.ones(3).sum() * 0

    return objective, THREE


@hostile(alone=True)
def gradients_switched_off():
    def objective(w):
        torch.set_grad_enabled(False)
        y = w * 2
        torch.set_grad_enabled(True)
        return bowl(w) + y.sum() * 0.1

    return objective, THREE


@hostile(steps=4, auto_steps=0)
def garbage_collected():
    def objective(w):
        gc.collect()
        return bowl(w)

    return objective, THREE


@hostile(alone=True)
def output_closed():
    def objective(w):
        with contextlib.redirect_stdout(None):
            return bowl(w)

    return objective, THREE


@hostile(alone=True, auto_steps=0)
def global_deleted():
    space = {"bowl": bowl, "factor": 2.0, "calls": 0}
    code = (
        "def objective(w):\n    global calls\n    calls += 1\n"
        "    if calls == 20:\n        globals().pop('factor')\n    return bowl(w) * factor\n"
    )
    exec(code, space)
    return space["objective"], THREE


# --------------------------------------------------------------------------------------- exceptions


def _raising_at(call: int, error: BaseException) -> Callable[[Tensor], Tensor]:
    state = {"calls": 0}

    def objective(w):
        state["calls"] += 1
        if state["calls"] >= call:
            raise error
        return bowl(w)

    return objective


@hostile(auto_steps=0)
def exception_at_the_first_step():
    return _raising_at(1, LookupError("no data")), THREE


@hostile(auto_steps=0)
def exception_at_the_second_step():
    return _raising_at(2, LookupError("no data")), THREE


@hostile()
def exception_at_step_20():
    return _raising_at(20, LookupError("no data")), THREE


@hostile()
def keyboard_interrupt():
    return _raising_at(20, KeyboardInterrupt()), THREE


@hostile()
def system_exit():
    return _raising_at(20, SystemExit(3)), THREE


@hostile()
def own_exception():
    class Unusual(BaseException):
        pass

    return _raising_at(20, Unusual("on purpose")), THREE


@hostile()
def stop_iteration():
    items = iter(range(20))

    def objective(w):
        return bowl(w) + 0 * next(items)

    return objective, THREE


@hostile()
def exception_by_the_value():
    def objective(w):
        if w[0] > 0.6:
            raise ValueError("the weight is too large")
        return bowl(w)

    return objective, THREE


@hostile()
def recursion_without_end():
    def objective(w):
        return objective(w * 1.0)

    return objective, THREE


@hostile(auto_steps=0)
def assertion_on_the_value():
    def objective(w):
        assert bool((w < 0.9).all()), "left the box"
        return bowl(w)

    return objective, THREE


@hostile()
def exception_caught_inside():
    def objective(w):
        with contextlib.suppress(RuntimeError):
            (w @ torch.ones(5, dtype=F64)).sum()
        return bowl(w)

    return objective, THREE


@hostile()
def warning_at_every_step():
    def objective(w):
        warnings.warn("careful", UserWarning, stacklevel=1)
        return bowl(w)

    return objective, THREE


# --------------------------------------------------------------------------- dtypes, devices, kinds


@hostile()
def half_inside():
    return lambda w: bowl(w.half().double()) + bowl(w), THREE


@hostile()
def bfloat16_inside():
    return lambda w: (w.bfloat16() * 2).sum().double() + bowl(w), THREE


@hostile()
def half_weights():
    return lambda w: (w - 1).square().sum(), THREE.half()


@hostile()
def meta_constant():
    return lambda w: bowl(w) + torch.ones(3, device="meta").numel() * 0, THREE


@hostile(auto_steps=0)
def meta_weights():
    return lambda w: (w - 1).square().sum(), torch.ones(3, device="meta")


@hostile()
def autocast_inside():
    X = torch.eye(3, dtype=torch.float32)

    def objective(w):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return ((X @ w[:, None]).float() - 1).square().sum()

    return objective, THREE.float()


@hostile()
def sparse_constant():
    S = torch.eye(3, dtype=F64).to_sparse()
    return lambda w: bowl((S @ w[:, None])[:, 0]), THREE


@hostile()
def complex_inside():
    return lambda w: (w[0] + 1j * w[1]).abs().square() + bowl(w), THREE


@hostile()
def complex_weights():
    return lambda w: w.abs().square().sum(), torch.ones(2, dtype=torch.complex128)


@hostile()
def quantized_inside():
    def objective(w):
        q = torch.fake_quantize_per_tensor_affine(w.float(), 0.1, 0, -128, 127)
        return q.double().square().sum() + bowl(w)

    return objective, THREE


@hostile()
def integer_weights():
    return lambda w: w.sum(), torch.ones(3, dtype=torch.int64)


@hostile()
def nan_weights():
    return bowl, numbers(1.0, math.nan, 0.0)


@hostile(auto_steps=0)
def weights_of_size_zero():
    return lambda w, v: w.sum() + (v - 1).square().sum(), (torch.ones(0, 3, dtype=F64), THREE)


@hostile()
def constant_of_size_zero():
    none = torch.ones(0, 3, dtype=F64)
    return lambda w: bowl(w) + (none @ w).sum() + (none * w).sum(), THREE


@hostile()
def mean_of_nothing():
    return lambda w: bowl(w) + 0 * w[:0].mean(), THREE


@hostile(steps=3, auto_steps=0)
def huge_constant():
    huge = torch.arange(12_500_000, dtype=F64).view(-1, 2) * 1e-7
    return lambda w: (huge @ w).square().mean(), numbers(0.1, 0.2)


@hostile()
def mutable_default():
    def objective(w, seen=[]):  # noqa: B006
        seen.append(1)
        return bowl(w)

    return objective, THREE


class Tagged(torch.Tensor):
    """A tensor whose operations are intercepted."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        return super().__torch_function__(function, types, arguments, keywords or {})


@hostile()
def subclass_weights():
    return bowl, THREE.as_subclass(Tagged)


@hostile()
def subclass_constant():
    target = numbers(1.0, 2.0, 3.0).as_subclass(Tagged)
    return lambda w: (w - target).square().sum().as_subclass(torch.Tensor), THREE


class Doubling(torch.overrides.TorchFunctionMode):
    """A mode that doubles every sine."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        return result * 2 if function is torch.sin else result


@hostile()
def torch_function_mode():
    def objective(w):
        with Doubling():
            return bowl(w) + torch.sin(w).sum()

    return objective, THREE


@hostile()
def no_grad_inside():
    def objective(w):
        with torch.no_grad():
            scale = w.abs().sum()
            with torch.enable_grad():
                y = w * 2
        return bowl(y) / (1 + scale)

    return objective, THREE


@hostile()
def inference_mode_inside():
    def objective(w):
        with torch.inference_mode():
            scale = w.detach().abs().sum()
        return bowl(w) * (1 + 0 * scale.clone())

    return objective, THREE


@hostile()
def parameter_weights():
    return bowl, nn.Parameter(THREE.clone())


@hostile()
def leaf_that_requires_gradients():
    other = THREE.clone().requires_grad_()
    return lambda w: bowl(w) + (other * w).sum(), THREE


# ------------------------------------------------------------------------------- kinds of functions


@hostile(auto_steps=300)
def compiled_by_torch():
    inner = torch.compile(lambda w: (w.sin() - 1).square().sum(), backend="eager")
    return lambda w: inner(w) + bowl(w), THREE


@hostile(auto_steps=500)
def torch_script():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = torch.jit.script(_scripted)
    return lambda w: inner(w) + 0.1 * bowl(w), THREE


def _scripted(w: Tensor) -> Tensor:
    if bool(w.sum() > 1.0):
        return w.square().sum()
    return (w - 1.0).square().sum()


@hostile()
def made_by_exec():
    space = {"torch": torch}
    exec("def objective(w):\n    return (w - 1).square().sum()", space)
    return space["objective"], THREE


@hostile()
def made_by_eval():
    return eval("lambda w: (w - 1).square().sum()"), THREE


@hostile()
def generator_inside():
    def parts(w):
        for i, v in enumerate(w):
            yield (v - i).square()

    return lambda w: sum(parts(w)), THREE


@hostile(impure=True)
def generator_that_goes_on():
    def factors():
        n = 0
        while True:
            n += 1
            yield 1.0 if n < 30 else 3.0

    factor = factors()
    return lambda w: bowl(w) * next(factor), THREE


@hostile()
def callable_class():
    class Objective:
        __slots__ = ("target",)

        def __init__(self):
            self.target = numbers(1.0, 2.0, 3.0)

        def __call__(self, w):
            return (w - self.target).square().sum()

    return Objective(), THREE


@hostile()
def callable_with_dynamic_attributes():
    class Objective:
        def __getattr__(self, name):
            if name.startswith("target"):
                return numbers(1.0, 2.0, 3.0)
            raise AttributeError(name)

        def __call__(self, w):
            return (w - self.target).square().sum()

    return Objective(), THREE


@hostile()
def builtin_objective():
    return torch.linalg.vector_norm, THREE


@hostile()
def partial_of_a_builtin():
    return functools.partial(torch.sum), THREE


@hostile()
def module_objective():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.target = nn.Parameter(numbers(1.0, 2.0, 3.0))

        def forward(self, w):
            return (w - self.target).square().sum()

    return Model(), THREE


@hostile(auto_steps=200)
def functional_call_inside():
    layer = nn.Linear(3, 1).double()
    x = torch.eye(3, dtype=F64)

    def objective(w):
        weights = {"weight": w[None], "bias": w[:1]}
        return (torch.func.functional_call(layer, weights, (x,)) - 1).square().sum()

    return objective, THREE


@hostile(steps=20, auto_steps=0)
def descends_itself():
    def objective(w):
        inner = descend(
            lambda v: (v - w.detach()[0]).square(),
            0.0,
            learning_rate=0.1,
            steps=5,
            stepper="eager",
        )
        return bowl(w) + w[0] * inner.weights[0]

    return objective, THREE


@hostile(steps=5, auto_steps=0)
def compiles_itself():
    def objective(w):
        inner = descend(
            lambda v: (v - 1).square(), 0.0, learning_rate=0.1, steps=20, stepper="compiled"
        )
        return bowl(w) + w[0] * inner.weights[0]

    return objective, THREE


# --------------------------------------------------------------------------- arguments and results


@hostile()
def argument_modified():
    def objective(w):
        with torch.no_grad():
            w.clamp_(min=0)
        return (w + 1).square().sum()

    return objective, THREE


@hostile()
def argument_data_modified():
    def objective(w):
        w.data.mul_(0.99)
        return bowl(w)

    return objective, THREE


@hostile()
def argument_modified_in_numpy():
    def objective(w):
        w.detach().numpy()[0] += 0.01
        return bowl(w)

    return objective, THREE


@hostile()
def argument_kept():
    kept = []

    def objective(w):
        kept.append(w)
        return bowl(w) + 0 * kept[0].detach().sum()

    return objective, THREE


@hostile()
def argument_kept_with_its_graph():
    kept = []

    def objective(w):
        kept.append(w * 2)
        return bowl(w) + 0.1 * kept[-1].sum()

    return objective, THREE


@hostile()
def returns_the_weight():
    return lambda w: w, torch.tensor(1.0, dtype=F64)


@hostile()
def returns_a_view():
    return lambda w: w[0], THREE


@hostile()
def returns_a_view_of_a_view():
    return lambda w: w.view(3, 1).T[0, 2:].squeeze(), THREE


@hostile()
def returns_a_number():
    return lambda w: float(w.detach().sum()), THREE


@hostile()
def returns_none():
    return lambda w: None if w is not None else w, THREE


@hostile()
def returns_a_tuple():
    return lambda w: (bowl(w), w), THREE


@hostile()
def returns_a_vector():
    return lambda w: w.square(), THREE


@hostile()
def returns_one_entry():
    return lambda w: w.square().sum()[None], THREE


@hostile()
def returns_float32():
    return lambda w: bowl(w).float(), THREE


@hostile()
def returns_a_constant():
    return lambda _w: torch.tensor(2.0, dtype=F64), THREE


@hostile()
def returns_a_detached_loss():
    return lambda w: bowl(w).detach(), THREE


@hostile(auto_steps=0)
def another_shape_at_the_second_call():
    state = {"calls": 0}

    def objective(w):
        state["calls"] += 1
        return bowl(w) if state["calls"] < 2 else w.square()

    return objective, THREE


@hostile(impure=True)
def another_dtype_later():
    state = {"calls": 0}

    def objective(w):
        state["calls"] += 1
        return bowl(w) if state["calls"] < 30 else bowl(w).float().double()

    return objective, THREE


@hostile(impure=True)
def data_resized():
    X, state = torch.eye(3, dtype=F64), {"calls": 0}

    def objective(w):
        state["calls"] += 1
        if state["calls"] == 20:
            X.resize_(2, 3)
        return (X @ w - 1).square().mean()

    return objective, THREE


@hostile(impure=True)
def constant_edited_inside():
    decay = numbers(1.0)

    def objective(w):
        decay.mul_(0.999)
        return bowl(w) * decay[0]

    return objective, THREE


@hostile(steps=5, auto_steps=30)
def deep_graph():
    def objective(w):
        y = w
        for _ in range(1700):
            y = (y * 0.999 + 0.001).sin()
        return bowl(y)

    return objective, THREE


@hostile(steps=3, auto_steps=0)
def wide_graph():
    def objective(w):
        return torch.stack([(w[i % 3] - i) ** 2 for i in range(1500)]).mean()

    return objective, THREE


@hostile(auto_steps=0)
def called_with_another_weight():
    other = numbers(1.0, 1.0, 1.0).requires_grad_()

    def objective(w):
        (slope,) = torch.autograd.grad(bowl(other), other)
        return bowl(w) + (slope * w).sum()

    return objective, THREE


@hostile()
def module_of_its_own():
    module = types.ModuleType("temporary_module")
    exec("def f(w):\n    return (w - 1).square().sum()", module.__dict__)
    return lambda w: module.f(w), THREE


# ------------------------------------------------------------------------------------------ running


def outcome(case: Hostile, stepper: str, steps: int) -> dict[str, object]:
    """The numbers of one run or the exception it ended with, and the library's warnings."""
    objective, start = case.make()
    before = [w.detach().clone() for w in (start if isinstance(start, tuple) else (start,))]
    found: dict[str, object] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = descend(
                objective,
                start,
                learning_rate=case.learning_rate,
                steps=steps,
                record="last",
                stepper=stepper,
            )
        except BaseException as error:
            found |= {"error": type(error).__name__, "message": str(error)}
        else:
            found |= {
                "weights": [w.double().flatten().tolist() for w in run.weights],
                "loss": float(run.losses[-1]),
                "norm": float(run.gradient_norms[-1]),
                "steps": run.steps,
                "stop": run.stop.name,
            }
    after = start if isinstance(start, tuple) else (start,)
    found["warnings"] = [str(w.message) for w in caught if w.category is RuntimeWarning]
    found["start modified"] = not all(
        b.device.type == "meta" or torch.equal(b.nan_to_num(0.5), a.detach().nan_to_num(0.5))
        for b, a in zip(before, after, strict=True)
    )
    return found


def results(name: str) -> dict[str, object]:
    """The outcomes of all steppers for one hostile objective."""
    case = HOSTILE[name]
    found = {stepper: outcome(case, stepper, case.steps) for stepper in ("eager", "compiled")}
    if case.auto_steps:
        found["long eager"] = outcome(case, "eager", case.auto_steps)
        found["auto"] = outcome(case, "auto", case.auto_steps)
    return found


def main(names: list[str]) -> int:
    """Run the named objectives; two JSON lines each."""
    torch.set_num_threads(1)
    out = sys.stdout
    for name in names:
        print(json.dumps({"begin": name}), file=out, flush=True)
        began = time.perf_counter()
        found = results(name)
        signal.setitimer(signal.ITIMER_REAL, 0)
        line = {"name": name, "seconds": round(time.perf_counter() - began, 2), **found}
        print(json.dumps(line), file=out, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
