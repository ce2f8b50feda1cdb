"""Random torch expressions, and a command that compares compiled with eager steps on many of them.

    python -m tests.compiler.generate --count 10000 --seed 0 --batch 8

An expression is Python source: 5 to 20 operations on weights and constants of 0 to 4 dimensions,
reduced to one scalar. With ``--batch N`` the sum of N expressions is compiled at once; a batch that
differs or falls back is taken apart and each of its expressions is run alone. The exit status is 1
if a difference was found.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from gd_torch import descend

Choose = Callable[[int], int]
"""Draws an integer from 0 to n - 1, by hypothesis or by a seeded generator."""

STEPS = 5
MAX_VALUE = 20.0
"""Larger values are compressed by tanh, so that no chain of operations overflows."""

MAX_ENTRIES = 300

PREAMBLE = """\
import math
import torch
import torch.nn.functional as F


def normal(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to({dtype})


"""

CANNOT = "the objective cannot be compiled, its steps run eagerly: "


@dataclass(frozen=True)
class Expression:
    """An objective as source text, with its start.

    Attributes:
        source: a module that defines ``objective`` and ``start``.
        operations: the kind of each operation.
    """

    source: str
    objective: Callable[..., Tensor]
    start: tuple[Tensor, ...]
    rate: float
    operations: tuple[str, ...]


# -------------------------------------------------------------------------------------- operations

UNARY = (
    "-{x}",
    "{x}.abs()",
    "{x}.sign() * {x}",
    "({x}.square() + 0.3).sqrt()",
    "({x}.abs() + 0.5).rsqrt()",
    "1 / ({x}.square() + 0.5)",
    "{x}.square()",
    "{x} ** 2",
    "{x} ** 3",
    "({x}.abs() + 0.5) ** -2",
    "({x}.abs() + 0.5) ** 1.5",
    "({x} * 0.3) ** 6",
    "1.5 ** {x}.tanh()",
    "{x}.clamp(-3, 3).exp()",
    "torch.expm1({x}.clamp(max=2))",
    "torch.log({x}.abs() + 0.4)",
    "torch.log1p({x}.square())",
    "torch.log2({x}.abs() + 0.4)",
    "torch.sigmoid({x})",
    "torch.tanh({x})",
    "torch.sinh({x}.tanh())",
    "torch.cosh({x}.tanh())",
    "torch.asinh({x})",
    "torch.atanh(0.7 * {x}.tanh())",
    "torch.sin({x})",
    "torch.cos({x})",
    "torch.tan({x}.tanh())",
    "torch.atan({x})",
    "torch.asin(0.7 * {x}.tanh())",
    "torch.erf({x})",
    "torch.erfc({x})",
    "torch.relu({x})",
    "F.leaky_relu({x}, 0.2)",
    "F.elu({x})",
    "F.gelu({x})",
    "F.gelu({x}, approximate='tanh')",
    "F.silu({x})",
    "F.softplus({x})",
    "F.mish({x})",
    "F.hardtanh({x})",
    "F.relu6({x})",
    "F.hardswish({x})",
    "F.softsign({x})",
    "F.logsigmoid({x})",
    "F.softshrink({x})",
    "F.selu({x})",
    "F.threshold({x}, 0.1, -0.3)",
    "{x}.clamp(min=-0.4)",
    "{x}.clamp(max=0.6)",
    "{x}.clamp(-0.5, 1.5)",
    "2 * {x} - 0.5",
    "0.7 - {x} / 3",
    "torch.floor(2 * {x}) * {x}",
    "torch.round(2 * {x}) + {x}",
    "torch.remainder({x}, 0.7) * {x}",
    "torch.where({x} > 0, {x}.square(), -0.5 * {x})",
    "torch.where({x} > 0.1, {x}, 1.0).log()",
    "{x}.masked_fill({x} > 0.5, 0.1)",
    "{x} * ({x} > 0)",
    "{x} * ({x} <= 0.2).to({x}.dtype)",
    "{x}.detach() * {x}",
    "{x} * (({x} > -1) & ({x} < 1))",
    "torch.nan_to_num({x})",
    "{x} / {x}.detach().abs().add(1)",
    "{x}.clone()",
    "torch.logit({x}.sigmoid() * 0.8 + 0.1)",
    "{x} + torch.ones_like({x})",
    "{x} * 1.0",
)

BINARY = (
    "{x} + {y}",
    "{x} - {y}",
    "{x} * {y}",
    "{x} / ({y}.abs() + 0.5)",
    "torch.maximum({x}, {y})",
    "torch.minimum({x}, {y})",
    "torch.atan2({x}, {y}.abs() + 0.3)",
    "torch.where({x} > {y}, {x}, 2 * {y})",
    "torch.add({x}, {y}, alpha=0.3)",
    "torch.lerp({x}, {y}, 0.3)",
    "torch.addcmul({x}, {x}, {y}, value=0.2)",
    "torch.logaddexp({x}, {y})",
    "torch.hypot({x} + 3, {y})",
    "({x}.abs() + 0.5) ** {y}.tanh()",
    "{x} * ({x} > {y}) - {y}",
    "torch.addcdiv({x}, {x}, {y}.abs() + 1, value=0.5)",
    "torch.fmax({x}, {y})",
    "({x} - {y}).square()",
    "torch.clamp({x}, min={y})",
)

REDUCTION = (
    "{x}.sum({d})",
    "{x}.mean({d})",
    "{x}.sum({d}, keepdim=True)",
    "{x}.mean({d}, keepdim=True)",
    "{x}.amax({d})",
    "{x}.amin({d}, keepdim=True)",
    "{x}.max({d}).values",
    "{x}.min({d}).values",
    "({x} * 0.3 + 1).prod({d})",
    "{x}.var({d}, correction=0)",
    "({x}.var({d}, correction=0) + 0.1).sqrt()",
    "torch.logsumexp({x}, {d})",
    "torch.softmax({x}, {d})",
    "torch.log_softmax({x}, {d})",
    "{x}.cumsum({d})",
    "(0.3 * {x} + 1).cumprod({d})",
    "({x}.square().sum({d}) + 0.1).sqrt()",
    "{x}.norm(1, dim={d})",
    "{x}.abs().amax({d})",
    "{x} - {x}.mean({d}, keepdim=True)",
    "({x} + 5).norm(dim={d})",
)

WHOLE = (
    "{x}.sum()",
    "{x}.mean()",
    "{x}.amax()",
    "{x}.square().mean()",
    "torch.logsumexp({x}.flatten(), 0)",
    "({x} + 5).norm()",
    "{x}.min()",
    "{x}.var(correction=0)",
    "({x} * 0.3 + 1).prod()",
)

VIEW = (
    "{x}.flatten()",
    "{x}.reshape(-1)",
    "{x}.transpose({d}, {e})",
    "{x}.unsqueeze({d})",
    "{x}.flip({d})",
    "{x}.roll(1, {d})",
    "{x}.select({d}, {i})",
    "{x}.narrow({d}, 0, {k})",
    "{x}.narrow({d}, {i}, 1)",
    "torch.cat([{x}, {x}.tanh()], {d})",
    "torch.cat([{x}, {x}.narrow({d}, 0, 1)], {d})",
    "torch.stack([{x}, {x}.sin()], {d})",
    "{x}.repeat_interleave(2, {d})",
    "{x}.movedim({d}, {e})",
    "{x}[{i0}]",
    "{x}[::2]",
    "{x}[1:]",
    "{x}[..., ::2]",
    "{x}[..., -1]",
    "{x}.expand(2, *{x}.shape)",
    "{x}.squeeze()",
    "{x}.chunk(2, {d})[0]",
    "{x}.unbind({d})[{i}]",
    "{x}.unfold({d}, 1, 1)",
    "F.pad({x}, (1, 2))",
    "{x}.diff(dim={d})",
    "{x}.contiguous()",
    "{x}.repeat(*[2] * {x}.dim())",
    "{x}.swapaxes({d}, {e}).contiguous().view(-1)",
    "{x}.unsqueeze(-1) * {x}.unsqueeze(-2)",
    "{x}.split(1, {d})[{i}]",
    "{x}[None, ..., None]",
)

MATRIX = (
    "{x}.t()",
    "{x}.tril()",
    "{x}.triu(1)",
    "{x}.diagonal()",
    "{x} @ {x}.T",
    "{x}.T @ {x}",
    "torch.einsum('ij,kj->ik', {x}, {x})",
    "torch.einsum('ij->j', {x})",
    "F.linear({x}, {x})",
    "torch.softmax({x} @ {x}.T, 1) @ {x}",
    "torch.trace({x} @ {x}.T)",
    "{x}.rot90()",
    "F.layer_norm({x}, {x}.shape[1:])",
    "F.normalize({x} + 3, dim=1)",
    "{x}[:, [0, 0]]",
    "torch.kron({x}[:2, :2], {x}[:1, :2])",
    "torch.addmm({x}[:, :1], {x}, {x}.T, beta=0.5)",
)

PRODUCT = (
    "{x} @ {y}",
    "torch.matmul({x}, {y}).tanh()",
    "{x} @ {y}",
)

INDEX = (
    "{x}[torch.tensor([0, {i0}, 0])]",
    "{x}.index_select({d}, torch.tensor([{i}, 0]))",
    "{x}.gather({d}, torch.zeros_like({x}, dtype=torch.int64))",
    "{x}.gather({d}, torch.full({x}.shape, {i}))",
    "{x}.take(torch.tensor([0, 0]))",
    "torch.zeros_like({x}).index_add({d}, torch.full(({x}.shape[{d}],), {i}), {x})",
    "torch.zeros_like({x}).scatter_add({d}, torch.full({x}.shape, {i}), {x})",
    "{x}.index_put((torch.tensor([{i0}]),), {x}[:1].sin())",
    "{x}[torch.arange({x}.shape[0]) % 2 == 0]",
    "{x}.index_fill({d}, torch.tensor([{i}]), 0.3)",
    "{x}.masked_select(torch.arange({x}.numel()).view({x}.shape) % 2 == 0)",
    "F.embedding(torch.tensor([[0, {i0}], [{i0}, 0]]), {x}.reshape({x}.shape[0], -1))",
    "torch.take_along_dim({x}, torch.zeros([1] * {x}.dim(), dtype=torch.int64), {d})",
)

IN_PLACE = (
    "{o} = {x}.clone()\n{o}[{i0}] = {x}[0] * 2",
    "{o} = {x} * 1.0\n{o}[{i0}] = 0.5",
    "{o} = {x} + 1\n{o}.add_({x}).mul_(0.5)",
    "{o} = {x} * 2\n{o}.clamp_(-1, 1)",
    "{o} = torch.zeros_like({x})\n{o}[{i0}] = {x}[{i0}].tanh()",
    "{o} = torch.zeros_like({x})\nfor i in range({x}.shape[0]):\n    {o}[i] = {x}[i] * (i + 1)",
    "{o} = {x}.clone()\n{o}.select({d}, {i}).mul_(3)",
    "{o} = {x}.clone()\n{o}.transpose(0, {d})[{j0}].add_(0.5)",
    "{o} = {x}.clone()\n{o}[1:] += {x}[:-1]",
    "{o} = {x}.clone()\n{o}.view(-1)[::2].neg_()",
    "{o} = {x} * 1.5\n{o}[0].zero_()\n{o}[-1:].fill_(0.2)",
    "{o} = torch.empty_like({x})\n{o}.copy_({x}.flip({d}))",
    "{o} = {x}.clone()\n{o}[torch.tensor([{i0}])] = {x}[:1].exp().clamp(max=3)",
    "{o} = {x} * 1.0\nbefore = {o}[{i0}] * 2\n{o}[{i0}] = {x}[0] - 1\n{o} = {o} + before",
    "{o} = {x} * 1.0\n{o}[{x} > 0.5] = 0.5",
    "{o} = {x} * 1.0\n{o} *= {x}\n{o} -= 0.3",
    "{o} = {x}.clone()\n{o}.narrow({d}, {i}, 1).copy_({x}.narrow({d}, 0, 1))",
    "{o} = torch.full_like({x}, 0.3)\n{o}[..., 0] += {x}[..., -1]",
    "{o} = {x} * 1.0\n{o}.unsqueeze(0)[0, {i0}].sub_(0.7)",
    "{o} = {x} * 1.0\n{o}.masked_fill_({x} > 0.3, 0.3)",
)

KINDS: dict[str, tuple[str, ...]] = {
    "unary": UNARY,
    "binary": BINARY,
    "reduction": REDUCTION,
    "whole": WHOLE,
    "view": VIEW,
    "matrix": MATRIX,
    "product": PRODUCT,
    "index": INDEX,
    "in place": IN_PLACE,
    "constant": ("{x} * {c}", "{x} + {c}", "{x} - {c}", "{c} / ({x}.abs() + 0.5)"),
    "rows": ("{c} @ {x}", "torch.tanh({c} @ {x})", "F.linear({c}, {x}.T)"),
}

ORDER = ("unary", "binary", "in place", "view", "reduction", "product", "index", "constant")
ORDER += ("rows", "matrix", "unary", "whole", "binary", "view", "in place", "product")


# ------------------------------------------------------------------------------------ construction


@dataclass
class _Builder:
    """An expression that is being written, with the values of its parts at the start."""

    choose: Choose
    dtype: torch.dtype
    names: list[str] = field(default_factory=list)
    header: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    values: dict[str, object] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    constants: int = 0

    def execute(self, code: str) -> None:
        exec(code, self.values)

    def value(self, name: str) -> Tensor:
        found = self.values[name]
        assert isinstance(found, Tensor)
        return found

    def one_of(self, options: Sequence[str]) -> str:
        return options[self.choose(len(options))]

    def constant(self, *shape: int) -> str:
        name = f"c{self.constants}"
        self.constants += 1
        line = f"{name} = normal({', '.join(map(str, (self.choose(1000), *shape)))})"
        self.execute(line)
        self.header.append(line)
        return name

    def weights(self) -> None:
        for i in range(1 + self.choose(3)):
            shape = [1 + self.choose(4) for _ in range(self.choose(5))]
            line = f"w{i} = normal({', '.join(map(str, (self.choose(1000), *shape)))})"
            self.execute(line)
            self.names.append(f"w{i}")
            self.unused.append(f"w{i}")
            self.header.append(line)

    def add(self) -> bool:
        """Try to write one more operation; False if the choice does not suit the shapes."""
        kind = self.one_of(ORDER)
        x = self.one_of(self.names)
        if self.choose(3):
            x = self.names[-1]
        code = self._code(kind, x)
        if code is None:
            return False
        out = f"t{len(self.operations)}"
        code = code.replace("{o}", out) if "{o}" in code else f"{out} = {code}"
        try:
            with torch.no_grad():
                self.execute(code)
        except (RuntimeError, IndexError, ValueError, TypeError):
            self.values.pop(out, None)
            return False
        value = self.value(out)
        if not value.numel() or value.numel() > MAX_ENTRIES or not bool(value.isfinite().all()):
            return False
        if float(value.abs().max()) > MAX_VALUE:
            squash = f"{out} = {MAX_VALUE:g} * torch.tanh({out} / {MAX_VALUE:g})"
            code = f"{code}\n{squash}"
            self.execute(squash)
        self.body += code.split("\n")
        self.operations.append(kind)
        self.names.append(out)
        used = set(re.findall(r"\b[wt]\d+\b", code)) - {out}
        self.unused = [name for name in self.unused if name not in used] + [out]
        return True

    def _code(self, kind: str, x: str) -> str | None:
        value, template = self.value(x), self.one_of(KINDS[kind])
        places = {"x": x, "o": "{o}"}
        if any(f"{{{p}" in template for p in ("d", "e", "i", "j", "k")):
            if not value.dim():
                return None
            d = self.choose(value.dim())
            size = value.shape[d]
            places |= {"d": str(d), "e": str(self.choose(value.dim()))}
            places |= {"i": str(self.choose(size)), "i0": str(self.choose(value.shape[0]))}
            places |= {"k": str(1 + self.choose(size)), "j0": str(self.choose(size))}
        if kind == "matrix" and value.dim() != 2:
            return None
        if "{y}" in template:
            fits = _multiply if kind == "product" else _broadcast
            partners = [n for n in self.names if fits(value, self.value(n))]
            if not partners:
                return None
            places["y"] = self.one_of(partners)
        if kind == "rows":
            if value.dim() not in (1, 2) or ("F.linear" in template and value.dim() != 2):
                return None
            places["c"] = self.constant(1 + self.choose(17), value.shape[0])
        elif "{c}" in template:
            shape = value.shape[self.choose(value.dim() + 1) :]
            places["c"] = self.constant(*shape)
        return template.format(**places)

    def finish(self) -> Expression:
        """Reduce all results that nothing uses to one scalar."""
        terms = [
            self.one_of(("{x}.square().mean()", "{x}.mean()", "{x}.sin().sum()")).format(x=name)
            for name in self.unused
        ]
        count = sum(line.startswith("w") for line in self.header)
        arguments = ", ".join(f"w{i}" for i in range(count))
        lines = [*self.body, f"return {' + '.join(terms)}"]
        starts = f"start = ({arguments},)"
        function = f"def objective({arguments}):\n" + "\n".join(f"    {line}" for line in lines)
        text = "\n".join([*self.header, starts, "\n", function, ""])
        source = PREAMBLE.format(dtype=self.dtype) + text
        module: dict[str, object] = {}
        exec(compile(source, "<expression>", "exec"), module)
        objective, start = module["objective"], module["start"]
        return Expression(source, objective, start, 0.0, tuple(self.operations))  # type: ignore[arg-type]


def _broadcast(x: Tensor, y: Tensor) -> bool:
    return all(
        a == b or 1 in (a, b) for a, b in zip(reversed(x.shape), reversed(y.shape), strict=False)
    )


def _multiply(x: Tensor, y: Tensor) -> bool:
    if not x.dim() or not y.dim() or x.shape[-1] != (y.shape[-2] if y.dim() > 1 else y.shape[0]):
        return False
    return x.dim() < 3 or y.dim() < 3 or _broadcast(x[..., 0, 0], y[..., 0, 0])


def build(choose: Choose, dtype: torch.dtype = torch.float64) -> Expression:
    """An expression of 5 to 20 operations whose loss and partials at the start are finite."""
    builder = _Builder(choose, dtype)
    builder.execute(PREAMBLE.format(dtype=dtype))
    builder.weights()
    wanted = 5 + choose(16)
    for _ in range(4 * wanted):
        if len(builder.operations) < wanted:
            builder.add()
    expression = builder.finish()
    leaves = [w.detach().clone().requires_grad_() for w in expression.start]
    slopes = torch.autograd.grad(
        expression.objective(*leaves), leaves, allow_unused=True, materialize_grads=True
    )
    steepest = max(float(s.abs().max()) for s in slopes)
    rate = 0.02 / max(steepest, 0.1) if math.isfinite(steepest) else 0.02
    return Expression(
        expression.source, expression.objective, expression.start, rate, expression.operations
    )


def seeded(seed: int, index: int, dtype: torch.dtype = torch.float64) -> Expression:
    """The expression with this index in the sequence of this seed."""
    source = random.Random(f"{seed} {index}")
    return build(source.randrange, dtype)


# -------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Outcome:
    """What a comparison found.

    Attributes:
        kind: "equal", "eager" (it fell back), "unstable" (eager steps from a start that differs by
            rounding differ as much) or "different".
        detail: the reason of the fallback, or what differs.
    """

    kind: str
    detail: str = ""


def _run(
    objective: Callable[..., Tensor],
    start: tuple[Tensor, ...],
    rates: Sequence[float],
    stepper: str,
) -> tuple[object, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = descend(objective, start, learning_rate=list(rates), steps=STEPS, stepper=stepper)
    return result, [str(w.message) for w in caught]


def _distance(actual: object, expected: object) -> float:
    """The largest difference of paths and losses, relative to their scales; inf if ends differ."""
    if (actual.steps, actual.stop) != (expected.steps, expected.stop):
        return math.inf
    worst = 0.0
    pairs = [*zip(actual.path, expected.path, strict=True), (actual.losses, expected.losses)]
    for a, e in pairs:
        same = (a == e) | (a.isnan() & e.isnan())
        scale = max(1e-3, float(e.abs().nan_to_num(0.0, 0.0, 0.0).max()) if e.numel() else 0.0)
        apart = torch.where(same, 0.0, (a - e).abs().double() / scale)
        worst = max(worst, float(apart.nan_to_num(math.inf).max()) if e.numel() else 0.0)
    return worst


def _stable(
    objective: Callable[..., Tensor],
    start: tuple[Tensor, ...],
    rates: Sequence[float],
    expected: object,
    tolerance: float,
) -> bool:
    """Whether eager runs from starts that differ by a few roundings end at the same point."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(6):
        noise = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in start]
        size = 8 * torch.finfo(start[0].dtype).eps
        near = tuple(
            (w.double() * (1 + size * n)).to(w.dtype) for w, n in zip(start, noise, strict=True)
        )
        if _distance(_run(objective, near, rates, "eager")[0], expected) > tolerance / 10:
            return False
    return True


def check(expressions: Sequence[Expression], stepper: str = "compiled") -> Outcome:
    """Compare compiled with eager steps on the sum of some expressions."""
    counts = [len(e.start) for e in expressions]
    starts = tuple(w for e in expressions for w in e.start)
    rates = [e.rate for e in expressions for _ in e.start]

    def objective(*weights: Tensor) -> Tensor:
        total, at = None, 0
        for expression, count in zip(expressions, counts, strict=True):
            value = expression.objective(*weights[at : at + count])
            total, at = value if total is None else total + value, at + count
        return total

    if len(expressions) == 1:
        objective = expressions[0].objective
    tolerance = 1e-9 if starts[0].dtype == torch.float64 else 1e-3
    expected, _ = _run(objective, starts, rates, "eager")
    try:
        actual, messages = _run(objective, starts, rates, stepper)
    except Exception as error:
        return Outcome("different", f"it raised {type(error).__name__}: {error}")
    if messages and not (len(messages) == 1 and messages[0].startswith(CANNOT)):
        return Outcome("different", f"unexpected warnings {messages}")
    distance = _distance(actual, expected)
    if not distance <= tolerance:
        if len(expressions) == 1 and not _stable(objective, starts, rates, expected, tolerance):
            return Outcome("unstable")
        ends = f"eager {expected.steps} {expected.stop.name}, {actual.steps} {actual.stop.name}"
        return Outcome("different", f"relative difference {distance:.1e}; {ends}")
    return Outcome("eager", messages[0][len(CANNOT) :]) if messages else Outcome("equal")


def outcomes(
    expressions: Sequence[Expression], stepper: str = "compiled"
) -> Iterator[tuple[Expression, Outcome]]:
    """One outcome per expression; they are compiled together where that succeeds."""
    if len(expressions) > 1 and check(expressions, stepper).kind == "equal":
        yield from ((e, Outcome("equal")) for e in expressions)
        return
    for expression in expressions:
        yield expression, check([expression], stepper)


# ----------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare many expressions, print each difference with its source, and count the outcomes."""
    parser = argparse.ArgumentParser(description="Compare compiled with eager steps.")
    parser.add_argument("--count", type=int, default=1000, help="how many expressions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first expression")
    parser.add_argument("--batch", type=int, default=1, help="expressions compiled at once")
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--stepper", default="compiled")
    parser.add_argument("--keep", type=Path, help="write the current source here before its run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dtype = torch.float32 if options.float32 else torch.float64
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    last = options.first + options.count
    with tqdm(total=options.count, unit="expression") as progress:
        for at in range(options.first, last, options.batch):
            indices = range(at, min(at + options.batch, last))
            batch = [seeded(options.seed, i, dtype) for i in indices]
            if options.keep:
                options.keep.write_text("\n# next\n".join(e.source for e in batch))
            for i, (expression, outcome) in zip(
                indices, outcomes(batch, options.stepper), strict=True
            ):
                kinds[outcome.kind] += 1
                if outcome.kind == "eager":
                    reasons[re.sub(r"\d+", "N", outcome.detail)] += 1
                elif outcome.kind == "different":
                    progress.write(_reproducer(options.seed, i, expression, outcome))
                progress.update()
    print(
        f"differences {kinds['different']}, compiled {kinds['equal']}, "
        f"unstable {kinds['unstable']}, fallen back {kinds['eager']}"
    )
    for reason, count in reasons.most_common():
        print(f"{count:7d}  {reason}")
    return 1 if kinds["different"] else 0


def _reproducer(seed: int, index: int, expression: Expression, outcome: Outcome) -> str:
    """A script that shows the difference."""
    rule = "# " + "-" * 78
    call = (
        "\n\nif __name__ == '__main__':\n    from gd_torch import descend\n\n"
        "    for stepper in ('eager', 'compiled'):\n"
        f"        run = descend(objective, start, learning_rate={expression.rate!r}, "
        f"steps={STEPS}, stepper=stepper)\n"
        "        print(stepper, run, [w.tolist() for w in run.weights])\n"
    )
    head = f"{rule}\n# seed {seed}, index {index}: {outcome.detail}\n"
    return head + expression.source + call


if __name__ == "__main__":
    sys.exit(main())
