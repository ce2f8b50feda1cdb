"""Statistical models: least squares, logistic, softmax, ridge, Poisson."""

import torch
import torch.nn.functional as F

from tests.derivations.example import drawn, example

s = torch.sigmoid
DROPPED = ("dropped_term", "treated_as_constant")
CONSTANT = ("treated_as_constant", "dropped_term")


def least_squares(seed):
    n = drawn(seed)
    X, y, w, b = n(7, 3), n(7), n(3), n()

    def r(w, b):
        return X @ w + b - y

    return example(
        lambda w, b: (r(w, b) ** 2).mean(),
        lambda w, b: (2 * X.T @ r(w, b) / 7, 2 * r(w, b).mean()),
        (w, b),
        ("missing_average", 0, lambda w, b: 2 * X.T @ r(w, b)),
        ("missing_average", 1, lambda w, b: 2 * r(w, b).sum()),
        ("missing_sum", 1, lambda w, b: 2 * r(w, b) / 7),
        ("sign_of_term", 0, lambda w, b: 2 * X.T @ (X @ w + b + y) / 7),
        (DROPPED, 0, lambda w, b: 2 * X.T @ (X @ w + b) / 7),
        ("constant_factor", 0, lambda w, b: X.T @ r(w, b) / 7),
    )


def ridge(seed):
    n = drawn(seed)
    X, Y, W = n(8, 3), n(8, 3), n(3, 3)

    def fit(W):
        return 2 * X.T @ (X @ W - Y) / 24

    return example(
        lambda W: ((X @ W - Y) ** 2).mean() + 0.3 * (W**2).sum(),
        lambda W: (fit(W) + 0.6 * W,),
        (W,),
        ("factor_of_term", 0, lambda W: fit(W) + 0.3 * W),
        (DROPPED, 0, lambda W: fit(W)),
        ("sign_of_term", 0, lambda W: fit(W) - 0.6 * W),
        ("missing_average", 0, lambda W: 24 * fit(W) + 0.6 * W),
        ("missing_average", 0, lambda W: 3 * fit(W) + 0.6 * W),
        ("transposed", 0, lambda W: (fit(W) + 0.6 * W).T),
    )


def logistic(seed):
    n = drawn(seed)
    X, w, b = n(9, 4), n(4), n()
    y = (n(9) > 0).double()

    def p(w, b):
        return s(X @ w + b)

    return example(
        lambda w, b: -(y * p(w, b).log() + (1 - y) * (1 - p(w, b)).log()).mean(),
        lambda w, b: (X.T @ (p(w, b) - y) / 9, (p(w, b) - y).mean()),
        (w, b),
        ("extra_factor", 0, lambda w, b: X.T @ ((p(w, b) - y) * p(w, b) * (1 - p(w, b))) / 9),
        ("missing_average", 0, lambda w, b: X.T @ (p(w, b) - y)),
        ("sign_of_term", 0, lambda w, b: X.T @ (p(w, b) + y) / 9),
        (DROPPED, 0, lambda w, b: X.T @ p(w, b) / 9),
        ("missing_sum", 1, lambda w, b: (p(w, b) - y) / 9),
        ("missing_average", 1, lambda w, b: (p(w, b) - y).sum()),
    )


def logits(seed):
    n = drawn(seed)
    X, W = n(6, 4), n(4, 2)
    Y = (n(6, 2) > 0).double()

    def d(W):
        return (s(X @ W) - Y) / 12

    def a(W):
        return s(X @ W)

    return example(
        lambda W: F.binary_cross_entropy_with_logits(X @ W, Y),
        lambda W: (X.T @ d(W),),
        (W,),
        ("extra_factor", 0, lambda W: X.T @ (d(W) * a(W) * (1 - a(W)))),
        ("missing_average", 0, lambda W: 12 * X.T @ d(W)),
        ("missing_average", 0, lambda W: 6 * X.T @ d(W)),
        (DROPPED, 0, lambda W: X.T @ a(W) / 12),
        (("derivative_at_wrong_point", "wrong_formula"), 0, lambda W: X.T @ (s(a(W)) - Y) / 12),
    )


def softmax(seed):
    n = drawn(seed)
    X, W, b = n(8, 4), n(4, 3), n(3)
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    Y = F.one_hot(y, 3).double()

    def p(W, b):
        return torch.softmax(X @ W + b, 1)

    return example(
        lambda W, b: F.cross_entropy(X @ W + b, y),
        lambda W, b: (X.T @ (p(W, b) - Y) / 8, (p(W, b) - Y).mean(0)),
        (W, b),
        ("missing_average", 0, lambda W, b: X.T @ (p(W, b) - Y)),
        ("extra_factor", 0, lambda W, b: X.T @ ((p(W, b) - Y) * p(W, b) * (1 - p(W, b))) / 8),
        (DROPPED, 0, lambda W, b: X.T @ p(W, b) / 8),
        ("sign_of_term", 0, lambda W, b: X.T @ (p(W, b) + Y) / 8),
        ("missing_sum", 1, lambda W, b: (p(W, b) - Y) / 8),
        ("missing_average", 1, lambda W, b: (p(W, b) - Y).sum(0)),
    )


def softmax_written_out(seed):
    n = drawn(seed)
    Z, T = n(5, 3), n(5, 3)

    def p(Z):
        return torch.softmax(Z, 1)

    def g(Z):
        return 2 * (p(Z) - T)

    return example(
        lambda Z: ((p(Z) - T) ** 2).sum(),
        lambda Z: (p(Z) * (g(Z) - (g(Z) * p(Z)).sum(1, keepdim=True)),),
        (Z,),
        (CONSTANT, 0, lambda Z: p(Z) * g(Z)),
        ("missing_sum", 0, lambda Z: p(Z) * (g(Z) - g(Z) * p(Z))),
        ("sign_of_term", 0, lambda Z: p(Z) * (g(Z) + (g(Z) * p(Z)).sum(1, keepdim=True))),
        ("missing_chain_factor", 0, lambda Z: g(Z)),
    )


def poisson(seed):
    n = drawn(seed)
    X, w = n(6, 3), n(3) / 2
    y = n(6).abs().round()
    return example(
        lambda w: (torch.exp(X @ w) - y * (X @ w)).sum(),
        lambda w: (X.T @ (torch.exp(X @ w) - y),),
        (w,),
        ("sign_of_term", 0, lambda w: X.T @ (torch.exp(X @ w) + y)),
        (DROPPED, 0, lambda w: X.T @ torch.exp(X @ w)),
        ("missing_average", 0, lambda w: X.T @ (torch.exp(X @ w) - y) / 6),
        ("missing_chain_factor", 0, lambda w: X.T @ (1 - y)),
        (("wrong_formula", "wrong_operand"), 0, lambda w: X.T @ (X @ w - y)),
    )


EXAMPLES = {
    f.__name__: f
    for f in (least_squares, ridge, logistic, logits, softmax, softmax_written_out, poisson)
}
