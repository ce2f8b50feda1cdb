"""Import torch with the garbage collector off: start-up is most of a short process."""

from __future__ import annotations

import gc
import sys


def load_torch() -> None:
    """Import torch.

    The import creates half a million objects, none of them garbage, so the collector is off
    meanwhile. Where this call imports torch, and the process collects garbage and has frozen no
    objects itself, these objects are then frozen (:func:`gc.freeze`): no later collection searches
    them, which would take 0.4 s at exit.
    """
    if "torch" in sys.modules:
        return
    collects = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        if collects:
            if gc.get_freeze_count() == 0:
                gc.freeze()
            gc.enable()
