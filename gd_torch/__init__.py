"""Gradient descent you can read, see and check.

Public names are loaded on first use (PEP 562), so that ``import gd_torch`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gd_torch.checking import PartialsReport, assert_partials, check_partials
    from gd_torch.data.iris import load_iris
    from gd_torch.descent import Descent, Descents, Stop, descend, descend_many
    from gd_torch.gradients import partials, value_and_partials
    from gd_torch.grid_search import brute_force
    from gd_torch.objectives.closed_form import bowl_partials, curve_partials, network_partials
    from gd_torch.objectives.network import init_weights, network_mse, predict
    from gd_torch.objectives.tutorial import BOWL, CURVE, Problem, bowl, curve

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

_MODULES = {
    "checking": ("PartialsReport", "assert_partials", "check_partials"),
    "data.iris": ("load_iris",),
    "descent": ("Descent", "Descents", "Stop", "descend", "descend_many"),
    "gradients": ("partials", "value_and_partials"),
    "grid_search": ("brute_force",),
    "objectives.closed_form": ("bowl_partials", "curve_partials", "network_partials"),
    "objectives.network": ("init_weights", "network_mse", "predict"),
    "objectives.tutorial": ("BOWL", "CURVE", "Problem", "bowl", "curve"),
}
"""The module that defines each public name."""

_SUBMODULES = (
    "checking", "data", "descent", "gradients", "grid_search", "objectives", "plots", "storage",
)  # fmt: skip
"""Modules that ``gd_torch.NAME`` imports without an import statement of its own."""


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    for module, names in _MODULES.items():
        if name in names:
            from gd_torch.torch_loading import load_torch

            load_torch()
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
