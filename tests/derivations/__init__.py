"""A collection of objectives, each with a correct derivation and wrong ones of known kinds."""

from tests.derivations import layers, linear_algebra, models, scalars
from tests.derivations.example import Example, Wrong

FAMILIES = {
    **scalars.EXAMPLES,
    **models.EXAMPLES,
    **layers.EXAMPLES,
    **linear_algebra.EXAMPLES,
}

__all__ = ["FAMILIES", "Example", "Wrong"]
