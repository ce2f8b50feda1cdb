"""Mistakes in the derivative of a pointwise function, one operation or several composed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.formulas import formulas_of, other_functions
from gd_torch.checking.diagnosis.hypotheses import Cotangents, Hypothesis, WrongDerivative
from gd_torch.checking.diagnosis.tensors import value_name
from gd_torch.checking.replay import Replay
from gd_torch.checking.trace import Node

_ADDITIVE = ("add", "sub", "rsub", "neg", "clone", "to_copy")
_EXPONENTS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0, "square": 2.0}
_MAX_OPERATIONS = 8


@dataclass(frozen=True)
class PointwiseFunction:
    """a = f(z), entry by entry, where ``a`` depends on the weights through ``z`` alone.

    Attributes:
        z, a: the values.
        inner: the values between them.
        name: the operations, the outermost first: "log(sigmoid)".
        location: the line of the objective, "file.py:12".
    """

    z: int
    a: int
    inner: tuple[int, ...]
    name: str
    location: str


def pointwise_functions(replay: Replay) -> list[PointwiseFunction]:
    """Every pointwise function of one value in the trace, single operations first."""
    if "pointwise functions" not in replay.cache:
        found = [f for node in replay.trace.nodes for f in _functions_ending_at(replay, node)]
        replay.cache["pointwise functions"] = sorted(found, key=lambda f: len(f.inner))
    functions: list[PointwiseFunction] = replay.cache["pointwise functions"]
    return functions


def _functions_ending_at(replay: Replay, last: Node) -> Iterator[PointwiseFunction]:
    """Go back from a node, operation by operation, as long as everything is pointwise."""
    a = last.outputs[0]
    if not last.pointwise or a is None:
        return
    shape = replay.values[a].shape
    frontier = {a}  # all that ``a`` is computed from
    inner: list[int] = []
    names: list[str] = []
    while len(names) < _MAX_OPERATIONS:
        latest = max(frontier)
        node = replay.producer.get(latest)
        if node is None or not node.pointwise or replay.values[latest].shape != shape:
            return
        names.append(node.name)
        inner += [latest] if latest != a else []
        frontier = (frontier - {latest}) | set(node.inputs.values())
        if len(frontier) == 1 and replay.values[min(frontier)].shape == shape:
            name = "(".join(names) + ")" * (len(names) - 1)
            yield PointwiseFunction(min(frontier), a, tuple(inner), name, last.location)


def pointwise_hypotheses(replay: Replay) -> Iterator[Hypothesis]:
    """The derivative of every pointwise function replaced by every wrong one."""
    for f in pointwise_functions(replay):
        if f.a in replay.cotangents:
            for wrong in wrong_derivatives(replay, f).values():
                yield _replace_derivative(f, wrong)


def _replace_derivative(f: PointwiseFunction, wrong: WrongDerivative) -> Hypothesis:
    def removed(replay: Replay) -> Cotangents:
        return {f.z: replay.cotangents[f.a] * _derivative(replay, f)}

    def added(replay: Replay) -> Cotangents | None:
        here = wrong_derivatives(replay, f).get((wrong.kind, wrong.message))
        return None if here is None else {f.z: replay.cotangents[f.a] * here.derivative}

    message = f"{wrong.message} ({f.name}, {f.location})"
    rank = wrong.rank + 0.1 * len(f.inner)
    return Hypothesis(wrong.kind, message, rank, removed, added, scalable=True)


def _derivative(replay: Replay, f: PointwiseFunction) -> Tensor:
    """f'(z), entry by entry; computed once."""
    key = ("derivative", f)
    if key not in replay.cache:
        replay.cache[key] = replay.pointwise_derivative(f.z, f.a)
    derivative: Tensor = replay.cache[key]
    return derivative


def wrong_derivatives(
    replay: Replay, f: PointwiseFunction
) -> dict[tuple[str, str], WrongDerivative]:
    """(kind, message) -> what may stand in the place of f'(z); computed once."""
    key = ("wrong derivatives", f)
    if key not in replay.cache:
        replay.cache[key] = {(w.kind, w.message): w for w in _wrong_derivatives(replay, f)}
    found: dict[tuple[str, str], WrongDerivative] = replay.cache[key]
    return found


def _wrong_derivatives(replay: Replay, f: PointwiseFunction) -> list[WrongDerivative]:
    a = replay.values[f.a]
    D = _derivative(replay, f)
    one = torch.ones_like(D)
    if _is_affine(replay, f):
        rank = 0.25 if _is_inner(replay, f.a) else 2.8
        text = "the inner derivative, a constant factor, is missing"
        is_one = torch.allclose(D.abs(), one, rtol=1e-9, atol=0)
        return [] if is_one else [WrongDerivative("missing_chain_factor", text, rank, one)]
    found = [
        WrongDerivative("missing_chain_factor", "the factor f'(z) is missing", 1.0, one),
        WrongDerivative("value_for_derivative", "f(z) used where f'(z) belongs", 1.0, a),
        *_at_wrong_points(replay, f),
        WrongDerivative("extra_factor", "the factor f'(z) is there twice", 3.0, D * D),
        *_wrong_exponents(replay, f),
        *_wrong_formulas(replay, f),
    ]
    return [w for w in found if not _is_correct(w.derivative, D)]


def _is_correct(derivative: Tensor, D: Tensor) -> bool:
    """Whether an expression is the derivative up to its sign, or is not finite."""
    if not bool(torch.isfinite(derivative).all()):
        return True
    if not torch.allclose(derivative.abs(), D.abs(), rtol=1e-9, atol=0):  # the cheaper test first
        return False
    return any(torch.allclose(derivative, sign * D, rtol=1e-9, atol=0) for sign in (1, -1))


def _is_affine(replay: Replay, f: PointwiseFunction) -> bool:
    """Whether a = c z + d: only sums, signs and constant factors."""
    for value in (f.a, *f.inner):
        node = replay.producer[value]
        divides_by_z = node.name == "div" and 0 not in node.inputs
        scales = node.name in ("mul", "div") and len(node.inputs) == 1 and not divides_by_z
        if not scales and node.name not in _ADDITIVE:
            return False
    return True


def _is_inner(replay: Replay, value: int) -> bool:
    """Whether a nonlinear function is applied to what the value goes into."""
    reached = {value}
    for node in replay.trace.nodes:
        if reached & set(node.inputs.values()):
            reached |= {o for o in node.outputs if o is not None}
            if node.pointwise and node.name not in (*_ADDITIVE, "where", "mul", "div"):
                return True
    return False


def _at_wrong_points(replay: Replay, f: PointwiseFunction) -> Iterator[WrongDerivative]:
    """The correct derivative, at a or at another value of the same shape instead of z."""
    for i, other in enumerate(replay.values):
        if i == f.z or other.shape != replay.values[f.z].shape:
            continue
        try:
            D = replay.pointwise_derivative(f.z, f.a, other)
        except RuntimeError:
            continue
        kind, rank, name = "derivative_at_wrong_point", 2.5, value_name(replay, i)
        if _is_summand(replay, f, i):
            kind, message = "dropped_term", f"f' taken at one summand of z alone, {name}"
        elif i == f.a:
            message = "f'(a) used where f'(z) belongs"
        else:
            message = f"f' taken at {name}, not at z"
        rank = 1.5 if i == f.a else 2.5
        yield WrongDerivative(kind, message, rank, D, repeatable=i == f.a)


def _is_summand(replay: Replay, f: PointwiseFunction, value: int) -> bool:
    """Whether z is a sum with this value as a summand, and f a power."""
    node = replay.producer.get(f.z)
    return (
        node is not None
        and not f.inner
        and node.name in ("add", "sub", "rsub")
        and value in node.inputs.values()
        and replay.producer[f.a].name in ("pow", "square", "mul")
    )


def _wrong_exponents(replay: Replay, f: PointwiseFunction) -> list[WrongDerivative]:
    """n z^(n-1) with another exponent, for a power written as one operation."""
    n = _exponent(replay.producer[f.a]) if not f.inner else None
    if n is None:
        return []
    z = replay.values[f.z]
    exponents = dict.fromkeys((n, n - 2, n + 1, n - 3, -n, 1 - n, n + 0.5, n - 0.5, n - 1.5))
    return [
        WrongDerivative(
            "wrong_exponent",
            f"exponent {q:g} where {n - 1:g} belongs (derivative of z^{n:g})",
            1.2,
            n * z**q,
        )
        for q in exponents
        if q not in (n - 1, 0)
    ]


def _exponent(node: Node) -> float | None:
    """The exponent of an operation that is a power of one value, None if it is not a power."""
    if node.name == "pow":
        exponent = node.leaves[1]
        return float(exponent) if isinstance(exponent, int | float) else None
    if node.name == "mul":
        return 2.0 if len(node.inputs) == 2 else None  # else times a constant
    if node.name == "div":
        return -1.0 if 0 not in node.inputs else None
    return _EXPONENTS.get(node.name)


def _wrong_formulas(replay: Replay, f: PointwiseFunction) -> Iterator[WrongDerivative]:
    """Expressions in z, in a and in the values between them, and other functions of z."""
    z, a = replay.values[f.z], replay.values[f.a]
    named = [(text.replace("a", "z"), r, x) for text, r, x in formulas_of(z)]
    named += formulas_of(a)
    for i in f.inner:
        name = value_name(replay, i)
        named += [(f"{text}, a = {name},", r, x) for text, r, x in formulas_of(replay.values[i])]
    named += other_functions(z)
    for text, rank, values in named:
        message = f"{text} used where f'(z) belongs"
        yield WrongDerivative("wrong_formula", message, 4.0 + rank, values)
