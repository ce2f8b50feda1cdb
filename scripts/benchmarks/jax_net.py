"""A process that trains the 28-weight net with JAX and optax alone: ``jax_net.py STEPS``."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

IRIS = Path(__file__).parents[2] / "gd_torch" / "data" / "iris.csv"

with IRIS.open(encoding="utf-8") as file:
    rows = list(csv.reader(file))[1:]
features = np.array([row[:4] for row in rows], dtype=np.float32)
_, classes = np.unique([row[4] for row in rows], return_inverse=True)
X = jnp.asarray((features - features.mean(0)) / features.std(0))
Y = jnp.asarray(np.eye(3, dtype=np.float32)[classes])
sgd = optax.sgd(0.5)


def mse(weights):
    """The mean over all entries."""
    P = jax.nn.sigmoid(jax.nn.sigmoid(X @ weights[0]) @ weights[1])
    return ((P - Y) ** 2).mean()


@jax.jit
def run(weights):
    """All steps in one loop."""

    def step(carry, _):
        weights, state = carry
        updates, state = sgd.update(jax.grad(mse)(weights), state)
        return (optax.apply_updates(weights, updates), state), None

    return jax.lax.scan(step, (weights, sgd.init(weights)), None, length=int(sys.argv[1]))[0][0]


one, two = jax.random.split(jax.random.key(0))
print(*run((jax.random.normal(one, (4, 4)), jax.random.normal(two, (4, 3)))))
