"""Mistakes at an inverse, a determinant or a solve: a transpose or a factor forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gd_torch.checking.replay import Replay, Rule
from gd_torch.checking.trace import Node

Row = tuple[str, str, float, Rule]
"""(kind, message, rank, the wrong local rule)."""


def linear_algebra_rows(replay: Replay, node: Node, place: int) -> Iterator[Row]:
    """Inverse, determinant and solve: a transpose, a factor or the inverse forgotten."""
    A = node.leaves[0]
    outs = {i: v for i, v in enumerate(node.outputs) if v is not None and v in replay.cotangents}
    if len(outs) != 1 or A.dim() != 2:
        return
    v = next(iter(outs.values()))
    g, out = replay.cotangents[v], replay.values[v]
    B = torch.linalg.inv(A)
    if node.name == "linalg_inv_ex":
        yield (
            "transposed",
            "-B g B where -B^T g B^T belongs (B the inverse)",
            1.0,
            lambda g: -B @ g @ B,
        )
        yield "transposed", "-B^T g^T B^T where -B^T g B^T belongs", 1.2, lambda g: -B.T @ g.T @ B.T
        yield "transposed", "-B g B^T where -B^T g B^T belongs", 1.2, lambda g: -B @ g @ B.T
        yield "transposed", "-B^T g B where -B^T g B^T belongs", 1.2, lambda g: -B.T @ g @ B
        yield "missing_chain_factor", "the right factor B^T is missing", 1.3, lambda g: -B.T @ g
        yield "missing_chain_factor", "the left factor B^T is missing", 1.3, lambda g: -g @ B.T
        yield "missing_chain_factor", "both factors B^T are missing", 1.4, lambda g: -g
        yield "wrong_formula", "-A^T g A^T where -B^T g B^T belongs", 1.6, lambda g: -A.T @ g @ A.T
        yield "wrong_formula", "-g / A^2 entry by entry", 1.6, lambda g: -g / A**2
        yield "elementwise_vs_matmul", "-B^2 * g entry by entry", 1.6, lambda g: -(B**2) * g
    elif node.name == "linalg_solve_ex":
        h = torch.linalg.solve(A.T, g)
        b = node.leaves[1]
        if place == 1:
            yield "transposed", "A^-1 g where A^-T g belongs", 1.0, lambda g: B @ g
            yield "missing_chain_factor", "A^-T is missing", 1.2, lambda g: g
            yield "wrong_formula", "A^T g where A^-T g belongs", 1.6, lambda g: A.T @ g
            yield "wrong_formula", "A g where A^-T g belongs", 1.7, lambda g: A @ g
        else:
            column = out if out.dim() == 2 else out[:, None]
            b = b if b.dim() == 2 else b[:, None]
            h, k = (h, g) if h.dim() == 2 else (h[:, None], g[:, None])
            yield "transposed", "the outer product is transposed", 1.0, lambda g: -column @ h.T
            yield "transposed", "A^-1 g where A^-T g belongs", 1.1, lambda g: -(B @ k) @ column.T
            yield "missing_chain_factor", "A^-T is missing", 1.2, lambda g: -k @ column.T
            yield "wrong_operand", "b used where the solution belongs", 1.3, lambda g: -h @ b.T
    else:
        factor = g * (out if node.name == "linalg_det" else 1)
        yield "transposed", "the inverse is not transposed", 1.0, lambda g: factor * B
        yield "wrong_formula", "A used where its inverse belongs", 1.6, lambda g: factor * A
        yield "wrong_formula", "A^T used where its inverse belongs", 1.6, lambda g: factor * A.T
        yield (
            "missing_chain_factor",
            "the inverse is missing",
            1.4,
            lambda g: factor * torch.ones_like(A),
        )
        yield "missing_chain_factor", "the determinant is missing", 1.2, lambda g: g * B.T
        yield "extra_factor", "an extra factor det A", 1.4, lambda g: factor * B.T * torch.det(A)
        yield (
            "extra_factor",
            "an extra factor 1 / det A",
            1.5,
            lambda g: factor * B.T / torch.det(A),
        )
