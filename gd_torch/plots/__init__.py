"""Figures and interactive pages of computed results.

The functions take results and return a matplotlib Figure, or a page as HTML. They run no descents,
open no windows and change no global settings. :func:`save` and :func:`write` write files.
"""

from gd_torch.plots.gallery_page import GalleryItem, gallery
from gd_torch.plots.grid_search import brute_force_grids
from gd_torch.plots.interactive_descent import descent_page
from gd_torch.plots.interactive_surface import surface_page
from gd_torch.plots.learning_rate_maps import Outcome, learning_rate_by_seed, learning_rate_map
from gd_torch.plots.learning_rate_paths import learning_rates, overshoot
from gd_torch.plots.loss_landscape import Plane, landscape, path_plane, plane_losses
from gd_torch.plots.networks import Comparison, convergence, matrices
from gd_torch.plots.objective_grid import Grid, basin, rectangle
from gd_torch.plots.one_weight import descent_on_curve, first_steps, tangent
from gd_torch.plots.saving import save, save_animation, write
from gd_torch.plots.step_comparison import CostedPath, DirectionScan, directions, one_at_a_time
from gd_torch.plots.trainability import LossGrid, trainability_map
from gd_torch.plots.two_weights import paths_from_above, surface, tangents

__all__ = [
    "Comparison",
    "CostedPath",
    "DirectionScan",
    "GalleryItem",
    "Grid",
    "LossGrid",
    "Outcome",
    "Plane",
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
