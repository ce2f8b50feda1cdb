"""The collection: every wrong derivation is caught and named, no right one is blamed."""

import pytest
import torch

from gd_torch import check_partials
from tests.derivations import FAMILIES

torch.set_num_threads(1)
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def tally():
    """What became of every wrong derivation that the tests below have checked."""
    return {"cases": 0, "top": 0, "misnamed": 0}


@pytest.mark.parametrize("name", FAMILIES)
def test_collection(name, tally):
    """Right partials are ok; of wrong ones exactly the wrong argument is blamed."""
    for seed in SEEDS:
        e = FAMILIES[name](seed)
        report = check_partials(e.objective, e.hand, e.at, seed=seed)
        assert report.ok, f"seed {seed}\n{report}"
        for w in e.wrong:
            report = check_partials(e.objective, w.hand, e.at, seed=seed)
            found = tuple(i for i, r in enumerate(report.results) if r.verdict == "wrong")
            assert found == w.arguments, f"seed {seed}, {w.label}\n{report}"
            kinds = [c.kind for c in report.results[found[0]].causes]
            tally["cases"] += 1
            tally["top"] += bool(kinds) and kinds[0] in w.kinds
            tally["misnamed"] += bool(kinds) and not set(kinds) & set(w.kinds)


def test_collection_is_named(tally):
    """The first kind is the true one for 90 % at least, a wrong kind alone for 2 % at most."""
    assert tally["cases"] > 600
    assert tally["top"] >= 0.9 * tally["cases"], tally
    assert tally["misnamed"] <= 0.02 * tally["cases"], tally


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
