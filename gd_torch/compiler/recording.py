"""One forward and one backward pass as a flat list of aten operations on real tensors.

Two public-facing hooks of torch do the work: a dispatch mode sees every operation below autograd,
forward and backward; a function mode sees the calls that read a tensor's numbers into Python.
Nothing is traced symbolically, so a recording takes some milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gd_torch.compiler.errors import Unsupported
from gd_torch.objectives import Objective, Weights

MAX_OPERATIONS = 20_000
"""Operations of one recording, at most."""

READS = {
    Tensor.numpy: ".numpy()",
    Tensor.tolist: ".tolist()",
    Tensor.__array__: "numpy.asarray()",
    Tensor.__dlpack__: "DLPack",
    Tensor.data_ptr: ".data_ptr()",
}
"""Functions that hand a tensor's memory to code that no mode sees."""

aten = torch.ops.aten

READ_A_NUMBER = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}


@dataclass(frozen=True, eq=False)
class Operation:
    """One aten call: its overload, arguments, result, and where the objective made it."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    result: Any
    place: str


@dataclass(frozen=True, eq=False)
class Contents:
    """What a tensor held before the operations that follow wrote weights' values into it."""

    tensor: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Recording:
    """What an evaluation did.

    Attributes:
        operations: the calls that depend on a weight, in order.
        leaves: the weights of the evaluation. value: the objective there.
        partials: one tensor per leaf, None where the value does not depend on it.
        constants: what a tensor held when it was read, where it was overwritten later.
        alive: every tensor seen, so that no memory is used twice.
    """

    operations: list[Operation | Contents]
    leaves: list[Tensor]
    value: Tensor
    partials: tuple[Tensor | None, ...]
    constants: dict[int, Tensor]
    alive: list[Tensor]


def record(objective: Objective, weights: Weights, known: frozenset[Any]) -> Recording:
    """Evaluate the objective and its partials once, noting every operation on the weights.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: where it is evaluated; not modified.
        known: the overloads that have a compiled form.

    Raises:
        Unsupported: an operation has none, or the objective reads numbers off its weights.
    """
    leaves = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
    for leaf in leaves:
        leaf.requires_grad_()
    recorder = Recorder(known, leaves)
    with torch.enable_grad(), recorder, Reads(recorder):
        value = objective(*leaves)
        if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
            raise Unsupported("its value is no scalar tensor that depends on a weight")
        partials = torch.autograd.grad((value,), leaves, allow_unused=True)
    return Recording(
        recorder.operations, leaves, value, partials, recorder.constants, recorder.alive
    )


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that depend on a weight, followed by their memory, not their object."""

    def __init__(self, known: frozenset[Any], leaves: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.operations: list[Operation | Contents] = []
        self.alive: list[Tensor] = list(leaves)
        self.followed = {memory(leaf) for leaf in leaves}
        self.made: set[int] = set()  # memory allocated during the evaluation
        self.constants: dict[int, Tensor] = {}
        self.read: dict[int, list[Tensor]] = {}  # constants by their memory
        self.leaves = set(self.followed)
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler here, which takes a second

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory holds values that depend on a weight."""
        return memory(tensor) in self.followed

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        with torch._C.DisableTorchFunction():
            return self._note(func, args, kwargs or {})

    def _note(self, func: Any, args: Any, kwargs: Any) -> Any:
        self.count += 1
        if self.count > MAX_OPERATIONS:
            raise Unsupported(f"one evaluation makes more than {MAX_OPERATIONS} operations")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unsupported(f"it draws random numbers: {named(func)}{line()}")
        given = list(tensors((args, kwargs)))
        follows = [self.depends(tensor) for tensor in given]
        if func._schema.is_mutable and torch.Tag.inplace_view not in func.tags:
            self._before_write(func, args, any(follows))
        elif any(follows) and func not in self.known and not is_view(func):
            if func in READ_A_NUMBER:
                raise Unsupported(
                    f"it reads a number off a weight (.item(), float(), a Python branch){line()}"
                )
            raise Unsupported(unknown(func))
        result = func(*args, **kwargs)
        made = list(tensors(result))
        self.alive += [*given, *made]
        if not any(follows):
            self.made.update(memory(tensor) for tensor in made)
            return result
        if not made:
            raise Unsupported(f"it reads a number off a weight: {named(func)}{line()}")
        for tensor, follow in zip(given, follows, strict=True):
            if not follow:
                self.read.setdefault(memory(tensor), []).append(tensor)
        self.followed.update(memory(tensor) for tensor in made)
        self.operations.append(Operation(func, args, kwargs, result, ""))
        return result

    def _before_write(self, func: Any, args: Any, follows: bool) -> None:
        """Keep what an in-place operation is about to overwrite, where that is needed."""
        target = args[0] if args and isinstance(args[0], Tensor) else None
        if target is None or func not in self.known:
            if follows:
                raise Unsupported(unknown(func))
            return
        own = memory(target)
        if own in self.leaves:
            raise Unsupported(f"it edits a weight in place: {named(func)}{line()}")
        if own in self.followed:
            return
        for tensor in self.read.pop(own, []):
            self.constants.setdefault(id(tensor), tensor.detach().clone())
        if follows:
            if own not in self.made:
                raise Unsupported(f"it writes into a tensor from outside: {named(func)}{line()}")
            size = target.untyped_storage().nbytes() // target.element_size()
            whole = target.detach().as_strided((size,), (1,), 0)
            self.operations.append(Contents(whole, whole.clone()))
            self.followed.add(own)


class Reads(TorchFunctionMode):
    """Refuses functions that read the numbers of a tensor that depends on a weight."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        if func in READS and isinstance(args[0], Tensor) and self._depends(args[0]):
            raise Unsupported(f"it reads numbers off a weight: {READS[func]}{line()}")
        return func(*args, **(kwargs or {}))

    def _depends(self, tensor: Tensor) -> bool:
        return self.recorder.depends(tensor)


def memory(tensor: Tensor) -> int:
    """The address of a tensor's storage.

    Raises:
        Unsupported: it has none, as sparse tensors.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise Unsupported(f"it uses a tensor of layout {tensor.layout} on {tensor.device}")
    return tensor.untyped_storage()._cdata


def tensors(thing: object) -> Iterator[Tensor]:
    """All tensors within nested sequences and dicts."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from tensors(item)
    elif isinstance(thing, dict):
        yield from tensors(tuple(thing.values()))


def named(function: Any) -> str:
    """An overload's name for users, as in "aten.linalg_inv_ex"."""
    return str(function).removesuffix(".default")


def unknown(function: Any) -> str:
    """The message about an operation without a rule."""
    return f"{named(function)} has no compiled form{line()}"


def line() -> str:
    """Where the objective called torch: the innermost frame outside torch and the library."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("torch", "gd_torch.")) or module == "gd_torch.objectives":
            return f" ({frame.f_code.co_filename}, line {frame.f_lineno})"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def is_view(function: Any) -> bool:
    """Whether an overload looks at the same memory in another way."""
    return bool(function.is_view or torch.Tag.inplace_view in function.tags)
