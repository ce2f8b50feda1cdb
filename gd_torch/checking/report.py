"""The results of a check: as objects, as text for a terminal, as JSON and as an HTML table."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "wrong", "kink", "objective", "undecided"]


@dataclass(frozen=True)
class Cause:
    """A named mistake.

    Attributes:
        kind: one of the names listed in :func:`gd_torch.check_partials`.
        message: one line that describes the mistake.
        evidence: how closely it reproduces the derived numbers.
    """

    kind: str
    message: str
    evidence: str


@dataclass(frozen=True)
class Worst:
    """The entry of a derived partial that differs most from autograd's, over all points.

    Attributes:
        index: its place in the partial.
        hand: the derived value.
        autograd: autograd's value.
        numeric: the finite difference, None where there is none.
        error: the estimated error of ``numeric``.
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
        verdict: "ok", "wrong", "kink" (no derivative at the given point: not compared there),
            "objective" (autograd's partial cannot be trusted) or "undecided".
        causes: for "wrong", the mistakes that reproduce the derived numbers, most specific first.
        worst: the worst entry, None where numbers could not be compared.
        note: one line that explains the verdict.
        differing: the number of entries that differ at the worst point.
        points: the number of points compared.
        relative_error: the largest difference over the largest entry, at the worst point.
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
            error = f"relative error {r.relative_error:.0e}"
            return [f"{head}  {r.points} points, {error}, {self.dtype}"]
        lines = [head]
        if r.worst is not None:
            worst = f", worst {list(r.worst.index)}" if r.worst.index else ""
            lines[0] += f"  {r.differing} of {math.prod(r.shape)} entries, {r.points} points{worst}"
            lines.append("    " + _format_values(r.worst))
        if r.note:
            lines.append(f"    {r.note}")
        for k, cause in enumerate(r.causes):
            lines.append(f"  {'or' if k else 'cause':5}  {cause.message} [{cause.kind}]")
            lines.append(f"         {cause.evidence}")
        if r.verdict == "wrong" and not r.causes:
            lines.append("  wrong, cause unknown")
        return lines

    def to_dict(self) -> dict[str, object]:
        """The report as types that JSON has; a number that is not finite becomes None."""
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
                    "worst": None if r.worst is None else _worst_to_dict(r.worst),
                    "note": r.note,
                    "differing": r.differing,
                    "points": r.points,
                    "relative_error": _finite_or_none(r.relative_error),
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


def _format_values(w: Worst) -> str:
    text = f"hand {w.hand:.4g}   autograd {w.autograd:.4g}"
    if w.numeric is not None and w.error is not None:
        text += f"   numeric {w.numeric:.4g} +- {w.error:.0e}"
    return text


def _worst_to_dict(w: Worst) -> dict[str, object]:
    numbers = {k: _finite_or_none(getattr(w, k)) for k in ("hand", "autograd", "numeric", "error")}
    return {"index": list(w.index), **numbers}


def _finite_or_none(x: float | None) -> float | None:
    return x if x is not None and abs(x) < float("inf") else None
