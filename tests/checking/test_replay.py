"""Replay: vector-Jacobian and Jacobian-vector products of a trace against autograd's."""

import pytest
import torch

from gd_torch.checking.evidence import collect_evidence
from gd_torch.checking.replay import Edge, Replay, Shortcut, sum_to_shape
from gd_torch.checking.trace import trace_objective
from tests.derivations import FAMILIES

generator = torch.Generator().manual_seed(4)


def normal(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


W, A, B, X = normal(3), normal(3, 3), normal(3, 2), normal(5, 3)

OBJECTIVES = {
    "pointwise": (lambda w: (torch.sin(w) * torch.exp(w) / (2 + w**2)).sum(), (W,)),
    "broadcast": (lambda w, A: ((A + w) * A[:, :1] / w).sum(), (W, A)),
    "matrix products": (lambda A, B: (A @ B).mul(B).sum() + torch.trace(A @ A.T), (A, B)),
    "batched": (lambda A: torch.bmm(A.expand(2, 3, 3), A.T.expand(2, 3, 3)).pow(2).sum(), (A,)),
    "matrix times vector": (lambda A, w: w @ (A @ w) + (A @ w).norm(), (A, W)),
    "linear algebra": (
        lambda A, w: A.inverse().sum() + torch.linalg.solve(A, w).sum() + torch.logdet(A.T @ A),
        (A, W),
    ),
    "reductions": (lambda A: A.mean(0).var() + A.amax(1).sum() + A.logsumexp(1).prod(), (A,)),
    "views": (lambda A: (A[1:] * A.T[:2]).sum() + A.reshape(-1)[::2].pow(3).sum(), (A,)),
    "cat and where": (lambda w: torch.where(w > 0, w**2, -w).dot(torch.cat([w[1:], w[:1]])), (W,)),
    "in place": (lambda w: (w * 2).add_(w**2).mul_(w).sum(), (W,)),
    "several outputs": (lambda A: sum(x.pow(2).sum() for x in torch.split(A, 2)), (A,)),
    "a network": (lambda A, B: torch.softmax(torch.tanh(X @ A) @ B, 1)[:, 0].log().mean(), (A, B)),
    "an unused weight": (lambda w, _A: w.sum() ** 2, (W, A)),
}  # fmt: skip


def gradients(objective, weights):
    leaves = [w.clone().requires_grad_() for w in weights]
    return torch.autograd.grad(objective(*leaves), leaves, materialize_grads=True)


def replayed(objective, weights):
    return Replay(trace_objective(objective, weights))


def gradient_of(replay, partials=None):
    found = replay.gradient if partials is None else partials
    pairs = zip(found, replay.values, strict=False)
    return [torch.zeros_like(w) if d is None else d for d, w in pairs]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient(name):
    """The gradient of a replay is autograd's."""
    objective, weights = OBJECTIVES[name]
    found = gradient_of(replayed(objective, weights))
    for d, expected in zip(found, gradients(objective, weights), strict=True):
        torch.testing.assert_close(d, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_of_the_collection(name):
    """So it is for every objective of the collection: all of them can be replayed."""
    e = FAMILIES[name](0)
    found = gradient_of(replayed(e.objective, e.at))
    for d, expected in zip(found, gradients(e.objective, e.at), strict=True):
        torch.testing.assert_close(d, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_vjp_of_every_value(name):
    """J^T g of one value alone, for each value, is autograd's of the operations up to it."""
    objective, weights = OBJECTIVES[name]
    replay = replayed(objective, weights)
    leaves, values = with_graph(replay)
    for value, expected in values.items():
        g = normal(*expected.shape)
        wanted = torch.autograd.grad(
            expected, leaves, g, materialize_grads=True, retain_graph=True, allow_unused=True
        )
        for d, w in zip(gradient_of(replay, replay.vjp({value: g})), wanted, strict=True):
            torch.testing.assert_close(d, w, rtol=1e-12, atol=1e-12)


def with_graph(replay):
    """The weights with gradients, and every value computed from them, node by node."""
    count = replay.trace.weight_count
    leaves = [w.clone().requires_grad_() for w in replay.values[:count]]
    values = dict(enumerate(leaves))
    for node in replay.trace.nodes:
        outs = node.run({p: values[v] for p, v in node.inputs.items()})
        values.update((v, o) for v, o in zip(node.outputs, outs, strict=True) if v is not None)
    return leaves, {v: x for v, x in values.items() if x.requires_grad and v >= count}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_jvp_is_the_transpose_of_vjp(name):
    """<J d, g> = <d, J^T g> for the tangent of every value, with respect to every weight."""
    objective, weights = OBJECTIVES[name]
    replay = replayed(objective, weights)
    for i, w in enumerate(weights):
        d = normal(*w.shape)
        tangents = replay.jvp({i: d})
        for value, tangent in tangents.items():
            assert tangent.shape == replay.values[value].shape
            g = normal(*tangent.shape)
            back = replay.vjp({value: g})[i]
            wanted = 0.0 if back is None else float((back * d).sum())
            assert float((tangent * g).sum()) == pytest.approx(wanted, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_jvp_of_the_result_is_the_directional_derivative(name):
    """With a direction of all weights at once."""
    objective, weights = OBJECTIVES[name]
    directions = [normal(*w.shape) for w in weights]
    replay = replayed(objective, weights)
    tangent = replay.jvp(dict(enumerate(directions)))[replay.trace.result]
    pairs = zip(gradients(objective, weights), directions, strict=True)
    wanted = sum(float((g * d).sum()) for g, d in pairs)
    assert float(tangent) == pytest.approx(wanted, rel=1e-10)


def test_cotangents_are_the_derivatives_with_respect_to_every_value():
    """d result / d value; a value with several uses receives the sum of their parts."""
    replay = replayed(lambda w: (torch.exp(w) * torch.exp(w) * w).sum(), (W,))
    exp = next(v for v, n in replay.producer.items() if n.name == "exp")
    torch.testing.assert_close(replay.cotangents[exp], 2 * W.exp() * W)
    parts = [replay.edge_cotangent(edge) for edge in replay.uses[exp]]
    assert len(parts) == 2
    torch.testing.assert_close(parts[0] + parts[1], replay.cotangents[exp])


def test_an_altered_rule_takes_the_place_of_one_use_alone():
    """d (w sin w) with the wrong derivative of the sine; the other use is left as it is."""
    replay = replayed(lambda w: (w * torch.sin(w)).sum(), (W,))
    sine = next(n for n in replay.trace.nodes if n.name == "sin")
    one = {replay.trace.result: torch.tensor(1.0, dtype=torch.float64)}
    (altered,) = replay.vjp(one, {Edge(sine.index, 0): lambda g: g * torch.sin(W)})
    torch.testing.assert_close(altered, torch.sin(W) + W * torch.sin(W))
    torch.testing.assert_close(replay.vjp(one)[0], torch.sin(W) + W * torch.cos(W))


def test_a_rule_that_returns_a_wrong_shape_raises():
    """The operation before it cannot take such a cotangent."""
    replay = replayed(lambda A: (A @ B).sum(1).pow(2).sum(), (A,))
    power = next(n for n in replay.trace.nodes if n.name == "pow")
    one = {replay.trace.result: torch.tensor(1.0, dtype=torch.float64)}
    with pytest.raises(RuntimeError):
        replay.vjp(one, {Edge(power.index, 0): lambda _g: torch.ones(7, dtype=torch.float64)})


def test_a_shortcut_replaces_a_composed_function():
    """exp(sin w) as one step with a derivative of its own."""
    replay = replayed(lambda w: torch.exp(torch.sin(w)).sum(), (W,))
    exp = next(v for v, n in replay.producer.items() if n.name == "exp")
    one = {replay.trace.result: torch.tensor(1.0, dtype=torch.float64)}
    assert torch.equal(replay.vjp(one, shortcuts={exp: Shortcut(0, 7 * W)})[0], 7 * W)


def test_pointwise_derivative():
    """dv/du through several operations, at u and at another tensor."""
    replay = replayed(lambda w: torch.exp(torch.sin(w) * w).sum(), (W,))
    exp = next(v for v, n in replay.producer.items() if n.name == "exp")
    for at in (None, W + 1):
        x = (W if at is None else at).clone().requires_grad_()
        (wanted,) = torch.autograd.grad(torch.exp(torch.sin(x) * x).sum(), x)
        torch.testing.assert_close(replay.pointwise_derivative(0, exp, at), wanted)


def test_sum_to_shape():
    """A cotangent is summed over axes that were added or had length 1."""
    g = normal(4, 3)
    assert torch.equal(sum_to_shape(g, g.shape), g)
    assert torch.equal(sum_to_shape(g, torch.Size([3])), g.sum(0))
    assert torch.equal(sum_to_shape(g, torch.Size([4, 1])), g.sum(1, keepdim=True))
    torch.testing.assert_close(sum_to_shape(g, torch.Size([])), g.sum())


def test_evidence_has_no_replay_where_views_share_memory():
    """A trace does not follow an assignment to an entry, so its gradient is not autograd's."""

    def objective(w):
        y = w * 3
        y[0] = w[1] * w[2]
        return y.pow(2).sum()

    (found,) = replayed(objective, (W,)).gradient
    assert not torch.allclose(found, gradients(objective, (W,))[0])
    evidence = collect_evidence(objective, lambda w: w, (W,), 0, ("w",), generator)
    assert len(evidence) == 6
    assert all(e.replay is None for e in evidence)


def test_evidence_has_replays_of_the_same_operations():
    """Where an objective branches, the points of the more common branch are used."""
    at = torch.tensor([2.0, -1.0], dtype=torch.float64)

    def objective(w):
        return w.sin().sum() if w[0] > 2 else w.cos().sum()

    draws = [torch.Generator().manual_seed(seed) for seed in range(8)]
    found = [collect_evidence(objective, lambda w: w, (at,), 0, ("w",), g) for g in draws]
    assert any(len(evidence) < 6 for evidence in found)
    for evidence in found:
        assert len(evidence) >= 3
        assert len({e.replay.trace.signature for e in evidence}) == 1
