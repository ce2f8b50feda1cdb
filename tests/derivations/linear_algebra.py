"""Matrices: quadratic forms, log-det, inverse, solve, trace, factorisation."""

import torch

from tests.derivations.example import drawn, example

DROPPED = ("dropped_term", "treated_as_constant")
CONSTANT = ("treated_as_constant", "dropped_term")


def _square(seed, k=3):
    return drawn(seed)(k, k) + 3 * torch.eye(k, dtype=torch.float64)


def quadratic_form(seed):
    n = drawn(seed)
    A, x = n(4, 4), n(4)
    return example(
        lambda A, x: x @ A @ x,
        lambda A, x: (torch.outer(x, x), A @ x + A.T @ x),
        (A, x),
        (CONSTANT, 1, lambda A, x: A @ x),
        (CONSTANT, 1, lambda A, x: A.T @ x),
        (("transposed", "factor_of_term"), 1, lambda A, x: 2 * A @ x),
        ("sign_of_term", 1, lambda A, x: A @ x - A.T @ x),
        ("constant_factor", 0, lambda A, x: torch.outer(x, x) / 2),
    )


def log_det(seed):
    A = _square(seed)
    return example(
        lambda A: torch.linalg.slogdet(A)[1],
        lambda A: (torch.linalg.inv(A).T,),
        (A,),
        ("transposed", 0, lambda A: torch.linalg.inv(A)),
        ("wrong_formula", 0, lambda A: A),
        ("extra_factor", 0, lambda A: torch.det(A) * torch.linalg.inv(A).T),
    )


def determinant(seed):
    A = _square(seed)
    return example(
        lambda A: torch.det(A) ** 2,
        lambda A: (2 * torch.det(A) ** 2 * torch.linalg.inv(A).T,),
        (A,),
        ("transposed", 0, lambda A: 2 * torch.det(A) ** 2 * torch.linalg.inv(A)),
        (("missing_chain_factor", "wrong_exponent"), 0,
         lambda A: 2 * torch.det(A) * torch.linalg.inv(A).T),
        ("constant_factor", 0, lambda A: torch.det(A) ** 2 * torch.linalg.inv(A).T),
    )  # fmt: skip


def inverse(seed):
    A, C = _square(seed), drawn(seed + 7)(3, 3)

    def B(A):
        return torch.linalg.inv(A)

    return example(
        lambda A: (C * torch.linalg.inv(A)).sum(),
        lambda A: (-B(A).T @ C @ B(A).T,),
        (A,),
        ("transposed", 0, lambda A: -B(A) @ C @ B(A)),
        ("transposed", 0, lambda A: -B(A) @ C.T @ B(A)),
        ("missing_chain_factor", 0, lambda A: -B(A).T @ C),
        ("missing_chain_factor", 0, lambda A: -C @ B(A).T),
        ("elementwise_vs_matmul", 0, lambda A: -(B(A) ** 2) * C),
    )


def solve(seed):
    A, b, c = _square(seed), drawn(seed + 7)(3), drawn(seed + 8)(3)

    def x(A, b):
        return torch.linalg.solve(A, b)

    def h(A, b):
        return torch.linalg.solve(A.T, 2 * (x(A, b) - c))

    return example(
        lambda A, b: ((torch.linalg.solve(A, b) - c) ** 2).sum(),
        lambda A, b: (-torch.outer(h(A, b), x(A, b)), h(A, b)),
        (A, b),
        ("transposed", 0, lambda A, b: -torch.outer(x(A, b), h(A, b))),
        ("transposed", 1, lambda A, b: torch.linalg.solve(A, 2 * (x(A, b) - c))),
        ("wrong_operand", 0, lambda A, b: -torch.outer(h(A, b), b)),
        ("missing_chain_factor", 1, lambda A, b: 2 * (x(A, b) - c)),
        ("sign", 0, lambda A, b: torch.outer(h(A, b), x(A, b))),
    )


def trace(seed):
    n = drawn(seed)
    A, B, W = n(3, 3), n(3, 3), n(3, 3)
    return example(
        lambda W: torch.trace(A @ W @ B @ W.T),
        lambda W: (A @ W @ B + A.T @ W @ B.T,),
        (W,),
        (CONSTANT, 0, lambda W: A @ W @ B),
        (CONSTANT, 0, lambda W: A.T @ W @ B.T),
        ("sign_of_term", 0, lambda W: A @ W @ B - A.T @ W @ B.T),
        ("transposed", 0, lambda W: A @ W @ B + A @ W @ B.T),
    )


def factorisation(seed):
    n = drawn(seed)
    M, U, V = n(4, 4), n(4, 4), n(4, 4)

    def r(U, V):
        return U @ V - M

    return example(
        lambda U, V: 0.5 * ((U @ V - M) ** 2).sum(),
        lambda U, V: (r(U, V) @ V.T, U.T @ r(U, V)),
        (U, V),
        ("transposed", 0, lambda U, V: r(U, V) @ V),
        ("elementwise_vs_matmul", 0, lambda U, V: r(U, V) * V),
        ("transposed", 1, lambda U, V: U @ r(U, V)),
        ("wrong_operand", 1, lambda U, V: V.T @ r(U, V)),
        ("swapped_partials", 0, lambda U, V: U.T @ r(U, V)),
        (DROPPED, 0, lambda U, V: U @ V @ V.T),
        ("missing_chain_factor", 0, lambda U, V: r(U, V)),
    )


def gaussian_covariance(seed):
    X, A = drawn(seed)(8, 3), _square(seed + 3)

    def objective(A):  # precision P = A^T A
        return 0.5 * ((X @ A.T) ** 2).sum() / 8 - torch.logdet(A)

    def right(A):
        return A @ X.T @ X / 8, torch.linalg.inv(A).T

    return example(
        objective,
        lambda A: (right(A)[0] - right(A)[1],),
        (A,),
        ("sign_of_term", 0, lambda A: right(A)[0] + right(A)[1]),
        ("transposed", 0, lambda A: right(A)[0] - torch.linalg.inv(A)),
        (DROPPED, 0, lambda A: right(A)[0]),
        (DROPPED, 0, lambda A: -right(A)[1]),
        ("factor_of_term", 0, lambda A: 2 * right(A)[0] - right(A)[1]),
        ("missing_average", 0, lambda A: 8 * right(A)[0] - right(A)[1]),
    )


def cosine(seed):
    n = drawn(seed)
    a, b = n(4), n(4)

    def c(a, b):
        return a @ b / (a.norm() * b.norm())

    def right(a, b):
        return b / (a.norm() * b.norm()) - c(a, b) * a / a.norm() ** 2

    return example(
        lambda a, b: a @ b / (torch.linalg.norm(a) * torch.linalg.norm(b)),
        lambda a, b: (right(a, b), right(b, a)),
        (a, b),
        (CONSTANT, 0, lambda a, b: b / (a.norm() * b.norm())),
        ("sign_of_term", 0, lambda a, b: b / (a.norm() * b.norm()) + c(a, b) * a / a.norm() ** 2),
        ("swapped_partials", 0, lambda a, b: right(b, a)),
        (
            "factor_of_term",
            0,
            lambda a, b: b / (a.norm() * b.norm()) - 2 * c(a, b) * a / a.norm() ** 2,
        ),
    )


EXAMPLES = {
    f.__name__: f
    for f in (
        quadratic_form, log_det, determinant, inverse, solve, trace, factorisation,
        gaussian_covariance, cosine,
    )
}  # fmt: skip
