"""The collection: every wrong derivation is found and named, every correct one is ok."""

import functools

import pytest
import torch

from gd_torch import check_partials
from tests.derivations import FAMILIES

torch.set_num_threads(1)
SEEDS = (0, 1, 2)


@functools.cache
def checked(name):
    """Reports on one objective at all seeds: of the right partials, and (wrong case, report)."""
    right, wrong = [], []
    for seed in SEEDS:
        e = FAMILIES[name](seed)
        right.append(check_partials(e.objective, e.hand, e.at, seed=seed))
        for w in e.wrong:
            wrong.append((w, check_partials(e.objective, w.hand, e.at, seed=seed)))
    return right, wrong


def wrong_arguments(report):
    """The numbers of the arguments that a report calls wrong."""
    return tuple(i for i, result in enumerate(report.results) if result.verdict == "wrong")


QUICK = {"chain", "inverse", "log_det", "product", "quadratic_form", "relu_net", "two_variables"}
"""Families that are checked in a second or two, three seeds together."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in FAMILIES]
)
def test_collection(name):
    """Right partials are ok; of wrong ones exactly the wrong argument is reported."""
    right, wrong = checked(name)
    for report in right:
        assert report.ok, report
    for case, report in wrong:
        assert wrong_arguments(report) == case.arguments, f"{case.label}\n{report}"


@pytest.mark.slow
def test_collection_is_named():
    """The first kind is the true one for 90 % at least, a wrong kind alone for 2 % at most."""
    top = misnamed = cases = 0
    for name in FAMILIES:
        for case, report in checked(name)[1]:
            kinds = [cause.kind for cause in report.results[wrong_arguments(report)[0]].causes]
            cases += 1
            top += bool(kinds) and kinds[0] in case.kinds
            misnamed += bool(kinds) and not set(kinds) & set(case.kinds)
    assert cases > 600
    assert top >= 0.9 * cases, (top, cases)
    assert misnamed <= 0.02 * cases, (misnamed, cases)


def test_collection_is_wide():
    """At least 30 objectives, each with wrong derivations of six kinds or more in all."""
    assert len(FAMILIES) >= 30
    for make in FAMILIES.values():
        assert len(make(0).wrong) >= 6


@pytest.mark.parametrize("name", FAMILIES)
def test_random_gradients_stay_unknown(name):
    """A partial that nothing explains is wrong, cause unknown."""
    e = FAMILIES[name](0)
    generator = torch.Generator().manual_seed(5)

    def noise(*weights):
        right = list(e.hand(*weights))
        drawn = torch.randn(weights[0].shape, generator=generator, dtype=torch.float64)
        return (drawn, *right[1:])

    result = check_partials(e.objective, noise, e.at).results[0]
    assert result.verdict == "wrong"
    assert result.causes == ()
