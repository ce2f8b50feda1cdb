"""Objectives as torch functions, and the closed-form partials of the tutorial's."""
