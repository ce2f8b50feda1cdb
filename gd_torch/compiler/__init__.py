"""An objective's operations as C code, compiled and loaded; the only home of private torch names."""

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.program import Program, Record

__all__ = ["Program", "Record", "Unsupported"]
