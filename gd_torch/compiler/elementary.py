"""C text of the elementary functions, to follow the header of ``c_header``.

Every function has a vector form v_NAME and a scalar form s_NAME with bit-identical results. The C
files are divided into sections that start with a line ``/*@ name: required names */``. In a float32
program the functions of ``generic.c`` are evaluated in float32, the others in float64 and then
rounded to float32.
"""

import re
from collections.abc import Collection
from functools import cache

import torch

from gd_torch.compiler.c_header import read_c_file, vector_header

__all__ = ["FUNCTIONS", "elementary_functions"]

_GENERIC = ("exp", "sigmoid", "tanh", "log", "log1p", "expm1")
_POWERS = ("exp2", "log2", "log10", "pow", "sinh", "cosh", "asinh", "acosh", "atanh", "erf", "erfc")
_ANGLES = ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")
_EXACT = ("fmod", "floor", "ceil", "trunc", "round", "sign")
FUNCTIONS = _GENERIC + _POWERS + _ANGLES + _EXACT
_TWO_ARGUMENTS = {"pow", "atan2", "fmod"}
_FILES = {
    torch.float32: ("float32.h", "generic.c"),
    torch.float64: ("float64.h", "float64_only.h", "generic.c", "powers.c", "trigonometric.c"),
}
_HALVES = """\
/* The halves of a vector of float as vectors of double, and back. */
typedef T half_ __attribute__((vector_size(BYTES / 2), may_alias));
typedef union { V both; half_ part[2]; } halves_;
INLINE dV widened(V x, int i) {
    halves_ h = {x};
    return __builtin_convertvector(h.part[i], dV);
}
INLINE V narrowed(dV a, dV b) {
    halves_ h;
    h.part[0] = __builtin_convertvector(a, half_);
    h.part[1] = __builtin_convertvector(b, half_);
    return h.both;
}
"""


@cache
def _sections(dtype: torch.dtype) -> dict[str, tuple[tuple[str, ...], str]]:
    """name -> (required names, text); "" is the text before the first section of every file."""
    sections: dict[str, tuple[tuple[str, ...], str]] = {"": ((), "")}
    for file in _FILES[dtype]:
        start, *rest = re.split(r"^/\*@ (\w+):(.*)\*/\n", read_c_file(file), flags=re.MULTILINE)
        sections[""] = ((), sections[""][1] + start)
        for name, needs, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            sections[name] = (tuple(needs.split()), text)
    return sections


def _text(names: Collection[str], dtype: torch.dtype) -> str:
    """The sections with these names and all that they require, in order of dependence."""
    sections = _sections(dtype)
    chosen: dict[str, str] = {"": sections[""][1]}

    def choose(name: str) -> None:
        if name not in chosen:
            needs, text = sections[name]
            for need in needs:
                choose(need)
            chosen[name] = text

    for name in sorted(names):
        choose(name)
    return "\n".join(chosen.values())


def _renamed(text: str) -> str:
    """Prefix every name that the text defines with d, to avoid conflicts with the float32 text."""
    pattern = (
        r"#define (\w+)|^typedef .*?(\w+)(?: __attribute__.*)?;"
        r"|^(?:INLINE|NOINLINE|static \S+) \w+ (\w+)\(|^FOLD_\((\w+)"
    )
    matches = re.findall(pattern, text, flags=re.MULTILINE)
    defined = {name for groups in matches for name in groups if name}
    return re.sub(r"\b(P(?=##)|(?:" + "|".join(sorted(defined)) + r")\b)", r"d\1", text)


def elementary_functions(names: Collection[str], dtype: torch.dtype) -> str:
    """C text of v_NAME and s_NAME for these names, with everything that they require.

    It must follow ``c_header(dtype)`` directly, once per source.

    Raises:
        ValueError: a name is not in ``FUNCTIONS``.
    """
    unknown = set(names) - set(FUNCTIONS)
    if unknown:
        raise ValueError(f"no such elementary function: {', '.join(sorted(unknown))}")
    chosen = [name for name in FUNCTIONS if name in names]
    native = [name for name in chosen if name in _sections(dtype)]
    parts = [_text(native, dtype)]
    if wide := [name for name in chosen if name not in native]:
        double = vector_header(torch.float64) + "\n" + _text(wide, torch.float64)
        parts += [_renamed(double), _HALVES]
    for name in chosen:
        two = name in _TWO_ARGUMENTS
        if name in wide:
            halves = ", ".join(
                f"dv_{name}(widened(x, {i})" + (f", widened(y, {i}))" if two else ")")
                for i in (0, 1)
            )
            start = f"NOINLINE V v_{name}(V x{', V y' if two else ''})"
            parts.append(f"{start} {{ return narrowed({halves}); }}")
        start = f"INLINE T s_{name}(T x{', T y' if two else ''})"
        parts.append(f"{start} {{ return v_{name}(K(x){', K(y)' if two else ''})[0]; }}")
    return "\n".join(parts) + "\n"
