"""The compiled stepper against the eager one, on random expressions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gd_torch import descend
from tests.compiler import generate
from tests.compiler.generate import KINDS, Expression, build, check, main, outcomes, seeded

ordinary = partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def _cache_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One empty directory for the compiled steps of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GD_TORCH_CACHE", str(tmp_path_factory.mktemp("generated")))
        yield


@st.composite
def expressions(draw: st.DrawFn, dtype: torch.dtype = torch.float64) -> Expression:
    """Random expressions; hypothesis reduces a failing one to fewer and simpler operations."""
    return build(lambda n: draw(st.integers(0, n - 1)), dtype)


def assert_equal_or_warned(expression: Expression) -> None:
    """Eager and compiled steps agree, or the run says that it is eager."""
    outcome = check([expression])
    assert outcome.kind != "different", f"{outcome.detail}\n\n{expression.source}"


@ordinary(max_examples=15)
@given(expressions())
def test_random_expressions(expression: Expression) -> None:
    """Compiled steps of a random expression equal eager ones, or a warning says they are eager."""
    assert_equal_or_warned(expression)


@pytest.mark.slow
@ordinary(max_examples=60)
@given(expressions())
def test_more_random_expressions(expression: Expression) -> None:
    """The same for 60 expressions in float64."""
    assert_equal_or_warned(expression)


@pytest.mark.slow
@ordinary(max_examples=60)
@given(expressions(torch.float32))
def test_random_expressions_in_float32(expression: Expression) -> None:
    """The same for 60 expressions in float32."""
    assert_equal_or_warned(expression)


@pytest.mark.slow
def test_sums_of_random_expressions() -> None:
    """Sums of 8 random expressions are compiled as one objective and equal eager steps."""
    for at in range(0, 80, 8):
        batch = [seeded(11, i) for i in range(at, at + 8)]
        for expression, outcome in outcomes(batch):
            assert outcome.kind != "different", f"{outcome.detail}\n\n{expression.source}"


@pytest.mark.slow
def test_most_random_expressions_compile() -> None:
    """Nine of ten random expressions are compiled rather than run eagerly."""
    found = Counter(check([seeded(5, i)]).kind for i in range(60))
    assert found["equal"] + found["unstable"] >= 54, found


def test_expressions_depend_only_on_seed_and_index() -> None:
    """The same seed and index give the same source and start; others give another source."""
    first, again = seeded(3, 7), seeded(3, 7)
    assert first.source == again.source
    assert all(torch.equal(a, b) for a, b in zip(first.start, again.start, strict=True))
    assert len({seeded(3, i).source for i in range(20)}) == 20


def test_expressions_use_every_kind_of_operation() -> None:
    """100 expressions have at least 5 operations each, and all kinds of operations together."""
    made = [seeded(0, i) for i in range(100)]
    assert all(5 <= len(e.operations) <= 20 for e in made)
    assert {kind for e in made for kind in e.operations} == set(KINDS)


def test_eager_steps_of_expressions_are_finite_and_reproducible() -> None:
    """Eager runs of an expression agree with each other and stay finite."""
    for i in range(30):
        expression = seeded(1, i)
        assert check([expression], "eager").kind == "equal"
        run = descend(
            expression.objective,
            expression.start,
            learning_rate=expression.rate,
            steps=generate.STEPS,
            stepper="eager",
        )
        assert run.losses.isfinite().all()


@pytest.mark.parametrize("batch", [1, 4])
def test_the_command_finds_a_wrong_gradient(
    batch: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits with 1 and prints the source if compiled steps are wrong by a millionth."""

    def wrong(objective: object, start: object, *, stepper: str, **settings: object) -> object:
        def changed(*weights: torch.Tensor) -> torch.Tensor:
            return objective(*weights) + 1e-6 * sum(w.sum() for w in weights)

        used = changed if stepper == "compiled" else objective
        return descend(used, start, stepper="eager", **settings)

    monkeypatch.setattr(generate, "descend", wrong)
    assert main(["--count", "4", "--seed", "2", "--batch", str(batch)]) == 1
    printed = capsys.readouterr().out
    assert "def objective(" in printed
    assert "seed 2, index " in printed


def test_the_command_counts_reasons_of_fallbacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits with 0 and counts each reason for eager steps."""

    def warning(objective: object, start: object, *, stepper: str, **settings: object) -> object:
        if stepper == "compiled":
            generate.warnings.warn(f"{generate.CANNOT}no rule", RuntimeWarning, stacklevel=2)
        return descend(objective, start, stepper="eager", **settings)

    monkeypatch.setattr(generate, "descend", warning)
    assert main(["--count", "3", "--batch", "2"]) == 0
    printed = capsys.readouterr().out
    assert "differences 0, compiled 0, unstable 0, fallen back 3" in printed
    assert "3  no rule" in printed
