"""The command line: ``gd-torch``, ``python -m gd_torch`` and ``scripts/NAME.py``.

Nothing here imports torch at the top, so that ``--help`` and argument errors answer at once.
"""

from __future__ import annotations

from gd_torch.cli.app import main, run_script

__all__ = ["main", "run_script"]
