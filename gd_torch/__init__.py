"""Gradient descent you can read, see and check."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

_collects = gc.isenabled()
_imports_torch = "torch" not in sys.modules
gc.disable()  # importing torch makes half a million objects, none of them garbage
try:
    import torch  # noqa: F401
finally:
    if _collects:
        if _imports_torch and gc.get_freeze_count() == 0:
            gc.freeze()  # no later collection searches them; at exit that would take 0.4 s
        gc.enable()

from gd_torch.brute_force import brute_force
from gd_torch.closed_form import bowl_partials, curve_partials, network_partials
from gd_torch.descent import Descent, Descents, Stop, descend, descend_many
from gd_torch.iris import load_iris
from gd_torch.networks import init_weights, network_mse, predict
from gd_torch.objectives import BOWL, CURVE, Problem, bowl, curve
from gd_torch.partials import partials, value_and_partials

if TYPE_CHECKING:
    from gd_torch.checking import PartialsReport, assert_partials, check_partials

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

_CHECKING = ("PartialsReport", "assert_partials", "check_partials")
"""Names of gd_torch.checking, which is imported once one of them is used."""


def __getattr__(name: str) -> Any:
    if name not in _CHECKING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gd_torch import checking

    globals().update({name: getattr(checking, name) for name in _CHECKING})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_CHECKING})
