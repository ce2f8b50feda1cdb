"""A process that trains the 28-weight net: ``net.py STEPS eager|compiled|auto|sgd``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from gd_torch import descend, network_mse
from peers.problem import RATE, data, start
from peers.torch_peers import optimiser

torch.set_num_threads(1)
steps, mode = int(sys.argv[1]), sys.argv[2]
if mode == "sgd":
    weights = optimiser(4, steps)
else:
    options = {"learning_rate": RATE, "steps": steps, "stepper": mode, "record": "last"}
    weights = descend(network_mse(*data()), start(4), **options).weights
print(*weights)
