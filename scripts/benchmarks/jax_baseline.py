"""JAX with optax and jax.lax.scan."""

from __future__ import annotations

import contextlib
import functools

import jax
import jax.numpy as jnp
import optax
import torch

from benchmarks.problem import LEARNING_RATE, Net, data, logistic, start


def _cost(net: Net):
    X, Y = (jnp.asarray(part.numpy()) for part in data(net))

    def mse(weights):
        P = jax.nn.sigmoid(jax.nn.sigmoid(X @ weights[0]) @ weights[1])
        return ((P - Y) ** 2).mean()

    def entropy(weights):
        return optax.softmax_cross_entropy(jnp.tanh(X @ weights[0]) @ weights[1], Y).mean()

    return entropy if net.entropy else mse


def _logistic_cost(weights):
    X, y = (jnp.asarray(part.numpy()) for part in logistic())
    return optax.sigmoid_binary_cross_entropy(X @ weights, y).mean()


@functools.cache
def _descent(net: Net | None, many: bool):
    """All steps in one loop, compiled once per number of steps."""
    sgd = optax.sgd(LEARNING_RATE)
    gradient = jax.grad(_logistic_cost if net is None else _cost(net))
    gradient = jax.vmap(gradient) if many else gradient

    @functools.partial(jax.jit, static_argnums=1)
    def run(weights, steps):
        def step(carry, _):
            weights, state = carry
            updates, state = sgd.update(gradient(weights), state)
            return (optax.apply_updates(weights, updates), state), None

        return jax.lax.scan(step, (weights, sgd.init(weights)), None, length=steps)[0][0]

    return run


def scan(net: Net, steps: int, runs: int = 0):
    """The final weights of a net, or of many."""
    wide = jax.enable_x64(True) if net.dtype == torch.float64 else contextlib.nullcontext()
    with wide:
        weights = tuple(jnp.asarray(W.numpy()) for W in start(net, runs))
        return jax.block_until_ready(_descent(net, runs > 0)(weights, steps))


def logistic_scan(steps: int):
    """The final weights of the logistic regression."""
    return jax.block_until_ready(_descent(None, False)(jnp.zeros(20), steps))
