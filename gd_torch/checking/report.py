"""What a check returns, as an object, as text for a terminal, as JSON and as a table."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "wrong", "kink", "objective", "undecided"]


@dataclass(frozen=True)
class Cause:
    """A named mistake.

    Attributes:
        kind: one of the names listed in :func:`gd_torch.check_partials`.
        message: one line for people.
        evidence: what was done to reproduce the hand's numbers, and how closely it does.
    """

    kind: str
    message: str
    evidence: str


@dataclass(frozen=True)
class Worst:
    """The entry where hand and autograd are furthest apart, at the point where they are.

    Attributes:
        index: its place in the partial.
        hand, autograd, numeric: the three values; numeric is None where it was not needed.
        error: the referee's own estimate of the error of ``numeric``.
    """

    index: tuple[int, ...]
    hand: float
    autograd: float
    numeric: float | None
    error: float | None


@dataclass(frozen=True)
class Result:
    """The verdict on one argument's partial.

    Attributes:
        name: the argument's name in the objective.
        shape: its shape.
        verdict: "ok", "wrong", "kink" (no derivative at the given point: not judged there),
            "objective" (autograd itself cannot be trusted) or "undecided".
        causes: for "wrong", what reproduces the hand's numbers, the most specific first.
        worst: the worst entry, None where numbers could not be compared.
        note: one line that explains the verdict.
        differing: entries that differ at the worst point. points: how many points were judged.
        relative_error: the largest difference over the largest partial.
    """

    name: str
    shape: tuple[int, ...]
    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    worst: Worst | None = None
    note: str = ""
    differing: int = 0
    points: int = 0
    relative_error: float = 0.0


@dataclass(frozen=True)
class PartialsReport:
    """The verdicts of :func:`gd_torch.check_partials`, one per weight; str() fits a terminal.

    Attributes:
        objective: the objective's name.
        dtype: the weights' dtype, "float64".
        results: one :class:`Result` per argument.
    """

    objective: str
    dtype: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether every verdict is "ok"; a kink or an undecided partial is not."""
        return all(r.verdict == "ok" for r in self.results)

    def __str__(self) -> str:
        labels = [f"d{self.objective}/d{r.name}" for r in self.results]
        width = max(map(len, labels), default=0)
        lines = []
        for label, r in zip(labels, self.results, strict=True):
            lines += self._lines(label.ljust(width), r)
        return "\n".join(lines)

    def _lines(self, label: str, r: Result) -> list[str]:
        shape = "x".join(map(str, r.shape)) or "scalar"
        head = f"{label}  ({shape})  {r.verdict.upper() if r.verdict != 'ok' else 'ok'}"
        if r.verdict == "ok":
            return [
                f"{head}  {r.points} points, relative error {r.relative_error:.0e}, {self.dtype}"
            ]
        lines = [head]
        if r.worst is not None and r.verdict == "wrong":
            entries = 1
            for n in r.shape:
                entries *= n
            where = f", worst {list(r.worst.index)}" if r.worst.index else ""
            lines[0] += f"  {r.differing} of {entries} entries, {r.points} points{where}"
        if r.worst is not None:
            lines.append("    " + _numbers(r.worst))
        if r.note:
            lines.append(f"    {r.note}")
        for word, cause in zip(["cause"] + ["or"] * 20, r.causes, strict=False):
            lines += [f"  {word:5}  {cause.message} [{cause.kind}]", f"         {cause.evidence}"]
        if r.verdict == "wrong" and not r.causes:
            lines.append("  wrong, cause unknown")
        return lines

    def to_dict(self) -> dict[str, object]:
        """The report in JSON's types; numbers that are not finite become None."""
        return {
            "ok": self.ok,
            "objective": self.objective,
            "dtype": self.dtype,
            "results": [
                {
                    "name": r.name,
                    "shape": list(r.shape),
                    "verdict": r.verdict,
                    "causes": [vars(c) for c in r.causes],
                    "worst": None if r.worst is None else _plain(r.worst),
                    "note": r.note,
                    "differing": r.differing,
                    "points": r.points,
                    "relative_error": _finite(r.relative_error),
                }
                for r in self.results
            ],
        }

    def _repr_html_(self) -> str:
        rows = []
        for r in self.results:
            text = "; or ".join(c.message for c in r.causes) or r.note
            if r.verdict == "wrong" and not text:
                text = "cause unknown"
            cells = (f"d{self.objective}/d{r.name}", r.verdict, f"{r.relative_error:.0e}", text)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        head = "<tr><th>partial</th><th>verdict</th><th>relative error</th><th>cause</th></tr>"
        return f"<table>{head}{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _numbers(w: Worst) -> str:
    text = f"hand {w.hand:.4g}   autograd {w.autograd:.4g}"
    if w.numeric is not None and w.error is not None:
        text += f"   numeric {w.numeric:.4g} +- {w.error:.0e}"
    return text


def _plain(w: Worst) -> dict[str, object]:
    numbers = {k: _finite(getattr(w, k)) for k in ("hand", "autograd", "numeric", "error")}
    return {"index": list(w.index), **numbers}


def _finite(x: float | None) -> float | None:
    return x if x is not None and abs(x) < float("inf") else None
