"""Mistakes in the structure of a derivation: paths, uses, extra factors, splits, repeated rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import Group, Hypothesis, Scaling, Seeds
from gd_torch.checking.diagnosis.pointwise import Segment, factors, segments
from gd_torch.checking.diagnosis.products import pool, table
from gd_torch.checking.replay import Edge, Replay, Rule
from gd_torch.checking.trace import Node

_SUMS = ("add", "sub", "rsub")


def scalings(replay: Replay) -> list[Scaling]:
    """Every use of a value, and every value used more than once, as a path of its own."""
    found = []
    for node in replay.trace.nodes:
        for place, v in node.inputs.items():
            if replay.edge((node.index, place)) is not None:
                found.append(_use(node, place, v))
    for v, uses in replay.uses.items():
        if len(uses) > 1 and v in replay.cotangents and v >= replay.trace.weights:
            maker = replay.maker[v]
            found.append(Scaling(f"{maker.name}, {maker.where}", 2.2, _through(v), False))
    return found


def _use(node: Node, place: int, v: int) -> Scaling:
    def path(replay: Replay) -> Seeds | None:
        true = replay.edge((node.index, place))
        return None if true is None else {v: true}

    several = len(node.inputs) > 1
    is_sum = node.name in ("where", "cat", "stack") or (several and node.name in _SUMS)
    rank = 2.0 if is_sum else 2.1 if several else 2.4
    return Scaling(f"{node.name}, {node.where}", rank, path, is_sum)


def _through(v: int) -> Callable[[Replay], Seeds | None]:
    return lambda replay: {v: replay.cotangents[v]} if v in replay.cotangents else None


def extra_factors(replay: Replay) -> Iterator[Hypothesis]:
    """The cotangent of a value multiplied or divided by something of its shape."""
    for u in replay.cotangents:
        for name in _extras(replay, u):
            yield _extra(u, name, "extra_factor", f"an extra factor {name}", False)
            yield _extra(u, name, "missing_chain_factor", f"the factor {name} is missing", True)
        for other in replay.cotangents:
            if other != u and replay.values[other].shape == replay.values[u].shape:
                yield _borrowed(replay, u, other)


def _extra(u: int, name: str, kind: str, text: str, divide: bool) -> Hypothesis:
    def added(replay: Replay) -> Seeds | None:
        factor = _extras(replay, u).get(name)
        if factor is None:
            return None
        g = replay.cotangents[u]
        return {u: g / factor if divide else g * factor}

    return Hypothesis(kind, text, 5.0, lambda replay: {u: replay.cotangents[u]}, added)


def _borrowed(screen: Replay, u: int, other: int) -> Hypothesis:
    kind = "missing_chain_factor" if other in _after(screen, u) else "wrong_operand"
    text = f"the cotangent of value {other} used where that of value {u} belongs"

    def added(replay: Replay) -> Seeds | None:
        return {u: replay.cotangents[other]} if other in replay.cotangents else None

    return Hypothesis(kind, text, 3.5, lambda replay: {u: replay.cotangents[u]}, added)


def _after(replay: Replay, u: int) -> set[int]:
    """Every value that depends on ``u``."""
    reached = {u}
    for node in replay.trace.nodes:
        if reached & set(node.inputs.values()):
            reached |= {o for o in node.outputs if o is not None}
    return reached - {u}


def _segments(replay: Replay) -> list[Segment]:
    if "segments" not in replay.memo:
        replay.memo["segments"] = segments(replay)
    found: list[Segment] = replay.memo["segments"]
    return found


def _extras(replay: Replay, u: int) -> dict[str, Tensor]:
    """Factors that could be too many or too few at a value; computed once per shape."""
    shape = replay.values[u].shape
    key = ("extras", shape)
    if key not in replay.memo:
        found: dict[str, Tensor] = {}
        for name, x in pool(replay, shape).items():
            s = torch.sigmoid(x)
            found |= {
                name: x,
                f"x (1 - x), x = {name}": x * (1 - x),
                f"1 - x^2, x = {name}": 1 - x * x,
                f"1 - x, x = {name}": 1 - x,
                f"s'(x), x = {name}": s * (1 - s),
                f"s(x), x = {name}": s,
                f"x > 0, x = {name}": (x > 0).to(x.dtype),
            }
        for segment in _segments(replay):
            if replay.values[segment.u].shape == shape and not segment.inner:
                found[f"f'(z) of {segment.name}, value {segment.v}"] = replay.between(
                    segment.u, segment.v
                )
        replay.memo[key] = found
    kept: dict[str, Tensor] = replay.memo[key]
    return kept


def splits(replay: Replay) -> Iterator[tuple[int, str, str]]:
    """Values whose cotangent is alpha s + beta t for two tensors of the trace: (value, s, t)."""
    for u, g in replay.cotangents.items():
        if g.numel() < 4:
            continue
        named = pool(replay, g.shape)
        names, flat = list(named), [x.reshape(-1) for x in named.values()]
        for i in range(len(flat)):
            for j in range(i):
                if solve_split(g, named[names[i]], named[names[j]]) is not None:
                    yield u, names[i], names[j]


def solve_split(g: Tensor, s: Tensor, t: Tensor) -> tuple[float, float] | None:
    """alpha, beta with g = alpha s + beta t exactly, both needed; None where there are none."""
    basis = torch.stack([s.reshape(-1), t.reshape(-1)], 1)
    gram, right = basis.T @ basis, basis.T @ g.reshape(-1)
    if not bool(torch.isfinite(gram).all()) or float(torch.linalg.det(gram)) <= 1e-9 * float(
        gram[0, 0] * gram[1, 1]
    ):
        return None
    c = torch.linalg.solve(gram, right)
    miss = float((basis @ c - g.reshape(-1)).abs().amax())
    size = float(g.abs().amax())
    if size == 0 or miss > 1e-10 * size or float(c.abs().amin()) < 1e-6 * float(c.abs().amax()):
        return None
    alpha, beta = c.tolist()
    return alpha, beta


def groups(replay: Replay) -> Iterator[Group]:
    """The same wrong rule at every node of one line, of one operation, or of one segment."""
    yield from _segment_groups(replay)
    for nodes in _alike(replay):
        for place in sorted({p for n in nodes for p in n.inputs}):
            edges = [(n.index, place) for n in nodes if place in n.inputs]
            first = replay.trace.nodes[edges[0][0]]
            for kind, text in table(replay, first, place):
                if "value " not in text and "constant " not in text:
                    yield _group_of_rows(edges, kind, f"{text} (every {first.name})", text)
            for c, kind in ((0.0, "treated_as_constant"), (-1.0, "sign_of_term")):
                yield _group_scaled(edges, c, kind, f"{nodes[0].name}, {nodes[0].where}")


def _alike(replay: Replay) -> list[list[Node]]:
    """Nodes of the same operation, on the same line and anywhere; two at least."""
    by: dict[tuple[str, str], list[Node]] = {}
    for n in replay.trace.nodes:
        by.setdefault((n.name, n.where), []).append(n)
        by.setdefault((n.name, ""), []).append(n)
        for v in n.inputs.values():
            by.setdefault((n.name, f"shares {v}"), []).append(n)
    unique = {tuple(n.index for n in nodes): nodes for nodes in by.values() if len(nodes) > 1}
    return list(unique.values())


def _segment_groups(replay: Replay) -> Iterator[Group]:
    by: dict[str, list[Segment]] = {}
    for s in _segments(replay):
        if s.v in replay.cotangents:
            by.setdefault(s.name, []).append(s)
    for name, alike in by.items():
        if len(alike) > 1:
            for (kind, text), (rank, _) in factors(replay, alike[0]).items():
                if "value " not in text:
                    yield _group_of_segments(
                        alike, kind, f"{text} (every {name})", rank + 0.2, text
                    )


def _group_of_segments(
    alike: list[Segment], kind: str, message: str, rank: float, text: str
) -> Group:
    def shortcuts(replay: Replay) -> dict[int, tuple[int, Tensor]] | None:
        found = {}
        for s in alike:
            row = factors(replay, s).get((kind, text))
            if row is not None:
                found[s.v] = (s.u, row[1])
        return found or None

    return Group(kind, message, rank, lambda _: {}, shortcuts)


def _group_of_rows(edges: list[Edge], kind: str, message: str, text: str) -> Group:
    def rules(replay: Replay) -> dict[Edge, Rule]:
        found = {}
        for index, place in edges:
            row = table(replay, replay.trace.nodes[index], place).get((kind, text))
            if row is not None:
                found[index, place] = row[1]
        return found

    return Group(kind, message, 3.0, rules, lambda _: None)


def _group_scaled(edges: list[Edge], c: float, kind: str, where: str) -> Group:
    def rules(replay: Replay) -> dict[Edge, Rule]:
        return {(i, p): _scaled(replay, replay.trace.nodes[i], p, c) for i, p in edges}

    what = "left out" if c == 0 else "taken with the wrong sign"
    return Group(
        kind, f"every path through these steps is {what} ({where})", 3.2, rules, lambda _: None
    )


def _scaled(replay: Replay, node: Node, place: int, c: float) -> Rule:
    out = node.outputs[0]

    def rule(g: Tensor) -> Tensor:
        true = replay.local(node, {out: g} if out is not None else {}, None)
        return true[place] * c

    return rule
