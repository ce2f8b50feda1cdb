"""Rules of matrix products: sums of products over shared axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gd_torch.compiler.lowering import Lowering
from gd_torch.compiler.registry import Operand, aten, rule
from gd_torch.compiler.views import View


def matmul(a: View, b: View) -> View:
    """(..., m, k) @ (..., k, n) -> (..., m, n)."""
    left = a.unsqueeze(-2)  # (..., m, 1, k)
    right = b.transpose().unsqueeze(-3)  # (..., 1, n, k)
    return a.graph.reduce("dot", [left, right], [-1])


@rule(aten.mm.default, aten.bmm.default)
def _mm(lowering: Lowering, out: Any, a: Operand, b: Operand, *dtype: Any) -> View:
    return matmul(lowering.number(a), lowering.number(b))


@rule(aten.mv.default)
def _mv(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return lowering.graph.reduce("dot", [lowering.number(a), lowering.number(b).unsqueeze(0)], [-1])


@rule(aten.dot.default, aten.vdot.default)
def _dot(lowering: Lowering, out: Any, a: Operand, b: Operand) -> View:
    return lowering.graph.reduce("dot", [lowering.number(a), lowering.number(b)], [0])


def _scaled(term: View, product: View, beta: float, alpha: float) -> View:
    """beta * term + alpha * product; the term is ignored if beta is 0, even if it is NaN."""
    if alpha != 1:
        product = product * float(alpha)
    if beta == 0:
        return product
    return (term if beta == 1 else term * float(beta)) + product


@rule(aten.addmm.default, aten.baddbmm.default)
def _addmm(
    lowering: Lowering,
    out: Any,
    x: Operand,
    a: Operand,
    b: Operand,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> View:
    return _scaled(lowering.number(x), matmul(lowering.number(a), lowering.number(b)), beta, alpha)


@rule(aten.addbmm.default)
def _addbmm(
    lowering: Lowering,
    out: Any,
    x: Operand,
    a: Operand,
    b: Operand,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> View:
    return _scaled(
        lowering.number(x), matmul(lowering.number(a), lowering.number(b)).sum([0]), beta, alpha
    )


@rule(aten.addmv.default)
def _addmv(
    lowering: Lowering,
    out: Any,
    x: Operand,
    a: Operand,
    b: Operand,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> View:
    return _scaled(lowering.number(x), _mv(lowering, out, a, b), beta, alpha)


@rule(aten.addr.default)
def _addr(
    lowering: Lowering,
    out: Any,
    x: Operand,
    a: Operand,
    b: Operand,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> View:
    outer = lowering.number(a).unsqueeze(1) * lowering.number(b).unsqueeze(0)
    return _scaled(lowering.number(x), outer, beta, alpha)


@rule(aten._trilinear.default)
def _trilinear(
    lowering: Lowering, out: Any, a: Operand, b: Operand, c: Operand, new_a: Sequence[int],
    new_b: Sequence[int], new_c: Sequence[int], over: Sequence[int], unroll: int = 1,
) -> View:  # fmt: skip
    factors = []
    for operand, new in ((a, new_a), (b, new_b), (c, new_c)):
        view = lowering.number(operand)
        for dim in sorted(new):
            view = view.unsqueeze(dim)
        factors.append(view)
    first, second, third = factors
    return lowering.graph.reduce("dot", [first * second, third], over)


@rule(aten.trace.default)
def _trace(lowering: Lowering, out: Any, x: Operand) -> View:
    view = lowering.number(x)
    size = min(view.shape)
    diagonal = View(
        lowering.graph, view.node, view.offset, (size,), (sum(view.strides),), view.value
    )
    return diagonal.sum()
