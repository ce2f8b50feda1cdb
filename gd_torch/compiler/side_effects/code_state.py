"""Fingerprints of functions, methods, classes and modules: the state that their code names."""

from __future__ import annotations

import sys
from types import FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from gd_torch.compiler.side_effects import hidden_names
from gd_torch.compiler.side_effects.code_names import (
    LIBRARIES,
    CodeNames,
    is_library,
    is_library_module,
    names_of,
)
from gd_torch.compiler.side_effects.memory_checksum import Identity
from gd_torch.compiler.side_effects.state_walk import NamedAttributes, Token, Walk

IMPLICIT = frozenset(["forward", "backward", "setup_context", "jvp", "vmap"])
"""Methods that torch calls although the user's code does not name them."""

CONSTRUCTORS = frozenset(("__init__", "__new__", "__post_init__"))
UNREAD = CONSTRUCTORS | {"__repr__", "__str__", "__del__", "__reduce__", "__getstate__"}
"""Special methods that an evaluation does not call on an existing object."""

TORCH_MODULE = "torch.nn.modules.module.Module"
PLAIN_BASES = frozenset(
    ("builtins.object", "abc.ABC", "typing.Generic", "typing.Protocol", TORCH_MODULE)
)
"""Library base classes that read only attributes with a leading underscore or listed below."""

ALWAYS_FOLLOWED = frozenset(("training",))
"""Attributes read by the library's base classes."""


def function_token(walk: Walk, function: Any, index: int) -> Token:
    """A Python function: closure, defaults, attributes and the globals that its code names."""
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            walk.push(cell.cell_contents, index, ("closure variable", name))
        except ValueError:
            walk.note(index, ("closure variable", name), ("empty",))
    defaults = function.__defaults__ or ()
    arguments = code.co_varnames[: code.co_argcount]
    for name, value in zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True):
        walk.push(value, index, ("default of argument", name))
    for name, value in (function.__kwdefaults__ or {}).items():
        walk.push(value, index, ("default of argument", name))
    if function.__dict__:
        walk.push_all([((".", k), v) for k, v in list(function.__dict__.items())], index)
    module = str(function.__module__)
    if not is_library(code.co_filename) and module.partition(".")[0] not in LIBRARIES:
        _follow_code(walk, function, names_of(code), index)
    else:
        walk.hide(hidden_names.of_member(module, code.co_name))
    return ("function", code.co_name, Identity(code))


def _follow_code(walk: Walk, function: Any, names: CodeNames, index: int) -> None:
    shared = function.__globals__
    for name in names.globals:
        if (id(shared), name) in walk.globals_done:
            continue
        walk.globals_done.add((id(shared), name))
        if name in shared:
            walk.push(shared[name], index, ("global", name))
        else:
            walk.note(index, ("global", name), ("missing",))
            if name in hidden_names.BUILTINS:
                walk.hide(f"{hidden_names.BUILTINS[name]} (`{name}`)")
    for name in names.imports:
        walk.hide(hidden_names.of_module(name))
        if name in sys.modules:
            walk.push(sys.modules[name], index, ("module", name))
    walk.names |= names.attributes
    walk.reflective |= names.reflective
    _hidden_members(walk, function, names)


def _hidden_members(walk: Walk, function: Any, names: CodeNames) -> None:
    for name in sorted(names.attributes & hidden_names.ATTRIBUTES.keys()):
        walk.hide(f"{hidden_names.ATTRIBUTES[name]} (`{name}`)")
    for name in sorted(names.unseeded & hidden_names.UNSEEDED):
        walk.hide(f"{hidden_names.RANDOM} (`{name}()`)")
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    variables = dict(cells)
    for path in names.paths:
        if len(path) > 1:
            root = function.__globals__.get(path[0])
            if path[0] in variables:
                root = _content(variables[path[0]])
            module = path[0] if path[0] in names.imports else _module_name(root)
            walk.hide(hidden_names.of_member(module, path[-1]))


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _module_name(thing: object) -> str:
    """The name of a module, or of the module of a class; empty for anything else."""
    if issubclass(type(thing), ModuleType):
        name = object.__getattribute__(thing, "__dict__").get("__name__")
    elif issubclass(type(thing), type):
        name = type.__dict__["__module__"].__get__(thing)
    else:
        name = None
    return name if type(name) is str else ""


def method_token(walk: Walk, method: Any, index: int) -> Token:
    """A bound method: its function and the object that it is bound to."""
    walk.push(method.__self__, index, ("", "self") if index == 0 else ("through", ""))
    walk.push(method.__func__, index, ("through", ""))
    return ("method",)


def builtin_token(walk: Walk, function: Any, index: int) -> Token:
    """A function written in C, with the object that it is bound to, if any."""
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None)
    if type(owner) is ModuleType or owner is None:
        module = module if type(module) is str else _module_name(owner)
        walk.hide(hidden_names.of_member(module, function.__name__))
    elif issubclass(type(owner), type):
        walk.hide(hidden_names.of_member(_module_name(owner), function.__name__))
    else:
        walk.push(owner, index, ("through", ""))
        return ("builtin", function.__name__)
    return ("builtin", Identity(function))


def module_token(walk: Walk, module: Any, index: int) -> Token:
    """A module: the attributes named in code for a user's module, none for a library."""
    name = _module_name(module)
    walk.hide(hidden_names.of_module(name))
    if not is_library_module(name):
        attributes = object.__getattribute__(module, "__dict__")
        walk.follow_named(NamedAttributes(index, ".", "", lambda: attributes, ()))
    return ("module", name, Identity(module))


def class_token(walk: Walk, cls: Any, index: int) -> Token:
    """A class named in code, which may therefore be instantiated."""
    follow_class(walk, cls, index, constructed=True)
    return ("class", cls.__qualname__, Identity(cls))


def follow_class(walk: Walk, cls: type, index: int, constructed: bool = False) -> None:
    """Follow the attributes and methods of a class and its bases that are named in code."""
    for base in type.__dict__["__mro__"].__get__(cls):
        module = _module_name(base)
        if is_library_module(module):
            walk.hide(hidden_names.of_module(module))
            continue
        if (id(base), constructed) in walk.classes_done:
            continue
        walk.classes_done.add((id(base), constructed))
        attributes = type.__dict__["__dict__"].__get__(base)
        always = _special(attributes) - (UNREAD - CONSTRUCTORS if constructed else UNREAD)
        readable = _readable(attributes)
        prefix = f"{base.__qualname__}."
        named = NamedAttributes(index, "class attribute", prefix, readable, always)
        walk.follow_named(named)


def _special(attributes: Any) -> set[str]:
    """The special methods of a class, and the methods called by torch."""
    return {
        name
        for name, value in attributes.items()
        if (name.startswith("__") and type(value) is FunctionType) or name in IMPLICIT
    }


def _readable(attributes: Any) -> Any:
    """A function that returns the attributes of a class, without slots and Python's own entries."""
    own = ("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__", "__slots__")
    return lambda: {
        name: value
        for name, value in list(attributes.items())
        if type(value) is not MemberDescriptorType and name not in own
    }


class Layout:
    """The storage of attributes in the instances of a class.

    Attributes:
        user: whether the class is defined by the user.
        named_only: whether only user code reads the attributes.
        torch_module: whether the class derives from torch's module class, whose methods read all
            attributes that begin with an underscore.
        members: the slots, by name.
    """

    def __init__(self, cls: type) -> None:
        bases = type.__dict__["__mro__"].__get__(cls)
        self.user = not is_library_module(_module_name(cls))
        self.torch_module = any(_full_name(base) == TORCH_MODULE for base in bases)
        self.named_only = self.user and all(_is_plain(base) for base in bases)
        self.members = {
            name: value
            for base in bases
            for name, value in type.__dict__["__dict__"].__get__(base).items()
            if type(value) is MemberDescriptorType and not _is_builtin(base)
        }


def _is_plain(base: type) -> bool:
    return _full_name(base) in PLAIN_BASES or not is_library_module(_module_name(base))


def _full_name(cls: type) -> str:
    return f"{_module_name(cls)}.{cls.__qualname__}"


def _is_builtin(base: type) -> bool:
    return _module_name(base) == "builtins"
