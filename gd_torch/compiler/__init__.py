"""An objective as C code, compiled and loaded; the only package with private torch names."""

from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.program import Ends, Program, Record, Result

__all__ = ["Ends", "Program", "Record", "Result", "Unsupported"]
