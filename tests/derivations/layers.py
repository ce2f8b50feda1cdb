"""Nets: sigmoid, tanh, relu, softplus, two hidden layers, tied weights, attention, norms, RNN."""

import torch
import torch.nn.functional as F

from tests.derivations.example import drawn, example

s = torch.sigmoid
DROPPED = ("dropped_term", "treated_as_constant")
CONSTANT = ("treated_as_constant", "dropped_term")


def _two_layers(f, slope):
    """mean((f(X V) W - Y)^2) with its partials for a given f'(z, a)."""

    def make(seed):
        n = drawn(seed)
        X, Y, V, W = n(6, 4), n(6, 3), n(4, 2), n(2, 3)

        def back(V, W, slope=slope):
            Z = X @ V
            D = 2 / 18 * (f(Z) @ W - Y)
            return X.T @ (D @ W.T * slope(Z, f(Z)))

        return example(
            lambda V, W: ((f(X @ V) @ W - Y) ** 2).mean(),
            lambda V, W: (back(V, W), f(X @ V).T @ (2 / 18 * (f(X @ V) @ W - Y))),
            (V, W),
            ("missing_chain_factor", 0, lambda V, W: back(V, W, lambda z, a: 1)),
            ("value_for_derivative", 0, lambda V, W: back(V, W, lambda z, a: a)),
            ("wrong_operand", 1, lambda V, W: (X @ V).T @ (2 / 18 * (f(X @ V) @ W - Y))),
            ("missing_average", 1, lambda V, W: f(X @ V).T @ (2 * (f(X @ V) @ W - Y))),
            ("derivative_at_wrong_point", 0, lambda V, W: back(V, W, lambda z, a: slope(a, f(a)))),
            *(
                [("wrong_formula", 0, lambda V, W: back(V, W, lambda z, a: a * (1 - a)))]
                if f is torch.tanh
                else [("wrong_formula", 0, lambda V, W: back(V, W, lambda z, a: 1 - a**2))]
            ),
        )

    return make


sigmoid_net = _two_layers(s, lambda z, a: a * (1 - a))
tanh_net = _two_layers(torch.tanh, lambda z, a: 1 - a**2)
softplus_net = _two_layers(F.softplus, lambda z, a: s(z))


def relu_net(seed):
    n = drawn(seed)
    X, Y, V, W, b = n(6, 4), n(6, 3), n(4, 4), n(4, 3), n(4)

    def d(V, b, W):
        return 2 / 18 * (torch.relu(X @ V + b) @ W - Y)

    def back(V, b, W, mask=lambda z: z > 0):
        return d(V, b, W) @ W.T * mask(X @ V + b)

    return example(
        lambda V, b, W: ((torch.relu(X @ V + b) @ W - Y) ** 2).mean(),
        lambda V, b, W: (
            X.T @ back(V, b, W),
            back(V, b, W).sum(0),
            torch.relu(X @ V + b).T @ d(V, b, W),
        ),
        (V, b, W),
        ("missing_chain_factor", 0, lambda V, b, W: X.T @ (d(V, b, W) @ W.T)),
        ("value_for_derivative", 0, lambda V, b, W: X.T @ back(V, b, W, torch.relu)),
        ("missing_sum", 1, lambda V, b, W: back(V, b, W)),
        ("missing_average", 1, lambda V, b, W: back(V, b, W).mean(0)),
        ("transposed", 0, lambda V, b, W: (X.T @ back(V, b, W)).T),
        ("wrong_operand", 2, lambda V, b, W: (X @ V + b).T @ d(V, b, W)),
    )


def two_hidden(seed):
    n = drawn(seed)
    X, Y, A, B, C = n(5, 3), n(5, 2), n(3, 3), n(3, 3), n(3, 2)

    def all_partials(A, B, C, d1=lambda h: 1 - h**2, d2=lambda h: 1 - h**2, BT=lambda B: B.T):
        H = torch.tanh(X @ A)
        K = torch.tanh(H @ B)
        D3 = 2 / 10 * (K @ C - Y)
        D2 = D3 @ C.T * d2(K)
        D1 = D2 @ BT(B) * d1(H)
        return X.T @ D1, H.T @ D2, K.T @ D3

    def one(i, **how):
        return lambda A, B, C: all_partials(A, B, C, **how)[i]

    return example(
        lambda A, B, C: ((torch.tanh(torch.tanh(X @ A) @ B) @ C - Y) ** 2).mean(),
        all_partials,
        (A, B, C),
        ("transposed", 0, one(0, BT=lambda B: B)),
        ("missing_chain_factor", 0, one(0, d1=lambda h: 1)),
        ("missing_chain_factor", 0, one(0, d2=lambda h: 1)),
        ("missing_chain_factor", 0, one(0, d1=lambda h: 1, d2=lambda h: 1)),
        ("value_for_derivative", 0, one(0, d1=lambda h: h, d2=lambda h: h)),
        ("wrong_formula", 1, one(1, d2=lambda h: h * (1 - h))),
        ("swapped_partials", 1, one(0)),
    )


def tied(seed):
    n = drawn(seed)
    X, W = n(7, 4), n(4, 2)

    def parts(W):
        Z = X @ W
        D = 2 / 28 * (Z @ W.T - X)
        return X.T @ (D @ W), D.T @ Z

    return example(
        lambda W: ((X @ W @ W.T - X) ** 2).mean(),
        lambda W: (sum(parts(W)),),
        (W,),
        (CONSTANT, 0, lambda W: parts(W)[0]),
        (CONSTANT, 0, lambda W: parts(W)[1]),
        ("sign_of_term", 0, lambda W: parts(W)[0] - parts(W)[1]),
        ("factor_of_term", 0, lambda W: parts(W)[0] + 2 * parts(W)[1]),
        ("missing_average", 0, lambda W: 28 * sum(parts(W))),
    )


def attention(seed):
    n = drawn(seed)
    X, T, Q, K, V = n(4, 3), n(4, 3), n(3, 3), n(3, 3), n(3, 3)

    def all_partials(Q, K, V, scale=3**-0.5, full=True, transposed=False):
        q, k, v = X @ Q, X @ K, X @ V
        A = torch.softmax(q @ k.T * 3**-0.5, 1)
        D = 2 / 12 * (A @ v - T)
        dA = D @ v.T
        dS = A * (dA - (dA * A).sum(1, keepdim=True) * full) * scale
        dS = dS.T if transposed else dS
        return X.T @ dS @ k, X.T @ dS.T @ q, X.T @ A.T @ D

    def one(i, **how):
        return lambda Q, K, V: all_partials(Q, K, V, **how)[i]

    return example(
        lambda Q, K, V: ((torch.softmax(X @ Q @ (X @ K).T * 3**-0.5, 1) @ (X @ V) - T) ** 2).mean(),
        all_partials,
        (Q, K, V),
        (CONSTANT, 0, one(0, full=False)),
        (("missing_chain_factor", "constant_factor"), 0, one(0, scale=1)),
        ("transposed", 1, one(1, transposed=True)),
        ("swapped_partials", 1, one(0)),
        ("transposed", 2, lambda Q, K, V: X.T @ _attend(X, Q, K) @ (
            2 / 12 * (_attend(X, Q, K) @ (X @ V) - T))),
        ("missing_average", 2, lambda Q, K, V: 12 * all_partials(Q, K, V)[2]),
    )  # fmt: skip


def _attend(X, Q, K):
    return torch.softmax(X @ Q @ (X @ K).T * 3**-0.5, 1)


def batch_norm(seed):
    n = drawn(seed)
    X, T, g, b = 2 * n(6, 3) + 1, n(6, 3), n(3), n(3)

    def parts(X, g, b):
        c = X - X.mean(0)
        i = ((c**2).mean(0) + 1e-5).rsqrt()
        D = 2 / 18 * (c * i * g + b - T)
        return D, c, i, D * g

    def through(X, g, b, mean=True, var=True):
        _, c, i, d = parts(X, g, b)
        out = d * i
        if mean:
            out = out - (d * i).mean(0)
        if var:
            out = out - c * i**3 * (d * c).mean(0)
        return out

    def objective(X, g, b):
        c = X - X.mean(0)
        return ((c * ((c**2).mean(0) + 1e-5).rsqrt() * g + b - T) ** 2).mean()

    def right(X, g, b):
        D, c, i, _ = parts(X, g, b)
        return through(X, g, b), (D * c * i).sum(0), D.sum(0)

    return example(
        objective,
        right,
        (X, g, b),
        (CONSTANT, 0, lambda X, g, b: through(X, g, b, mean=False)),
        (CONSTANT, 0, lambda X, g, b: through(X, g, b, var=False)),
        (CONSTANT, 0, lambda X, g, b: through(X, g, b, mean=False, var=False)),
        (
            "missing_sum",
            1,
            lambda X, g, b: parts(X, g, b)[0] * parts(X, g, b)[1] * parts(X, g, b)[2],
        ),
        ("missing_sum", 2, lambda X, g, b: parts(X, g, b)[0]),
        ("wrong_operand", 1, lambda X, g, b: (parts(X, g, b)[0] * X).sum(0)),
        ("missing_average", 2, lambda X, g, b: parts(X, g, b)[0].mean(0)),
    )


def rnn(seed):
    n = drawn(seed)
    xs, T, U, R = [n(5, 3) for _ in range(3)], n(5, 3), n(3, 3), n(3, 3) / 2

    def objective(U, R):
        h = torch.zeros(5, 3, dtype=torch.float64)
        for x in xs:
            h = torch.tanh(x @ U + h @ R)
        return ((h - T) ** 2).mean()

    def all_partials(U, R, slope=lambda h: 1 - h**2, steps=3, RT=lambda R: R.T):
        hs = [torch.zeros(5, 3, dtype=torch.float64)]
        for x in xs:
            hs.append(torch.tanh(x @ U + hs[-1] @ R))
        d, dU, dR = 2 / 15 * (hs[-1] - T), 0, 0
        for k in range(2, 2 - steps, -1):
            d = d * slope(hs[k + 1])
            dU, dR = dU + xs[k].T @ d, dR + hs[k].T @ d
            d = d @ RT(R)
        return dU, dR

    def one(i, **how):
        return lambda U, R: all_partials(U, R, **how)[i]

    return example(
        objective,
        all_partials,
        (U, R),
        (CONSTANT, 0, one(0, steps=1)),
        (CONSTANT, 0, one(0, steps=2)),
        ("missing_chain_factor", 0, one(0, slope=lambda h: 1)),
        ("transposed", 0, one(0, RT=lambda R: R)),
        ("value_for_derivative", 1, one(1, slope=lambda h: h)),
        ("wrong_formula", 1, one(1, slope=lambda h: h * (1 - h))),
        ("missing_average", 1, lambda U, R: 15 * all_partials(U, R)[1]),
    )


def layer_norm(seed):
    n = drawn(seed)
    X, T = 2 * n(4, 5), n(4, 5)

    def through(X, mean=True, var=True, root=1.5):
        c = X - X.mean(1, keepdim=True)
        v = (c**2).mean(1, keepdim=True) + 1e-5
        d = 2 * (c / v.sqrt() - T)
        out = d / v.sqrt()
        if mean:
            out = out - (d / v.sqrt()).mean(1, keepdim=True)
        return out - c * v**-root * (d * c).mean(1, keepdim=True) if var else out

    return example(
        lambda X: ((F.layer_norm(X, (5,)) - T) ** 2).sum(),
        lambda X: (through(X),),
        (X,),
        (CONSTANT, 0, lambda X: through(X, mean=False)),
        (CONSTANT, 0, lambda X: through(X, var=False)),
        (CONSTANT, 0, lambda X: through(X, mean=False, var=False)),
        ("wrong_exponent", 0, lambda X: through(X, root=1)),
        ("wrong_exponent", 0, lambda X: through(X, root=0.5)),
    )


def gated(seed):
    n = drawn(seed)
    X, A, B = n(6, 3), n(3, 4), n(3, 4)

    def d(A, B, sa=lambda a: a * (1 - a), tb=lambda b: 1 - b**2):
        a, b = s(X @ A), torch.tanh(X @ B)
        g = 2 * a * b / 6
        return X.T @ (g * b * sa(a)), X.T @ (g * a * tb(b))

    return example(
        lambda A, B: ((s(X @ A) * torch.tanh(X @ B)) ** 2).sum() / 6,
        d,
        (A, B),
        ("wrong_formula", 0, lambda A, B: d(A, B, sa=lambda a: 1 - a**2)[0]),
        ("wrong_formula", 1, lambda A, B: d(A, B, tb=lambda b: b * (1 - b))[1]),
        ("missing_chain_factor", 1, lambda A, B: d(A, B, tb=lambda b: 1)[1]),
        ("wrong_operand", 0, lambda A, B: X.T @ (
            2 * s(X @ A) ** 2 * torch.tanh(X @ B) / 6 * s(X @ A) * (1 - s(X @ A)))),
        ("swapped_partials", 0, lambda A, B: d(A, B)[1]),
        ("missing_average", 1, lambda A, B: 6 * d(A, B)[1]),
    )  # fmt: skip


EXAMPLES = {
    "sigmoid_net": sigmoid_net,
    "tanh_net": tanh_net,
    "softplus_net": softplus_net,
    **{
        f.__name__: f
        for f in (relu_net, two_hidden, tied, attention, batch_norm, rnn, layer_norm, gated)
    },
}
