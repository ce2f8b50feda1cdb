"""Load the shared library of a C text: from this process, from the cache on disk, or compiled."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from gd_torch.compiler import cache, cache_directory
from gd_torch.compiler.c_compiler import (
    WALL_TIME_FACTOR,
    Compilation,
    CompilerError,
    command_lines,
    compile_library,
    find_compiler,
    os_error_reason,
)

if TYPE_CHECKING:
    import ctypes

MAX_LOADED_LIBRARIES = 256
"""Libraries that a process keeps for reuse; the oldest is dropped first."""

_loaded: dict[tuple[str, int, str | None], ctypes.CDLL] = {}
_lock = threading.RLock()


def load_library(source: str, *, optimization: int = 3, limit_seconds: float = 8.0) -> ctypes.CDLL:
    """Load the shared library of a C text, compiling it if necessary.

    Loaded libraries are reused by source, optimization level and ``$CC``. Thread-safe: one thread
    compiles, the others wait.

    Args:
        source: C text that needs no headers and no other library.
        optimization: the compiler's ``-O`` level, 0 to 3.
        limit_seconds: limit of processor time of the compiler and of each of its children; wall
            time is limited to four times as much.

    Raises:
        ValueError: ``optimization`` is out of range.
        CompilerError: there is no compiler, it fails, or the library cannot be written or loaded.
    """
    if optimization not in range(4):
        raise ValueError(f"optimization must be 0, 1, 2 or 3, got {optimization!r}")
    key = (source, optimization, os.environ.get("CC"))
    library = _loaded.get(key)
    if library is not None:
        return library
    with _lock:
        library = _loaded.get(key)
        if library is None:
            library = _load_or_compile(source, optimization, limit_seconds)
            while len(_loaded) >= MAX_LOADED_LIBRARIES:
                del _loaded[next(iter(_loaded))]
            _loaded[key] = library
    return library


def _renew_lock() -> None:
    """Replace the lock in a forked process, where the thread that holds it does not exist."""
    global _lock
    _lock = threading.RLock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_lock)


def _load_or_compile(source: str, optimization: int, limit_seconds: float) -> ctypes.CDLL:
    """Load from the cache, else compile into the cache or into a temporary directory."""
    if sys.platform == "win32":
        raise CompilerError("compiling is not supported on Windows")
    command = find_compiler()
    commands = command_lines(command, optimization)
    key = cache.key_of(command, source, commands)
    deadline = time.monotonic() + WALL_TIME_FACTOR * limit_seconds
    compilation = Compilation(source, commands, key, limit_seconds, deadline)
    directory = cache_directory.directory()
    if directory is not None:
        if library := cache.load_cached(directory, key):
            return library
        with suppress(OSError):
            return _compile_in(compilation, directory, store=True)
    return _compile_uncached(compilation)


def _compile_uncached(compilation: Compilation) -> ctypes.CDLL:
    """Compile in the temporary directory and remove all files after loading."""
    import tempfile

    where = "the temporary directory"
    try:
        where = f"{where} {tempfile.gettempdir()}"
        if cache_directory.forbids_loading(tempfile.gettempdir()):
            raise OSError("failed to map segment")
        return _compile_in(compilation, tempfile.gettempdir(), store=False)
    except OSError as error:
        if "failed to map segment" in str(error):
            raise CompilerError(f"{where} does not allow loading of libraries (noexec)") from error
        reason = os_error_reason(error)
        raise CompilerError(f"no library can be written to {where}: {reason}") from error


def _compile_in(compilation: Compilation, directory: str, *, store: bool) -> ctypes.CDLL:
    """Compile in a new subdirectory and load; with ``store``, then move the file into the cache.

    Raises:
        CompilerError: the compiler fails.
        OSError: the library cannot be written or loaded.
    """
    with cache_directory.temporary_directory(directory) as work:
        path = os.path.join(work, "library.so")
        compile_library(compilation, path)
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            cache.append_footer(descriptor, compilation.key)
            library = cache.load_verified(descriptor, path)
        finally:
            os.close(descriptor)
        if store:
            with suppress(OSError):
                os.replace(path, cache.path_of(directory, compilation.key))
            cache_directory.prune(directory)
    return library
