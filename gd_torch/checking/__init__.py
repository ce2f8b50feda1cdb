"""Check partials derived by hand, and name the mistake."""

from gd_torch.checking.compare import assert_partials, check_partials
from gd_torch.checking.hypotheses import Cause
from gd_torch.checking.report import PartialsReport, Result, Worst

__all__ = ["Cause", "PartialsReport", "Result", "Worst", "assert_partials", "check_partials"]
