"""Check partials derived by hand, and name the mistake."""

from gd_torch.checking.partials_check import assert_partials, check_partials
from gd_torch.checking.report import Cause, PartialsReport, Result, Worst

__all__ = ["Cause", "PartialsReport", "Result", "Worst", "assert_partials", "check_partials"]
