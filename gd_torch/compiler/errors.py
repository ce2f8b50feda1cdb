"""Why an objective has no compiled form."""

from __future__ import annotations


class Unsupported(Exception):
    """The objective cannot be compiled; the message says why, for a user."""
