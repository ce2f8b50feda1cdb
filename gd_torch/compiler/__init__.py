"""An objective as C code, compiled and loaded; the only package with private torch names."""

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.program import Program, RecordBuffer, RunEnds, RunResult

__all__ = ["Program", "RecordBuffer", "RunEnds", "RunResult", "Unsupported"]
