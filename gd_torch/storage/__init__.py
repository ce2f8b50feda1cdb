"""Atomic files, checkpoints, and the directories of runs and sweeps."""
