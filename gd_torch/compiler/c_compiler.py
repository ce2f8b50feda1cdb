"""Run the C compiler of this machine: find it, limit its processor time, report its first error."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import subprocess

COMPILERS = ("cc", "gcc", "clang")
"""Commands searched for, in this order, if ``$CC`` is not set."""

MACHINE_FLAGS = dict.fromkeys(("x86_64", "i686"), ("-march=native",))
MACHINE_FLAGS |= dict.fromkeys(("aarch64", "arm64"), ("-mcpu=native",))
"""By machine name, the flags for the instructions of this processor; omitted if refused."""

FLAGS = (
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-ivopts", "-std=gnu11", "-w",
)  # fmt: skip
"""No contraction to fused multiply-add, which rounds once instead of twice; no errno. ivopts is off
because gcc 12 with it writes some addresses as a difference, then wrongly assumes that the function
storing to them has no side effects, and removes the call."""

OUTPUT_FLAGS = ("-x", "c", "-", "-shared", "-fPIC")

WALL_TIME_FACTOR = 4
"""The compiler may take this many times its limit of processor time in wall time."""

DISK_ERRORS = ("No space left on device", "Disk quota exceeded")


class CompilerError(Exception):
    """No library can be compiled; the message gives the reason in one line."""


class Compilation(NamedTuple):
    """One source text to be compiled.

    Attributes:
        source: the C text.
        commands: command lines without the output path; each is tried if the one before fails.
        key: name of the library in the cache.
        cpu_seconds: limit of processor time of the compiler and of each of its children.
        deadline: limit of wall time, on the clock of ``time.monotonic``.
    """

    source: str
    commands: tuple[tuple[str, ...], ...]
    key: str
    cpu_seconds: float
    deadline: float


def command_lines(command: tuple[str, ...], optimization: int) -> tuple[tuple[str, ...], ...]:
    """The command lines to try: with flags for this processor, then without them."""
    flags = (f"-O{optimization}", *FLAGS, *OUTPUT_FLAGS)
    native = MACHINE_FLAGS.get(os.uname().machine, ())
    return tuple(dict.fromkeys((*command, *machine, *flags) for machine in (native, ())))


def find_compiler() -> tuple[str, ...]:
    """The compiler's path and arguments, from ``$CC`` or the first installed of ``COMPILERS``.

    Raises:
        CompilerError: there is none, or ``$CC`` is not a valid command.
    """
    import shlex
    import shutil

    if not hasattr(os, "O_NOFOLLOW"):
        raise CompilerError("no C compiler: compiled steps need a POSIX system, as Linux or macOS")
    try:
        words = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise CompilerError(f"no C compiler: $CC cannot be parsed ({error})") from None
    for name in words[:1] or COMPILERS:
        if path := shutil.which(name):
            return (os.path.abspath(path), *words[1:])
    if words:
        raise CompilerError(f"no C compiler: $CC is {words[0]!a}, which is not found")
    raise CompilerError("no C compiler: install gcc or clang (searched $CC, cc, gcc, clang)")


def compile_library(compilation: Compilation, path: str) -> None:
    """Compile a shared library to ``path``, with the first command that succeeds.

    If all fail, the error of the first one is reported: without flags for the processor, every
    source fails for lack of a fused multiply-add.

    Raises:
        CompilerError: the compiler fails or takes too long.
        OSError: the disk is full.
    """
    failures: list[tuple[int, str]] = []
    for command in compilation.commands:
        status, errors = _run((*command, "-o", path), compilation, os.path.dirname(path))
        if "CPU time limit" in errors:
            raise _timeout_error(compilation)
        if status <= 0:
            break
        failures.append((status, errors))
    if status > 0:
        status, errors = failures[0]
    _check_status(os.path.basename(compilation.commands[0][0]), status, errors, path)


def _check_status(name: str, status: int, errors: str, path: str) -> None:
    """Raise unless the compiler succeeded and wrote the library."""
    for reason in DISK_ERRORS:
        if status and reason in errors:
            raise OSError(reason)
    if status:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise CompilerError(f"{name} failed: {_first_error(errors) or how}")
    if not os.path.lexists(path):
        raise CompilerError(f"{name} failed: it wrote no library")


def _run(command: tuple[str, ...], compilation: Compilation, directory: str) -> tuple[int, str]:
    """Exit status and error output of the compiler; on any exception it and its children are
    killed."""
    import subprocess

    process = None
    try:
        with _deferred_interrupt():
            process = _start(command, directory)
        _limit_cpu_time(process.pid, compilation.cpu_seconds)
        remaining = max(compilation.deadline - time.monotonic(), 0.0)
        _, errors = process.communicate(compilation.source.encode(), remaining)
    except BaseException as error:
        if process is not None:
            _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise _timeout_error(compilation) from None
        if isinstance(error, OSError):
            reason = os_error_reason(error)
            raise CompilerError(f"{command[0]} cannot be started: {reason}") from error
        raise
    return process.returncode, errors.decode("utf-8", "replace")


def _start(command: tuple[str, ...], directory: str) -> subprocess.Popen[bytes]:
    """Start the compiler in a session of its own, with temporary files in ``directory``."""
    import subprocess

    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=directory,
        env={**os.environ, "LC_ALL": "C", "TMPDIR": directory},
        start_new_session=True,
    )


def _timeout_error(compilation: Compilation) -> CompilerError:
    return CompilerError(f"compiling took longer than {compilation.cpu_seconds:g} s")


def _limit_cpu_time(pid: int, seconds: float) -> None:
    """Set a limit that child processes inherit. Linux only; elsewhere only wall time is limited."""
    if sys.platform == "linux":
        import resource

        limit = max(1, round(seconds))
        with suppress(OSError):  # the process has ended already
            resource.prlimit(pid, resource.RLIMIT_CPU, (limit, limit + 1))


@contextmanager
def _deferred_interrupt() -> Iterator[None]:
    """Defer Ctrl-C until the started process is known, so that it can be killed."""
    import signal

    handler, received = signal.getsignal(signal.SIGINT), []
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    signal.signal(signal.SIGINT, lambda *arguments: received.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if received:
        handler(*received[0])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the compiler and its children, without waiting for a pipe that one may hold open."""
    import signal

    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in filter(None, (process.stdin, process.stderr)):
        with suppress(OSError):
            pipe.close()


def _first_error(errors: str) -> str:
    """The first line that contains "error", else the first line; printable, <= 300 characters."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:300]


def os_error_reason(error: OSError) -> str:
    """The message of an OSError in one line, without the file name."""
    return " ".join((error.strerror or str(error).split(": ", 1)[-1]).split())
