"""C text of one operation on scalars or vectors."""

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
"""The elementary functions, with a form v_NAME for vectors and s_NAME for scalars."""


def expression(operation: str, operands: Sequence[str], *, vector: bool, masks: bool) -> str:
    """C expression of a pointwise operation.

    Args:
        operation: its name.
        operands: C text of the operands.
        vector: whether the operands are vectors, not scalars.
        masks: whether the result is a mask.

    Raises:
        Unsupported: the operation has no C form.
    """
    a = operands[0]
    b = operands[1] if len(operands) > 1 else ""
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
            return f"({a} & {b}) | (~{a} & {operands[2]})"
        return f"{'SEL' if vector else 's_where'}({a}, {b}, {operands[2]})"
    if operation in ("max", "min", "abs", "sqrt"):
        return f"{prefix}{operation}({', '.join(operands)})"
    if operation in FUNCTIONS:
        return f"{'v' if vector else 's'}_{operation}({', '.join(operands)})"
    raise Unsupported(f"{operation} has no C form")


def initial_value(operation: str, *, vector: bool) -> str:
    """C text of the initial value of a reduction."""
    number = {"sum": "0", "dot": "0", "prod": "1", "max": "-INF_", "min": "INF_"}[operation]
    return f"K({number})" if vector else number


def accumulate(operation: str, total: str, operands: Sequence[str], *, vector: bool) -> str:
    """C statement that adds one term to a reduction."""
    prefix = "v" if vector else "s_"
    if operation == "sum":
        return f"{total} += {operands[0]};"
    if operation == "prod":
        return f"{total} *= {operands[0]};"
    if operation == "dot":
        return f"{total} = {prefix}fma({operands[0]}, {operands[1]}, {total});"
    return f"{total} = {prefix}{operation}({total}, {operands[0]});"
