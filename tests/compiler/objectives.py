"""Named objectives for the differential test of the compiled stepper.

Every case is deterministic. ``cases(dtype)`` builds them from fixed generators, so that float32 and
float64 cases differ by rounding only. ``must_compile`` marks what an ordinary user expects to be
compiled; the other cases may run eagerly with a warning. The cases in ``REFUSED`` must run eagerly,
as they read a weight as a Python number; ``stochastic`` has objectives that draw random numbers and
have no reference result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """One objective with its start and the settings of a short run.

    Attributes:
        looseness: factor on the stated tolerance, for runs that amplify rounding errors.
    """

    name: str
    objective: Function
    start: tuple[Tensor, ...]
    learning_rate: float
    steps: int = 40
    must_compile: bool = True
    tolerance: float = 0.0
    looseness: float = 1.0


class Data:
    """Fixed numbers of one dtype, drawn in float64 and then rounded."""

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        self.dtype = dtype
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers between two bounds."""
        drawn = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * drawn).to(self.dtype)

    def labels(self, classes: int, *shape: int) -> Tensor:
        """Integers below ``classes``, int64."""
        return torch.randint(classes, shape, generator=self.generator)

    def values(self, *numbers: float) -> Tensor:
        """These numbers, shape (n,)."""
        return torch.tensor(numbers, dtype=self.dtype)

    def scalar(self, number: float) -> Tensor:
        """This number, shape ()."""
        return torch.tensor(number, dtype=self.dtype)

    def between(self, low: float, high: float, count: int) -> Tensor:
        """Equally spaced numbers."""
        return torch.linspace(low, high, count, dtype=torch.float64).to(self.dtype)


def fitted(data: Data, function: Function, start: tuple[Tensor, ...]) -> Function:
    """The mean squared distance of a function of the weights from fixed random targets."""
    shape = function(*start).shape
    target, factor = data.normal(*shape), data.uniform(0.5, 1.5, *shape)
    return lambda *weights: (factor * function(*weights) - target).square().mean()


def gentle(objective: Function, start: tuple[Tensor, ...], move: float) -> float:
    """The learning rate at which the first step moves no entry by more than ``move``."""
    slopes = torch.func.grad(objective, argnums=tuple(range(len(start))))(*start)
    return move / max(1e-3, *(float(slope.abs().max()) for slope in slopes))


def gated(objective: Function) -> Function:
    """The same objective, which acts only once a further first weight has fallen below 1."""
    return lambda gate, *weights: (gate + 1) ** 2 + torch.relu(1 - gate) * objective(*weights)


# ------------------------------------------------------------------------------------ pointwise

OPTIONAL = {"logaddexp2", "copysign", "rounding modes", "aminmax", "gaussian_nll"}
"""Rare functions, and gaussian_nll_loss, which has a Python branch on its variances."""

Unary = tuple[Function, float, float]

UNARY: dict[str, Unary] = {
    "neg": (torch.neg, -2, 2),
    "abs": (torch.abs, -2, 2),
    "sign times": (lambda x: x.sign() * x.square(), -2, 2),
    "square": (torch.square, -2, 2),
    "sqrt": (torch.sqrt, 0.5, 3),
    "rsqrt": (torch.rsqrt, 0.5, 3),
    "reciprocal": (torch.reciprocal, 0.5, 3),
    "reciprocal of negative": (torch.reciprocal, -3, -0.5),
    "pow 2": (lambda x: x**2, -2, 2),
    "pow 3": (lambda x: x**3, -2, 2),
    "pow 6": (lambda x: x**6, -1.2, 1.2),
    "pow -1": (lambda x: x**-1, 0.5, 2),
    "pow -2": (lambda x: x**-2, -2, -0.5),
    "pow 0.5": (lambda x: x**0.5, 0.5, 2),
    "pow 1.5": (lambda x: x**1.5, 0.5, 2),
    "pow 2.7": (lambda x: x**2.7, 0.5, 2),
    "pow -0.5": (lambda x: x**-0.5, 0.5, 2),
    "pow 1": (lambda x: x**1 * x, -2, 2),
    "pow 0": (lambda x: x**0 + x, -2, 2),
    "scalar base": (lambda x: 1.7**x, -2, 2),
    "pow of itself": (lambda x: x**x, 0.5, 2),
    "exp": (torch.exp, -2, 2),
    "exp of large negative": (lambda x: torch.exp(40 * x) + x.square(), -3, -0.5),
    "expm1": (torch.expm1, -1, 1),
    "expm1 near zero": (lambda x: torch.expm1(1e-4 * x) * 1e4, -1, 1),
    "exp2": (torch.exp2, -2, 2),
    "log": (torch.log, 0.5, 3),
    "log1p": (torch.log1p, -0.5, 2),
    "log1p near zero": (lambda x: torch.log1p(1e-4 * x) * 1e4, -1, 1),
    "log2": (torch.log2, 0.5, 3),
    "log10": (torch.log10, 0.5, 3),
    "sigmoid": (torch.sigmoid, -3, 3),
    "tanh": (torch.tanh, -3, 3),
    "sinh": (torch.sinh, -2, 2),
    "cosh": (torch.cosh, -2, 2),
    "asinh": (torch.asinh, -2, 2),
    "acosh": (torch.acosh, 1.5, 3),
    "atanh": (torch.atanh, -0.7, 0.7),
    "sin": (torch.sin, -4, 4),
    "sin of large": (lambda x: torch.sin(15 * x), -4, 4),
    "cos": (torch.cos, -4, 4),
    "tan": (torch.tan, -1, 1),
    "asin": (torch.asin, -0.7, 0.7),
    "acos": (torch.acos, -0.7, 0.7),
    "atan": (torch.atan, -3, 3),
    "erf": (torch.erf, -2, 2),
    "erfc": (torch.erfc, -2, 2),
    "relu": (torch.relu, -2, 2),
    "leaky_relu": (F.leaky_relu, -2, 2),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), -2, 2),
    "elu": (F.elu, -2, 2),
    "elu 0.7": (lambda x: F.elu(x, alpha=0.7), -2, 2),
    "selu": (F.selu, -2, 2),
    "celu": (lambda x: F.celu(x, alpha=1.3), -2, 2),
    "gelu": (F.gelu, -2, 2),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), -2, 2),
    "silu": (F.silu, -3, 3),
    "mish": (F.mish, -3, 3),
    "hardtanh": (F.hardtanh, -2, 2),
    "relu6": (F.relu6, -2, 8),
    "hardsigmoid": (F.hardsigmoid, -5, 5),
    "hardswish": (F.hardswish, -5, 5),
    "softplus": (F.softplus, -3, 3),
    "softplus beta threshold": (lambda x: F.softplus(x, beta=2.0, threshold=2.0), -3, 3),
    "softsign": (F.softsign, -3, 3),
    "logsigmoid": (F.logsigmoid, -3, 3),
    "softshrink": (F.softshrink, -2, 2),
    "hardshrink": (F.hardshrink, -2, 2),
    "tanhshrink": (F.tanhshrink, -2, 2),
    "threshold": (lambda x: F.threshold(x, 0.3, -0.7), -2, 2),
    "clamp min": (lambda x: x.clamp(min=-0.3), -2, 2),
    "clamp max": (lambda x: x.clamp(max=0.4), -2, 2),
    "clamp both": (lambda x: x.clamp(-0.5, 0.6), -2, 2),
    "floor times": (lambda x: torch.floor(3 * x) * x, -2, 2),
    "ceil times": (lambda x: torch.ceil(3 * x) * x, -2, 2),
    "round times": (lambda x: torch.round(3 * x) * x, -2, 2),
    "trunc times": (lambda x: torch.trunc(3 * x) * x, -2, 2),
    "remainder": (lambda x: torch.remainder(x, 0.7) ** 2, -2, 2),
    "fmod": (lambda x: torch.fmod(x, 0.7) ** 2, -2, 2),
    "nan_to_num": (
        lambda x: torch.nan_to_num(torch.where(x > 0, x.square(), math.nan), nan=0.3),
        -2,
        2,
    ),
    "masked_fill": (lambda x: x.square().masked_fill(x > 0.5, 0.1), -2, 2),
    "logit": (torch.logit, 0.2, 0.8),
    "logit eps": (lambda x: torch.logit(x, eps=0.3), 0.1, 0.9),
    "where": (lambda x: torch.where(x > 0, x.square(), -0.5 * x), -2, 2),
    "where scalar": (lambda x: torch.where(x > 0, x.square(), 0.2), -2, 2),
    "safe where": (lambda x: torch.where(x > 0.2, torch.where(x > 0.2, x, 1.0).log(), x), -2, 2),
    "xlogy": (lambda x: torch.xlogy(x, x), 0.5, 2),
    "sinc": (lambda x: torch.where(x == 0, 1.0, torch.sin(x) / x), 0.3, 3),
    "scalars": (lambda x: 3 - (2 * x - 0.5) / 4 + 1 / (x + 3), -2, 2),
    "rsub and alpha": (lambda x: torch.rsub(x, 2.0) + torch.add(x, x.square(), alpha=0.3), -2, 2),
    "sub alpha": (lambda x: torch.sub(x.square(), x, alpha=2), -2, 2),
    "comparisons": (lambda x: x * (x > 0) + x.square() * (x <= -0.5) + (x != 0) * x, -2, 2),
    "logical": (lambda x: x.square() * ((x > -1) & (x < 1) | ~(x > 0.2) ^ (x > 1.5)), -2, 2),
    "logical functions": (
        lambda x: x.square() * torch.logical_and(x > -1, torch.logical_not(x > 1)),
        -2,
        2,
    ),
    "mask as float": (lambda x: x.square() * (x > 0).to(x.dtype) + x * (x < 0).to(x.dtype), -2, 2),
    "double negation chain": (lambda x: -(-(x * 1.0) + 0.0) * 1.0 + 0.0 * x, -2, 2),
    "divide by itself": (lambda x: x.square() / (x.abs() + 0.1) + x / x, 0.3, 2),
    "rounding modes": (lambda x: torch.div(x, 0.3, rounding_mode="floor") * x, -2, 2),
    "isfinite mask": (lambda x: torch.where(torch.isfinite(x), x.square(), 0.0), -2, 2),
    "positive and clone": (lambda x: (+x).clone().contiguous() ** 2, -2, 2),
    "detach": (lambda x: x.detach() * x.square(), -2, 2),
    "heaviside by comparison": (lambda x: (x >= 0.25) * (x - 0.25) ** 2, -2, 2),
    "hardtanh bounds": (lambda x: F.hardtanh(x, -0.2, 1.1), -2, 2),
    "clip": (lambda x: torch.clip(x, -1.0, 1.0) * x, -2, 2),
    "rational": (lambda x: (1 + x + x**2) / (2 + x**4), -2, 2),
    "nested": (lambda x: torch.exp(-torch.sin(x).square()) * torch.log1p(x.square()), -2, 2),
}

OPTIONAL_UNARY: dict[str, Unary] = {
    "lgamma": (torch.lgamma, 0.5, 3),
    "erfinv": (torch.erfinv, -0.7, 0.7),
    "digamma": (torch.digamma, 0.5, 3),
    "i0": (torch.i0, -2, 2),
    "special log_ndtr": (torch.special.log_ndtr, -2, 2),
}

BINARY: dict[str, Function] = {
    "add": lambda x, y: x + y,
    "sub mul": lambda x, y: (x - y) * x,
    "div": lambda x, y: x / y,
    "pow of tensors": lambda x, y: x**y,
    "atan2": torch.atan2,
    "hypot": torch.hypot,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "fmax": torch.fmax,
    "fmin": torch.fmin,
    "logaddexp": torch.logaddexp,
    "logaddexp2": torch.logaddexp2,
    "xlogy of two": torch.xlogy,
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "lerp tensor weight": lambda x, y: torch.lerp(x, y, x * 0.1),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.3),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y, value=0.3),
    "remainder of two": lambda x, y: torch.remainder(3 * x, y),
    "where of two": lambda x, y: torch.where(x > y, x.square(), y),
    "clamp tensor bounds": lambda x, y: x.clamp(min=y - 0.3, max=y + 0.4),
    "clamp tensor min": lambda x, y: torch.clamp(x, min=y),
    "copysign": lambda x, y: torch.copysign(x, y - 1),
    "compare two": lambda x, y: x * (x > y) + y * (x <= y),
    "dist": lambda x, y: (x - y).abs() ** 1.5,
    "maximum scalar tensor": lambda x, y: torch.maximum(x, torch.tensor(0.8, dtype=x.dtype)) * y,
}


def pointwise(data: Data) -> Iterator[Case]:
    """Each function once on a weight and once on rows of data."""
    X, c, t = data.normal(17, 4), data.normal(5), data.normal(17)

    def both(f: Function, low: float, high: float) -> Function:
        middle, radius = (low + high) / 2, (high - low) / 2

        def objective(w: Tensor, v: Tensor) -> Tensor:
            rows = middle + radius * torch.tanh(X @ v)
            return (f(w) * c).sum() + (f(rows) * t).mean()

        return objective

    for table, must_compile in ((UNARY, True), (OPTIONAL_UNARY, False)):
        for name, (f, low, high) in table.items():
            start = (data.uniform(low, high, 5), 0.5 * data.normal(4))
            objective = both(f, low, high)
            rate = gentle(objective, start, (high - low) / 800)
            expected = must_compile and name not in OPTIONAL
            yield Case(name, objective, start, rate, must_compile=expected)

    def pair(f: Function) -> Function:
        def objective(x: Tensor, y: Tensor, v: Tensor) -> Tensor:
            rows = 1.2 + 0.7 * torch.tanh(X @ v)
            crossed = f(x[:, None], y) * c[:4, None]  # broadcast both ways, (4, 3)
            return crossed.sum() + (f(rows, y[0]) * t).mean() + (f(x[0], rows) * t).mean()

        return objective

    for name, f in BINARY.items():
        start = (data.uniform(0.6, 1.8, 4), data.uniform(0.6, 1.8, 3), 0.5 * data.normal(4))
        yield Case(name, pair(f), start, 2e-3, must_compile=name not in OPTIONAL)


# ----------------------------------------------------------------------------------- reductions

REDUCTIONS: dict[str, Function] = {
    "sum all": lambda a: a.sum(),
    "sum 0": lambda a: a.sum(0),
    "sum 1 keepdim": lambda a: a.sum(1, keepdim=True),
    "sum of two axes": lambda a: a[None].sum((0, 2)),
    "mean 0": lambda a: a.mean(0),
    "mean -1": lambda a: a.mean(-1),
    "prod all": lambda a: (a * 0.5 + 1).prod(),
    "prod 1": lambda a: a.prod(1),
    "prod with a zero": lambda a: torch.cat([a, torch.zeros_like(a[:1])]).prod(0) + a[0],
    "amax 0": lambda a: a.amax(0),
    "amax all": lambda a: a.amax() * a,
    "amin 1": lambda a: a.amin(1),
    "max all": lambda a: a.max() * a,
    "max dim": lambda a: a.max(1).values,
    "min dim": lambda a: a.min(0).values,
    "max with ties": lambda a: torch.stack([a, a]).amax(0),
    "var": lambda a: a.var(),
    "var 0 correction 0": lambda a: a.var(0, correction=0),
    "var 1": lambda a: a.var(1),
    "std": lambda a: a.std(),
    "std 1 correction 0": lambda a: a.std(1, correction=0),
    "var_mean": lambda a: sum(torch.var_mean(a, 1)),
    "norm": lambda a: a.norm(),
    "norm 1": lambda a: a.norm(1),
    "norm inf": lambda a: a.norm(math.inf) * a,
    "norm fro": lambda a: torch.linalg.matrix_norm(a),
    "norm 2 dim": lambda a: a.norm(2, dim=1),
    "norm 3 dim": lambda a: torch.linalg.vector_norm(a, 3, dim=0),
    "norm dim keepdim": lambda a: a / a.norm(dim=1, keepdim=True),
    "logsumexp 1": lambda a: torch.logsumexp(a, 1),
    "logsumexp all": lambda a: torch.logsumexp(a, (0, 1)),
    "softmax 0": lambda a: torch.softmax(a, 0),
    "softmax 1": lambda a: torch.softmax(a, 1),
    "log_softmax 1": lambda a: torch.log_softmax(a, 1),
    "softmin": lambda a: F.softmin(a, 1),
    "cumsum 0": lambda a: a.cumsum(0),
    "cumsum 1": lambda a: a.cumsum(1),
    "cumprod 1": lambda a: (0.5 * a + 1).cumprod(1),
    "any and all": lambda a: a * (a > 0).any(1, keepdim=True) + a * (a > -9).all(),
    "count of a mask": lambda a: a * (a > 0).sum(),
    "normalize": lambda a: F.normalize(a, dim=1),
    "abs mean max": lambda a: a.abs().mean() + a.square().amax(1),
    "nested reductions": lambda a: (a - a.mean(0)) / (a.std(1, keepdim=True) + 1),
    "aminmax": lambda a: a.aminmax(dim=1).max - a.aminmax(dim=1).min,
}

OPTIONAL_REDUCTIONS: dict[str, Function] = {
    "median": lambda a: a.median(1).values,
    "argmax as index": lambda a: a[a.argmax(0), torch.arange(4)],
    "sort": lambda a: a.sort(1).values[:, :2],
    "topk": lambda a: a.topk(2, dim=1).values,
    "kthvalue": lambda a: a.kthvalue(2, dim=1).values,
    "quantile": lambda a: a.quantile(0.3, dim=1),
    "logcumsumexp": lambda a: a.logcumsumexp(1),
    "cummax": lambda a: a.cummax(1).values,
    "nuclear norm": lambda a: torch.linalg.matrix_norm(a, "nuc"),
    "cdist": lambda a: torch.cdist(a, a.detach() + 1),
}


def reductions(data: Data) -> Iterator[Case]:
    """Each reduction of a weight and of rows of data."""
    X = data.normal(17, 3)

    def both(f: Function, start: tuple[Tensor, ...]) -> Function:
        alone, over_rows = fitted(data, f, start), fitted(data, lambda a: f(X @ a), start)
        return lambda a: alone(a) + over_rows(a)

    for table, must_compile in ((REDUCTIONS, True), (OPTIONAL_REDUCTIONS, False)):
        for name, f in table.items():
            start = (data.normal(3, 4),)
            objective = both(f, start)
            rate = gentle(objective, start, 0.01)
            expected = must_compile and name not in OPTIONAL
            yield Case(name, objective, start, rate, must_compile=expected)


# --------------------------------------------------------------------------------------- losses


def losses(data: Data) -> Iterator[Case]:
    """The losses of torch.nn.functional on a linear model, and models by hand."""
    n = 150
    X, t, labels = data.normal(n, 4), data.normal(n), data.labels(3, n)
    Y, yes = F.one_hot(labels, 3).to(data.dtype), (t > 0).to(data.dtype)
    sign, share = 2 * yes - 1, torch.softmax(data.normal(n, 3), 1)
    ignored = torch.where(torch.arange(n) % 5 == 0, -100, labels)
    class_weights, pos_weight = data.values(0.5, 1.0, 2.0), data.scalar(2.5)
    w, W = data.normal(4), data.normal(4, 3)

    scalar_output: dict[str, Function] = {
        "mse": lambda y: F.mse_loss(y, t),
        "mse sum": lambda y: F.mse_loss(y, t, reduction="sum") / n,
        "mse none": lambda y: (F.mse_loss(y, t, reduction="none") * yes).mean(),
        "l1": lambda y: F.l1_loss(y, t),
        "smooth_l1": lambda y: F.smooth_l1_loss(y, t),
        "smooth_l1 beta": lambda y: F.smooth_l1_loss(y, t, beta=0.4),
        "huber": lambda y: F.huber_loss(y, t, delta=0.7),
        "bce": lambda y: F.binary_cross_entropy(torch.sigmoid(y), yes),
        "bce weight": lambda y: F.binary_cross_entropy(torch.sigmoid(y), yes, weight=t.abs()),
        "bce with logits": lambda y: F.binary_cross_entropy_with_logits(y, yes),
        "bce with pos_weight": lambda y: F.binary_cross_entropy_with_logits(
            y, yes, pos_weight=pos_weight
        ),
        "poisson_nll": lambda y: F.poisson_nll_loss(0.3 * y, t.abs()),
        "poisson_nll no log": lambda y: F.poisson_nll_loss(y.exp(), t.abs(), log_input=False),
        "hinge_embedding": lambda y: F.hinge_embedding_loss(y.abs(), sign),
        "margin_ranking": lambda y: F.margin_ranking_loss(y, y.flip(0) * 0.5, sign, margin=0.2),
        "soft_margin": lambda y: F.soft_margin_loss(y, sign),
        "gaussian_nll": lambda y: F.gaussian_nll_loss(y, t, F.softplus(y) + 0.1),
        "hinge by hand": lambda y: torch.relu(1 - sign * y).mean(),
        "logistic by hand": lambda y: (
            -(yes * torch.sigmoid(y).log() + (1 - yes) * (1 - torch.sigmoid(y)).log()).mean()
        ),
        "poisson by hand": lambda y: (torch.exp(0.3 * y) - t.abs() * (0.3 * y)).mean(),
        "quantile loss": lambda y: torch.maximum(0.9 * (t - y), -0.1 * (t - y)).mean(),
        "log cosh": lambda y: torch.log(torch.cosh(y - t)).mean(),
        "cauchy": lambda y: torch.log1p((y - t).square()).mean(),
        "r squared": lambda y: (t - y).square().sum() / (t - t.mean()).square().sum(),
        "correlation": lambda y: -((y - y.mean()) * (t - t.mean())).mean() / (y.std() * t.std()),
        "focal": lambda y: (
            (1 - torch.exp(-F.binary_cross_entropy_with_logits(y, yes, reduction="none"))) ** 2
            * F.binary_cross_entropy_with_logits(y, yes, reduction="none")
        ).mean(),
    }
    for name, loss in scalar_output.items():
        expected = name not in OPTIONAL
        yield Case(name, lambda w, loss=loss: loss(X @ w), (w,), 0.05, must_compile=expected)

    class_output: dict[str, Function] = {
        "cross_entropy": lambda z: F.cross_entropy(z, labels),
        "cross_entropy weights": lambda z: F.cross_entropy(z, labels, weight=class_weights),
        "cross_entropy smoothing": lambda z: F.cross_entropy(z, labels, label_smoothing=0.1),
        "cross_entropy soft": lambda z: F.cross_entropy(z, share),
        "cross_entropy ignore_index": lambda z: F.cross_entropy(z, ignored),
        "cross_entropy sum": lambda z: F.cross_entropy(z, labels, reduction="sum") / n,
        "cross_entropy none": lambda z: (
            F.cross_entropy(z, labels, reduction="none").square().mean()
        ),
        "nll": lambda z: F.nll_loss(torch.log_softmax(z, 1), labels),
        "nll weights": lambda z: F.nll_loss(F.log_softmax(z, 1), labels, weight=class_weights),
        "nll by index": lambda z: -torch.log_softmax(z, 1)[torch.arange(n), labels].mean(),
        "nll by gather": lambda z: -F.log_softmax(z, 1).gather(1, labels[:, None]).mean(),
        "nll by one hot": lambda z: -(F.log_softmax(z, 1) * Y).sum(1).mean(),
        "kl_div": lambda z: F.kl_div(F.log_softmax(z, 1), share, reduction="batchmean"),
        "kl_div log target": lambda z: F.kl_div(
            F.log_softmax(z, 1), share.log(), reduction="sum", log_target=True
        ),
        "cosine_embedding": lambda z: F.cosine_embedding_loss(z, share, sign, margin=0.1),
        "cosine_similarity": lambda z: -F.cosine_similarity(z, Y, dim=1).mean(),
        "triplet": lambda z: F.triplet_margin_loss(z, share, Y),
        "brier": lambda z: (torch.softmax(z, 1) - Y).square().sum(1).mean(),
        "entropy": lambda z: -(torch.softmax(z, 1) * torch.log_softmax(z, 1)).sum(1).mean(),
        "temperature": lambda z: F.cross_entropy(z / 0.5, labels) + 0.01 * z.square().mean(),
        "pairwise_distance": lambda z: F.pairwise_distance(z, Y).mean(),
        "multilabel_soft_margin": lambda z: F.multilabel_soft_margin_loss(z, Y),
    }
    for name, loss in class_output.items():
        yield Case(name, lambda W, loss=loss: loss(X @ W), (W,), 0.05)

    yield Case(
        "multi_margin", lambda W: F.multi_margin_loss(X @ W, labels), (W,), 0.05, must_compile=False
    )
    short = data.labels(3, 4, 2) + 1

    def ctc(W: Tensor) -> Tensor:
        z = (X[:40] @ torch.cat([W, W[:, :1]], 1)).view(10, 4, 4)
        lengths = torch.full((4,), 10), torch.full((4,), 2)
        return F.ctc_loss(z.log_softmax(2), short, *lengths)

    yield Case("ctc", ctc, (W,), 0.05, must_compile=False)


# ------------------------------------------------------------------------------------- products


def products(data: Data) -> Iterator[Case]:
    """Products of matrices, vectors and batches of them."""
    X, A, S = data.normal(17, 4), data.normal(6, 6), data.normal(6, 6)
    S = S @ S.T / 6
    B, C = data.normal(5, 4, 3), data.normal(2, 1, 3, 4)
    v, M, N = data.normal(4), data.normal(4, 3), data.normal(3, 4)
    six, square, batch = data.normal(6), 0.3 * data.normal(4, 4), data.normal(5, 3, 4)
    table: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
        "mm": (lambda a, b: torch.mm(torch.mm(X, a), b), (M, N)),
        "mv": (lambda v: torch.mv(X, v), (v,)),
        "vector times matrix": (lambda v, a: v @ a, (v, M)),
        "dot": (lambda v: torch.dot(v, v) * v, (v,)),
        "outer": (lambda v, a: torch.outer(v, a[0]), (v, M)),
        "bmm": (lambda b: torch.bmm(B, b), (batch,)),
        "bmm of two weights": (lambda a, b: torch.bmm(a, b), (data.normal(5, 2, 3), batch)),
        "broadcast batches": (lambda a: C @ a, (data.normal(5, 4, 2),)),
        "batch times matrix": (lambda a: B @ a, (N,)),
        "batch times vector": (lambda a: B @ a[0], (M,)),
        "einsum chain": (lambda a, b: torch.einsum("ni,ij,jk->nk", X, a, b), (M, N)),
        "einsum bilinear": (lambda a: torch.einsum("ni,ij,nj->n", X, a, X), (square,)),
        "einsum diagonal": (lambda a: torch.einsum("ii->i", a), (square,)),
        "einsum trace": (lambda a, b: torch.einsum("ij,ji->", a, b), (M, N)),
        "einsum outer": (lambda v, a: torch.einsum("i,jk->ijk", v, a), (v, M)),
        "einsum batch": (lambda a: torch.einsum("bij,bjk->bik", B, a), (batch,)),
        "einsum transpose": (lambda a: torch.einsum("bij->jib", a), (batch,)),
        "addmm": (lambda a, v: torch.addmm(v[:3], X, a, beta=0.5, alpha=2.0), (M, v)),
        "addmv": (lambda v: torch.addmv(X[:, 0], X, v, beta=0.5, alpha=2.0), (v,)),
        "baddbmm": (lambda b: torch.baddbmm(B[:, :, :1], B, b, beta=0.3, alpha=1.5), (batch,)),
        "linear": (lambda a, v: F.linear(X, a.T, v[:3]), (M, v)),
        "linear of batches": (lambda a: F.linear(B, a.T), (N,)),
        "bilinear": (
            lambda a, b: F.bilinear(X, X[:, :3], a, b),
            (data.normal(2, 4, 3), data.normal(2)),
        ),
        "tensordot": (lambda a: torch.tensordot(B, a, dims=([1, 2], [0, 1])), (M,)),
        "kron": (lambda a, b: torch.kron(a, b), (M, data.normal(2, 2))),
        "multi_dot": (lambda a, b: torch.linalg.multi_dot([X, a, b, a]), (M, N)),
        "quadratic form": (lambda w: w.T @ S @ w, (six[:, None],)),
        "quadratic form of a vector": (lambda w: w @ (S @ w), (six,)),
        "matrix powers": (lambda a: a @ a @ a + torch.linalg.matrix_power(a, 2), (square,)),
        "gram": (lambda a: a.T @ a, (M,)),
        "transposed constant": (lambda a: X.T @ (X @ a), (M,)),
        "commutator": (lambda a: a @ S[:4, :4] - S[:4, :4] @ a, (square,)),
        "trace": (lambda a: torch.trace(a @ a) * a, (square,)),
        "inner": (lambda a: torch.inner(X, a.T), (M,)),
        "n x n data": (lambda w: A @ w, (six,)),
        "one row": (lambda a: X[:1] @ a, (M,)),
        "two rows": (lambda a: X[:2] @ a, (M,)),
        "one by one": (lambda a: X[:1, :1] @ a[:1, :1], (M,)),
        "weight on both sides": (lambda a: X @ a @ a.T, (M,)),
        "data product of itself": (lambda w: (X @ X.T) @ (X @ w), (v,)),
    }
    for name, (f, start) in table.items():
        objective = fitted(data, f, start)
        yield Case(name, objective, start, gentle(objective, start, 0.01))


# ---------------------------------------------------------------------------------------- views

VIEWS: dict[str, Function] = {
    "t": lambda a: a.t() * 2,
    "permute": lambda a: a.view(2, 2, 6).permute(2, 0, 1).exp(),
    "transpose": lambda a: a.transpose(0, 1).tanh(),
    "view": lambda a: a.view(3, 8),
    "reshape of transposed": lambda a: a.T.reshape(8, 3),
    "flatten": lambda a: a.flatten(),
    "unflatten": lambda a: a.unflatten(1, (2, 3)).sum(1),
    "expand": lambda a: a[:, None, :].expand(4, 3, 6) * 1.5,
    "expand_as": lambda a: a[:1].expand_as(a) * a,
    "unsqueeze": lambda a: a.unsqueeze(1) * a.unsqueeze(0),
    "squeeze": lambda a: a[:1].squeeze(0) * a.view(1, 4, 1, 6).squeeze(),
    "slice with steps": lambda a: a[::2, 1::2] * a[1::2, ::2],
    "negative indices": lambda a: a[-1] * a[-3] + a[:, -2:].sum(),
    "select": lambda a: a.select(1, 2) * a[:, 3],
    "narrow": lambda a: a.narrow(1, 1, 3) ** 2,
    "chunk": lambda a: torch.stack(a.chunk(2, 1)).prod(0),
    "split": lambda a: a.split([1, 2, 3], 1)[2] * a.split(2, 1)[0].sum(),
    "unbind": lambda a: sum((i + 1) * row for i, row in enumerate(a.unbind(0))),
    "iteration": lambda a: sum(row.square() for row in a),
    "diagonal": lambda a: a.diagonal() * a.diagonal(1)[:4],
    "unfold": lambda a: a.unfold(1, 3, 2).mean(-1),
    "flip": lambda a: a.flip(0, 1) * a,
    "roll": lambda a: a.roll(1, 0) * a.roll(-2, 1),
    "roll flat": lambda a: a.roll(3) - a,
    "repeat": lambda a: a.repeat(2, 3),
    "repeat_interleave": lambda a: a.repeat_interleave(3, 0),
    "tile": lambda a: a.tile(2, 1),
    "cat 0": lambda a: torch.cat([a, a.square(), a[:1]], 0),
    "cat 1": lambda a: torch.cat([a, a[:, :2].exp()], 1),
    "cat with constant": lambda a: (
        torch.cat([a, torch.ones(4, 1, dtype=a.dtype)], 1) @ a.new_ones(7)
    ),
    "stack 0": lambda a: torch.stack([a, a.sin()]),
    "stack 2": lambda a: torch.stack([a, a.sin()], 2),
    "hstack vstack": lambda a: torch.hstack([torch.vstack([a, a.cos()]), torch.vstack([a, a])]),
    "tril": lambda a: a.tril() @ a.triu().T,
    "tril diagonal": lambda a: a.tril(-1) + a.triu(2),
    "diag": lambda a: torch.diag(a[0]) + torch.diag(a[1, :5], 1),
    "diag_embed": lambda a: torch.diag_embed(a),
    "diag of a matrix": lambda a: torch.diag(a[:, :4]),
    "as_strided": lambda a: a.as_strided((3, 4), (6, 1), 1) ** 2,
    "pad": lambda a: F.pad(a, (1, 2, 0, 1)) * 2,
    "pad value": lambda a: F.pad(a, (1, 1), value=0.5).cumsum(1),
    "pad of negative size": lambda a: F.pad(a, (-1, -2)),
    "movedim": lambda a: a.view(2, 2, 6).movedim(0, 2),
    "swapaxes": lambda a: a.view(2, 2, 6).swapaxes(1, 2) * 1,
    "rot90": lambda a: a.rot90() * 2,
    "view of a view of a view": lambda a: a[1:].T[::2].unsqueeze(0)[0, :, 1] * 3,
    "broadcast_to": lambda a: torch.broadcast_to(a, (2, 4, 6)),
    "ravel and index": lambda a: a.ravel()[5:17:3],
    "meshgrid": lambda a: torch.meshgrid(a[0], a[:, 1], indexing="ij")[0] * a[:, 2],
    "atleast": lambda a: torch.atleast_3d(a) * torch.atleast_2d(a[0]).T,
    "differences": lambda a: a[:, 1:] - a[:, :-1],
    "diff": lambda a: a.diff(dim=0),
    "block_diag": lambda a: torch.block_diag(a, a[:2]),
    "ellipsis and None": lambda a: a[..., None, 1:] * a[:, None, :5],
    "five dimensions": lambda a: a.view(2, 1, 2, 3, 2).sum((1, 3)) * a.view(1, 2, 2, 3, 2).amax(3),
    "real and mT": lambda a: a.mT.contiguous() * 0.5,
}

ROW_VIEWS: dict[str, Function] = {
    "flattened rows": lambda H: H.flatten(),
    "rows as columns": lambda H: H.T @ H,
    "first half of the rows": lambda H: H[: len(H) // 2],
    "every third row": lambda H: H[::3],
    "rows reversed": lambda H: H.flip(0) * H,
    "rows shifted": lambda H: H[1:] - H[:-1],
    "rows rolled": lambda H: H.roll(1, 0) * H,
    "rows reshaped": lambda H: H.reshape(3, -1, 3).sum(0),
    "rows and constants": lambda H: torch.cat([H, torch.ones(2, 3, dtype=H.dtype)]),
    "rows twice": lambda H: torch.cat([H, H.square()]),
    "rows repeated": lambda H: H.repeat(2, 1),
    "one row minus the others": lambda H: H - H[0],
    "last row": lambda H: H[-1] * H[0],
    "row sums times rows": lambda H: H * H.sum(1, keepdim=True) + H.sum(0),
    "centred": lambda H: H - H.mean(0),
    "standardised": lambda H: (H - H.mean(0)) / H.std(0),
    "softmax over rows": lambda H: torch.softmax(H, 0) * H,
    "cumulative rows": lambda H: H.cumsum(0) / len(H),
    "pairs of rows": lambda H: (H[:, None] - H[None]).square().sum(-1),
    "chosen rows": lambda H: H[torch.tensor([3, 0, 3, 17])],
    "masked rows": lambda H: H[torch.arange(len(H)) % 3 == 0],
    "sum over windows": lambda H: H.unfold(0, 5, 1).sum(-1),
    "outer of columns": lambda H: torch.outer(H[:, 0], H[:, 1]),
    "rows from a list": lambda H: torch.stack([H[i] * (i + 1) for i in range(4)]),
}


def views(data: Data) -> Iterator[Case]:
    """Views of a weight and of rows that depend on one."""
    for name, f in VIEWS.items():
        start = (data.normal(4, 6),)
        yield Case(name, fitted(data, f, start), start, 0.02)
    X = data.normal(18, 4)
    for name, f in ROW_VIEWS.items():
        start = (0.5 * data.normal(4, 3),)
        objective = fitted(data, lambda W, f=f: f(X @ W), start)
        yield Case(name, objective, start, gentle(objective, start, 0.01))


# --------------------------------------------------------------------------------------- indexing

I2, J2 = torch.tensor([[0, 3, 1, 3, 0], [2, 2, 0, 1, 3]]), torch.tensor([[1, 0, 3], [2, 2, 0]])
PICK, MASK = torch.tensor([2, 0, 2, 3]), torch.arange(24).view(4, 6) % 3 == 0

INDEXING: dict[str, Function] = {
    "index rows": lambda a: a[PICK],
    "index list": lambda a: a[[0, 2, 2]] * 2,
    "index pairs": lambda a: a[torch.arange(4), PICK],
    "index columns": lambda a: a[:, PICK],
    "index broadcast": lambda a: a[PICK[:, None], torch.tensor([1, 4, 4])],
    "negative index tensor": lambda a: a[torch.tensor([-1, -2, 0])],
    "gather 0": lambda a: a.gather(0, I2),
    "gather 1": lambda a: a.gather(1, J2),
    "take_along_dim": lambda a: a.take_along_dim(J2[:1], 1),
    "scatter": lambda a: torch.zeros(4, 6, dtype=a.dtype).scatter(1, J2, a[:2, :3]),
    "scatter over a weight": lambda a: a.scatter(
        0, torch.tensor([[0, 1], [1, 2]]), a[:2, 1:3].exp()
    ),
    "scatter of a value": lambda a: a.scatter(1, J2, 0.5) * 2,
    "scatter_add": lambda a: torch.zeros(4, 5, dtype=a.dtype).scatter_add(0, I2, a[:2, :5]),
    "scatter_add in place": lambda a: torch.ones(4, 5, dtype=a.dtype).scatter_add_(
        0, I2, a[:2, :5]
    ),
    "index_select": lambda a: a.index_select(1, PICK),
    "index_add": lambda a: a.index_add(0, PICK, a.sin(), alpha=0.5),
    "index_copy": lambda a: a.index_copy(0, torch.tensor([2, 0]), a[:2].sin()),
    "index_fill of clamped copies": lambda a: (
        (a.expand(2, 4, 6) * 2).clamp(-1, 1).index_fill(2, torch.tensor([2]), 0.3).mean(0)
    ),
    "index_fill": lambda a: a.index_fill(1, torch.tensor([1, 5]), 0.3) * a,
    "index_put": lambda a: a.index_put((PICK[1:],), a[:3].square()),
    "index_put accumulate": lambda a: a.index_put((PICK,), a.square(), accumulate=True),
    "take": lambda a: a.take(torch.tensor([0, 7, 7, 23])),
    "embedding": lambda a: F.embedding(J2, a),
    "embedding of words": lambda a: F.embedding(I2, a).mean(1).tanh(),
    "one_hot constants": lambda a: F.one_hot(PICK, 4).to(a.dtype) @ a,
    "boolean mask": lambda a: a[MASK],
    "boolean rows": lambda a: a[torch.tensor([True, False, True, True])] * 1.5,
    "masked_select": lambda a: a.masked_select(MASK),
    "masked_scatter by where": lambda a: torch.where(MASK, a, a.flip(1)),
    "masked_fill constant": lambda a: a.masked_fill(MASK, -0.4) * a,
    "segment sums": lambda a: torch.zeros(3, 6, dtype=a.dtype).index_add(0, PICK % 3, a),
    "embedding_bag by hand": lambda a: a[J2.flatten()].view(2, 3, 6).sum(1),
    "trilinear lookup": lambda a: a[PICK][:, PICK].diagonal(),
}


def indexing(data: Data) -> Iterator[Case]:
    """Reads and writes at constant places."""
    for name, f in INDEXING.items():
        start = (data.normal(4, 6),)
        yield Case(name, fitted(data, f, start), start, 0.02)
    for name, f in (INDEXING | VIEWS | IN_PLACE).items():
        if name in LATE:
            start = (data.normal(4, 6),)
            objective = gated(fitted(data, f, start))
            yield Case(f"late {name}", objective, (data.scalar(2.0), *start), 0.01)

    def one_row(w: Tensor) -> Tensor:
        a = F.leaky_relu(w + 0.5, 0.2)
        return a.gather(1, torch.zeros(1, 8, 8, 1, dtype=torch.int64)).square().mean()

    yield Case("gather of one row after a kink", one_row, (data.normal(1, 8, 8, 1),), 0.02)


LATE = {
    "gather 0",
    "gather 1",
    "scatter",
    "scatter_add",
    "index rows",
    "index_put accumulate",
    "boolean mask",
    "embedding",
    "index_add",
    "take",
    "flip",
    "roll",
    "cat 1",
    "unfold",
    "tril",
    "as_strided",
    "diagonal",
    "permute",
    "repeat",
    "pad",
    "item assignment",
    "filled step by step",
    "recurrence in place",
    "column assignment",
    "view of a view edited",
    "add_ and mul_",
    "transposed edit",
    "copy_ into a slice",
    "overwritten twice",
    "masked assignment",
}


# --------------------------------------------------------------------------------------- in place


def _item_assignment(a: Tensor) -> Tensor:
    z = a * 1.0
    z[1] = a[1] * 2
    z[2, 3] = a[0, 0] * a[1, 1]
    return z


def _filled(a: Tensor) -> Tensor:
    out = torch.zeros(4, dtype=a.dtype)
    for i in range(4):
        out[i] = a[i, i] ** 2 + a[i].sum()
    return out


def _recurrence(a: Tensor) -> Tensor:
    x = torch.zeros(5, dtype=a.dtype)
    for i in range(4):
        x[i + 1] = 0.5 * x[i] + a[i, 0]
    return x


def _column_assignment(a: Tensor) -> Tensor:
    z = torch.empty_like(a)
    for j in range(a.shape[1]):
        z[:, j] = a[:, j] * (j + 1)
    return z


def _slice_assignment(a: Tensor) -> Tensor:
    z = a.clone()
    z[1:3, ::2] = a[:2, 1::2].square()
    z[..., -1] += a[..., 0]
    return z


def _view_of_view(a: Tensor) -> Tensor:
    z = a * 2
    z[1:].T[2].mul_(3)
    z.view(-1)[::5].add_(a[0, :1])
    return z


def _transposed_edit(a: Tensor) -> Tensor:
    z = a.clone()
    z.T[1] = a[:, 2]
    z.diagonal().mul_(a[:, 0])
    return z


def _add_mul(a: Tensor) -> Tensor:
    z = a.sin()
    z = z + 1
    z.add_(a, alpha=0.5).mul_(2).sub_(0.1).div_(1.5)
    z += a
    z *= 0.7
    return z


def _clamp(a: Tensor) -> Tensor:
    z = a * 1.5
    z.clamp_(-1, 1).abs_().neg_()
    return z


def _zero_fill(a: Tensor) -> Tensor:
    z = a * 1.5
    z[0].zero_()
    z[1, 2:].fill_(0.25)
    return z * a


def _copy(a: Tensor) -> Tensor:
    z = torch.zeros_like(a)
    z[:2].copy_(a[2:])
    z[2:, :3] = a[0, 3:]
    return z


def _overwritten(a: Tensor) -> Tensor:
    z = a * 1.0
    z[0] = a[1]
    kept = z[0] * 2
    z[0] = a[2] * 3
    return torch.cat([z.flatten(), kept])


def _edited_after_use(a: Tensor) -> Tensor:
    z = a + 1
    before = z.sum(0)
    z.add_(before)
    return torch.cat([z, before[None]])


def _masked_assignment(a: Tensor) -> Tensor:
    z = a.clone()
    z[MASK] = 0.5
    return z * a


def _masked_by_the_weight(a: Tensor) -> Tensor:
    z = a.clone()
    z[z > 1] = 1.0
    return z * a


def _masked_values(a: Tensor) -> Tensor:
    z = a.clone()
    z[MASK] = a.flip(1)[MASK].sin()
    return z


def _index_assignment(a: Tensor) -> Tensor:
    z = a * 0.5
    z[PICK[1:]] = a[:3] ** 2
    z[:, PICK[:2]] += 1.0
    return z


def _swap(a: Tensor) -> Tensor:
    z = a.clone()
    z[0], z[1] = a[1] * 2, z[0].clone()
    return z


def _running_sum(a: Tensor) -> Tensor:
    total = torch.zeros(6, dtype=a.dtype)
    for row in a:
        total += row.square()
    return total


def _constant_scratch(a: Tensor) -> Tensor:
    scratch = torch.zeros(3, 6, dtype=a.dtype)
    scratch[1] = 2.0
    scratch[0, 0] = 1.0
    return scratch @ a.T


def _out_of_place_after(a: Tensor) -> Tensor:
    z = a * 3
    z.tanh_()
    y = z * z
    return y - z.exp()


def _unbind_edit(a: Tensor) -> Tensor:
    z = a * 1.0
    z.select(0, 1).add_(z.select(0, 2))
    z.narrow(1, 0, 2).mul_(z.narrow(1, 2, 2).clone())
    return z


def _relu_in_place(a: Tensor) -> Tensor:
    return F.relu(a * 1.0, inplace=True) + F.leaky_relu_(a * 2.0)


def _lerp_addcmul(a: Tensor) -> Tensor:
    z = a * 1.0
    z.addcmul_(a, a, value=0.2).lerp_(a.sin(), 0.3)
    return z.pow_(2)


IN_PLACE: dict[str, Function] = {
    "item assignment": _item_assignment,
    "filled step by step": _filled,
    "recurrence in place": _recurrence,
    "column assignment": _column_assignment,
    "slice assignment": _slice_assignment,
    "view of a view edited": _view_of_view,
    "transposed edit": _transposed_edit,
    "add_ and mul_": _add_mul,
    "clamp_": _clamp,
    "zero_ and fill_": _zero_fill,
    "copy_ into a slice": _copy,
    "overwritten twice": _overwritten,
    "edited after use": _edited_after_use,
    "masked assignment": _masked_assignment,
    "masked values": _masked_values,
    "masked by the weight": _masked_by_the_weight,
    "index assignment": _index_assignment,
    "swapped rows": _swap,
    "running sum": _running_sum,
    "constant scratch": _constant_scratch,
    "out of place after in place": _out_of_place_after,
    "edit by another part": _unbind_edit,
    "relu in place": _relu_in_place,
    "lerp_ and addcmul_": _lerp_addcmul,
}


def in_place(data: Data) -> Iterator[Case]:
    """Temporaries that are edited in place."""
    for name, f in IN_PLACE.items():
        start = (data.normal(4, 6),)
        must_compile = name != "masked by the weight"
        yield Case(name, fitted(data, f, start), start, 0.01, must_compile=must_compile)
    X, y = data.normal(17, 3), data.normal(17)

    def rows(W: Tensor) -> Tensor:
        H = X @ W
        H[:, 0] = 2 * H[:, 1] + H[:, 2]
        H[3:7].mul_(2)
        return (H.sum(1) - y).square().mean()

    yield Case("rows edited in place", rows, (data.normal(3, 3),), 0.01)

    def accumulated(w: Tensor) -> Tensor:
        out = torch.zeros(17, dtype=w.dtype)
        for i in range(3):
            out += w[i] * X[:, i] ** (i + 1)
        return (out - y).square().mean()

    yield Case("rows accumulated in place", accumulated, (data.normal(3),), 0.01)


# ----------------------------------------------------------------------------------------- models


def models(data: Data) -> Iterator[Case]:
    """Networks and other models, written by hand."""
    n = 150
    X, labels, t = data.normal(n, 4), data.labels(3, n), data.normal(n)
    Y = F.one_hot(labels, 3).to(data.dtype)
    W1, W2, W3 = data.normal(4, 5), 0.5 * data.normal(5, 5), data.normal(5, 3)
    b1, b2, b3 = 0.1 * data.normal(5), 0.1 * data.normal(5), 0.1 * data.normal(3)

    def layer_norm(H: Tensor) -> Tensor:
        centred = H - H.mean(1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)

    def batch_norm(H: Tensor) -> Tensor:
        return (H - H.mean(0)) / torch.sqrt(H.var(0, correction=0) + 1e-5)

    two = {
        "sigmoid net": lambda A, B: (torch.sigmoid(torch.sigmoid(X @ A) @ B) - Y).square().mean(),
        "tanh net": lambda A, B: F.mse_loss(torch.tanh(X @ A) @ B, Y),
        "relu net": lambda A, B: F.cross_entropy(torch.relu(X @ A) @ B, labels),
        "gelu net": lambda A, B: F.mse_loss(F.gelu(X @ A) @ B, Y),
        "silu net": lambda A, B: F.cross_entropy(F.silu(X @ A) @ B, labels),
        "layer_norm net": lambda A, B: F.cross_entropy(F.layer_norm(X @ A, (5,)) @ B, labels),
        "layer_norm by hand": lambda A, B: F.cross_entropy(layer_norm(X @ A) @ B, labels),
        "batch norm by hand": lambda A, B: F.cross_entropy(
            torch.relu(batch_norm(X @ A)) @ B, labels
        ),
        "weight decay": lambda A, B: (
            F.mse_loss(torch.tanh(X @ A) @ B, Y) + 0.01 * (A.square().sum() + B.abs().sum())
        ),
        "one row net": lambda A, B: F.mse_loss(torch.tanh(X[:1] @ A) @ B, Y[:1]),
        "two rows net": lambda A, B: F.mse_loss(torch.tanh(X[:2] @ A) @ B, Y[:2]),
        "17 rows net": lambda A, B: F.mse_loss(torch.tanh(X[:17] @ A) @ B, Y[:17]),
        "flipped rows net": lambda A, B: F.mse_loss(torch.tanh(X.flip(0) @ A) @ B, Y),
        "transposed net": lambda A, B: F.mse_loss((B.T @ torch.tanh(A.T @ X.T)).T, Y),
        "logits clipped": lambda A, B: F.cross_entropy(
            (torch.relu(X @ A) @ B).clamp(-3, 3), labels
        ),
    }
    for name, f in two.items():
        yield Case(name, f, (W1, W3), 0.05)

    def three(A: Tensor, a: Tensor, B: Tensor, b: Tensor, C: Tensor, c: Tensor) -> Tensor:
        H = torch.relu(X @ A + a)
        H = H + torch.tanh(H @ B + b)  # residual block
        return F.cross_entropy(H @ C + c, labels)

    yield Case("three layers with biases", three, (W1, b1, W2, b2, W3, b3), 0.05)
    yield Case(
        "residual blocks",
        lambda A, B, C: F.mse_loss((lambda H: H + 0.5 * F.silu(H @ B))(X @ A) @ C, Y),
        (W1, W2, W3),
        0.05,
    )
    yield Case(
        "1000 rows",
        (lambda Z, z: lambda w, b: (Z @ w + b - z).square().mean())(
            data.normal(1000, 4), data.normal(1000)
        ),
        (data.normal(4), data.scalar(0.0)),
        0.05,
    )
    yield from _recurrent(data)
    yield from _convolutions(data, X)
    yield from _classical(data, X, t)
    yield from _statistics(data)


def _recurrent(data: Data) -> Iterator[Case]:
    """Loops over time and attention."""
    sequences, targets = data.normal(6, 8, 2), data.normal(6)
    U, V, v = 0.5 * data.normal(2, 3), 0.5 * data.normal(3, 3), data.normal(3)

    def rnn(U: Tensor, V: Tensor, v: Tensor) -> Tensor:
        h = torch.zeros(6, 3, dtype=U.dtype)
        for k in range(8):
            h = torch.tanh(sequences[:, k] @ U + h @ V)
        return (h @ v - targets).square().mean()

    yield Case("rnn of 8 steps", rnn, (U, V, v), 0.02)

    def lstm(W: Tensor, v: Tensor) -> Tensor:
        h = c = torch.zeros(6, 3, dtype=W.dtype)
        for k in range(4):
            gates = torch.cat([sequences[:, k], h], 1) @ W  # (6, 12)
            i, f, g, o = gates.chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return (h @ v - targets).square().mean()

    yield Case("lstm cell", lstm, (0.5 * data.normal(5, 12), v), 0.02)

    def gru(W: Tensor, R: Tensor, v: Tensor) -> Tensor:
        h = torch.zeros(6, 3, dtype=W.dtype)
        for k in range(4):
            a, b = (sequences[:, k] @ W).split(3, 1), (h @ R).split(3, 1)
            z, r = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
            h = (1 - z) * torch.tanh(a[2] + r * b[2]) + z * h
        return (h @ v - targets).square().mean()

    yield Case("gru cell", gru, (0.5 * data.normal(2, 9), 0.5 * data.normal(3, 9), v), 0.02)
    Q, K, Z = (0.5 * data.normal(2, 3) for _ in range(3))
    wanted = data.normal(6, 8, 3)

    def attention(Q: Tensor, K: Tensor, Z: Tensor) -> Tensor:
        q, k, z = sequences @ Q, sequences @ K, sequences @ Z
        scores = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(3), -1)  # (6, 8, 8)
        return (scores @ z - wanted).square().mean()

    yield Case("attention", attention, (Q, K, Z), 0.05)

    def causal(Q: Tensor, K: Tensor, Z: Tensor) -> Tensor:
        x = sequences[0]
        scores = (x @ Q) @ (x @ K).T
        hidden = torch.ones(8, 8, dtype=torch.bool).triu(1)
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), -1)
        return (weights @ (x @ Z) - wanted[0]).square().mean()

    yield Case("causal attention", causal, (Q, K, Z), 0.05)
    yield Case(
        "scaled_dot_product_attention",
        lambda Q, K, Z: (
            (F.scaled_dot_product_attention(sequences @ Q, sequences @ K, sequences @ Z) - wanted)
            .square()
            .mean()
        ),
        (Q, K, Z),
        0.05,
        must_compile=False,
    )

    def spring(k: Tensor, c: Tensor) -> Tensor:
        x, v = torch.tensor(1.0, dtype=k.dtype), torch.tensor(0.0, dtype=k.dtype)
        for _ in range(10):
            v = v - 0.1 * (k * x + c * v)
            x = x + 0.1 * v
        return (x - 0.3) ** 2

    yield Case("damped spring", spring, (data.scalar(1.0), data.scalar(0.1)), 0.05)

    def kepler(p: Tensor, v: Tensor) -> Tensor:
        for _ in range(10):
            v = v - 0.1 * p / p.norm() ** 3
            p = p + 0.1 * v
        return (p - torch.tensor([0.0, 1.0], dtype=p.dtype)).square().sum()

    yield Case("kepler orbit", kepler, (data.values(1.0, 0.1), data.values(0.1, 0.9)), 0.02)
    anomaly = data.between(0.1, 3.0, 12)

    def kepler_equation(e: Tensor) -> Tensor:
        E = anomaly
        for _ in range(5):
            E = E - (E - e * torch.sin(E) - anomaly) / (1 - e * torch.cos(E))
        return (E - 1.1 * anomaly).square().mean()

    yield Case("kepler's equation", kepler_equation, (data.scalar(0.3),), 0.05)

    def heat(u: Tensor, kappa: Tensor) -> Tensor:
        for _ in range(10):
            u = u + kappa * (u.roll(1) - 2 * u + u.roll(-1))
        return (u - torch.linspace(0, 1, 9, dtype=u.dtype)).square().sum()

    yield Case("heat equation", heat, (data.normal(9), data.scalar(0.2)), 2e-3)

    def rk4(a: Tensor) -> Tensor:
        x = torch.tensor([1.0, 0.5], dtype=a.dtype)
        f = lambda x: torch.stack([a[0] * x[0] - x[0] * x[1], x[0] * x[1] - a[1] * x[1]])  # noqa: E731
        for _ in range(5):
            k1 = f(x)
            k2 = f(x + 0.05 * k1)
            k3 = f(x + 0.05 * k2)
            x = x + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + f(x + 0.1 * k3))
        return (x - 1).square().sum()

    yield Case("lotka volterra", rk4, (data.values(1.2, 0.7),), 0.1)


def _convolutions(data: Data, X: Tensor) -> Iterator[Case]:
    """Convolutions by unfolding, and the ones of torch, which need not compile."""
    signal, wanted, image = data.normal(40), data.normal(36), data.normal(2, 1, 8, 8)
    yield Case(
        "conv1d by unfold",
        lambda k: (signal.unfold(0, 5, 1) @ k - wanted).square().mean(),
        (data.normal(5),),
        0.02,
    )
    yield Case(
        "conv1d by shifts",
        lambda k: (sum(k[i] * signal[i : i + 36] for i in range(5)) - wanted).square().mean(),
        (data.normal(5),),
        0.02,
    )
    yield Case(
        "deconvolution",
        lambda x: (
            (x.unfold(0, 5, 1) @ signal[:5] - wanted).square().mean() + 0.1 * x.diff().abs().sum()
        ),
        (data.normal(40),),
        0.02,
    )
    optional = {
        "conv1d": (
            lambda k: F.conv1d(signal.view(1, 1, 40), k).square().mean(),
            data.normal(2, 1, 5),
        ),
        "conv2d": (lambda k: F.conv2d(image, k, padding=1).relu().mean(), data.normal(3, 1, 3, 3)),
        "max_pool2d": (
            lambda k: F.max_pool2d(F.conv2d(image, k), 2).square().mean(),
            data.normal(3, 1, 3, 3),
        ),
        "avg_pool1d": (lambda w: F.avg_pool1d((X @ w)[None], 2).square().mean(), data.normal(4, 6)),
        "batch_norm": (
            lambda w: F.batch_norm(X @ w, None, None, training=True)[:9].square().mean(),
            data.normal(4, 6),
        ),
        "group_norm": (lambda w: F.group_norm(X @ w, 2)[:, 0].square().mean(), data.normal(4, 6)),
        "interpolate": (
            lambda w: F.interpolate(w, scale_factor=2.0, mode="linear").square().mean(),
            data.normal(1, 2, 6),
        ),
    }
    for name, (f, start) in optional.items():
        yield Case(name, f, (start,), 0.05, must_compile=False)


def _classical(data: Data, X: Tensor, t: Tensor) -> Iterator[Case]:
    """Regression, factorisation, clustering and curve fits."""
    w, S = data.normal(4), data.normal(8, 8)
    S = S @ S.T / 8
    points, x = data.normal(60, 2), data.between(-1, 1, 50)
    curve = torch.sin(3 * x)
    powers = torch.stack([x**i for i in range(5)], 1)
    knots = data.between(-0.8, 0.8, 5)
    waves = torch.cat([torch.sin(k * math.pi * x)[:, None] for k in range(1, 5)], 1)
    yes = (t > 0).to(data.dtype)
    big = data.normal(100, 100)
    big = big @ big.T / 100
    table: dict[str, tuple[Function, tuple[Tensor, ...], float]] = {
        "lasso": (lambda w: (X @ w - t).square().mean() + 0.1 * w.abs().sum(), (w,), 0.05),
        "ridge": (lambda w: (X @ w - t).square().mean() + 0.1 * w.norm() ** 2, (w,), 0.05),
        "elastic net": (
            lambda w, b: (X @ w + b - t).square().mean() + 0.1 * w.abs().sum() + 0.1 * (w @ w),
            (w, data.scalar(0.2)),
            0.05,
        ),
        "logistic regression": (
            lambda w, b: F.softplus(-(2 * yes - 1) * (X @ w + b)).mean(),
            (w, data.scalar(0.2)),
            0.2,
        ),
        "poisson regression": (
            lambda w: (torch.exp(0.3 * X @ w) - t.abs() * 0.3 * (X @ w)).mean(),
            (w,),
            0.02,
        ),
        "svm": (
            lambda w: torch.relu(1 - (2 * yes - 1) * (X @ w)).mean() + 0.01 * w.square().sum(),
            (w,),
            0.05,
        ),
        "matrix factorisation": (
            lambda u, v: (u @ v.T - S).square().mean(),
            (data.normal(8, 2), data.normal(8, 2)),
            0.05,
        ),
        "masked factorisation": (
            lambda u, v: ((u @ v.T - S) * (S > 0)).square().mean(),
            (data.normal(8, 2), data.normal(8, 2)),
            0.05,
        ),
        "pca": (lambda v: -(v @ (S @ v)) / (v @ v), (data.normal(8),), 0.02),
        "pca projection": (
            lambda V: (X - X @ V @ V.T).square().mean(),
            (0.5 * data.normal(4, 2),),
            0.02,
        ),
        "soft k-means": (
            lambda c: -torch.logsumexp(-((points[:, None] - c).square().sum(-1)), 1).mean(),
            (data.normal(3, 2),),
            0.05,
        ),
        "hard k-means": (
            lambda c: (points[:, None] - c).square().sum(-1).amin(1).mean(),
            (data.normal(3, 2),),
            0.05,
        ),
        "polynomial fit": (lambda c: (powers @ c - curve).square().mean(), (data.normal(5),), 0.1),
        "spline fit": (
            lambda c: (torch.relu(x[:, None] - knots) @ c - curve).square().mean(),
            (data.normal(5),),
            0.1,
        ),
        "spline with free knots": (
            lambda c, k: (torch.relu(x[:, None] - k) @ c - curve).square().mean(),
            (data.normal(5), data.between(-0.83, 0.81, 5)),
            0.02,
        ),
        "fourier fit": (
            lambda a, b: (waves @ a + torch.cos(2 * x[:, None] * b).sum(1) - curve).square().mean(),
            (data.normal(4), data.normal(3)),
            0.05,
        ),
        "linspace inside": (
            lambda a, b: (a * torch.linspace(-1, 1, 50, dtype=a.dtype) + b - curve).square().mean(),
            (data.scalar(1.0), data.scalar(0.3)),
            0.1,
        ),
        "rbf net": (
            lambda c, s, a: (
                (torch.exp(-(x[:, None] - c).square() * F.softplus(s)) @ a - curve).square().mean()
            ),
            (data.normal(6), data.normal(6), data.normal(6)),
            0.05,
        ),
        "quadratic 8": (lambda w: 0.5 * w @ (S @ w) - w.sum(), (data.normal(8),), 0.05),
        "quadratic 100": (lambda w: 0.5 * w @ (big @ w) - w.sum(), (data.normal(100),), 0.05),
        "bradley terry": (
            lambda s: F.softplus(s[J2[0]] - s[J2[1]]).mean() + 0.01 * s.square().sum(),
            (data.normal(4),),
            0.1,
        ),
        "word vectors": (
            lambda u, v: F.softplus(-(u[I2] * v[I2.flip(1)]).sum(-1)).mean(),
            (data.normal(4, 3), data.normal(4, 3)),
            0.1,
        ),
        "multidimensional scaling": (
            lambda p: (((p[:, None] - p).square().sum(-1) + 1e-3).sqrt() - S).square().mean(),
            (data.normal(8, 2),),
            0.05,
        ),
        "portfolio": (
            lambda z: (lambda p: p @ (S @ p) - 0.3 * p[0])(torch.softmax(z, 0)),
            (data.normal(8),),
            0.1,
        ),
    }
    for name, (f, start, rate) in table.items():
        yield Case(name, f, start, rate)


def _statistics(data: Data) -> Iterator[Case]:
    """Likelihoods."""
    t, x = data.normal(60), data.between(-1, 1, 20)
    y = torch.sin(3 * x)

    def mixture(pi: Tensor, mu: Tensor, s: Tensor) -> Tensor:
        scale = F.softplus(s)
        log_density = -0.5 * ((t[:, None] - mu) / scale).square() - scale.log()
        return -torch.logsumexp(torch.log_softmax(pi, 0) + log_density, 1).mean()

    yield Case("mixture density", mixture, tuple(data.normal(3) for _ in range(3)), 0.05)
    yield Case(
        "normal likelihood",
        lambda m, s: 0.5 * ((t - m) / s.exp()).square().mean() + s,
        (data.scalar(0.5), data.scalar(0.2)),
        0.05,
    )
    yield Case(
        "student t",
        lambda m, s: (2.5 * torch.log1p(((t - m) / s.exp()).square() / 4)).mean() + s,
        (data.scalar(0.5), data.scalar(0.2)),
        0.05,
    )

    def gaussian_process(length: Tensor, noise: Tensor) -> Tensor:
        K = torch.exp(-(x[:, None] - x).square() * length.exp())
        K = K + noise.exp() * torch.eye(20, dtype=x.dtype)
        L = torch.linalg.cholesky(K)
        z = torch.linalg.solve_triangular(L, y[:, None], upper=False)
        return (0.5 * z.square().sum() + L.diagonal().log().sum()) / 20

    yield Case(
        "gaussian process",
        gaussian_process,
        (data.scalar(0.0), data.scalar(-1.0)),
        0.05,
        must_compile=False,
        looseness=100,
    )


# --------------------------------------------------------------------------------- test functions


def optimisation(data: Data) -> Iterator[Case]:
    """The usual test functions of optimisation."""
    pair = (data.scalar(-1.2), data.scalar(1.1))

    def rosenbrock(w: Tensor) -> Tensor:
        return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()

    def ackley(w: Tensor) -> Tensor:
        root = torch.sqrt(w.square().mean())
        waves = torch.cos(2 * math.pi * w).mean()
        return -20 * torch.exp(-0.2 * root) - torch.exp(waves) + 20 + math.e

    def beale(x: Tensor, y: Tensor) -> Tensor:
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    def griewank(w: Tensor) -> Tensor:
        index = torch.arange(1, len(w) + 1, dtype=w.dtype)
        return 1 + w.square().sum() / 4000 - torch.cos(w / index.sqrt()).prod()

    table: dict[str, tuple[Function, tuple[Tensor, ...], float]] = {
        "rosenbrock 2": (lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, pair, 1e-3),
        "rosenbrock 10": (rosenbrock, (0.3 * data.normal(10),), 1e-3),
        "rosenbrock 1000": (rosenbrock, (0.3 * data.normal(1000),), 1e-4),
        "rastrigin": (
            lambda w: 10 * len(w) + (w**2 - 10 * torch.cos(2 * math.pi * w)).sum(),
            (data.normal(6),),
            1e-4,
        ),
        "ackley": (ackley, (data.normal(5),), 0.01),
        "beale": (beale, (data.scalar(1.0), data.scalar(0.3)), 1e-3),
        "himmelblau": (
            lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
            pair,
            0.005,
        ),
        "griewank": (griewank, (2 * data.normal(5),), 0.1),
        "styblinski tang": (
            lambda w: 0.5 * (w**4 - 16 * w**2 + 5 * w).sum(),
            (data.normal(7),),
            1e-3,
        ),
        "booth": (lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2, pair, 0.02),
        "matyas": (lambda x, y: 0.26 * (x**2 + y**2) - 0.48 * x * y, pair, 0.1),
        "levi": (
            lambda x, y: torch.sin(3 * math.pi * x) ** 2 + (x - 1) ** 2 * (1 + y**2) + (y - 1) ** 2,
            pair,
            1e-3,
        ),
        "easom": (
            lambda x, y: -torch.cos(x) * torch.cos(y) * torch.exp(-((x - 2) ** 2) - (y - 2) ** 2),
            (data.scalar(2.5), data.scalar(2.2)),
            0.1,
        ),
        "double well": (lambda w: (w**2 - 1).square().sum(), (data.normal(3),), 0.02),
        "tutorial curve": (
            lambda w: 2 * w**2 * torch.sin(w) + 0.3 * w,
            (data.scalar(1.9),),
            0.02,
        ),
    }
    for name, (f, start, rate) in table.items():
        yield Case(name, f, start, rate)


# ---------------------------------------------------------------------------------- shapes, dtypes


def shapes(data: Data) -> Iterator[Case]:
    """Weights of 0 to 5 dimensions, sizes 1, odd strides and constants of other dtypes."""
    start: tuple[Tensor, ...]
    for shape in ((), (1,), (1, 1), (3,), (2, 3), (1, 3), (3, 1), (2, 3, 2), (2, 1, 2, 2)):
        start = (data.normal(*shape),)
        f = fitted(data, lambda w: torch.tanh(w) * 2 + w.square().sum(), start)
        yield Case(f"shape {shape}", f, start, 0.02)
    start = (data.normal(2, 1, 3, 1, 2),)
    f = fitted(data, lambda w: w.sum(2) * w.mean((0, 4), keepdim=True).amax(2), start)
    yield Case("shape of 5 dimensions", f, start, 0.02)
    column, row, cube = data.normal(3, 1), data.normal(1, 4), data.normal(2, 1, 4)
    table: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
        "broadcast both ways": (lambda a, b: a * b + a / (b.square() + 1), (column, row)),
        "broadcast three": (lambda a, b, c: a * b - c, (column, row, cube)),
        "broadcast scalar weight": (lambda s, c: s * c + s, (data.scalar(0.7), cube)),
        "scalar with size 1": (lambda s, c: s * c[0, 0, :1], (data.scalar(0.7), cube)),
        "six weights": (
            lambda *w: sum((i + 1) * v for i, v in enumerate(w)) * w[0] / (w[5].square() + 1),
            tuple(data.normal(3) for _ in range(6)),
        ),
        "unused weight": (lambda a, _b: a.square() + 1, (column, row)),
        "weight used twice": (lambda a: a.exp() * a.T + a, (column,)),
        "weight plus itself": (lambda a: a + a + a * a - a / 2, (column,)),
    }
    for name, (f, start) in table.items():
        yield Case(name, fitted(data, f, start), start, 0.02)
    yield from _odd_constants(data)


def _odd_constants(data: Data) -> Iterator[Case]:
    """Constants with unusual strides, sizes and dtypes."""
    wide = data.normal(6, 34)
    strided, transposed, flipped = wide[::2, ::2], wide[:4, :17].T, data.normal(17, 4).flip(0, 1)
    other = torch.float32 if data.dtype == torch.float64 else torch.float64
    counts, flags = data.labels(5, 17, 4), data.labels(2, 17, 4) == 1
    single = data.normal(17, 4).to(torch.float32)
    small, bytes_ = data.labels(5, 17).to(torch.int32), data.labels(9, 17).to(torch.uint8)
    y, w = data.normal(17), data.normal(4)
    expanded = data.normal(1, 4).expand(17, 4)
    table: dict[str, Function] = {
        "constant with steps": lambda w: strided.T @ w[:3] - y,
        "constant transposed": lambda w: transposed @ w - y,
        "constant flipped": lambda w: flipped @ w - y,
        "constant expanded": lambda w: (expanded * w).sum(1) * y,
        "integer constant": lambda w: (counts * w).sum(1) - y,
        "integer vector": lambda w: small * w[0] + bytes_ * w[1] - y,
        "bool constant": lambda w: (flags * w).sum(1) - y,
        "float32 constant": lambda w: single.to(w.dtype) @ w - y,
        "float32 factor": lambda w: (single * w).sum(1) - y,
        "scalar of another dtype": lambda w: w * torch.tensor(0.3, dtype=other),
        "integer scalar tensor": lambda w: w.square() * torch.tensor(3),
        "labels as numbers": lambda w: counts[:, 0].to(w.dtype) * w[0] - y,
        "arange inside": lambda w: torch.arange(17) * w[0] * 0.1 - y,
        "eye inside": lambda w: torch.eye(4, dtype=w.dtype) * w + torch.full((4,), 2.0).to(w.dtype),
        "numpy scalar": lambda w: w * math.pi + w**2 * 3,
        "zeros_like and ones_like": lambda w: w * torch.ones_like(w) + torch.zeros_like(w) + w**2,
        "constant alone": lambda w: torch.cat([w.square(), y]),
        "same constant twice": lambda w: (y * w[0] - y).square() + y,
        "constant subset": lambda w: flipped[flags[:, 0]] @ w,
        "square data": lambda w: wide[:4, :4] @ w * w,
    }
    for name, f in table.items():
        yield Case(name, fitted(data, f, (w,)), (w,), 0.01)
    yield Case(
        "non-contiguous weight", fitted(data, lambda a: a.tanh(), (wide.T,)), (wide.T,), 0.02
    )
    start = (strided[:, :5],)
    yield Case("weight with steps", fitted(data, lambda a: a @ a.T, start), start, 0.01)
    if data.dtype == torch.float64:
        yield Case(
            "computed in float32",
            lambda w: (w.to(torch.float32).square().sum() * 0.5).to(torch.float64) + w.sum(),
            (w,),
            0.01,
            must_compile=False,
        )


# ------------------------------------------------------------------------ late and not finite


def late(data: Data) -> Iterator[Case]:
    """Branches that open late, kinks, saturation, tolerances and divergence."""
    s, three = data.scalar, data.values(0.2, 0.4, -0.3)
    X, y = data.normal(17, 3), data.normal(17)
    table: dict[str, tuple[Function, tuple[Tensor, ...], float, int]] = {
        "penalty opens late": (
            lambda w: (w - 2) ** 2 + 10 * torch.relu(w - 1) ** 2,
            (s(0.0),),
            0.01,
            150,
        ),
        "hinge closes late": (
            lambda w: torch.relu(1 - w) + 0.01 * (w - 3) ** 2,
            (s(0.0),),
            0.02,
            150,
        ),
        "branch of where late": (
            lambda w: torch.where(w > 1, torch.sin(5 * w), (w - 2).square()),
            (s(0.0),),
            0.02,
            120,
        ),
        "clamp late": (
            lambda w: (w.clamp(max=1.0) - 3) ** 2 + 0.1 * (w - 4) ** 2,
            (s(0.0),),
            0.01,
            150,
        ),
        "max changes its place": (
            lambda w: (w + 2).square().amax() + 0.1 * w.square().sum(),
            (three,),
            0.01,
            150,
        ),
        "kink in the first place": (
            lambda w: w.abs().sum() + (w - 1).square().sum(),
            (three * 0,),
            0.01,
            60,
        ),
        "relu at zero": (lambda w: torch.relu(w).sum() - w.sum() * 0.3, (three * 0,), 0.01, 60),
        "saturated sigmoid": (
            lambda w: torch.sigmoid(40 * w).sum() + w.square().sum(),
            (three * 9,),
            0.05,
            60,
        ),
        "saturated softplus": (
            lambda w: F.softplus(100 * w).sum() / 100 + w.square().sum(),
            (three * 9,),
            0.05,
            60,
        ),
        "softmax of large": (
            lambda w: torch.softmax(300 * w, 0) @ torch.arange(3, dtype=w.dtype) + w.square().sum(),
            (three,),
            0.01,
            60,
        ),
        "logsumexp of large": (lambda w: torch.logsumexp(3000 * w, 0) / 3000, (three,), 0.003, 60),
        "dead gate with nan": (
            lambda w: torch.where(w > 9, torch.log(w - 9), w.square()).sum(),
            (three,),
            0.05,
            60,
        ),
        "gradient of zero": (lambda w: (w * 0).sum() + 1, (three,), 0.1, 30),
        "constant in the weights": (
            lambda w: w.detach().square().sum() + 0 * w.sum(),
            (three,),
            0.1,
            30,
        ),
        "rows cross zero late": (
            lambda w: (torch.relu(X @ w - 2) - y).square().mean() + (w - 2).square().sum(),
            (three,),
            0.005,
            200,
        ),
        "floor steps late": (
            lambda w: (w - 3) ** 2 + torch.floor(w) * w * 0.1,
            (s(0.1),),
            0.01,
            120,
        ),
        "sqrt approaches zero": (
            lambda w: torch.sqrt(w.square() + 1e-12).sum(),
            (three,),
            0.003,
            60,
        ),
        "underflow": (
            lambda w: torch.exp(-300 * w.square()).sum() - w.sum(),
            (3 * three,),
            0.01,
            60,
        ),
        "norm of zero": (lambda w: (w - w.detach()).norm() + w.square().sum(), (three,), 0.1, 40),
    }
    for name, (f, start, rate, steps) in table.items():
        yield Case(name, f, start, rate, steps)
    bowl = (lambda w: (X @ w - y).square().mean(), (three,))
    yield Case("tolerance", *bowl, 0.1, 400, tolerance=1e-2)
    yield Case("tolerance at once", *bowl, 0.1, 400, tolerance=1e3)
    yield Case(
        "tolerance of two weights",
        lambda a, b: (a - 1) ** 2 + 3 * (b + 2) ** 2 + a * b,
        (s(0.3), s(0.4)),
        0.05,
        400,
        tolerance=3e-3,
    )
    yield from _diverging(data)


def _diverging(data: Data) -> Iterator[Case]:
    """Runs that leave the finite numbers: in the loss, in a partial or in a weight."""
    s, three = data.scalar, data.values(0.2, 0.4, -0.3)
    X, y = data.normal(17, 3), data.normal(17)
    huge = torch.finfo(data.dtype).max
    table: dict[str, tuple[Function, tuple[Tensor, ...], float, int]] = {
        "diverging quartic": (lambda w: (w**4).sum(), (s(2.0),), 0.5, 60),
        "diverging regression": (lambda w: (X @ w - y).square().mean(), (three,), 5.0, 2000),
        "diverging exponential": (lambda w: torch.exp(w) - 50 * w, (s(1.0),), 0.3, 60),
        "negative logarithm": (lambda w: w + 0 * torch.log(w), (s(1.05),), 0.1, 60),
        "root becomes nan": (lambda w: torch.sqrt(w).sum(), (s(0.5),), 0.09, 60),
        "root reaches zero": (lambda w: torch.sqrt(torch.relu(w)), (s(1e-3),), 0.1, 60),
        "pole": (lambda w: 1 / w, (s(1.0),), 0.02, 60),
        "infinite partial": (
            lambda w: torch.sqrt(w - 1).sum() + w.sum(),
            (data.values(1.0, 2.0),),
            0.1,
            60,
        ),
        "weight overflows": (lambda w: -w * (huge / 7), (s(1.0),), 1.0, 60),
        "squares of partials overflow": (
            lambda w: w.sum() * math.sqrt(huge) * 4,
            (three,),
            1e-6 / math.sqrt(huge),
            30,
        ),
        "tiny partials": (
            lambda w: w.sum() * math.sqrt(torch.finfo(data.dtype).tiny) * 1e-3,
            (three,),
            0.1,
            30,
        ),
        "nan at the start": (lambda w: torch.log(w).sum(), (data.values(1.0, -1.0),), 0.1, 30),
        "inf at the start": (lambda w: (1 / w).sum(), (data.values(1.0, 0.0),), 0.1, 30),
        "nan in an unused branch": (
            lambda w: torch.where(w > 0, w.sqrt(), w).sum(),
            (data.values(1.0, -1.0),),
            0.1,
            30,
        ),
        "max with nan": (
            lambda w: torch.log(w).amax() + w.square().sum(),
            (data.values(0.3, 0.2),),
            0.3,
            60,
        ),
        "one row diverges": (lambda w: torch.exp(X @ w * 30).sum() * 1e-3, (three,), 0.5, 60),
    }
    for name, (f, start, rate, steps) in table.items():
        yield Case(name, f, start, rate, steps, looseness=100)


# ------------------------------------------------------------------------------ not to be compiled


def linear_algebra(data: Data) -> Iterator[Case]:
    """Decompositions and transforms, which need not compile."""
    A, b = torch.eye(3, dtype=data.dtype) * 2 + 0.3 * data.normal(3, 3), data.normal(3)
    table: dict[str, Function] = {
        "inv": lambda a: torch.linalg.inv(a).square().sum(),
        "det": lambda a: torch.linalg.det(a).square(),
        "slogdet": lambda a: torch.linalg.slogdet(a).logabsdet.square(),
        "solve": lambda a: torch.linalg.solve(a, b).square().sum(),
        "cholesky": lambda a: (
            torch.linalg.cholesky(a @ a.T + torch.eye(3, dtype=a.dtype)).square().sum()
        ),
        "svdvals": lambda a: torch.linalg.svdvals(a).sum(),
        "eigvalsh": lambda a: torch.linalg.eigvalsh(a @ a.T).amax(),
        "matrix_exp": lambda a: torch.matrix_exp(a * 0.3).square().sum(),
        "complex": lambda a: torch.fft.fft(a[0]).abs().square().sum(),
        "complex number": lambda a: torch.complex(a[0], a[1]).prod().abs(),
        "pinv": lambda a: torch.linalg.pinv(a).square().sum(),
        "qr": lambda a: torch.linalg.qr(a).R.square().sum() + torch.linalg.qr(a).Q[0, 0],
    }
    for name, f in table.items():
        yield Case(name, f, (A,), 0.01, must_compile=False, looseness=10)


def refused(data: Data) -> Iterator[Case]:
    """Objectives that read a weight as a Python number: it would be constant in a trace."""
    w, three = data.scalar(1.5), data.normal(3)

    def printed(w: Tensor) -> Tensor:
        _ = f"{w}"
        return w.square()

    table: dict[str, tuple[Function, Tensor]] = {
        "python branch": (lambda w: w**2 if w > 1.2 else 3 * w, w),
        "python branch in a loop": (lambda w: sum(v.square() if v > 0 else -v for v in w), three),
        "item": (lambda w: w * w.item(), w),
        "float": (lambda w: w**2 * float(w.detach()), w),
        "int": (lambda w: w**2 * int(10 * w.detach()), w),
        "tolist": (lambda w: (w * sum(w.tolist())).sum(), three),
        "numpy": (lambda w: (w * float(w.detach().numpy().sum())).sum(), three),
        "numpy array": (lambda w: (w * torch.from_numpy(w.detach().numpy() * 2.0)).sum(), three),
        "python max": (lambda w: max(w[0], w[1], w[2]) ** 2 + w.square().sum(), three),
        "math": (lambda w: w * math.exp(w.detach()), w),
        "bool": (lambda w: w.square() * (2 if bool(w > 1.2) else 1), w),
        "while loop": (_halving, w),
        "sorted": (lambda w: sorted(w)[0] ** 2 + w.square().sum(), three),
        "nonzero": (
            lambda w: w[(w > 0).nonzero()[:, 0]].square().sum() + (w - 1).square().sum(),
            three,
        ),
        "mask of the weight as index": (
            lambda w: w[w > 0].square().sum() + (w - 1).square().sum(),
            three,
        ),
        "range of a weight": (lambda w: w.square() * (1 + len(range(int(4 * w.detach())))), w),
        "formatted": (printed, w),
        "in a list": (lambda w: w * [1, 2, 3][int(w.detach())], w),
    }
    for name, (f, start) in table.items():
        yield Case(name, f, (start,), 0.01, must_compile=False)


def _halving(w: Tensor) -> Tensor:
    factor = 1
    while w / factor > 0.4:
        factor *= 2
    return w.square() * factor


def stochastic(data: Data) -> Iterator[Case]:
    """Objectives that draw random numbers: a trace would repeat the same numbers."""
    X, w = data.normal(17, 4), data.normal(4)
    own = torch.Generator()
    table: dict[str, Function] = {
        "dropout": lambda w: F.dropout(X @ w, 0.3).square().mean(),
        "rand": lambda w: (w * torch.rand(4, dtype=w.dtype)).square().sum(),
        "randn_like": lambda w: (w + 0.1 * torch.randn_like(w)).square().sum(),
        "normal_": lambda w: (w + torch.empty_like(w).normal_()).square().sum(),
        "randint": lambda w: (X[torch.randint(17, (5,))] @ w).square().mean(),
        "randperm": lambda w: (X[torch.randperm(17)[:5]] @ w).square().mean(),
        "bernoulli": lambda w: (w * torch.bernoulli(torch.full_like(w, 0.5))).square().sum(),
        "multinomial": lambda w: w[torch.multinomial(torch.ones(4), 2)].square().sum(),
        "own generator": lambda w: (w * torch.rand(4, generator=own)).square().sum(),
        "rrelu": lambda w: F.rrelu(w, training=True).square().sum(),
        "gumbel_softmax": lambda w: F.gumbel_softmax(w, dim=0) @ X[0],
    }
    for name, f in table.items():
        yield Case(name, f, (w,), 0.01, must_compile=False)


NONE = torch.zeros(0, dtype=torch.int64)


def without_entries(data: Data) -> Iterator[Case]:
    """Slices, selections and reductions of no entries beside ordinary terms."""
    empty = torch.zeros(0, 6, dtype=data.dtype)

    def assigned(w: Tensor) -> Tensor:
        y = w * 1.0
        y[4:] += y[:0]
        y[4:] = 1.0
        return y

    table: dict[str, Function] = {
        "sum": lambda w: w[4:].exp().sum(),
        "product": lambda w: w[4:].prod(),
        "assignment": assigned,
        "cat": lambda w: torch.cat([w, w[:0], empty]),
        "product of matrices": lambda w: w[:, :0] @ w[:0].reshape(0, 3),
        "scatter": lambda w: w.scatter(0, NONE.new_zeros(0, 6), w[:0]),
        "index": lambda w: w[NONE].sum(),
        "mask": lambda w: w[torch.zeros(4, 6, dtype=torch.bool)].sum(),
        "loss": lambda w: F.mse_loss(w[:0], empty, reduction="sum"),
        "softmax": lambda w: w[:0].softmax(1).sum(),
        "cumsum": lambda w: w[:0].cumsum(0).sum(),
        "constant": lambda w: (empty * w[:1]).sum(),
        "amax": lambda w: w[:0].amax(1).sum(),
        "stack": lambda w: torch.stack([w[:0], w[:0]]).sum(),
        "split": lambda w: w.split([0, 4])[1].sin() + w.split([0, 4])[0].sum(),
        "index_add": lambda w: w.index_add(0, NONE, w[:0]),
        "index_put": lambda w: w.index_put((NONE,), w[:0]),
    }
    for name, f in table.items():
        start = (data.normal(4, 6),)
        yield Case(f"no entries: {name}", added(f), start, 0.01)


def added(f: Function) -> Function:
    """The sum of squares of a function's value and of its argument."""
    return lambda w: f(w).square().sum() + w.square().sum()


SECTIONS = (
    pointwise,
    reductions,
    losses,
    products,
    views,
    indexing,
    in_place,
    models,
    optimisation,
    shapes,
    late,
    linear_algebra,
    refused,
    without_entries,
)

REFUSED = tuple(case.name for case in refused(Data(torch.float64, 0)) if case.name != "formatted")


def cases(dtype: torch.dtype) -> dict[str, Case]:
    """All cases of a dtype by name."""
    table: dict[str, Case] = {}
    for seed, section in enumerate(SECTIONS):
        for case in section(Data(dtype, seed)):
            if case.name in table:
                raise ValueError(f"two cases are called {case.name!r}")
            table[case.name] = case
    return table


BATCHED = (
    "tutorial curve",
    "himmelblau",
    "rosenbrock 2",
    "rosenbrock 10",
    "mse",
    "huber",
    "lasso",
    "cross_entropy",
    "sigmoid net",
    "tanh net",
    "relu net",
    "three layers with biases",
    "exp",
    "softplus",
    "softmax 1",
    "matrix factorisation",
    "quadratic 8",
    "damped spring",
    "soft k-means",
    "logistic regression",
    "six weights",
    "diverging quartic",
)
"""Cases that are also executed in a batch by descend_many."""
