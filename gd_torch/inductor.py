"""What we change of torch's compiler while it works: it is quieter and quicker, its files whole."""

from __future__ import annotations

import gc
import logging
import os
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undisturbed() -> Iterator[None]:
    """What tracing logs and warns of is an answer here, not news; and no search for garbage.

    Inductor's import keeps 340 000 objects, nearly all it makes: looking takes 0.6 s of its 1.9.
    """
    logger = logging.getLogger("torch._inductor")
    level, collecting = logger.level, gc.isenabled()
    logger.setLevel(logging.CRITICAL)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if collecting:
            gc.enable()


@contextmanager
def unprobed() -> Iterator[None]:
    """Take the processor's vector registers for granted: trying each extension takes seconds."""
    from torch._inductor import config, cpu_vec_isa

    every = cpu_vec_isa.supported_vec_isa_list
    plain = [isa for isa in every if type(isa).__base__ is cpu_vec_isa.VecISA]
    cpu_vec_isa.supported_vec_isa_list = plain
    cpu_vec_isa.valid_vec_isa_list.cache_clear()
    try:
        with config.patch({"cpp.vec_isa_ok": True}):
            yield
    finally:
        cpu_vec_isa.supported_vec_isa_list = every
        cpu_vec_isa.valid_vec_isa_list.cache_clear()


@contextmanager
def whole_files() -> Iterator[None]:
    """Let the compiler write aside and rename what it has made.

    Inductor lets it write where it looks for finished work: a process that is killed meanwhile,
    with its children as Ctrl-C does, leaves half a library there, and every later one takes it.
    """
    from torch._inductor import cpp_builder

    compile_at_once = cpp_builder.run_compile_cmd

    def compile_aside(cmd_line: str, cwd: str) -> None:
        words = shlex.split(cmd_line)
        made = words[words.index("-o") + 1]
        aside = f"{made}.{os.getpid()}"
        compile_at_once(shlex.join(aside if word == made else word for word in words), cwd)
        os.replace(aside, made)

    cpp_builder.run_compile_cmd = compile_aside
    try:
        yield
    finally:
        cpp_builder.run_compile_cmd = compile_at_once
