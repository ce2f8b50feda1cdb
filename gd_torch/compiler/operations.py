"""C text of one operation on numbers or on vectors of them."""

from __future__ import annotations

from collections.abc import Sequence

from gd_torch.compiler.errors import Unsupported

ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
LOGIC = {"and": "&", "or": "|", "ne_mask": "^"}
FUNCTIONS = {
    "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sigmoid", "sign", "erf",
    "erfc", "floor", "ceil", "trunc", "round", "pow", "atan2", "fmod",
}  # fmt: skip
"""Those of elementary.py, each with a form v_NAME for vectors and s_NAME for numbers."""


def expression(operation: str, given: Sequence[str], *, vector: bool, masks: bool) -> str:
    """The value of a pointwise operation.

    Args:
        given: C text of the arguments, all vectors or all numbers.
        vector: which of the two. masks: whether the result holds truth values.
    """
    a = given[0]
    b = given[1] if len(given) > 1 else ""
    if operation in ARITHMETIC:
        return f"{a} {ARITHMETIC[operation]} {b}"
    if operation in COMPARISONS:
        return (
            f"{a} {COMPARISONS[operation]} {b}"
            if vector
            else f"-({a} {COMPARISONS[operation]} {b})"
        )
    if operation in LOGIC:
        return f"{a} {LOGIC[operation]} {b}"
    prefix = "v" if vector else "s_"
    if operation == "copy":
        return a
    if operation == "neg":
        return f"-{a}"
    if operation == "not":
        return f"~{a}"
    if operation == "isnan":
        return f"{a} != {a}" if vector else f"-({a} != {a})"
    if operation == "where":
        if masks:
            return f"({a} & {b}) | (~{a} & {given[2]})"
        return f"{'SEL' if vector else 's_where'}({a}, {b}, {given[2]})"
    if operation in ("max", "min", "abs", "sqrt"):
        return f"{prefix}{operation}({', '.join(given)})"
    if operation in FUNCTIONS:
        return f"{'v' if vector else 's'}_{operation}({', '.join(given)})"
    raise Unsupported(f"{operation} has no C form")


def initial_value(operation: str, *, vector: bool) -> str:
    """What a reduction starts from."""
    number = {"sum": "0", "dot": "0", "prod": "1", "max": "-INF_", "min": "INF_"}[operation]
    return f"K({number})" if vector else number


def accumulate(operation: str, total: str, given: Sequence[str], *, vector: bool) -> str:
    """The statement that takes one more term into a reduction."""
    prefix = "v" if vector else "s_"
    if operation == "sum":
        return f"{total} += {given[0]};"
    if operation == "prod":
        return f"{total} *= {given[0]};"
    if operation == "dot":
        return f"{total} = {prefix}fma({given[0]}, {given[1]}, {total});"
    return f"{total} = {prefix}{operation}({total}, {given[0]});"
