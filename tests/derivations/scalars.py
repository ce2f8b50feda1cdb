"""Functions of numbers and vectors: polynomials, products, quotients, chains, norms."""

import torch

from tests.derivations.example import drawn, example

s = torch.sigmoid
DROPPED = ("dropped_term", "treated_as_constant")
CONSTANT = ("treated_as_constant", "dropped_term")


def polynomial(seed):
    w = drawn(seed)().abs() + 0.6
    return example(
        lambda w: w**5 / 5 - 2 * w**3 + 3 * w,
        lambda w: (w**4 - 6 * w**2 + 3,),
        (w,),
        ("sign_of_term", 0, lambda w: w**4 + 6 * w**2 + 3),
        (DROPPED, 0, lambda w: w**4 - 6 * w**2),
        (DROPPED, 0, lambda w: w**4 + 3),
        ("factor_of_term", 0, lambda w: w**4 - 2 * w**2 + 3),
        ("wrong_exponent", 0, lambda w: w**4 - 6 * w**3 + 3),
        ("wrong_exponent", 0, lambda w: w**5 - 6 * w**2 + 3),
    )


def product(seed):
    w = drawn(seed)(4)
    return example(
        lambda w: (w * torch.sin(w)).sum(),
        lambda w: (torch.sin(w) + w * torch.cos(w),),
        (w,),
        (CONSTANT, 0, lambda w: torch.sin(w)),
        (CONSTANT, 0, lambda w: w * torch.cos(w)),
        ("sign_of_term", 0, lambda w: torch.sin(w) - w * torch.cos(w)),
        ("value_for_derivative", 0, lambda w: torch.sin(w) + w * torch.sin(w)),
        ("missing_chain_factor", 0, lambda w: torch.sin(w) + torch.cos(w)),
        ("derivative_at_wrong_point", 0, lambda w: torch.sin(w) + w * torch.cos(torch.sin(w))),
    )


def quotient(seed):
    w = drawn(seed)(3)
    return example(
        lambda w: (w / (1 + w**2)).sum(),
        lambda w: ((1 - w**2) / (1 + w**2) ** 2,),
        (w,),
        ("sign_of_term", 0, lambda w: (1 + 3 * w**2) / (1 + w**2) ** 2),
        (CONSTANT, 0, lambda w: 1 / (1 + w**2)),
        (CONSTANT, 0, lambda w: -2 * w**2 / (1 + w**2) ** 2),
        ("wrong_exponent", 0, lambda w: 1 / (1 + w**2) - 2 * w**2 / (1 + w**2)),
        ("factor_of_term", 0, lambda w: 1 / (1 + w**2) - w**2 / (1 + w**2) ** 2),
    )


def chain(seed):
    w = drawn(seed)(3)
    return example(
        lambda w: torch.exp(torch.sin(3 * w)).sum(),
        lambda w: (3 * torch.cos(3 * w) * torch.exp(torch.sin(3 * w)),),
        (w,),
        ("missing_chain_factor", 0, lambda w: torch.cos(3 * w) * torch.exp(torch.sin(3 * w))),
        ("missing_chain_factor", 0, lambda w: 3 * torch.exp(torch.sin(3 * w))),
        ("missing_chain_factor", 0, lambda w: 3 * torch.cos(3 * w)),
        ("value_for_derivative", 0, lambda w: 3 * torch.sin(3 * w) * torch.exp(torch.sin(3 * w))),
        ("derivative_at_wrong_point", 0, lambda w: 3 * torch.cos(w) * torch.exp(torch.sin(3 * w))),
    )


def two_variables(seed):
    a, b = drawn(seed)(), drawn(seed + 50)()
    return example(
        lambda a, b: a**2 * b + torch.exp(a * b),
        lambda a, b: (2 * a * b + b * torch.exp(a * b), a**2 + a * torch.exp(a * b)),
        (a, b),
        ("swapped_partials", 0, lambda a, b: a**2 + a * torch.exp(a * b)),
        (DROPPED, 0, lambda a, b: 2 * a * b),
        ("missing_chain_factor", 1, lambda a, b: a**2 + torch.exp(a * b)),
        ("wrong_operand", 1, lambda a, b: a**2 + b * torch.exp(a * b)),
        ("factor_of_term", 0, lambda a, b: a * b + b * torch.exp(a * b)),
        ("sign_of_term", 1, lambda a, b: a**2 - a * torch.exp(a * b)),
    )


def norm(seed):
    w, c = drawn(seed)(5), drawn(seed + 9)(5)
    return example(
        lambda w: torch.linalg.norm(w - c),
        lambda w: ((w - c) / torch.linalg.norm(w - c),),
        (w,),
        ("missing_chain_factor", 0, lambda w: w - c),
        ("wrong_exponent", 0, lambda w: (w - c) / torch.linalg.norm(w - c) ** 2),
        (DROPPED, 0, lambda w: w / torch.linalg.norm(w - c)),
        ("sign_of_term", 0, lambda w: (w + c) / torch.linalg.norm(w - c)),
    )


def rational_power(seed):
    w = drawn(seed)(3).abs() + 0.5
    return example(
        lambda w: (torch.sqrt(1 + w**2) + 1 / w).sum(),
        lambda w: (w / torch.sqrt(1 + w**2) - 1 / w**2,),
        (w,),
        ("sign_of_term", 0, lambda w: w / torch.sqrt(1 + w**2) + 1 / w**2),
        ("wrong_exponent", 0, lambda w: w / torch.sqrt(1 + w**2) - 1 / w),
        ("wrong_exponent", 0, lambda w: w * torch.sqrt(1 + w**2) - 1 / w**2),
        (("missing_chain_factor", "factor_of_term"), 0,
         lambda w: 0.5 / torch.sqrt(1 + w**2) - 1 / w**2),
        ("factor_of_term", 0, lambda w: 2 * w / torch.sqrt(1 + w**2) - 1 / w**2),
        (DROPPED, 0, lambda w: w / torch.sqrt(1 + w**2)),
    )  # fmt: skip


def huber(seed):
    w, c = 2 * drawn(seed)(6), drawn(seed + 3)(6)

    def objective(w):
        r = w - c
        return torch.where(r.abs() <= 1, r**2 / 2, r.abs() - 0.5).sum()

    def right(w):
        return (w - c).clamp(-1, 1)

    def near(w):
        return (w - c).abs() <= 1

    return example(
        objective,
        lambda w: (right(w),),
        (w,),
        (DROPPED, 0, lambda w: right(w) * near(w)),
        (DROPPED, 0, lambda w: right(w) * ~near(w)),
        ("factor_of_term", 0, lambda w: torch.where(near(w), 2 * (w - c), right(w))),
        ("sign_of_term", 0, lambda w: torch.where(near(w), w - c, -right(w))),
        ("missing_chain_factor", 0, lambda w: torch.where(near(w), w - c, torch.ones_like(w))),
    )


def gaussian(seed):
    x = drawn(seed)(20) * 1.5 + 0.4
    mu, t = drawn(seed + 4)(), drawn(seed + 5)() / 3

    def objective(mu, t):  # t = log sigma
        return ((x - mu) ** 2 / (2 * torch.exp(2 * t)) + t).mean()

    def r2(mu, t):
        return ((x - mu) ** 2).mean() * torch.exp(-2 * t)

    return example(
        objective,
        lambda mu, t: (-(x - mu).mean() * torch.exp(-2 * t), 1 - r2(mu, t)),
        (mu, t),
        (DROPPED, 1, lambda mu, t: -r2(mu, t)),
        ("sign_of_term", 1, lambda mu, t: 1 + r2(mu, t)),
        (("factor_of_term", "missing_chain_factor"), 1, lambda mu, t: 1 - r2(mu, t) / 2),
        ("missing_average", 0, lambda mu, t: -(x - mu).sum() * torch.exp(-2 * t)),
        ("missing_average", 1, lambda mu, t: 1 - 20 * r2(mu, t)),
        ("missing_chain_factor", 0, lambda mu, t: -(x - mu).mean()),
    )


EXAMPLES = {
    f.__name__: f
    for f in (
        polynomial,
        product,
        quotient,
        chain,
        two_variables,
        norm,
        rational_power,
        huber,
        gaussian,
    )
}
