"""Gradient descent you can read, see and check."""

from gd_torch.brute_force import brute_force
from gd_torch.checking import PartialsReport, assert_partials, check_partials
from gd_torch.closed_form import bowl_partials, curve_partials, network_partials
from gd_torch.descent import Descent, Descents, Stop, descend, descend_many
from gd_torch.iris import load_iris
from gd_torch.networks import init_weights, network_mse, predict
from gd_torch.objectives import BOWL, CURVE, Problem, bowl, curve
from gd_torch.partials import partials, value_and_partials

__all__ = [
    "BOWL",
    "CURVE",
    "Descent",
    "Descents",
    "PartialsReport",
    "Problem",
    "Stop",
    "assert_partials",
    "bowl",
    "bowl_partials",
    "brute_force",
    "check_partials",
    "curve",
    "curve_partials",
    "descend",
    "descend_many",
    "init_weights",
    "load_iris",
    "network_mse",
    "network_partials",
    "partials",
    "predict",
    "value_and_partials",
]
