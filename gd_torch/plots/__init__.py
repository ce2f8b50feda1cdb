"""Figures: functions that take computed results and return a matplotlib Figure.

They run no descent of their own, open no window and change no global setting; :func:`save` writes.
"""

from gd_torch.plots.bowl import paths_from_above, surface, tangents
from gd_torch.plots.cost import brute_force_grids
from gd_torch.plots.curve import descent_on_curve, first_steps, tangent
from gd_torch.plots.gallery import Exhibit, gallery
from gd_torch.plots.grid import Grid, basin, rectangle
from gd_torch.plots.landscape import Plane, landscape, path_plane, plane_losses
from gd_torch.plots.maps import Outcome, learning_rate_by_seed, learning_rate_map
from gd_torch.plots.networks import Comparison, convergence, matrices
from gd_torch.plots.rates import learning_rates, overshoot
from gd_torch.plots.scene import surface_page
from gd_torch.plots.steps import Evaluated, Turn, directions, one_at_a_time
from gd_torch.plots.trainability import Trained, trainability_map
from gd_torch.plots.walk import descent_page
from gd_torch.plots.writing import save, save_animation, write

__all__ = [
    "Comparison",
    "Evaluated",
    "Exhibit",
    "Grid",
    "Outcome",
    "Plane",
    "Trained",
    "Turn",
    "basin",
    "brute_force_grids",
    "convergence",
    "descent_on_curve",
    "descent_page",
    "directions",
    "first_steps",
    "gallery",
    "landscape",
    "learning_rate_by_seed",
    "learning_rate_map",
    "learning_rates",
    "matrices",
    "one_at_a_time",
    "overshoot",
    "path_plane",
    "paths_from_above",
    "plane_losses",
    "rectangle",
    "save",
    "save_animation",
    "surface",
    "surface_page",
    "tangent",
    "tangents",
    "trainability_map",
    "write",
]
