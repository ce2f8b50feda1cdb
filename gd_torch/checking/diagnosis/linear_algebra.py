"""Mistakes at an inverse, a determinant or a solve: a missing transpose, factor or inverse."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gd_torch.checking.diagnosis.hypotheses import WrongRule
from gd_torch.checking.replay import Replay
from gd_torch.checking.trace import Node

LINEAR_ALGEBRA = ("linalg_inv_ex", "linalg_slogdet", "linalg_det", "linalg_solve_ex")


def linear_algebra_rules(replay: Replay, node: Node, position: int) -> Iterator[WrongRule]:
    """The wrong local rules of one argument of an inverse, a determinant or a solve."""
    A = node.leaves[0]
    used = [v for v in node.outputs if v is not None and v in replay.cotangents]
    if len(used) != 1 or A.dim() != 2:
        return
    g, result = replay.cotangents[used[0]], replay.values[used[0]]
    if node.name == "linalg_inv_ex":
        yield from _inverse_rules(A)
    elif node.name == "linalg_solve_ex" and position == 1:
        yield from _right_side_rules(A)
    elif node.name == "linalg_solve_ex":
        yield from _matrix_rules(A, node.leaves[1], result, g)
    else:
        factor = g * result if node.name == "linalg_det" else g
        yield from _determinant_rules(A, factor)


def _inverse_rules(A: Tensor) -> Iterator[WrongRule]:
    """B = A^-1; the correct rule is -B^T g B^T."""
    B = torch.linalg.inv(A)
    kind = "transposed"
    correct = "where -B^T g B^T belongs"
    yield WrongRule(kind, f"-B g B {correct} (B the inverse)", 1.0, lambda g: -B @ g @ B)
    yield WrongRule(kind, f"-B^T g^T B^T {correct}", 1.2, lambda g: -B.T @ g.T @ B.T)
    yield WrongRule(kind, f"-B g B^T {correct}", 1.2, lambda g: -B @ g @ B.T)
    yield WrongRule(kind, f"-B^T g B {correct}", 1.2, lambda g: -B.T @ g @ B)
    kind = "missing_chain_factor"
    yield WrongRule(kind, "the right factor B^T is missing", 1.3, lambda g: -B.T @ g)
    yield WrongRule(kind, "the left factor B^T is missing", 1.3, lambda g: -g @ B.T)
    yield WrongRule(kind, "both factors B^T are missing", 1.4, lambda g: -g)
    kind = "wrong_formula"
    yield WrongRule(kind, f"-A^T g A^T {correct}", 1.6, lambda g: -A.T @ g @ A.T)
    yield WrongRule(kind, "-g / A^2 entry by entry", 1.6, lambda g: -g / A**2)
    kind = "elementwise_vs_matmul"
    yield WrongRule(kind, "-B^2 * g entry by entry", 1.6, lambda g: -(B**2) * g)


def _right_side_rules(A: Tensor) -> Iterator[WrongRule]:
    """x = A^-1 b; the correct rule for b is A^-T g."""
    B = torch.linalg.inv(A)
    yield WrongRule("transposed", "A^-1 g where A^-T g belongs", 1.0, lambda g: B @ g)
    yield WrongRule("missing_chain_factor", "A^-T is missing", 1.2, lambda g: g)
    yield WrongRule("wrong_formula", "A^T g where A^-T g belongs", 1.6, lambda g: A.T @ g)
    yield WrongRule("wrong_formula", "A g where A^-T g belongs", 1.7, lambda g: A @ g)


def _matrix_rules(A: Tensor, b: Tensor, x: Tensor, g: Tensor) -> Iterator[WrongRule]:
    """x = A^-1 b; the correct rule for A is -(A^-T g) x^T."""
    x, b, g = (t if t.dim() == 2 else t[:, None] for t in (x, b, g))
    B, h = torch.linalg.inv(A), torch.linalg.solve(A.T, g)
    yield WrongRule("transposed", "the outer product is transposed", 1.0, lambda _: -x @ h.T)
    yield WrongRule("transposed", "A^-1 g where A^-T g belongs", 1.1, lambda _: -(B @ g) @ x.T)
    yield WrongRule("missing_chain_factor", "A^-T is missing", 1.2, lambda _: -g @ x.T)
    text = "b used where the solution belongs"
    yield WrongRule("wrong_operand", text, 1.3, lambda _: -h @ b.T)


def _determinant_rules(A: Tensor, factor: Tensor) -> Iterator[WrongRule]:
    """The correct rule is factor * A^-T; the factor of a log-determinant is its cotangent."""
    B, det = torch.linalg.inv(A), torch.det(A)
    kind = "wrong_formula"
    yield WrongRule("transposed", "the inverse is not transposed", 1.0, lambda _: factor * B)
    yield WrongRule(kind, "A used where its inverse belongs", 1.6, lambda _: factor * A)
    yield WrongRule(kind, "A^T used where its inverse belongs", 1.6, lambda _: factor * A.T)
    kind = "missing_chain_factor"
    text = "the inverse is missing"
    yield WrongRule(kind, text, 1.4, lambda _: factor * torch.ones_like(A))
    yield WrongRule(kind, "the determinant is missing", 1.2, lambda g: g * B.T)
    kind = "extra_factor"
    yield WrongRule(kind, "an extra factor det A", 1.4, lambda _: factor * B.T * det)
    yield WrongRule(kind, "an extra factor 1 / det A", 1.5, lambda _: factor * B.T / det)
