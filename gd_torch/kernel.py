"""Trace one in-place function of tensors, compile it, and launch its kernels with nothing between.

What it uses of torch is not public: `make_fx` with a decomposition table, Inductor's settings and
`compile_fx_inner`, and the names in the wrapper it generates. (`engine`, `gauge`, `inductor`,
`layout` and `checking.trace` use other private names.) Whoever uses it must be ready for
:class:`Untraceable`, and must check the first results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from gd_torch.guards import overruns
from gd_torch.inductor import undisturbed, unprobed, whole_files
from gd_torch.layout import (
    ALIGNED,
    LANES,
    LongAxisLast,
    columns_aligned,
    decompositions,
    large_products,
)

KEPT = 64
"""Compiled functions kept in the process, by their trace: other data, starts and rates fit them."""

_COMPILED: dict[tuple[Any, ...], Any] = {}


class Untraceable(Exception):
    """The function cannot be traced, compiled or launched; the message says why."""


class Kernel:
    """An in-place function of tensors, compiled for exactly these tensors.

    Args:
        function: works on its arguments in place and returns nothing; what else it reads (data
            closed over) is taken up as constants.
        arguments: the tensors it will always be launched on; they are left as they were.
        leading: axes at the front of every tensor that are not worth moving, as of runs.

    Raises:
        Untraceable: whatever went wrong on the way.
    """

    def __init__(
        self, function: Callable[..., None], arguments: Sequence[Tensor], *, leading: int = 0
    ) -> None:
        if any(tensor.device.type != "cpu" for tensor in arguments):
            raise Untraceable("compiled steps are for the CPU so far")
        self.arguments = tuple(arguments)
        before = [tensor.clone() for tensor in self.arguments]
        try:
            with torch.no_grad(), undisturbed():
                self.launches, self._buffers = _compile(function, self.arguments, leading)
        except Exception as error:
            first = str(error).strip().splitlines()
            raise Untraceable(f"{type(error).__name__}: {first[0] if first else ''}") from error
        finally:
            for tensor, value in zip(self.arguments, before, strict=True):
                tensor.copy_(value)

    def run(self, times: int) -> None:
        """Launch ``times`` times."""
        if len(self.launches) == 1:
            kernel, arguments = self.launches[0]
            for _ in range(times):
                kernel(*arguments)
            return
        launches = self.launches
        for _ in range(times):
            for kernel, arguments in launches:
                kernel(*arguments)


Launch = tuple[Callable[..., Any], tuple[Any, ...]]


def _compile(
    function: Callable[..., None], arguments: tuple[Tensor, ...], leading: int
) -> tuple[list[Launch], list[Tensor]]:
    """Trace, rewrite, compile, then run once to note every launch with its buffers."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch._subclasses.fake_tensor import FakeTensorMode

    # fake tensors hold no numbers: nothing can be read off a weight and kept as a constant
    trace = make_fx(_returning_nothing(function), tracing_mode="fake", _allow_non_fake_inputs=True)
    graph = trace(*(tensor.clone() for tensor in arguments))
    by_rows = large_products(graph)
    inputs = [*arguments, *_lift_constants(graph, by_rows)]
    fakes = FakeTensorMode()
    fake = [fakes.from_tensor(tensor) for tensor in inputs]
    table = {**select_decomp_table(), **decompositions(by_rows)}
    settings = {"realize_cpu_opcount_threshold": 10, **({} if by_rows else ALIGNED)}
    with fakes, unprobed(), whole_files(), config.patch(settings):
        threads = torch.get_num_threads()
        key = (graph.code, leading, threads, *((t.shape, t.stride(), t.dtype) for t in inputs))
        if key not in _COMPILED:
            graph = make_fx(graph, decomposition_table=table)(*fake)
            graph.graph.eliminate_dead_code()
            if not by_rows:
                graph = make_fx(LongAxisLast(graph, leading).run)(*fake)
                graph.graph.eliminate_dead_code()
            graph.recompile()
            while len(_COMPILED) >= KEPT:
                _COMPILED.pop(next(iter(_COMPILED)))
            _COMPILED[key] = compile_fx_inner(graph, fake)
    if overruns(_COMPILED[key], _names(_COMPILED[key]), inputs, len(arguments)):
        raise Untraceable("a generated kernel writes beyond its buffer")
    return _record(_COMPILED[key], inputs)


def _returning_nothing(function: Callable[..., None]) -> Callable[..., tuple[()]]:
    def call(*arguments: Tensor) -> tuple[()]:
        function(*arguments)
        return ()

    return call


def _lift_constants(graph: torch.fx.GraphModule, by_rows: bool) -> list[Tensor]:
    """Turn the tensors that the function closes over into inputs; tall ones column by column."""
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    lifted: dict[tuple[Any, ...], torch.fx.Node] = {}
    constants: list[Tensor] = []
    for node in list(graph.graph.nodes):
        if node.op != "get_attr":
            continue
        tensor = getattr(graph, node.target)
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if key not in lifted:
            with graph.graph.inserting_after(last):
                last = lifted[key] = graph.graph.placeholder(f"constant_{len(constants)}")
            tall = (
                not by_rows and tensor.dim() >= 2 and tensor.shape[-1] < LANES <= tensor.shape[-2]
            )
            constants.append(columns_aligned(tensor) if tall else tensor)
        node.replace_all_uses_with(lifted[key])
        graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return constants


# ---------------------------------------------------------------- launches


def _names(compiled: Any) -> dict[str, Any]:
    """The globals of the generated wrapper, through which it allocates and launches."""
    wrapper = compiled.current_callable
    found: dict[str, Any] = getattr(wrapper, "__func__", wrapper).__globals__
    return found


def _record(compiled: Any, inputs: list[Tensor]) -> tuple[list[Launch], list[Tensor]]:
    """Run the generated wrapper once, noting each kernel launch and each buffer it allocates."""
    names = _names(compiled)
    launches: list[Launch] = []
    buffers: list[Tensor] = []

    def noted(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def launch(*arguments: Any) -> Any:
            launches.append((kernel, arguments))
            return kernel(*arguments)

        return launch

    def allocate(*arguments: Any) -> Tensor:
        buffers.append(saved["empty_strided_cpu"](*arguments))
        return buffers[-1]

    class Extern:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            kernel = getattr(saved["extern_kernels"], name)

            def launch(*arguments: Any, **options: Any) -> Any:
                if "out" not in options:
                    raise Untraceable(f"{name} allocates its result")
                launches.append((lambda *a: kernel(*a, **options), arguments))
                return kernel(*arguments, **options)

            return launch

    body = compiled.source_code.split("def call(")[-1].split("runner =")[0]
    if "torch.ops." in body:
        raise Untraceable("an operation has no generated kernel")
    saved = {
        "empty_strided_cpu": names["empty_strided_cpu"],
        "extern_kernels": names["extern_kernels"],
    }
    saved |= {name: value for name, value in names.items() if name.startswith("cpp_fused")}
    try:
        names.update(
            {name: noted(value) for name, value in saved.items() if name.startswith("cpp_")}
        )
        names["empty_strided_cpu"], names["extern_kernels"] = allocate, Extern()
        compiled(list(inputs))
    finally:
        names.update(saved)
    buffers += inputs
    return launches, buffers
