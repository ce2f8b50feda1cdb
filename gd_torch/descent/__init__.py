"""Gradient descent: one run with its path, or many runs in a batch."""

from gd_torch.descent.batch import descend_many
from gd_torch.descent.result import Descent, Descents, Stop
from gd_torch.descent.single import descend

__all__ = ["Descent", "Descents", "Stop", "descend", "descend_many"]
