"""Trace one forward and one backward pass as a list of aten operations on real tensors.

A dispatch mode receives every operation below autograd, forward and backward; a function mode
receives the calls that read the values of a tensor in Python. Tracing takes some milliseconds.
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
"""Largest number of operations of a trace."""

VALUE_READS = {
    Tensor.numpy: ".numpy()",
    Tensor.tolist: ".tolist()",
    Tensor.__array__: "numpy.asarray()",
    Tensor.__dlpack__: "DLPack",
    Tensor.data_ptr: ".data_ptr()",
}
"""Functions that give access to a tensor's memory outside of torch's hooks."""


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of an aten overload, with its result."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    result: Any

    def with_tensor(self, old: Tensor, new: Tensor) -> Operation:
        """A copy with one tensor replaced."""
        parts = (self.arguments, self.options, self.result)
        if not any(tensor is old for tensor in tensors_in(parts)):
            return self
        return Operation(self.function, *(with_replaced(part, old, new) for part in parts))


@dataclass(frozen=True, eq=False)
class InitialContents:
    """The values of a tensor before a later operation writes values that depend on the weights."""

    tensor: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Trace:
    """The operations of one evaluation.

    Attributes:
        operations: the calls that depend on a weight, in order.
        leaves: the weights of the evaluation.
        value: the objective's value.
        partials: one tensor per leaf, None if the value does not depend on it.
        constants: by the tensor's id, its values when it was read, if it was overwritten later.
        alive: references to all tensors, so that no memory address is reused.
    """

    operations: list[Operation | InitialContents]
    leaves: list[Tensor]
    value: Tensor
    partials: tuple[Tensor | None, ...]
    constants: dict[int, Tensor]
    alive: list[Tensor]


def trace(objective: Objective, weights: Weights, known: frozenset[Any]) -> Trace:
    """Evaluate the objective and its partials once, and trace all operations on the weights.

    Args:
        objective: a torch function of the weights that returns one scalar.
        weights: the point of the evaluation; not modified.
        known: the overloads that have a compiled form.

    Raises:
        Unsupported: an operation has none, or the objective reads values of its weights in Python.
    """
    leaves = [w.detach().clone(memory_format=torch.contiguous_format) for w in weights]
    for leaf in leaves:
        leaf.requires_grad_()
    tracer = Tracer(known, leaves)
    with torch.enable_grad(), tracer, ValueReadGuard(tracer):
        value = objective(*leaves)
        if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
            raise Unsupported("its value is not a scalar tensor that depends on a weight")
        partials = torch.autograd.grad((value,), leaves, allow_unused=True)
    return Trace(tracer.operations, leaves, value, partials, tracer.constants, tracer.alive)


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the operations that depend on a weight; dependence is tracked by memory address."""

    def __init__(self, known: frozenset[Any], leaves: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = known
        self.operations: list[Operation | InitialContents] = []
        self.alive: list[Tensor] = list(leaves)
        self.dependent = {storage_address(leaf) for leaf in leaves}
        self.created: set[int] = set()  # storages allocated during the evaluation
        self.constants: dict[int, Tensor] = {}
        self.read: dict[int, list[Tensor]] = {}  # constants by storage address
        self.leaves = set(self.dependent)
        self.count = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch imports its compiler here, which takes a second

    def depends(self, tensor: Tensor) -> bool:
        """Whether a tensor's storage contains values that depend on a weight."""
        return storage_address(tensor) in self.dependent

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        with torch._C.DisableTorchFunction():
            return self._call(func, args, kwargs or {})

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Execute a call; add it to the trace if one of its tensors depends on a weight."""
        if func in METADATA:
            return func(*args, **kwargs)
        self._refuse_by_kind(func)
        inputs = list(tensors_in((args, kwargs)))
        depends = [self.depends(tensor) for tensor in inputs]
        if torch.Tag.inplace_view in func.tags:
            self._before_reshape(func, args[0])
        elif func._schema.is_mutable:
            self._before_write(func, args, any(depends))
        elif any(depends):
            self._refuse_without_rule(func)
        result = func(*args, **kwargs)
        created = list(tensors_in(result))
        self.alive += [*inputs, *created]
        if not any(depends):
            self.created.update(storage_address(tensor) for tensor in created)
            return result
        if not created:
            raise Unsupported(
                f"it reads a value of a weight in Python: {operation_name(func)}{user_line()}"
            )
        operation = Operation(func, args, kwargs, result)
        for tensor, depend in zip(inputs, depends, strict=True):
            if not depend:
                operation = operation.with_tensor(tensor, self._constant(tensor))
        self.dependent.update(storage_address(tensor) for tensor in created)
        self.operations.append(operation)
        return result

    def _constant(self, tensor: Tensor) -> Tensor:
        """A new tensor object for a constant that is read now and may be overwritten later."""
        alias = tensor.detach()
        self.alive.append(alias)
        self.read.setdefault(storage_address(tensor), []).append(alias)
        return alias

    def _refuse_by_kind(self, func: Any) -> None:
        """Refuse random numbers and too many operations."""
        self.count += 1
        if self.count > MAX_OPERATIONS:
            raise Unsupported(f"one evaluation has more than {MAX_OPERATIONS} operations")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unsupported(f"it draws random numbers: {operation_name(func)}{user_line()}")

    def _refuse_without_rule(self, func: Any) -> None:
        """Refuse an operation that depends on the weights and has no compiled form."""
        if func in self.known or is_view(func):
            return
        if func in NUMBER_READS:
            raise Unsupported(
                "it reads a value of a weight in Python (.item(), float(), a branch)" + user_line()
            )
        raise Unsupported(no_rule_message(func))

    def _before_reshape(self, func: Any, target: Tensor) -> None:
        """Save the shape that a tensor has before ``func``, such as squeeze_, changes it."""
        if func not in RESHAPES:
            raise Unsupported(no_rule_message(func))
        if any(target is leaf for leaf in self.alive[: len(self.leaves)]):
            raise Unsupported(f"it edits a weight in place: {operation_name(func)}{user_line()}")
        before = target.detach()
        self.alive.append(before)
        self._replace(target, before)

    def _replace(self, old: Tensor, new: Tensor) -> None:
        """Replace a tensor in all operations since its creation."""
        for i in range(len(self.operations) - 1, -1, -1):
            operation = self.operations[i]
            if isinstance(operation, InitialContents):
                continue
            self.operations[i] = operation.with_tensor(old, new)
            created = any(tensor is old for tensor in tensors_in(operation.result))
            if created and not is_view(operation.function):
                break  # it did not exist before

    def _before_write(self, func: Any, args: Any, depends: bool) -> None:
        """Save the values that an in-place operation overwrites, if they are needed."""
        target = args[0] if args and isinstance(args[0], Tensor) else None
        if target is None or func not in self.known:
            if depends:
                raise Unsupported(no_rule_message(func))
            return
        own = storage_address(target)
        if own in self.leaves:
            raise Unsupported(f"it edits a weight in place: {operation_name(func)}{user_line()}")
        if own in self.dependent:
            return
        for tensor in self.read.pop(own, []):
            self.constants.setdefault(id(tensor), tensor.detach().clone())
        if depends:
            if own not in self.created:
                raise Unsupported(
                    "it writes into a tensor from outside the objective: "
                    f"{operation_name(func)}{user_line()}"
                )
            entries = storage_entries(target.detach())
            self.operations.append(InitialContents(entries, entries.clone()))
            self.dependent.add(own)


class ValueReadGuard(TorchFunctionMode):
    """Refuses functions that read the values of a tensor that depends on a weight."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # the signature is torch's
        if func in VALUE_READS and isinstance(args[0], Tensor) and self.tracer.depends(args[0]):
            raise Unsupported(
                f"it reads values of a weight in Python: {VALUE_READS[func]}{user_line()}"
            )
        return func(*args, **(kwargs or {}))
