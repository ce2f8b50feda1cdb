"""Figures: functions that take computed results and return a matplotlib Figure."""
