"""Rules and searches that name the mistake in a wrong partial."""

from gd_torch.checking.diagnosis.search import diagnose

__all__ = ["diagnose"]
