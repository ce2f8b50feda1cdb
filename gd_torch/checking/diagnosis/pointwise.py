"""Mistakes in the derivative of a function applied entry by entry, alone or composed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.formulas import formulas, other_functions
from gd_torch.checking.diagnosis.hypotheses import Hypothesis, Seeds
from gd_torch.checking.replay import Replay
from gd_torch.checking.trace import Node

_LINEAR = ("add", "sub", "rsub", "neg", "clone", "to_copy", "where")
_POWERS = {"sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0, "square": 2.0}


@dataclass(frozen=True)
class Segment:
    """a = f(z) entry by entry: ``v`` depends on the weights through ``u`` alone.

    Attributes:
        u, v: the values z and a.
        inner: the values between them.
        name: the operations, innermost last: "log(sigmoid)".
        where: the caller's line.
    """

    u: int
    v: int
    inner: tuple[int, ...]
    name: str
    where: str


def segments(replay: Replay, longest: int = 8) -> list[Segment]:
    """Every pointwise function of one value in the trace, single operations first."""
    found = []
    for node in replay.trace.nodes:
        if not node.pointwise or node.outputs[0] is None:
            continue
        v = node.outputs[0]
        shape = replay.values[v].shape
        front, seen = {v}, list[int]()
        names: list[str] = []
        while len(names) < longest:
            last = max(front)
            maker = replay.maker.get(last)
            if maker is None or not maker.pointwise or replay.values[last].shape != shape:
                break
            names.append(maker.name)
            seen.append(last)
            front = (front - {last}) | set(maker.inputs.values())
            if len(front) == 1 and replay.values[min(front)].shape == shape:
                name = "(".join(names) + ")" * (len(names) - 1)
                found.append(Segment(min(front), v, tuple(seen[1:]), name, node.where))
    return sorted(found, key=lambda s: len(s.inner))


def pointwise_hypotheses(replay: Replay) -> Iterator[Hypothesis]:
    """Every segment's derivative replaced by every wrong one."""
    for segment in segments(replay):
        if segment.v in replay.cotangents:
            for (kind, text), (rank, _) in factors(replay, segment).items():
                yield _replaced(segment, kind, text, rank + 0.1 * len(segment.inner))


def _replaced(segment: Segment, kind: str, text: str, rank: float) -> Hypothesis:
    u, v = segment.u, segment.v

    def removed(replay: Replay) -> Seeds:
        return {u: replay.cotangents[v] * slope(replay, segment)}

    def added(replay: Replay) -> Seeds | None:
        row = factors(replay, segment).get((kind, text))
        return None if row is None else {u: replay.cotangents[v] * row[1]}

    message = f"{text} ({segment.name}, {segment.where})"
    return Hypothesis(kind, message, rank, removed, added, free=True)


def slope(replay: Replay, segment: Segment) -> Tensor:
    """f'(z) of a segment; computed once."""
    key = ("slope", segment.u, segment.v)
    if key not in replay.memo:
        replay.memo[key] = replay.between(segment.u, segment.v)
    found: Tensor = replay.memo[key]
    return found


def factors(replay: Replay, segment: Segment) -> dict[tuple[str, str], tuple[float, Tensor]]:
    """(kind, message) -> (rank, what stands where f'(z) belongs); computed once."""
    key = ("factors", segment.u, segment.v)
    if key not in replay.memo:
        replay.memo[key] = {(k, t): (rank, T) for k, t, rank, T in _replacements(replay, segment)}
    found: dict[tuple[str, str], tuple[float, Tensor]] = replay.memo[key]
    return found


def _replacements(replay: Replay, segment: Segment) -> list[tuple[str, str, float, Tensor]]:
    """The usual wrong derivatives of f."""
    z, a = replay.values[segment.u], replay.values[segment.v]
    D = slope(replay, segment)
    one = torch.ones_like(D)
    if _affine(replay, segment):
        rank = 0.25 if _inside(replay, segment.v) else 2.8
        text = "the inner derivative, a constant factor, is missing"
        same = torch.allclose(D.abs(), one, rtol=1e-9, atol=0)
        return [] if same else [("missing_chain_factor", text, rank, one)]
    rows = [
        ("missing_chain_factor", "the factor f'(z) is missing", 1.0, one),
        ("value_for_derivative", "f(z) used where f'(z) belongs", 1.0, a),
        *_elsewhere(replay, segment),
        ("extra_factor", "the factor f'(z) is there twice", 3.0, D * D),
    ]
    rows += _exponents(replay, segment, z)
    for name, m in [("z", z), ("a", a), *((f"v{i}", replay.values[i]) for i in segment.inner)]:
        rows += [
            ("wrong_formula", f"{text.replace('a', name)} used where f'(z) belongs", 4.0 + r, t)
            for text, r, t in formulas(m, one)
        ]
    rows += [
        ("wrong_formula", f"{text} used where f'(z) belongs", 4.0 + r, t)
        for text, r, t in other_functions(z)
    ]
    size = D.abs()
    return [
        row
        for row in rows
        if bool(torch.isfinite(row[3]).all())
        and not (
            torch.allclose(row[3].abs(), size, rtol=1e-9, atol=0)  # a cheaper look first
            and any(torch.allclose(row[3], s * D, rtol=1e-9, atol=0) for s in (1, -1))
        )
    ]


def _affine(replay: Replay, segment: Segment) -> bool:
    """Whether a = c z + d: nothing but sums, signs and constant factors."""
    nodes = [replay.maker[v] for v in (segment.v, *segment.inner)]
    return all(
        n.name in ("add", "sub", "rsub", "neg", "clone", "to_copy")
        or (n.name in ("mul", "div") and len(n.inputs) == 1 and 0 in n.inputs | _second(n))
        for n in nodes
    )


def _second(node: Node) -> dict[int, int]:
    """A product is linear in its second factor too; a quotient is not."""
    return {0: 0} if node.name == "mul" else {}


def _inside(replay: Replay, v: int) -> bool:
    """Whether a value goes on into a function that is not linear."""
    reached = {v}
    for node in replay.trace.nodes:
        if reached & set(node.inputs.values()):
            reached |= {o for o in node.outputs if o is not None}
            if node.pointwise and node.name not in (*_LINEAR, "mul", "div"):
                return True
    return False


def _elsewhere(replay: Replay, segment: Segment) -> list[tuple[str, str, float, Tensor]]:
    """The right derivative at the output, or at another value of the same shape."""
    rows = []
    for i, other in enumerate(replay.values):
        if i == segment.u or other.shape != replay.values[segment.u].shape:
            continue
        at = "f'(a) used where f'(z) belongs" if i == segment.v else f"f' taken at value {i}, not z"
        kind = "derivative_at_wrong_point"
        if _is_part(replay, segment, i):
            kind, at = "dropped_term", f"f' taken at one part of z alone, value {i}"
        try:
            D = replay.between(segment.u, segment.v, other)
        except RuntimeError:
            continue
        rows.append((kind, at, 1.5 if i == segment.v else 2.5, D))
    return rows


def _is_part(replay: Replay, segment: Segment, i: int) -> bool:
    """Whether z is a sum with value ``i`` as one part, and f a power of it."""
    maker = replay.maker.get(segment.u)
    outer = replay.maker[segment.v].name
    return (
        maker is not None
        and not segment.inner
        and maker.name in ("add", "sub", "rsub")
        and i in maker.inputs.values()
        and outer in ("pow", "square", "mul")
    )


def _exponents(replay: Replay, segment: Segment, z: Tensor) -> list[tuple[str, str, float, Tensor]]:
    """n z^(n-1) with another exponent, for a power written as one operation."""
    node = replay.maker[segment.v]
    if segment.inner or node.name not in (*_POWERS, "pow", "mul", "div"):
        return []
    n = _POWERS.get(node.name, 2.0 if node.name == "mul" else -1.0)
    if node.name == "pow":
        if not isinstance(node.leaves[1], int | float):
            return []
        n = float(node.leaves[1])
    elif (node.name == "mul" and len(node.inputs) < 2) or (node.name == "div" and 0 in node.inputs):
        return []  # times a constant: no power
    rows = []
    for q in dict.fromkeys((n, n - 2, n + 1, n - 3, -n, 1 - n, n + 0.5, n - 0.5, n - 1.5)):
        if q not in (n - 1, 0):
            text = f"exponent {q:g} where {n - 1:g} belongs (derivative of z^{n:g})"
            rows.append(("wrong_exponent", text, 1.2, n * z**q))
    return rows
