"""The names that a Python function reads, from its bytecode, cached per code object."""

from __future__ import annotations

import dis
import functools
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import NamedTuple

REFLECTION = frozenset(
    [
        "getattr",
        "hasattr",
        "vars",
        "dir",
        "eval",
        "exec",
        "locals",
        "__dict__",
        "attrgetter",
        "methodcaller",
        "astuple",
        "asdict",
        "fields",
        "replace",
        "copy",
        "deepcopy",
    ]
)
"""Names of functions that read attributes without naming them."""

LIBRARIES = frozenset(
    ["torch", "numpy", "scipy", "pandas", "matplotlib", "sympy", "jax", "sklearn"]
)
"""Packages whose code is not followed, regardless of where they are installed."""

_ROOTS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FAST")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM", "LOAD_SUPER_ATTR")
_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
MAX_CACHED_CODES = 4096


class CodeNames(NamedTuple):
    """The names in a code object and in the code objects within it.

    Attributes:
        globals: global names, in the order of their first use.
        attributes: names of attributes that are read or written.
        imports: modules imported in the code.
        paths: dotted paths, such as ``("os", "urandom")``.
        unseeded: names called without arguments, such as ``default_rng``.
        reflective: whether attributes may be read by other means than their name.
    """

    globals: tuple[str, ...]
    attributes: frozenset[str]
    imports: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    unseeded: frozenset[str]
    reflective: bool


_cache: dict[int, tuple[CodeType, CodeNames]] = {}


def names_of(code: CodeType) -> CodeNames:
    """The names in a code object, cached.

    >>> names_of((lambda w: w * config.rate).__code__).paths
    (('w',), ('config', 'rate'))
    """
    cached = _cache.get(id(code))
    if cached is not None:
        return cached[1]
    if len(_cache) >= MAX_CACHED_CODES:
        _cache.clear()
    names = _read(code)
    _cache[id(code)] = (code, names)  # the code is referenced, so that its id is not reused
    return names


def _read(code: CodeType) -> CodeNames:
    codes = list(_nested(code))
    instructions = [i for one in codes for i in dis.get_instructions(one)]
    names = [i.argval for i in instructions if i.opname in _GLOBALS]
    attributes = {
        i.argval
        for i in instructions
        if i.opname in (*_ATTRIBUTES, "STORE_ATTR", "DELETE_ATTR") and isinstance(i.argval, str)
    }
    imports = [i.argval for i in instructions if i.opname == "IMPORT_NAME"]
    return CodeNames(
        tuple(dict.fromkeys(names)),
        frozenset(attributes),
        tuple(dict.fromkeys(imports)),
        tuple(dict.fromkeys(path for one in codes for path in _paths(one))),
        frozenset(_called_without_arguments(instructions)),
        bool(REFLECTION & {*names, *attributes}),
    )


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code object and those of the functions and comprehensions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _paths(code: CodeType) -> Iterator[tuple[str, ...]]:
    path: tuple[str, ...] = ()
    for i in dis.get_instructions(code):
        if i.opname in _ATTRIBUTES and path:
            path = (*path, str(i.argval))
            if i.opname == "IMPORT_FROM":
                yield path
                path = path[:1]
            continue
        if path:
            yield path
        starts = i.opname in _ROOTS or i.opname == "IMPORT_NAME"
        path = (str(i.argval),) if starts else ()


def _called_without_arguments(instructions: Iterable[dis.Instruction]) -> Iterator[str]:
    name = ""
    for i in instructions:
        if i.opname in (*_GLOBALS, *_ATTRIBUTES) and isinstance(i.argval, str):
            name = i.argval
        elif i.opname in ("PRECALL", "CALL") and i.arg == 0 and name:
            yield name
        elif i.opname not in ("PUSH_NULL", "CACHE"):
            name = ""


@functools.cache
def is_library(filename: str) -> bool:
    """Whether a file belongs to Python or to an installed package other than this one.

    Code from a prompt, a notebook or ``exec`` is not a library.
    """
    if filename.startswith("<"):
        return filename.startswith("<frozen")
    name = filename.replace("\\", "/")
    return "/gd_torch/" not in name and name.startswith(_library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_paths()[kind] for kind in kinds]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(folder.replace("\\", "/").rstrip("/") + "/" for folder in folders)


def is_library_module(name: object) -> bool:
    """Whether the module with this name belongs to Python or to an installed package.

    >>> is_library_module("torch.nn"), is_library_module("__main__")
    (True, False)
    """
    if not isinstance(name, str) or not name:
        return True
    if name == "__main__":
        return False
    first = name.partition(".")[0]
    if first in LIBRARIES or first in sys.stdlib_module_names:
        return True
    file = vars(sys.modules[name]).get("__file__") if name in sys.modules else None
    return file is not None and is_library(str(file))
