"""Faults injected into real runs: ``python -m tests.faults`` has the full counts."""
