"""Objectives as torch functions, and the tutorial's partials in closed form."""
