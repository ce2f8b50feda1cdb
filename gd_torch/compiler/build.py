"""C text to a loaded library: the C compiler of this machine, run once for a text."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gd_torch.compiler import cache

if TYPE_CHECKING:
    import ctypes
    import subprocess

COMPILERS = ("cc", "gcc", "clang")
"""Looked for in this order where ``$CC`` is not set."""

MACHINE_FLAGS = dict.fromkeys(("x86_64", "i686"), ("-march=native",))
MACHINE_FLAGS |= dict.fromkeys(("aarch64", "arm64"), ("-mcpu=native",))
"""For this processor's instructions, by machine; left out if the compiler refuses it."""

FLAGS = (
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-ivopts", "-std=gnu11", "-w",
)  # fmt: skip
"""No fused multiply-add, which rounds once instead of twice; nothing that is set on errors. With
ivopts gcc 12 writes some addresses as a difference, takes the function that stores there for one
without effects, and leaves its call out."""

OUTPUT_FLAGS = ("-x", "c", "-", "-shared", "-fPIC")

MOST_LOADED = 256
"""Libraries that are found again without a look at the disk."""

WALL_FACTOR = 4
"""A compiler may take this many times its limit of processor time, on a busy machine or waiting."""

_loaded: dict[tuple[str, int, str | None], ctypes.CDLL] = {}
_lock = threading.RLock()


class CompilerError(Exception):
    """No library can be made; the message says in one line what is missing or failed."""


class Job(NamedTuple):
    """A text, its command lines, of which the first may be refused, its key and its time."""

    source: str
    lines: tuple[tuple[str, ...], ...]
    key: str
    limit: float
    until: float


def load(source: str, *, optimization: int = 3, limit_seconds: float = 8.0) -> ctypes.CDLL:
    """The library that a C text compiles to, from this process, the cache on disk or the compiler.

    One process keeps what it has loaded, by text, level and ``$CC``. Threads wait for each other.

    Args:
        source: C that needs no headers and no other library.
        optimization: 0 to 3, the compiler's ``-O``.
        limit_seconds: the compiler and its children are ended after this much processor time each,
            or four times as much in all.

    Raises:
        CompilerError: there is no compiler, or it fails, or nothing can be written or loaded.
    """
    if optimization not in range(4):
        raise ValueError(f"optimization must be 0, 1, 2 or 3, not {optimization!r}")
    known = (source, optimization, os.environ.get("CC"))
    library = _loaded.get(known)
    if library is not None:
        return library
    with _lock:
        library = _loaded.get(known)
        if library is None:
            library = _found_or_made(source, optimization, limit_seconds)
            while len(_loaded) >= MOST_LOADED:
                del _loaded[next(iter(_loaded))]
            _loaded[known] = library
    return library


def _renew_lock() -> None:
    """A forked process has none of the threads that may hold the lock."""
    global _lock
    _lock = threading.RLock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_lock)


def _found_or_made(source: str, optimization: int, limit: float) -> ctypes.CDLL:
    """The library from the cache, else from the compiler, in the cache or a temporary directory."""
    if sys.platform == "win32":
        raise CompilerError("compiling is not supported on Windows")
    command = _compiler()
    flags = (f"-O{optimization}", *FLAGS, *OUTPUT_FLAGS)
    native = MACHINE_FLAGS.get(os.uname().machine, ())
    lines = tuple(dict.fromkeys((*command, *machine, *flags) for machine in (native, ())))
    key = cache.key_of(command, source, lines)
    job = Job(source, lines, key, limit, time.monotonic() + WALL_FACTOR * limit)
    place = cache.directory()
    if place is not None:
        if library := cache.take(place, key):
            return library
        with suppress(OSError):
            return _made(job, place, keep=True)
    return _made_aside(job)


def _made_aside(job: Job) -> ctypes.CDLL:
    """The library by way of the temporary directory, where nothing of it stays."""
    import tempfile

    place = "the temporary directory"
    try:
        place = f"{place} {tempfile.gettempdir()}"
        if cache.forbids_loading(tempfile.gettempdir()):
            raise OSError("failed to map segment")
        return _made(job, tempfile.gettempdir(), keep=False)
    except OSError as error:
        if "failed to map segment" in str(error):
            raise CompilerError(f"{place} does not allow loading of libraries (noexec)") from error
        raise CompilerError(f"no library can be made in {place}: {_reason(error)}") from error


def _made(job: Job, place: str, *, keep: bool) -> ctypes.CDLL:
    """Compile in a new directory in this place, load, and only then give it its name there."""
    with cache.workplace(place) as work:
        path = os.path.join(work, "made.so")
        _compile(job, path)
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            cache.seal(handle, job.key)
            library = cache.opened(handle, path)
        finally:
            os.close(handle)
        if keep:
            with suppress(OSError):
                os.replace(path, cache.path_of(place, job.key))
            cache.prune(place)
    return library


def _compiler() -> tuple[str, ...]:
    """The compiler's path and further words, from ``$CC`` or the first name that is installed."""
    import shlex
    import shutil

    try:
        words = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise CompilerError(f"no C compiler: $CC cannot be read ({error})") from None
    for name in words[:1] or COMPILERS:
        if path := shutil.which(name):
            return (os.path.abspath(path), *words[1:])
    if words:
        raise CompilerError(f"no C compiler: there is no {words[0]!a}, which $CC names")
    raise CompilerError("no C compiler: install gcc or clang (looked for $CC, cc, gcc, clang)")


def _compile(job: Job, path: str) -> None:
    """Make the library at this path; what is refused is tried with fewer flags.

    If that fails too, the error is the first one: without a flag for the processor, no source has
    a fused multiply-add.
    """
    name, failures = os.path.basename(job.lines[0][0]), []
    for line in job.lines:
        status, errors = _run((*line, "-o", path), job, os.path.dirname(path))
        if "CPU time limit" in errors:
            raise _too_long(job)
        if status <= 0:
            break
        failures.append((status, errors))
    if status > 0:
        status, errors = failures[0]
    for reason in ("No space left on device", "Disk quota exceeded"):
        if status and reason in errors:
            raise OSError(reason)
    if status:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise CompilerError(f"{name} failed: {_first_error(errors) or how}")
    if not os.path.lexists(path):
        raise CompilerError(f"{name} failed: it made no library")


def _run(line: tuple[str, ...], job: Job, work: str) -> tuple[int, str]:
    """Exit status and messages of the compiler; it is ended with its children at any exception."""
    import subprocess

    pipe, null, process = subprocess.PIPE, subprocess.DEVNULL, None
    env = {**os.environ, "LC_ALL": "C", "TMPDIR": work}
    try:
        with _interrupt_later():
            process = subprocess.Popen(
                line,
                stdin=pipe,
                stdout=null,
                stderr=pipe,
                cwd=work,
                env=env,
                start_new_session=True,
            )
        _limit_processor_time(process.pid, job.limit)
        left = max(job.until - time.monotonic(), 0.0)
        _, errors = process.communicate(job.source.encode(), left)
    except BaseException as error:
        if process is not None:
            _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise _too_long(job) from None
        if isinstance(error, OSError):
            raise CompilerError(f"{line[0]} cannot be started: {_reason(error)}") from error
        raise
    return process.returncode, errors.decode("utf-8", "replace")


def _too_long(job: Job) -> CompilerError:
    return CompilerError(f"compiling took longer than {job.limit:g} s")


def _limit_processor_time(process: int, seconds: float) -> None:
    """A limit that the compiler's children inherit; only on Linux, elsewhere all time counts."""
    if sys.platform == "linux":
        import resource

        limit = max(1, round(seconds))
        with suppress(OSError):  # it has ended already
            resource.prlimit(process, resource.RLIMIT_CPU, (limit, limit + 1))


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Put Ctrl-C off until the process that is started here is known and can be ended."""
    import signal

    handler, came = signal.getsignal(signal.SIGINT), []
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    signal.signal(signal.SIGINT, lambda *received: came.append(received))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(*came[0])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the compiler and its children; a pipe that one of them still holds is not waited for."""
    import signal

    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in filter(None, (process.stdin, process.stderr)):
        with suppress(OSError):
            pipe.close()


def _first_error(errors: str) -> str:
    """The first line that says error, else the first; printable and not too long."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:300]


def _reason(error: OSError) -> str:
    """What an error says, without the name of the file, in one line."""
    return " ".join((error.strerror or str(error).split(": ", 1)[-1]).split())
