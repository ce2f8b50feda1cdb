"""Compile objectives to C: the only package that uses private names of torch."""

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.program import Program, RecordBuffer, RunEnds, RunResult

__all__ = ["Program", "RecordBuffer", "RunEnds", "RunResult", "Unsupported"]
