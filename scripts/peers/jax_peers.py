"""JAX: optax and scan as its users write it, and the same with the layout transposed by hand."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import optax

from peers.problem import RATE, ROWS, data, start


def _mse(rows):
    X, Y = (jnp.asarray(part.numpy()) for part in data(rows))

    def mse(weights):
        P = jax.nn.sigmoid(jax.nn.sigmoid(X @ weights[0]) @ weights[1])
        return ((P - Y) ** 2).mean()

    return mse


def _product(W, H):  # (i, o), (i, n) -> (o, n)
    return W.T @ H


def _sums(W, H):
    return (W[:, :, None] * H[:, None, :]).sum(0)


def _mse_transposed(product, rows):
    """Samples along the last axis."""
    X, Y = (jnp.asarray(part.numpy().T.copy()) for part in data(rows))

    def mse(weights):
        P = jax.nn.sigmoid(product(weights[1], jax.nn.sigmoid(product(weights[0], X))))
        return ((P - Y) ** 2).mean()

    return mse


@functools.cache
def _scan(layout: str, many: bool, rows: int):
    products = {"transposed": _product, "sums": _sums}
    mse = _mse_transposed(products[layout], rows) if layout in products else _mse(rows)
    sgd = optax.sgd(RATE)
    slope = jax.vmap(jax.grad(mse)) if many else jax.grad(mse)

    @functools.partial(jax.jit, static_argnums=1)
    def run(weights, steps):
        def step(carry, _):
            weights, state = carry
            updates, state = sgd.update(slope(weights), state)
            return (optax.apply_updates(weights, updates), state), None

        return jax.lax.scan(step, (weights, sgd.init(weights)), None, length=steps)[0][0]

    return run


def scan(hidden: int, steps: int, *, layout: str = "as written", runs: int = 0, rows: int = ROWS):
    """The final weights; the layout may be "transposed", or transposed with products as "sums"."""
    weights = tuple(jnp.asarray(W.numpy()) for W in start(hidden, runs))
    return jax.block_until_ready(_scan(layout, runs > 0, rows)(weights, steps))
