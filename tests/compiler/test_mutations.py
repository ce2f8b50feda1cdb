"""Deliberate faults in generated C: each is detected, with one warning and the eager result.

The faults are edits of the C text between its generation and its compilation. Those of the steps
(rates, norm, stop, record) are in text that is the same for all objectives.

Verification cannot detect an update that is wrong only between two verified points if the points
are correct (such as one omitted step), and a tolerance that is detected too late in a run that
records nothing. Other tests compare compiled with eager steps for these cases.
"""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from gd_torch import curve, descend, descend_many, init_weights, load_iris, network_mse
from gd_torch.compiler import Program
from gd_torch.descent import cost_model

DTYPES = {"float64": torch.float64, "float32": torch.float32}

RTOL = {"float64": 1e-9, "float32": 1e-3}

GENERATED = "#define COUNT"
"""Start of the text that depends on the objective."""

Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class Problem:
    """An objective with the settings of a run."""

    make: Callable[[torch.dtype], Callable[..., Tensor]]
    start: Callable[[torch.dtype], tuple[Tensor, ...]]
    learning_rate: float | list[float]
    steps: int = 300
    tolerance: float = 0.0


def net(dtype: torch.dtype) -> Callable[..., Tensor]:
    """The tutorial's network on iris: 150 rows."""
    X, Y, _ = load_iris()
    return network_mse(X.to(dtype), Y.to(dtype))


def tall(dtype: torch.dtype) -> Callable[..., Tensor]:
    """A straight line through 9000 points, which are more than one block of rows."""
    x = torch.linspace(-1, 2, 9000, dtype=dtype)
    y = torch.sin(2 * x)
    return lambda w, b: (w * x + b - y).square().mean()


def pieces(dtype: torch.dtype) -> Callable[..., Tensor]:
    """A clamp, a branch, a maximum, a cumulative sum and a gather, for four weights."""
    index = torch.tensor([0, 2, 1, 0, 2, 2])
    scale = torch.tensor([1.0, 0.5, 2.0, 1.5], dtype=dtype)

    def objective(w: Tensor) -> Tensor:
        inside = w.clamp(-0.5, 0.5)
        branch = torch.where(w > 0.2, w * w, -0.7 * w)
        total = (inside * 3 - 1).square().sum() + (branch * scale).sum() + w.max() ** 2
        return total + w.cumsum(0).square().sum() + 0.1 * w[index].exp().sum()

    return objective


def valley(_: torch.dtype) -> Callable[..., Tensor]:
    """Two weights with different learning rates."""
    return lambda a, b: (a - 1).square() + 4 * (b - a * a).square() + 0.1 * torch.exp(a * b)


PROBLEMS = {
    "net": Problem(net, lambda t: init_weights((4, 2, 3), dtype=t), [0.4, 0.2]),
    "net to a tolerance": Problem(
        net, lambda t: init_weights((4, 2, 3), dtype=t), 0.5, tolerance=0.03
    ),
    "tall": Problem(
        tall,
        lambda t: (torch.tensor(0.0, dtype=t), torch.tensor(0.5, dtype=t)),
        [0.02, 0.01],
        steps=100,
    ),
    "pieces": Problem(pieces, lambda t: (torch.linspace(-1, 1, 4, dtype=t),), 0.005),
    "valley": Problem(
        valley, lambda t: (torch.tensor(0.2, dtype=t), torch.tensor(0.5, dtype=t)), [0.01, 0.02]
    ),
    "curve": Problem(lambda _: curve, lambda t: (torch.tensor(1.9, dtype=t),), 0.01),
    "runaway": Problem(lambda _: curve, lambda t: (torch.tensor(1.9, dtype=t),), 0.5),
}


@dataclass(frozen=True)
class Fault:
    """Edits of a C text, each at the match with index ``at``."""

    name: str
    problem: str
    edits: tuple[tuple[str, Replacement], ...]
    at: int = 0
    dtypes: tuple[str, ...] = ("float64", "float32")
    record: str | int = "all"
    only: str = ""

    def __call__(self, text: str) -> str:
        """The text with the fault; it must differ."""
        if self.only and self.only not in text:
            return text
        head, mark, body = text.partition(GENERATED)
        for pattern, replacement in self.edits:
            found = list(re.finditer(pattern, body, re.MULTILINE))
            assert len(found) > self.at, f"{pattern} is not in the text of {self.problem}"
            match = found[self.at]
            new = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
            body = body[: match.start()] + new + body[match.end() :]
        assert mark and head + mark + body != text
        return f"{head}{mark}{body}\n/* {self.name} {uuid.uuid4()} */\n"


def _less(match: re.Match[str]) -> str:
    """One tile less."""
    return f"c < {int(match[1]) - int(match[2])}; c += {match[2]}"


def fault(name: str, problem: str, pattern: str, replacement: Replacement, **more: object) -> Fault:
    """A fault with one edit."""
    return Fault(name, problem, ((pattern, replacement),), **more)


LATE = r"  return (.*);\n}"
"""The end of the evaluation, where a statement can be inserted."""


def late(condition: str, action: str) -> str:
    """An evaluation that changes from some call on."""
    return rf"  static long calls; calls++; if ({condition}) {{ {action} }}\n  return \1;\n}}"


FAULTS = [
    # What an objective and its partials are made of.
    fault("a sum without its last term", "net", r"k0 < 4; k0\+\+", "k0 < 3; k0++"),
    fault("a loss without a term", "curve", r"(x\d+) = (x\d+) - ", r"\1 = \2; (void)"),
    fault("a partial without a term", "curve", r"\(-1\.0f?\) \+ ", ""),
    fault("a wrong sign", "net", r"K\(1\.0f?\) - ", "K(1) + "),
    fault("a difference the wrong way round", "net",
          r"(x\d+) - (\*\(const V \*\)\(data[^;]*);", r"\2 - \1;"),
    fault("an index off by one", "net", r"w \+ 8 \+ a0", "w + 7 + a0"),
    fault("transposed weights", "net", r"w \+ 0 \+ a0 \+ k0 \* 2", "w + 0 + a0 * 4 + k0"),
    fault("a wrong constant", "net", r"K\(2\.0f?\)", "K((T)2.001)"),
    fault("a constant wrong in the ninth digit", "net", r"K\(2\.0f?\)", "K(2.00000001)",
          dtypes=("float64",)),
    fault("a factor too many", "net", r"(x\d+) \* (x\d+);", r"\1 * \2 * \2;"),
    fault("swapped factors of a product", "net",
          r"vfma\((t\d+)\[\((a0)\) \* U \* H \+ u\], (t\d+)\[\((a1)\)",
          r"vfma(\1[(0) * U * H + u], \3[(a1)"),
    fault("the last tile left out", "net", r"c < (\d+); c \+= (\d+)", _less),
    fault("the last tile left out of the last block", "tall",
          r"a \+ (\d+) < (\d+) \? a \+ \d+ : \d+",
          lambda m: f"a + {m[1]} < {m[2]} ? a + {m[1]} : {int(m[2]) - 8 * 16}"),
    fault("one block only", "tall", r"work\[(\d+) \+ i\] \+= ", r"work[\1 + i] = "),
    fault("padding counted in the loss", "net", r"\(V\)\(\(I\)\((x\d+)\) & valid\)", r"\1"),
    fault("padding counted in a partial", "net", r"\(V\)\(\(I\)\((x\d+)\) & valid\)", r"\1", at=1),
    fault("a missing accumulator", "net", r"q(\d+)\[u % H\] \+= (x\d+);", r"q\1[u % H] = \2;"),
    fault("a half of the accumulators", "net", r"lane_sum\((s\d+) \+ i \* H\)",
          r"(\1[i * H][0] + \1[i * H][1])"),
    Fault("an accumulator that is not cleared", "net", (
        (r"  V (s\d+)\[8 \* H\];", r"  static V \1[8 * H];"),
        (r"  for \(int i = 0; i < 8 \* H; i\+\+\) s\d+\[i\] = K\(0\);\n", ""),
    )),
    fault("a stale buffer", "net",
          r"  (kernel0\(w, .*\);)", r"  static long n; if (n++ % 2 == 0) \1"),
    fault("a term rounded to float32", "net", r"const V (x\d+) = K\((sca\[0\])\) \* (x\d+);",
          r"const V \1 = (V)((I)(K(\2) * \3) & KI(~0x1fffffffLL));", dtypes=("float64",)),
    fault("a partial from the next row", "net", r"\*\(const V \*\)\((data[^)]*\(a0\)[^)]*)\), t",
          r"*(const VU *)(\1 + 1), t"),
    fault("partials in another order", "net",
          r"g\[8 \+ a0 \* 3 \+ a1 \* 1\]", "g[8 + a0 * 3 + 2 - a1]"),
    fault("a missing clamp", "pieces", r"s_min\((x\d+), 0\.5f?\)", r"\1"),
    fault("a clamp of the value alone", "pieces", r"s_where\((x\d+), (x\d+), 0\.0f?\)", r"\2"),
    fault("a comparison the other way round", "pieces", r"\(w \+ 0 \+ a0\)\)\[0\] > ",
          "(w + 0 + a0))[0] < "),
    fault("the least entry instead of the largest", "pieces", r"s_max\((x\d+), \(\(w \+ 0 \+ k0",
          r"s_min(-\1, ((w + 0 + k0"),
    fault("a wrong table", "pieces", r"w\[0 \+ tab\[0 \+ a0\]\]", "w[0 + tab[1 + a0]]"),
    fault("entries overwritten instead of added", "pieces",
          r"(work\[\d+ \+ tab\[\d+ \+ a0\]\]) \+= ", r"\1 = "),
    fault("a sum so far that starts again", "pieces", r"\{ (x\d+) \+= ", r"{ \1 = "),
    # What is right at first.
    fault("a partial that is wrong after 40 calls", "net",
          LATE, late("calls > 40", "g[3] *= (T)1.01;")),
    fault("a partial that is wrong once a weight has moved", "net", LATE,
          late("w[9] > (T)0 ? w[9] > (T)0.5 : w[9] < (T)-0.5", "g[9] += (T)0.01;")),
    fault("a partial that is wrong below 1", "curve", LATE, late("w[0] < 1", "g[0] *= (T)1.01;")),
    fault("a value that is wrong below 1", "curve", LATE,
          r"  return (\1) + (w[0] < 1 ? (T)0.001 : 0);\n}"),
    fault("a partial that becomes NaN", "net", LATE, late("calls > 40", "g[0] = NAN_;")),
    # The steps.
    fault("a wrong rate for one weight", "net", r"-r->rates\[i\]",
          "-r->rates[i] * (i == 13 ? (T)1.01 : 1)"),
    fault("rates of the wrong weights", "net", r"-r->rates\[i\]", "-r->rates[COUNT - 1 - i]"),
    fault("rates of the wrong weights, nothing recorded", "valley", r"-r->rates\[i\]",
          "-r->rates[COUNT - 1 - i]", record="last"),
    fault("steps upwards", "net", r"-r->rates\[i\]", "r->rates[i]"),
    fault("a step that counts twice", "net", r"step\+\+;", "step += 2;"),
    fault("a step too many", "net", r"step >= r->limit", "step > r->limit"),
    fault("half of the steps", "net", r"w\[i\] = m\[i\]", "if (step % 2) w[i] = m[i]"),
    fault("a wrong norm", "net", r"norm = euclidean_norm\(g, COUNT\)",
          "norm = euclidean_norm(g, COUNT - 1)"),
    fault("a wrong norm at the end", "net", r"r->norm = euclidean_norm\(g, COUNT\)",
          "r->norm = euclidean_norm(g, COUNT - 1)", record="last"),
    fault("a stop at once", "net to a tolerance", r"norm < tolerance", "norm > tolerance"),
    fault("a stop too early", "net to a tolerance",
          r"norm < tolerance", "norm < (T)1.5 * tolerance"),
    fault("a stop too late", "net to a tolerance",
          r"norm < tolerance", "norm < (T)0.9 * tolerance"),
    fault("no stop", "net to a tolerance", r"norm < tolerance", "0"),
    fault("a loss that is not looked at", "runaway", r"!\(s_abs\(loss\) < INF_\)", "0"),
    fault("another reason to stop", "runaway", r"code = LOSS", "code = WEIGHT"),
    fault("points recorded one step late", "net",
          r"\* COUNT \+ i\] = w\[i\]", "* COUNT + i] = m[i]"),
    fault("points recorded at another place", "net",
          r"\[r->slot \* COUNT", "[(r->slot ? r->slot - 1 : 0) * COUNT"),
    fault("losses of the step before", "net", r"(r->losses\[r->slot\]) = loss;",
          r"static T old; \1 = old; old = loss;"),
    fault("norms that are not computed", "net", r"tolerance > 0 \|\| due \|\| code",
          "tolerance > 0 || code"),
    fault("points left out", "net", r"step % r->period == 0", "step % (2 * r->period) == 0"),
    fault("weights after the end", "net", r"r->weights\[i\] = w\[i\]", "r->weights[i] = m[i]"),
    fault("partials of before", "net",
          r"r->partials\[i\] = g\[i\]", "if (step % 2) r->partials[i] = g[i]"),
]  # fmt: skip

LANES = "run_lanes("
ROWS = "run_many("

BATCH_FAULTS = [
    fault("a wrong sign", "valley", r" - K\(1\.0f?\)", " + K(1)", only=LANES),
    fault("a clamp of the value alone", "pieces", r"SEL\((x\d+), (x\d+), K\(0\.0f?\)\)", r"\2",
          only=LANES),
    fault("a wrong table", "pieces", r"tab\[0 \+ a0\]", "tab[1 + a0]", only=LANES),
    fault("rates of the wrong weight", "valley", r"rates \+ i \* padded",
          "rates + (COUNT - 1 - i) * padded", only=LANES),
    fault("rates of other runs", "valley", r"(rates \+ i \* padded \+ c \+) u \* LANES",
          r"\1 (u ^ 1) * LANES", only=LANES),
    fault("rates of the first block", "curve", r"rates \+ i \* padded \+ c \+",
          "rates + i * padded +", only=LANES),
    fault("starts of other runs", "valley", r"(VU \*\)\(weights \+ i \* padded \+ c \+) u \* LANES",
          r"\1 (u ^ 1) * LANES", only=LANES),
    fault("ends in another order", "valley",
          r"(VU \*\)\(weights \+ i \* padded \+ c \+) u \* LANES",
          r"\1 (u ^ 1) * LANES", at=1, only=LANES),
    fault("numbers of steps in another order", "curve", r"\(steps \+ c \+ u \* LANES",
          "(steps + c + (u ^ 1) * LANES", only=LANES),
    fault("steps upwards", "valley", r"vfma\(-r\[k\], g\[k\], w\[k\]\)", "vfma(r[k], g[k], w[k])",
          only=LANES),
    fault("runs that go on after their end", "curve",
          r"w\[k\] = SEL\(alive, (vfma\(.*\)), w\[k\]\);", r"w[k] = \1;", only=LANES),
    fault("steps counted wrongly", "curve",
          r"step_count\[u\] -= alive", "step_count[u] -= alive & KI(step < 60 ? -1 : 0)",
          only=LANES),
    fault("a step too many", "curve", r"step >= limit", "step > limit", only=LANES),
    fault("a stop that is not looked for", "curve", r"n < tolerance", "n < K(-1)", only=LANES),
    fault("a stop too early", "curve", r"n < tolerance", "n < K(2) * tolerance", only=LANES),
    fault("another reason to stop", "runaway", r"\(V\)KI\(LOSS\)", "(V)KI(WEIGHT)", only=LANES),
    fault("a wrong norm", "valley", r"V n = vsqrt\(squares\)", "V n = vsqrt(squares) * K((T)1.01)",
          only=LANES),
    fault("an evaluation that is wrong after 40 calls", "valley",
          r"(evaluate\(w, g, l, uni, sca, tab\);)",
          r"\1 { static long n; if (n++ > 40)"
          r" for (int u = 0; u < U * H; u++) g[u] *= K((T)1.01); }",
          only=LANES),
    fault("a sum without its last term", "net", r"k0 < 4; k0\+\+", "k0 < 3; k0++", only=ROWS),
    fault("rates of the wrong weights", "net", r"-r->rates\[i\]", "-r->rates[COUNT - 1 - i]",
          only=ROWS),
    fault("rates of the first run", "net", r"run\(runs \+ i, ",
          "runs[i].rates = runs[0].rates, run(runs + i, ", only=ROWS),
    fault("weights of the run before", "net", r"run\(runs \+ i, ",
          "if (i % 64 == 63) for (long k = 0; k < COUNT; k++)"
          " runs[i].weights[k] = runs[i - 1].weights[k]; run(runs + i, ", only=ROWS),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A separate cache for this module; "auto" compiles after few eager steps."""
    directory = tmp_path_factory.getbasetemp() / "mutations"
    monkeypatch.setenv("GD_TORCH_CACHE", str(directory))
    monkeypatch.setattr(cost_model, "COMPILE_SECONDS", 0.0)
    monkeypatch.setattr(cost_model, "EAGER_START_SECONDS", 1e-3)
    monkeypatch.setattr(cost_model, "EAGER_TRIAL_SECONDS", 1e-3)


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], list[str]]:
    """Insert a fault into every text that is compiled; returns the list of changed texts."""
    names = Program.__init__.__globals__
    load = names["load_library"]

    def faulty(make: Fault) -> list[str]:
        changed: list[str] = []

        def load_wrong(text: str, **_: object) -> object:
            wrong = make(text)
            if wrong != text:
                changed.append(wrong)
            return load(wrong, optimization=1)

        monkeypatch.setitem(names, "load_library", load_wrong)
        return changed

    return faulty


def one_warning(make: Callable[[], object]) -> object:
    """The result of a call, which must warn once that steps are eager."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = make()
    messages = [f"{w.category.__name__}: {w.message}" for w in caught]
    assert len(messages) == 1, messages
    assert messages[0].startswith("RuntimeWarning") and "eager" in messages[0]
    return result


def assert_same(actual: object, expected: object, kind: str) -> None:
    """The same steps and stop, and all numbers equal to rounding."""
    assert (actual.steps, actual.stop) == (expected.steps, expected.stop)
    assert torch.equal(actual.recorded_steps, expected.recorded_steps)
    pairs = zip(
        (*actual.weights, *actual.path, actual.losses, actual.gradient_norms),
        (*expected.weights, *expected.path, expected.losses, expected.gradient_norms),
        strict=True,
    )
    for a, e in pairs:
        scale = float(e.abs().nan_to_num(0.0, 0.0, 0.0).max())
        torch.testing.assert_close(a, e, rtol=RTOL[kind], atol=RTOL[kind] * max(scale, 0.01))


def _cases(faults: list[Fault], quick: int) -> list[object]:
    """Every fault in each of its dtypes; one of ``quick`` in float64 is not slow."""
    return [
        pytest.param(
            f, kind, id=f"{f.problem}-{f.name}-{kind}".replace(" ", "_"),
            marks=[pytest.mark.slow] if kind == "float32" or i % quick else [],
        )
        for i, f in enumerate(faults) for kind in f.dtypes
    ]  # fmt: skip


def run(f: Fault, kind: str, stepper: str) -> object:
    """A run of the fault's problem."""
    problem, dtype = PROBLEMS[f.problem], DTYPES[kind]
    return descend(
        problem.make(dtype),
        problem.start(dtype),
        learning_rate=problem.learning_rate,
        steps=problem.steps,
        tolerance=problem.tolerance,
        record=f.record,
        stepper=stepper,
    )


@pytest.mark.parametrize("stepper", ["compiled", pytest.param("auto", marks=[pytest.mark.slow])])
@pytest.mark.parametrize(("f", "kind"), _cases(FAULTS, 6))
def test_a_wrong_program_is_detected(
    f: Fault, kind: str, stepper: str, inject: Callable[[Fault], list[str]]
) -> None:
    """One RuntimeWarning, and the run is the eager one to rounding."""
    if stepper == "auto" and f.problem == "runaway":
        return  # it ends before anything is compiled
    expected = run(f, kind, "eager")
    changed = inject(f)
    actual = one_warning(partial(run, f, kind, stepper))
    assert changed, "no text was compiled"
    assert_same(actual, expected, kind)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_correct_programs_give_no_warning(
    problem: str, kind: str, inject: Callable[[Fault], list[str]]
) -> None:
    """Without a fault there is no warning: the same problems, through the same hook."""
    f = fault("a comment", problem, r"\Z", "\n/* nothing */")
    changed = inject(f)
    for record in ("all", "last", 7):
        named = Fault(f.name, f.problem, f.edits, record=record)
        assert_same(run(named, kind, "compiled"), run(named, kind, "eager"), kind)
    assert changed


def run_many(f: Fault, kind: str, stepper: str) -> object:
    """300 runs of the fault's problem, with different starts and rates."""
    problem, dtype = PROBLEMS[f.problem], DTYPES[kind]
    generator = torch.Generator().manual_seed(3)
    starts = tuple(
        w + 0.05 * torch.randn((300, *w.shape), generator=generator, dtype=torch.float64).to(dtype)
        for w in problem.start(dtype)
    )
    given = problem.learning_rate
    rates = torch.tensor(given if isinstance(given, list) else [given] * len(starts))
    spread = 0.5 + torch.rand((300, len(starts)), generator=generator, dtype=torch.float64)
    tolerance = 1e-3 if f.problem == "curve" else problem.tolerance
    return descend_many(
        problem.make(dtype),
        starts,
        rates.double() * spread,
        steps=60 if f.problem in ("net", "pieces") else 400,
        tolerance=tolerance,
        stepper=stepper,
    )


def assert_same_ends(actual: object, expected: object, kind: str) -> None:
    """The same steps and stops, and all numbers equal to rounding."""
    assert torch.equal(actual.codes, expected.codes)
    assert torch.equal(actual.steps, expected.steps)
    pairs = zip(
        (*actual.weights, actual.losses, actual.gradient_norms),
        (*expected.weights, expected.losses, expected.gradient_norms),
        strict=True,
    )
    for a, e in pairs:
        finite = e.isfinite()
        scale = float(e.abs().nan_to_num(0.0, 0.0, 0.0).max())
        assert torch.equal(a.isfinite(), finite)
        torch.testing.assert_close(
            a[finite], e[finite], rtol=RTOL[kind], atol=RTOL[kind] * min(scale, 1.0)
        )


@pytest.mark.parametrize("stepper", ["compiled", pytest.param("auto", marks=[pytest.mark.slow])])
@pytest.mark.parametrize(("f", "kind"), _cases(BATCH_FAULTS, 5))
def test_a_wrong_batch_is_detected(
    f: Fault, kind: str, stepper: str, inject: Callable[[Fault], list[str]]
) -> None:
    """One RuntimeWarning, and all runs end where eager runs end."""
    expected = run_many(f, kind, "eager")
    changed = inject(f)
    actual = one_warning(partial(run_many, f, kind, stepper))
    assert changed, "no text was compiled"
    assert_same_ends(actual, expected, kind)


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("problem", ["net", "pieces", "valley", "curve", "runaway"])
def test_correct_batches_give_no_warning(
    problem: str, kind: str, inject: Callable[[Fault], list[str]]
) -> None:
    """Without a fault there is no warning: the same batches, through the same hook."""
    f = fault("a comment", problem, r"\Z", "\n/* nothing */")
    changed = inject(f)
    assert_same_ends(run_many(f, kind, "compiled"), run_many(f, kind, "eager"), kind)
    assert changed


def test_there_are_enough_faults() -> None:
    """More than 50 faults of single runs, more than 20 of batches, with unique names."""
    for faults, least in ((FAULTS, 50), (BATCH_FAULTS, 20)):
        assert len({(f.problem, f.name) for f in faults}) == len(faults) >= least
