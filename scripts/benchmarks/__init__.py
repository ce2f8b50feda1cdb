"""Comparisons of gd_torch with baselines, each written as its documentation recommends."""
