"""One forward and one backward pass as a flat list of aten operations on real tensors.

Two public-facing hooks of torch do the work: a dispatch mode sees every operation below autograd,
forward and backward; a function mode sees the calls that read a tensor's numbers into Python.
Nothing is traced symbolically, so a recording takes some milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gd_torch.compiler.error_messages import no_rule_message, operation_name, user_line
from gd_torch.compiler.errors import Unsupported
from gd_torch.compiler.overloads import METADATA, NUMBER_READS, RESHAPES, is_view
from gd_torch.compiler.tensors import storage_address, storage_entries, tensors_in, with_replaced
from gd_torch.typing import Objective, Weights

MAX_OPERATIONS = 30_000
"""Operations of one recording, at most."""

VALUE_READS = {
    Tensor.numpy: ".numpy()",
    Tensor.tolist: ".tolist()",
    Tensor.__array__: "numpy.asarray()",
    Tensor.__dlpack__: "DLPack",
    Tensor.data_ptr: ".data_ptr()",
}
"""Functions that hand a tensor's memory to code that no mode sees."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of an overload of aten, with what it returned."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    result: Any

    def with_tensor(self, old: Tensor, new: Tensor) -> Operation:
        """The same with one tensor replaced."""
        parts = (self.arguments, self.options, self.result)
        if not any(tensor is old for tensor in tensors_in(parts)):
            return self
        return Operation(self.function, *(with_replaced(part, old, new) for part in parts))


@dataclass(frozen=True, eq=False)
class InitialContents:
    """What a tensor held before the operations that follow wrote weights' values into it."""

    tensor: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Trace:
    """What an evaluation did.

    Attributes:
        operations: the calls that depend on a weight, in order.
        leaves: the weights of the evaluation. value: the objective there.
        partials: one tensor per leaf, None where the value does not depend on it.
        constants: what a tensor held when it was read, where it was overwritten later.
        alive: every tensor seen, so that no memory is used twice.
    """

    operations: list[Operation | InitialContents]
    leaves: list[Tensor]
    value: Tensor
    partials: tuple[Tensor | None, ...]
    constants: dict[int, Tensor]
    alive: list[Tensor]


def trace(objective: Objective, weights: Weights, known: frozenset[Any]) -> Trace:
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
    tracer = Tracer(known, leaves)
    with torch.enable_grad(), tracer, ValueReadGuard(tracer):
        value = objective(*leaves)
        if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
            raise Unsupported("its value is no scalar tensor that depends on a weight")
        partials = torch.autograd.grad((value,), leaves, allow_unused=True)
    return Trace(tracer.operations, leaves, value, partials, tracer.constants, tracer.alive)


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that depend on a weight, followed by their memory, not their object."""

    def __init__(self, known: frozenset[Any], leaves: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.operations: list[Operation | InitialContents] = []
        self.alive: list[Tensor] = list(leaves)
        self.dependent = {storage_address(leaf) for leaf in leaves}
        self.created: set[int] = set()  # memory allocated during the evaluation
        self.constants: dict[int, Tensor] = {}
        self.read: dict[int, list[Tensor]] = {}  # constants by their memory
        self.leaves = set(self.dependent)
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler here, which takes a second

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor's memory holds values that depend on a weight."""
        return storage_address(tensor) in self.dependent

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        with torch._C.DisableTorchFunction():
            return self._note(func, args, kwargs or {})

    def _note(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a call; keep it if one of its tensors depends on a weight."""
        if func in METADATA:
            return func(*args, **kwargs)
        self._refuse_by_kind(func)
        given = list(tensors_in((args, kwargs)))
        follows = [self.depends(tensor) for tensor in given]
        if torch.Tag.inplace_view in func.tags:
            self._before_reshape(func, args[0])
        elif func._schema.is_mutable:
            self._before_write(func, args, any(follows))
        elif any(follows):
            self._refuse_without_rule(func)
        result = func(*args, **kwargs)
        created = list(tensors_in(result))
        self.alive += [*given, *created]
        if not any(follows):
            self.created.update(storage_address(tensor) for tensor in created)
            return result
        if not created:
            raise Unsupported(
                f"it reads a number off a weight: {operation_name(func)}{user_line()}"
            )
        operation = Operation(func, args, kwargs, result)
        for tensor, follow in zip(given, follows, strict=True):
            if not follow:
                operation = operation.with_tensor(tensor, self._constant(tensor))
        self.dependent.update(storage_address(tensor) for tensor in created)
        self.operations.append(operation)
        return result

    def _constant(self, tensor: Tensor) -> Tensor:
        """A tensor object of its own for a constant that is read now and may change later."""
        alias = tensor.detach()
        self.alive.append(alias)
        self.read.setdefault(storage_address(tensor), []).append(alias)
        return alias

    def _refuse_by_kind(self, func: Any) -> None:
        """Refuse random numbers and endless evaluations."""
        self.count += 1
        if self.count > MAX_OPERATIONS:
            raise Unsupported(f"one evaluation makes more than {MAX_OPERATIONS} operations")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unsupported(f"it draws random numbers: {operation_name(func)}{user_line()}")

    def _refuse_without_rule(self, func: Any) -> None:
        """Refuse an operation on weights' values that has no compiled form."""
        if func in self.known or is_view(func):
            return
        if func in NUMBER_READS:
            raise Unsupported(
                f"it reads a number off a weight (.item(), float(), a Python branch){user_line()}"
            )
        raise Unsupported(no_rule_message(func))

    def _before_reshape(self, func: Any, target: Tensor) -> None:
        """Keep the shape that a tensor has before ``func``, such as squeeze_, changes it."""
        if func not in RESHAPES:
            raise Unsupported(no_rule_message(func))
        if any(target is leaf for leaf in self.alive[: len(self.leaves)]):
            raise Unsupported(f"it edits a weight in place: {operation_name(func)}{user_line()}")
        before = target.detach()
        self.alive.append(before)
        self._replace(target, before)

    def _replace(self, old: Tensor, new: Tensor) -> None:
        """Put one tensor for another in the operations since it was made."""
        for i in range(len(self.operations) - 1, -1, -1):
            operation = self.operations[i]
            if isinstance(operation, InitialContents):
                continue
            self.operations[i] = operation.with_tensor(old, new)
            created = any(tensor is old for tensor in tensors_in(operation.result))
            if created and not is_view(operation.function):
                break  # it was not there before

    def _before_write(self, func: Any, args: Any, follows: bool) -> None:
        """Keep what an in-place operation is about to overwrite, where that is needed."""
        target = args[0] if args and isinstance(args[0], Tensor) else None
        if target is None or func not in self.known:
            if follows:
                raise Unsupported(no_rule_message(func))
            return
        own = storage_address(target)
        if own in self.leaves:
            raise Unsupported(f"it edits a weight in place: {operation_name(func)}{user_line()}")
        if own in self.dependent:
            return
        for tensor in self.read.pop(own, []):
            self.constants.setdefault(id(tensor), tensor.detach().clone())
        if follows:
            if own not in self.created:
                raise Unsupported(
                    f"it writes into a tensor from outside: {operation_name(func)}{user_line()}"
                )
            whole = storage_entries(target.detach())
            self.operations.append(InitialContents(whole, whole.clone()))
            self.dependent.add(own)


class ValueReadGuard(TorchFunctionMode):
    """Refuses functions that read the numbers of a tensor that depends on a weight."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        if func in VALUE_READS and isinstance(args[0], Tensor) and self.tracer.depends(args[0]):
            raise Unsupported(f"it reads numbers off a weight: {VALUE_READS[func]}{user_line()}")
        return func(*args, **(kwargs or {}))
