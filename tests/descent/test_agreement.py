"""The comparison of compiled with eager results: exact to rounding, by entry."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from gd_torch import load_iris, network_mse
from gd_torch.compiler.rounding import RoundingNoise, summed_terms
from gd_torch.descent import agreement
from gd_torch.descent.agreement import results_agree
from gd_torch.gradients import evaluate


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def rosenbrock(x: Tensor) -> Tensor:
    """Rosenbrock's function of entries 0 and 1."""
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def rosenbrock_expanded(x: Tensor) -> Tensor:
    """The same function, partly expanded."""
    a, b = x[0], x[1]
    return 100 * b * b - 200 * (a * a) * b + 100 * (a * a * a * a) + (1 - a) * (1 - a)


def rosenbrock_other(x: Tensor) -> Tensor:
    """The same function, with another order of terms."""
    d = 10 * x[1] - 10 * x[0] * x[0]
    return d * d + (x[0] - 1) * (x[0] - 1)


def sum_in_order(x: Tensor) -> Tensor:
    """A sequential sum in blocks of 64."""
    return x.reshape(64, -1).cumsum(1)[:, -1].cumsum(0)[-1]


def variance_by_deviations(x: Tensor) -> Tensor:
    """The biased variance from its definition."""
    return ((x - x.mean()) ** 2).sum() / x.numel()


SHIFT = numbers(1000, seed=3)

Pair = tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]

SAME: list[Pair] = [
    ("rosenbrock_far", rosenbrock, rosenbrock_other, torch.tensor([-1.2, 1.0])),
    ("rosenbrock_near", rosenbrock, rosenbrock_other, torch.tensor([1 + 1e-6, 1 + 1e-6])),
    ("rosenbrock_valley", rosenbrock, rosenbrock_other, torch.tensor([0.7, 0.49])),
    (
        "sum_1e5",
        lambda x: (x * x).sum(),
        lambda x: sum_in_order(x * x),
        numbers(102_400),
    ),
    (
        "signed_sum_1e5",
        lambda x: (x.sin() * 3).sum(),
        lambda x: 3 * sum_in_order(x.flip(0).sin()),
        numbers(102_400),
    ),
    (
        "squared_residual_of_mean",
        lambda x: (x.mean() - 0.25) ** 2,
        lambda x: (sum_in_order(x) / 12800 - 0.25).square(),
        numbers(12_800) + 0.25,
    ),
    (
        "softmax",
        lambda x: (x.softmax(0) * torch.arange(50.0, dtype=x.dtype)).sum(),
        lambda x: (x.exp() / x.exp().sum()) @ torch.arange(50.0, dtype=x.dtype),
        5 * numbers(50),
    ),
    ("logsumexp", lambda x: x.logsumexp(0), lambda x: x.exp().sum().log(), 3 * numbers(2000)),
    (
        "log_softmax_certain",
        lambda x: -x.log_softmax(0)[0],
        lambda x: x.logsumexp(0) - x[0],
        torch.tensor([12.0, 0.0, 1.0]),
    ),
    ("variance", lambda x: x.var(correction=0), variance_by_deviations, 100 + numbers(1000)),
    (
        "variance_of_differences",
        lambda x: (x + SHIFT.to(x.dtype)).var(correction=0),
        lambda x: variance_by_deviations(SHIFT.to(x.dtype) + x),
        torch.full((1000,), 1000.0),
    ),
    (
        "large_numbers",
        lambda x: ((x + 1e4) ** 2 - x**2 - 1e8).sum(),
        lambda x: ((x + 1e4) * (x + 1e4) - (x * x + 1e8)).sum(),
        numbers(10),
    ),
    (
        "square_of_large_difference",
        lambda x: ((x.exp() * 1e4 - 1e4) ** 2).sum(),
        lambda x: (1e4 * (x.exp() - 1)).square().sum(),
        1e-3 * numbers(10),
    ),
    (
        "determinant",
        lambda x: torch.linalg.det(x.reshape(3, 3)),
        lambda x: (x[0:3] * torch.linalg.cross(x[3:6], x[6:9])).sum(),
        torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 9.01]),
    ),
    (
        "power",
        lambda x: (x**7).mean(),
        lambda x: (x * x * x * x * x * x * x).mean(),
        numbers(100),
    ),
    (
        "relu_at_its_kink",
        lambda x: torch.relu(x * 3 - 1).sum(),
        lambda x: torch.relu(3 * (x - 1 / 3)).sum(),
        torch.tensor([1 / 3, 0.5, 0.1]),
    ),
    (
        "abs_at_its_kink",
        lambda x: (x * 3 - 1).abs().sum(),
        lambda x: (3 * (x - 1 / 3)).abs().sum(),
        torch.tensor([1 / 3, 0.5, 0.1]),
    ),
    (
        "item_assignment",
        lambda x: assigned(x).square().sum(),
        lambda x: torch.stack([x[0] / 3, x[1] * 2 / 3]).square().sum(),
        torch.tensor([1.7, 0.3]),
    ),
]


def assigned(x: Tensor) -> Tensor:
    """A tensor whose second entry is overwritten and that is then divided in place."""
    z = x * 1.0
    z[1] = x[1] * 2
    z.div_(3)
    return z


@pytest.mark.parametrize(
    ("first", "second", "at"), [case[1:] for case in SAME], ids=[case[0] for case in SAME]
)
def test_the_same_gradient_in_another_order_of_operations_agrees(first, second, at, dtype):
    """Two forms of one function differ only by rounding, even if it is ill-conditioned."""
    weights = (at.to(dtype),)
    assert list(
        agreement.rounding_tolerances(partial(evaluate, first), weights, evaluate(first, weights))
    )
    assert results_agree(first, weights, evaluate(first, weights), evaluate(second, weights))
    assert results_agree(second, weights, evaluate(second, weights), evaluate(first, weights))


@pytest.mark.parametrize(
    ("objective", "at"), [(case[1], case[3]) for case in SAME], ids=[case[0] for case in SAME]
)
def test_results_of_higher_precision_agree(objective, at):
    """A compiled step may use a wider type for intermediate results."""
    weights = (at.to(torch.float32),)
    value, partials = evaluate(objective, (weights[0].double(),))
    compiled = (value.float(), tuple(d.float() for d in partials))
    assert results_agree(objective, weights, evaluate(objective, weights), compiled)


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "conv1d": lambda x: torch.conv1d(x.reshape(1, 2, -1), x[:12].reshape(2, 2, 3)),
    "layer_norm": lambda x: torch.layer_norm(x.reshape(10, -1), (6,)).exp(),
    "cumprod": lambda x: x.cumprod(0),
    "cumsum": lambda x: x.reshape(10, -1).cumsum(-1),
    "sort": lambda x: x.sort().values * torch.arange(60),
    "split": lambda x: torch.stack([(a * a).sum() for a in x.split(7)]),
    "unbind": lambda x: torch.cat([a.exp() for a in x.reshape(6, 10).unbind()]),
    "index_put": lambda x: x.clone().index_put((torch.tensor([0, 0, 1]),), x[:3], True),
    "gather": lambda x: x.gather(0, torch.tensor([5, 5, 2])).square(),
    "embedding": lambda x: torch.nn.functional.embedding(torch.tensor([1, 1]), x.reshape(6, 10)),
    "einsum": lambda x: torch.einsum("ij,kj->ik", x.reshape(6, 10), x.reshape(6, 10)),
    "solve": lambda x: torch.linalg.solve(x[:9].reshape(3, 3) + torch.eye(3) * 5, x[9:12]),
    "cholesky": lambda x: torch.linalg.cholesky(torch.outer(x[:3], x[:3]) + torch.eye(3)),
    "complex": lambda x: torch.fft.rfft(x).abs(),
    "scatter_add": lambda x: torch.zeros(3).scatter_add(0, torch.arange(60) % 3, x),
    "vmap": lambda x: torch.func.vmap(torch.func.grad(lambda a: a.sin() * a))(x),
    "in_place_on_a_view": lambda x: x.clone().reshape(6, 10)[2].mul_(3).exp_(),
    "cross_entropy": lambda x: torch.nn.functional.cross_entropy(
        x.reshape(6, 10), torch.arange(6), reduction="none"
    ),
    "prod": lambda x: x[:5].prod(),
    "norm": lambda x: x.norm() + torch.linalg.vector_norm(x, 3),
    "std_mean": lambda x: torch.stack(torch.std_mean(x)),
}


@pytest.mark.parametrize("function", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_noise_of_many_operations(function):
    """Evaluations with noise succeed, and the tolerances are tight."""
    weights = (numbers(60, dtype=torch.float32),)
    objective = lambda x: function(x).sum()  # noqa: E731
    eager = evaluate(objective, weights)
    *_, tolerances = agreement.rounding_tolerances(partial(evaluate, objective), weights, eager)
    size = eager[1][0].abs().max()
    assert (tolerances[1] <= 1e-3 * size).all()
    assert not results_agree(objective, weights, eager, (eager[0], (eager[1][0] + 0.01 * size,)))


def test_a_network_in_single_precision_agrees_with_double_precision(iris):
    """The tutorial's net."""
    X, Y = iris
    objective = network_mse(X, Y)
    weights = (numbers(4, 2, seed=1), numbers(2, 3, seed=2))
    value, partials = evaluate(objective, weights)
    single = tuple(w.float() for w in weights)
    compiled = (value.float(), tuple(d.float() for d in partials))
    assert results_agree(objective, single, evaluate(objective, single), compiled)


@pytest.fixture(scope="module")
def iris() -> tuple[Tensor, Tensor]:
    """Inputs and targets of the tutorial's net."""
    X, Y = load_iris()[:2]
    return X, Y


X1000, Y1000 = numbers(1000, 4, seed=5), numbers(1000, seed=6)


def regression(w: Tensor) -> Tensor:
    """A mean of 1000 terms."""
    return ((X1000.to(w.dtype) @ w).tanh() - Y1000.to(w.dtype)).square().mean()


def without_term(w: Tensor) -> Tensor:
    """The same mean without its last term."""
    errors = (X1000.to(w.dtype) @ w).tanh() - Y1000.to(w.dtype)
    return errors[:-1].square().sum() / 1000


def changed(
    change: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A fault in the partials."""
    return lambda value, d: (value, change(d.clone()))


def entry(k: int, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A fault in one entry."""

    def apply(d: Tensor) -> Tensor:
        d[k] = change(d[k])
        return d

    return apply


WRONG: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "sign": changed(lambda d: -d),
    "sign_of_one_entry": changed(entry(2, lambda x: -x)),
    "factor_two": changed(lambda d: 2 * d),
    "factor_1.001": changed(lambda d: 1.001 * d),
    "factor_0.9999": changed(lambda d: 0.9999 * d),
    "one_entry_by_1e-4": changed(entry(1, lambda x: x * (1 + 1e-4))),
    "one_entry_zero": changed(entry(3, lambda x: x * 0)),
    "one_entry_nan": changed(entry(0, lambda x: x * float("nan"))),
    "one_entry_inf": changed(entry(0, lambda x: x + float("inf"))),
    "all_zero": changed(torch.zeros_like),
    "all_nan": changed(lambda d: d * float("nan")),
    "swapped_entries": changed(lambda d: d[[1, 0, 2, 3]]),
    "rolled": changed(lambda d: d.roll(1)),
    "sum_instead_of_mean": changed(lambda d: d * 1000),
    "mean_over_999": changed(lambda d: d * 1000 / 999),
    "added_constant": changed(lambda d: d + 1e-4),
    "added_to_one_entry": changed(entry(2, lambda x: x + 1e-4)),
    "mean_of_entries": changed(lambda d: d.mean().expand(4)),
    "absolute_value": changed(torch.abs),
    "value_by_1.001": lambda value, d: (value * 1.001, d),
    "value_by_1e-4": lambda value, d: (value * 1.0001, d),
    "value_zero": lambda value, d: (value * 0, d),
    "value_nan": lambda value, d: (value * float("nan"), d),
    "value_and_partials_swapped_sign": lambda value, d: (-value, -d),
}


@pytest.mark.parametrize("fault", WRONG.values(), ids=WRONG.keys())
def test_wrong_results_do_not_agree(fault, dtype):
    """Each fault is detected, in single precision too."""
    weights = (numbers(4, seed=7).to(dtype),)
    value, (d,) = evaluate(regression, weights)
    value, d = fault(value, d)
    assert not results_agree(regression, weights, evaluate(regression, weights), (value, (d,)))


def test_a_dropped_term_of_a_thousand_is_detected(dtype):
    """Value and partials are those of 999 terms."""
    weights = (numbers(4, seed=7).to(dtype),)
    eager = evaluate(regression, weights)
    assert not results_agree(regression, weights, eager, evaluate(without_term, weights))


def test_a_small_entry_is_judged_by_its_own_size(dtype):
    """A wrong entry of 1e-6 is detected beside one of 1e6."""

    def objective(x: Tensor) -> Tensor:
        return x @ torch.tensor([1e6, 1e-6], dtype=x.dtype)

    weights = (torch.ones(2, dtype=dtype),)
    value, (d,) = evaluate(objective, weights)
    assert not results_agree(
        objective, weights, (value, (d,)), (value, (d * torch.tensor([1, 1.01]),))
    )
    assert results_agree(objective, weights, (value, (d,)), (value, (d * (1 + 1e-7),))) or (
        dtype == torch.float64
    )


def test_a_long_sum_in_order_agrees():
    """The sequential sum of 100 000 times 0.1 in single precision has an error of 1e-4."""
    x = torch.full((100_000,), 0.1)
    value, (d,) = evaluate(torch.sum, (x,))
    in_order = torch.from_numpy(x.numpy().cumsum(dtype="float32"))[-1]
    assert abs(in_order / value - 1) > 1e-4
    assert results_agree(torch.sum, (x,), (value, (d,)), (in_order, (d,)))
    assert not results_agree(torch.sum, (x,), (value, (d,)), (value * 1.001, (d,)))


def test_an_ignored_item_assignment_is_detected():
    """A gradient that ignores that an entry was overwritten."""
    target = torch.tensor([1.0, 5.0, 3.0])

    def objective(w: Tensor) -> Tensor:
        z = w * 1.0
        z[1] = w[1] * 2
        return (z - target).square().sum()

    weights = (torch.ones(3),)
    value, (d,) = evaluate(objective, weights)
    wrong = d.clone()
    wrong[1] = d[1] / 2 * 3  # both paths
    assert not results_agree(objective, weights, (value, (d,)), (value, (wrong,)))


def test_a_noise_partial_near_a_minimum_may_differ_but_not_by_much():
    """At the minimum of a least-squares fit the partial consists of rounding errors."""
    x = numbers(500, seed=1)
    y = numbers(500, seed=2)

    def objective(w: Tensor) -> Tensor:
        return (w * x - y).square().mean()

    w = (x @ y / (x @ x)).reshape(())
    value, (d,) = evaluate(objective, (w,))
    assert abs(d.item()) < 1e-15
    assert results_agree(objective, (w,), (value, (d,)), (value, (-d + 1e-17,)))
    assert not results_agree(objective, (w,), (value, (d,)), (value, (d + 1e-12,)))


@pytest.mark.parametrize("loss", [float("inf"), float("-inf"), float("nan")])
def test_a_loss_that_is_not_finite_agrees_with_any_other_such_loss(loss):
    """The partials are not compared, as the run stops there."""
    weights = (torch.tensor(1.0),)
    eager = (torch.tensor(loss), (torch.tensor(1.0),))
    for other in (float("inf"), float("nan")):
        compiled = (torch.tensor(other), (torch.tensor(5.0),))
        assert results_agree(torch.square, weights, eager, compiled)
    assert not results_agree(torch.square, weights, eager, (torch.tensor(1.0), eager[1]))
    assert not results_agree(torch.square, weights, (torch.tensor(1.0), eager[1]), eager)


def test_nan_and_infinite_partials_agree_with_themselves_only():
    """The slope of the square root at 0 is infinite, and 0 times it is NaN."""
    objective = lambda x: (x.sqrt() * torch.tensor([1.0, 0.0, 1.0])).sum()  # noqa: E731
    weights = (torch.tensor([0.0, 0.0, 4.0]),)
    value, (d,) = evaluate(objective, weights)
    assert d[0].isinf() and d[1].isnan()
    assert results_agree(objective, weights, (value, (d,)), (value, (d.clone(),)))
    for k, other in ((0, 1.0), (0, float("-inf")), (1, 0.0), (2, float("nan"))):
        wrong = d.clone()
        wrong[k] = other
        assert not results_agree(objective, weights, (value, (d,)), (value, (wrong,)))


def test_results_of_another_shape_or_dtype_do_not_agree():
    """Nothing is broadcast or converted."""
    weights = (torch.ones(3),)
    objective = lambda x: x.square().sum()  # noqa: E731
    value, (d,) = evaluate(objective, weights)
    assert not results_agree(objective, weights, (value, (d,)), (value, (d[:1],)))
    assert not results_agree(objective, weights, (value, (d,)), (value, (d.double(),)))
    assert not results_agree(objective, weights, (value, (d,)), (value, (d, d)))


def test_flushed_subnormal_numbers_agree():
    """Compiled code may flush subnormal numbers to zero."""
    objective = lambda x: (x * 1e-40).sum()  # noqa: E731
    weights = (torch.ones(3),)
    value, (d,) = evaluate(objective, weights)
    assert 0 < d[0].item() < torch.finfo(torch.float32).tiny
    assert results_agree(objective, weights, (value, (d,)), (value * 0, (d * 0,)))


def test_an_objective_that_is_not_reproducible_does_not_agree():
    """A counter in the objective changes its value from one evaluation to the next."""
    calls = [0]

    def objective(w: Tensor) -> Tensor:
        calls[0] += 1
        return w * w * calls[0]

    weights = (torch.tensor(3.0),)
    eager, later = evaluate(objective, weights), evaluate(objective, weights)
    assert not results_agree(objective, weights, eager, later)


def test_an_objective_that_fails_under_noise_does_not_agree():
    """The comparison returns False if it cannot evaluate the objective."""

    def objective(w: Tensor) -> Tensor:
        if w.item() != 3.0:
            raise RuntimeError("only at 3")
        return w * w

    weights = (torch.tensor(3.0),)
    value, (d,) = evaluate(objective, weights)
    assert not results_agree(objective, weights, (value, (d,)), (value * 1.001, (d,)))


def test_the_comparison_changes_neither_random_state_nor_weights(dtype):
    """The noise has separate generators and is added to copies."""
    weights = (numbers(4, seed=7).to(dtype),)
    before = weights[0].clone()
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    value, (d,) = evaluate(regression, weights)
    assert not results_agree(regression, weights, (value, (d,)), (value, (d * 1.01,)))
    assert torch.equal(torch.get_rng_state(), torch_state) and random.getstate() == python_state
    assert torch.equal(weights[0], before) and weights[0]._version == 0
    assert not weights[0].requires_grad


def test_the_comparison_is_reproducible():
    """The seeds are fixed, so the tolerances are equal."""
    weights = (numbers(4, seed=7),)
    eager = evaluate(regression, weights)
    first, second = (
        list(agreement.rounding_tolerances(partial(evaluate, regression), weights, eager))
        for _ in range(2)
    )
    assert len(first) == len(second) == agreement.NOISE_SAMPLES
    for some, same in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(some, same, strict=True))


def test_noise_is_added_forward_and_backward_but_not_to_views_and_exact_operations():
    """Views, integers and selections are unchanged; products and sums are not."""
    x = numbers(1000)
    with RoundingNoise(0):
        assert torch.equal(x.reshape(10, 100).T, x.reshape(10, 100).clone().T)
        assert torch.equal(torch.relu(x), x.clamp(min=0))
        assert (x > 0).sum().item() == int((x > 0).sum())
        noisy, total = x * 3, x.sum()
    size = (noisy / (x * 3) - 1).abs().max().item() / torch.finfo(x.dtype).eps
    assert 0.5 < size <= 2.5
    assert total.item() != x.sum().item()
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with RoundingNoise(0):
        (slope,) = torch.autograd.grad((w * w * w).sum(), w)
    assert (slope != 3).any() and torch.allclose(slope, torch.full_like(slope, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_noise_is_rounded_away(dtype):
    """Every entry changes, by at most 1.5 eps."""
    x = torch.rand(10_000, dtype=dtype) + 0.5
    change = ((RoundingNoise(0).perturb(x) - x) / x).abs() / torch.finfo(dtype).eps
    assert float(change.min()) >= 0.25 and float(change.max()) <= 1.5


def test_noise_of_an_operation_in_place_stays_in_place():
    """The operation returns the modified tensor, with noise."""
    x = numbers(100)
    y = x.clone()
    with RoundingNoise(0):
        same = y.mul_(3)
    assert same is y
    assert not torch.equal(y, x * 3) and torch.allclose(y, x * 3)


@pytest.mark.parametrize(
    ("name", "arguments", "result", "terms"),
    [
        ("aten::mm", (torch.ones(2, 7), torch.ones(7, 3)), torch.ones(2, 3), 7),
        ("aten::addmm", (torch.ones(3), torch.ones(2, 7), torch.ones(7, 3)), torch.ones(2, 3), 7),
        ("aten::bmm", (torch.ones(5, 2, 7), torch.ones(5, 7, 3)), torch.ones(5, 2, 3), 7),
        ("aten::dot", (torch.ones(9), torch.ones(9)), torch.ones(()), 9),
        ("aten::mean.dim", (torch.ones(9, 4), [0]), torch.ones(4), 9),
        ("aten::_softmax", (torch.ones(9, 4), 1, False), torch.ones(9, 4), 4),
        ("aten::mul.Tensor", (torch.ones(9, 4), torch.ones(4)), torch.ones(9, 4), 1),
        ("aten::exp", (torch.ones(9),), torch.ones(9), 1),
    ],
)
def test_summed_terms(name, arguments, result, terms):
    """The terms of one entry of the result are counted."""
    assert summed_terms(name, arguments, result) == terms
