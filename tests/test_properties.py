"""Generated input, valid and not: documented errors only, never a hang, never a wrong success.

``HYPOTHESIS_EXAMPLES=2000`` draws that many examples a property, from a new seed.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import re

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gd_torch import brute_force, check_partials, descend, descend_many
from gd_torch.data.dataset import read_table, standardise
from gd_torch.descent import Stop

MORE = os.environ.get("HYPOTHESIS_EXAMPLES")


def examples(count):
    """Few examples in CI, always the same; as many as are asked for elsewhere."""
    return settings(
        max_examples=int(MORE or count),
        derandomize=not MORE,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


NUMBERS = st.floats(-3, 3, allow_subnormal=False)
POLYNOMIALS = st.lists(NUMBERS, min_size=1, max_size=6).map(lambda c: [*c, 0.5])
"""Coefficients of w, w^2, ...: never a constant."""
RATES = st.floats(1e-4, 2)


def horner(coefficients, w):
    """The polynomial without a constant term, by Horner's rule; for floats and for tensors."""
    y = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        y = y * w + c
    return y * w


def slope_at(coefficients, w):
    """Its derivative, by Horner's rule on k c_k."""
    d = 0.0
    for k in range(len(coefficients), 0, -1):
        d = d * w + k * coefficients[k - 1]
    return d


def follow(terms, start, rates, steps, tolerance):
    """Gradient descent on a sum of polynomials, one a weight, in Python's own floats.

    Returns (path, losses, norms, steps, stop).
    """
    w, path, losses, norms = list(start), [], [], []
    for step in range(steps + 1):
        loss = sum(horner(c, x) for c, x in zip(terms, w, strict=True))
        slopes = [slope_at(c, x) for c, x in zip(terms, w, strict=True)]
        path.append(list(w))
        losses.append(loss)
        norms.append(math.hypot(*slopes))
        if not math.isfinite(loss):
            return path, losses, norms, step, Stop.LOSS
        if not all(map(math.isfinite, slopes)):
            return path, losses, norms, step, Stop.GRADIENT
        if norms[-1] < tolerance:
            return path, losses, norms, step, Stop.TOLERANCE
        if step == steps:
            return path, losses, norms, step, Stop.STEPS
        moved = [x - a * d for x, a, d in zip(w, rates, slopes, strict=True)]
        if not all(map(math.isfinite, moved)):
            return path, losses, norms, step, Stop.WEIGHT
        w = moved
    raise AssertionError("unreachable")


def settled(terms, start, rates, steps, tolerance):
    """What ``follow`` finds where rounding cannot decide anything; else the example is dropped.

    A chaotic run, one with large numbers or one that just misses the tolerance would say nothing:
    a start moved by 1e-12 must give the same run to 1e-10.
    """
    found = follow(terms, start, rates, steps, tolerance)
    moved = follow(terms, [w + 1e-12 for w in start], rates, steps, tolerance)
    assume(found[3:] == moved[3:])
    for w, v in zip(found[0], moved[0], strict=True):
        assume(all(abs(x) < 100 and abs(x - y) < 1e-10 for x, y in zip(w, v, strict=True)))
    assume(all(abs(norm - tolerance) > 1e-9 for norm in found[2]) or not tolerance)
    return found


RUNS = st.integers(1, 3).flatmap(
    lambda n: st.tuples(
        st.lists(POLYNOMIALS, min_size=n, max_size=n),
        st.lists(NUMBERS, min_size=n, max_size=n),
        st.one_of(RATES, st.lists(RATES, min_size=n, max_size=n)),
    )
)


def objective_of(terms):
    return lambda *weights: sum(horner(c, w) for c, w in zip(terms, weights, strict=True))


@examples(150)
@given(
    RUNS,
    st.integers(0, 40),
    st.sampled_from([0.0, 1e-3, 0.5]),
    st.one_of(st.sampled_from(["all", "last"]), st.integers(1, 50)),
    st.integers(1, 50),
    st.data(),
)
def test_descend_is_the_loop_in_plain_floats(run, steps, tolerance, record, every, data):
    """Path, losses, norms, steps, reason and callbacks; taken up anywhere, the same bits."""
    terms, start, rates = run
    each = rates if isinstance(rates, list) else [rates] * len(start)
    path, losses, norms, made, stop = settled(terms, start, each, steps, tolerance)
    seen = []
    options = {
        "learning_rate": rates,
        "tolerance": tolerance,
        "callback_every": every,
        "callback": lambda step, loss, weights: seen.append((step, loss, *map(float, weights))),
    }
    found = descend(objective_of(terms), tuple(start), steps=steps, record=record, **options)
    assert (found.steps, found.stop) == (made, stop)
    kept = {"all": 1, "last": made + 1}.get(record, record)
    at = sorted({*range(0, made + 1, kept), made} - ({0} if record == "last" and made else set()))
    assert found.recorded_steps.tolist() == at
    for i, column in enumerate(found.path):
        assert column.tolist() == pytest.approx([path[k][i] for k in at], rel=1e-9, abs=1e-9)
    assert found.losses.tolist() == pytest.approx([losses[k] for k in at], rel=1e-9, abs=1e-9)
    assert found.gradient_norms.tolist() == pytest.approx(
        [norms[k] for k in at], rel=1e-9, abs=1e-7
    )
    assert [s for s, *_ in seen] == list(range(every, made + 1, every))
    for step, loss, *weights in seen:
        assert loss == pytest.approx(losses[step], rel=1e-9, abs=1e-9)
        assert weights == pytest.approx(path[step], rel=1e-9, abs=1e-9)
    first = data.draw(st.integers(0, made))
    half = descend(objective_of(terms), tuple(start), steps=first, record="last", **options)
    rest = descend(
        objective_of(terms), half.weights, steps=steps, first_step=first, record="last", **options
    )
    assert (rest.steps, rest.stop) == (made, stop)
    assert all(map(torch.equal, rest.weights, found.weights))


@examples(60)
@given(
    POLYNOMIALS,
    st.lists(st.tuples(NUMBERS, RATES), min_size=1, max_size=6),
    st.integers(0, 30),
    st.sampled_from([0.0, 1e-2]),
)
def test_descend_many_is_every_run_alone(terms, runs, steps, tolerance):
    """Each with its own start, rate, steps and reason."""
    alone = [settled([terms], [w], [rate], steps, tolerance) for w, rate in runs]
    starts, rates = (torch.tensor(c, dtype=torch.float64) for c in zip(*runs, strict=True))
    found = descend_many(objective_of([terms]), starts, rates, steps=steps, tolerance=tolerance)
    assert found.steps.tolist() == [a[3] for a in alone]
    assert list(found.stop) == [a[4] for a in alone]
    ends = [a[0][-1][0] for a in alone]
    assert found.weights[0].tolist() == pytest.approx(ends, rel=1e-9, abs=1e-9)
    assert found.losses.tolist() == pytest.approx([a[1][-1] for a in alone], rel=1e-9, abs=1e-9)


def outcome(call, *arguments, **options):
    """(result, "") or (None, the message of a documented error); any other error passes."""
    try:
        return call(*arguments, **options), ""
    except (ValueError, TypeError) as error:
        return None, str(error)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([2**53, 2**63 - 1, 2**63, 2**64, 10**400, -(10**400)]),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.lists(st.one_of(st.floats(), st.none(), st.integers(), st.just(1j)), max_size=3),
    st.dictionaries(st.text(max_size=1), st.floats(), max_size=1),
    st.builds(
        lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
        st.sampled_from([(), (0,), (1,), (2,), (2, 0), (2, 2)]),
        st.sampled_from(
            [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.bool,
             torch.complex64]
        ),
        st.floats(width=32),
    ),
    st.just(torch.empty(2, device="meta")),
    st.sampled_from([torch.eye(2).to_sparse(), torch.ones(2).to_sparse()]),
    st.just(object()),
)  # fmt: skip


def bowl_of_all(*weights):
    """Zero at the origin, for weights of any shape."""
    return sum((w.double() ** 2).sum() for w in weights)


GOOD = {
    "start": (1.0, torch.ones(2, dtype=torch.float64)),
    "learning_rate": 0.1,
    "steps": 3,
    "tolerance": 0.0,
    "record": "all",
    "stepper": "eager",
    "callback_every": 1,
    "first_step": 0,
}


@examples(300)
@given(st.sampled_from(sorted(GOOD)), ANYTHING)
def test_descend_refuses_or_descends(name, value):
    """One argument is anything: ValueError or TypeError in one line, or a run that is a run."""
    if name == "steps" and type(value) is int and value > 1000:
        value = 1000
    options = GOOD | {name: value}
    assume(name != "stepper" or value.__hash__)
    run, error = outcome(descend, bowl_of_all, options.pop("start"), **options)
    if error:
        assert f"`{name}`" in error
        return
    assert isinstance(run.stop, Stop) and 0 <= run.steps <= options["steps"]
    assert all(bool(torch.isfinite(w).all()) for w in run.weights)
    assert len(run.losses) == len(run.path[0]) == len(run.recorded_steps)


@examples(200)
@given(st.sampled_from(["starts", "learning_rates", "steps", "tolerance", "stepper"]), ANYTHING)
def test_descend_many_refuses_or_descends(name, value):
    """As for one run."""
    if name == "steps" and type(value) is int and value > 1000:
        value = 1000
    options = {"starts": torch.ones(2, dtype=torch.float64), "learning_rates": 0.1, "steps": 3}
    options |= {"stepper": "eager"} | {name: value}
    runs, error = outcome(descend_many, bowl_of_all, **options)
    if error:
        assert "`start" in error if name == "starts" else f"`{name}`" in error
        return
    assert len(runs.stop) == len(runs.losses) == len(runs.weights[0])
    assert all(bool(torch.isfinite(w).all()) for w in runs.weights)


AXES = st.lists(
    st.lists(st.one_of(NUMBERS, st.just(math.nan)), min_size=1, max_size=7), min_size=1, max_size=3
)


@examples(100)
@given(AXES, st.data())
def test_brute_force_is_the_plain_double_loop(axes, data):
    """The first of the lowest values; NaN never wins."""
    terms = [data.draw(POLYNOMIALS) for _ in axes]
    whole = data.draw(st.booleans())

    def value(*w):  # rounded, so that ties are common
        y = objective_of(terms)(*w)
        return torch.round(y) if whole else y

    tensors = [torch.tensor(axis, dtype=torch.float64) for axis in axes]
    best = None
    for point in itertools.product(*tensors):
        y = value(*point)
        if not y.isnan() and (best is None or y < best[1]):
            best = point, y
    if best is None:
        with pytest.raises(ValueError, match="NaN at all"):
            brute_force(value, *tensors)
        return
    weights, lowest, evaluations = brute_force(value, *tensors)
    assert evaluations == math.prod(map(len, axes))
    torch.testing.assert_close(lowest, best[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(value(*weights), best[1], rtol=1e-12, atol=1e-12)
    if whole:
        assert [w.item() for w in weights] == [w.item() for w in best[0]]


@examples(200)
@given(st.lists(ANYTHING, max_size=3), st.sampled_from(["lowest", "all", "first", None, 3]))
def test_brute_force_refuses_or_searches(axes, keep):
    """Any axes: ValueError or TypeError, or the lowest point of the grid."""
    found, error = outcome(brute_force, bowl_of_all, *axes, keep=keep)
    if error:
        assert re.search("`axes`|every axis|`keep`|NaN at all", error)
        return
    assert found.evaluations == math.prod(map(len, axes))
    assert found.value.shape == (() if keep == "lowest" else tuple(map(len, axes)))


@examples(12)
@given(POLYNOMIALS.filter(lambda c: len(c) < 5), st.floats(0.3, 2), st.data())
def test_check_partials_accepts_the_right_and_refuses_the_altered(terms, at, data):
    """A derivative of a polynomial, and the same with one coefficient altered."""

    def hand(c):
        return lambda w: slope_at(c, w)

    objective = objective_of([terms])
    assert check_partials(objective, hand(terms), at).ok
    place = data.draw(st.integers(0, len(terms) - 1))
    off = data.draw(st.sampled_from([-2.0, -1e-3, 1e-3, 0.5, 7.0]))
    altered = [c + off * (k == place) for k, c in enumerate(terms)]
    assert not check_partials(objective, hand(altered), at).ok


@examples(150)
@given(st.sampled_from(["at", "points", "rtol", "seed", "partial"]), ANYTHING)
def test_check_partials_refuses_or_reports(name, value):
    """One argument, or what the derivation returns, is anything; "ok" is for the truth alone."""
    options = {"at": (1.0,), "points": 2, "rtol": None, "seed": 0}
    if name == "points" and type(value) is int and value > 50:
        value = 50
    if name != "partial":
        options[name] = value
    given_partial = (lambda *_: value) if name == "partial" else lambda *w: tuple(2 * x for x in w)
    report, error = outcome(check_partials, bowl_of_all, given_partial, **options)
    if error:
        assert name != "partial" and f"`{name}`" in error
        return
    assert str(report) and report.to_dict()
    verdicts = {result.verdict for result in report.results}
    assert not report.ok if name == "partial" else verdicts <= {"ok", "undecided", "objective"}


LABELS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=5
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@examples(120)
@given(st.data())
def test_a_table_comes_back_as_it_was_written(tmp_path_factory, data):
    """Any names, numbers and column order, through Python's own csv writer."""
    header = data.draw(st.lists(LABELS, min_size=2, max_size=5, unique=True))
    place = data.draw(st.integers(0, len(header) - 1))
    classes = data.draw(st.lists(LABELS, min_size=2, max_size=4, unique=True))
    wide = st.lists(FINITE, min_size=len(header) - 1, max_size=len(header) - 1)
    extra = data.draw(st.lists(st.sampled_from(classes), max_size=6))
    rows = [(label, data.draw(wide)) for label in [*classes, *extra]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(header)
    for label, numbers in rows:
        writer.writerow([*map(repr, numbers[:place]), label, *map(repr, numbers[place:])])
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    X, Y, features, names = read_table(path, header[place])
    assert X.tolist() == [numbers for _, numbers in rows]
    assert [names[row.index(1)] for row in Y.tolist()] == [label for label, _ in rows]
    assert features == (*header[:place], *header[place + 1 :]) and names == (*classes,)
    assert bool(standardise(X).isfinite().all())


PIECES = [
    "a",
    "kind",
    ",",
    "\n",
    "\r",
    '"',
    "1",
    "nan",
    "1e400",
    "x",
    "\0",
    " ",
    "\ufeff",
    "é",
    "-",
]
NEARLY = st.lists(st.sampled_from(PIECES), max_size=40).map(
    lambda pieces: ("a,kind\n" + "".join(pieces)).encode()
)
"""Nearly tables."""


@examples(300)
@given(st.one_of(NEARLY, st.binary(max_size=200)))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, content):
    """ValueError that names the file, or finite numbers and at least two classes."""
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(content)
    found, error = outcome(read_table, path, "kind")
    if error:
        assert error.startswith(f"{path}: ") and "\n" not in error
        return
    X, Y, features, classes = found
    assert bool(X.isfinite().all()) and X.shape == (len(Y), len(features))
    assert len(set(classes)) == Y.shape[1] >= 2 and Y.sum(1).eq(1).all() and Y.sum(0).ge(1).all()
