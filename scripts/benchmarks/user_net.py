"""A user's script that trains the 28-weight net: ``user_net.py STEPS [auto|eager|compiled]``."""

import sys

from gd_torch import descend, init_weights, load_iris, network_mse

X, Y, _ = load_iris()
X = (X - X.mean(0)) / X.std(0, correction=0)
start = [W.float() for W in init_weights((4, 4, 3), seed=0)]
options = {"steps": int(sys.argv[1]), "stepper": sys.argv[2] if len(sys.argv) > 2 else "auto"}
run = descend(network_mse(X.float(), Y.float()), start, learning_rate=0.5, record="last", **options)
print(run, *run.weights)
