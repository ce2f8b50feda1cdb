"""Loading libraries of C texts: real compilers and processes, damaged and shared caches."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.disks import UNSHARED, can_mount

PACKAGE = Path(__file__).resolve().parents[2] / "gd_torch"
PATIENCE = 20.0

IMPORTS = f"""
import os, sys, types
places = {{"gd_torch": {str(PACKAGE)!r}, "gd_torch.compiler": {str(PACKAGE / "compiler")!r}}}
for name, path in places.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from gd_torch.compiler import cache, library
from gd_torch.compiler.c_compiler import CompilerError
from gd_torch.compiler.library import load_library
"""
"""Imports at the start of a process, without those of the packages, which take seconds."""

SOURCE = "int number(void) { return 0x12345678; }"
ANSWER = str(0x12345678)
OTHER = "int number(void) { return 2; }"

CALL = """
try:
    print(load_library({source!r}, **{options!r}).number())
except CompilerError as error:
    print("CompilerError:", error)
"""


class Sandbox:
    """Directories of one test, used by its processes as cache, home and for temporary files."""

    def __init__(self, root: Path) -> None:
        """Create the directories and a compiler that logs every call."""
        self.root = root
        self.cache, self.home, self.temporary = root / "cache", root / "home", root / "temporary"
        self.home.mkdir()
        self.temporary.mkdir()
        self.log = root / "runs"
        self.compiler = self.wrap("")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "GD_TORCH_CACHE": str(self.cache),
            "CC": str(self.compiler),
        }

    def wrap(self, body: str) -> Path:
        """A compiler that executes this shell text first."""
        path = self.root / "cc"
        real = shutil.which("cc")
        path.write_text(f'#!/bin/sh\necho run >> {self.log}\n{body}\nexec {real} "$@"\n')
        path.chmod(0o755)
        return path

    def line(self, code: str) -> list[str]:
        """The command of a process that executes this code."""
        return [sys.executable, "-c", IMPORTS + code]

    def settings(self, changes: dict[str, str | None]) -> dict[str, str]:
        """The environment with changes; None removes a variable."""
        merged = {**self.environment, **changes}
        return {name: value for name, value in merged.items() if value is not None}

    def go(self, code: str, *, before: tuple[str, ...] = (), **changes: str | None) -> str:
        """The output of a new process, which must not fail."""
        ended = subprocess.run(
            [*before, *self.line(code)],
            env=self.settings(changes),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, ""), ended
        return ended.stdout.strip()

    def start(self, code: str, **changes: str | None) -> subprocess.Popen[bytes]:
        """Start a process without waiting for it."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            self.line(code), env=self.settings(changes), stdout=quiet, stderr=quiet
        )

    def call(self, source: str = SOURCE, *, options: object = None, **changes: str | None) -> str:
        """The result of the library's function in a new process, or the error message."""
        return self.go(CALL.format(source=source, options=options or {}), **changes)

    def runs(self) -> int:
        """Number of calls of the compiler."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def libraries(self) -> list[Path]:
        """The libraries in the cache."""
        return sorted(self.cache.glob("*.so"))

    def left(self) -> list[str]:
        """All files in the cache and the directory for temporary files."""
        places = (sandbox for sandbox in (self.cache, self.temporary) if sandbox.exists())
        return sorted(name for sandbox in places for name in os.listdir(sandbox))


@pytest.fixture
def sandbox(tmp_path):
    """An empty cache and a compiler that counts its calls."""
    return Sandbox(tmp_path)


def wait_for(condition):
    """Wait until a condition is true, with a timeout."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def ended(pid):
    """Whether a process has ended, possibly as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def numbers(path):
    """The process ids in a file, once it has some."""
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(word) for word in path.read_text().split()]


# ---------------------------------------------------------------- what is loaded


def test_a_compiled_function_computes(sandbox):
    """The library works, and the cache contains one file."""
    assert sandbox.call() == ANSWER
    assert sandbox.left() == [path.name for path in sandbox.libraries()]
    assert len(sandbox.libraries()) == 1


def test_products_and_sums_round_each(sandbox):
    """No fused multiply-add: (1 + e)(1 - e) - 1 is 0 if the product rounds to 1."""
    code = """
import ctypes
f = load_library("double f(double a, double b, double c) { return a * b + c; }").f
f.restype, f.argtypes = ctypes.c_double, [ctypes.c_double] * 3
print(f(1 + 2.0**-30, 1 - 2.0**-30, -1.0))
"""
    assert sandbox.go(code) == "0.0"


def test_torch_is_not_imported(sandbox):
    """Loading imports neither torch nor modules that only compiling needs."""
    heavy = "torch", "numpy", "subprocess", "ctypes", "hashlib", "tempfile"
    assert sandbox.go(f"print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_a_later_process_starts_no_process(sandbox):
    """The library comes from the cache; the compiler is not started, not even for its version."""
    sandbox.call()
    code = """
seen = []
starts = ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec")
sys.addaudithook(lambda event, arguments: seen.append(event) if event in starts else None)
"""
    assert (
        sandbox.go(code + CALL.format(source=SOURCE, options={}) + "print(seen)") == f"{ANSWER}\n[]"
    )
    assert sandbox.runs() == 1


def test_a_process_loads_a_text_once(sandbox):
    """The same object is returned, without access to the disk or the loader."""
    code = f"""
import shutil
loads = []
sys.addaudithook(lambda event, _: loads.append(event) if event == "ctypes.dlopen" else None)
first = load_library({SOURCE!r})
before = len(loads)
shutil.rmtree(os.environ["GD_TORCH_CACHE"])
print(load_library({SOURCE!r}) is first, len(loads) == before, first.number())
"""
    assert sandbox.go(code) == f"True True {ANSWER}"
    assert sandbox.runs() == 1


def test_the_loaded_libraries_of_a_process_are_bounded(sandbox):
    """The oldest is dropped, remains usable and is loaded from the disk again."""
    code = """
library.MAX_LOADED_LIBRARIES = 2
made = [load_library(f"int number(void) {{ return {n}; }}", optimization=0) for n in range(4)]
print(len(library._loaded), [library.number() for library in made])
print(load_library("int number(void) { return 0; }", optimization=0).number(), len(library._loaded))
"""
    assert sandbox.go(code) == "2 [0, 1, 2, 3]\n0 2"
    assert sandbox.runs() == 4


def test_libraries_from_the_cache_are_distinguished(sandbox):
    """Both are opened with the same descriptor number; the loader must not confuse them."""
    for source in (SOURCE, OTHER):
        sandbox.call(source)
    code = f"print(load_library({SOURCE!r}).number(), load_library({OTHER!r}).number())"
    assert sandbox.go(code) == f"{ANSWER} 2"
    assert sandbox.runs() == 2


def test_the_verified_file_is_the_loaded_one(sandbox):
    """Another library that replaces it after the verification is not loaded."""
    for source in (SOURCE, OTHER):
        sandbox.call(source)
    code = """
paths = sorted(os.listdir(os.environ["GD_TORCH_CACHE"]))
paths = [os.path.join(os.environ["GD_TORCH_CACHE"], name) for name in paths]
handle = os.open(paths[0], os.O_RDONLY)
print(cache.is_valid(handle, os.path.basename(paths[0])[:-3]))
expected = cache.load_verified(os.open(paths[0], os.O_RDONLY), paths[0]).number()
os.replace(paths[1], paths[0])
print(cache.load_verified(handle, paths[0]).number() == expected)
"""
    assert sandbox.go(code) == "True\nTrue"


def test_without_proc_a_replaced_file_is_detected(sandbox):
    """If descriptors have no paths, the library is loaded by its path, and another one refused."""
    sandbox.call(OTHER)
    code = f"""
os.path.isdir = lambda path: False
print(load_library({SOURCE!r}).number(), load_library({OTHER!r}).number())
path = os.path.join(os.environ["GD_TORCH_CACHE"], os.listdir(os.environ["GD_TORCH_CACHE"])[0])
handle = os.open(path, os.O_RDONLY)
with open(path, "rb") as old, open(path + "~", "wb") as new:
    new.write(old.read())
os.replace(path + "~", path)
try:
    cache.load_verified(handle, path)
except OSError as error:
    print(error)
"""
    assert sandbox.go(code) == f"{ANSWER} 2\nthe library was replaced while it was loaded"


def test_the_key_depends_on_all_that_the_library_depends_on(sandbox):
    """Text, level, $CC, the compiler's file, the processor: each change gives another library."""
    sandbox.call()
    sandbox.call(OTHER)
    sandbox.call(options={"optimization": 1})
    sandbox.call(CC=f"{sandbox.compiler} -funroll-loops")
    os.utime(sandbox.compiler, ns=(0, 10**18))
    sandbox.call()
    other = 'cache._processor = lambda: ("another",)\n'
    sandbox.go(other + CALL.format(source=SOURCE, options={}))
    assert len(sandbox.libraries()) == sandbox.runs() == 6


def test_a_compiler_called_by_another_is_part_of_the_key(sandbox):
    """As with ``ccache gcc``: if the second program changes, the text is compiled again."""
    started_by = f"env {sandbox.compiler}"
    for _ in range(2):
        assert sandbox.call(CC=started_by) == ANSWER
    assert sandbox.runs() == 1
    os.utime(sandbox.compiler, ns=(0, 10**18))
    sandbox.call(CC=started_by)
    assert sandbox.runs() == 2


def test_levels_are_checked():
    """Levels other than 0 to 3 raise ValueError."""
    from gd_torch.compiler.library import load_library

    with pytest.raises(ValueError, match="optimization must be 0, 1, 2 or 3, got 4"):
        load_library(SOURCE, optimization=4)


# ---------------------------------------------------------------- damaged, foreign, replaced


def _rewrite(path, content):
    path.write_bytes(content)


def _other_library(path):
    sandbox = Sandbox(path.parent.parent / "elsewhere")
    sandbox.call(OTHER)
    _rewrite(path, sandbox.libraries()[0].read_bytes())


def _link(path):
    aside = path.parent.parent / "aside.so"
    path.rename(aside)
    path.symlink_to(aside)


def _pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def _other_answer(path):
    content = path.read_bytes()
    assert content.count(bytes.fromhex("78563412")) == 1
    _rewrite(path, content.replace(bytes.fromhex("78563412"), bytes(4)))


DAMAGE = {
    "another answer": _other_answer,
    "last byte": lambda path: _rewrite(path, path.read_bytes()[:-1] + b"?"),
    "longer": lambda path: _rewrite(path, path.read_bytes() + b"?"),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "no footer": lambda path: os.truncate(path, path.stat().st_size - 40),
    "empty": lambda path: os.truncate(path, 0),
    "huge": lambda path: os.truncate(path, 1 << 40),
    "another library": _other_library,
    "link": _link,
    "pipe": _pipe,
    "group may write": lambda path: path.chmod(0o620),
    "others may write": lambda path: path.chmod(0o602),
}
if os.getuid() == 0:
    DAMAGE["another owner"] = lambda path: os.chown(path, 12345, -1)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_file_is_compiled_again(damage, sandbox):
    """It is not loaded but replaced by a valid library."""
    (sandbox.root / "elsewhere").mkdir()
    sandbox.call()
    (path,) = sandbox.libraries()
    DAMAGE[damage](path)
    assert sandbox.call() == ANSWER
    assert sandbox.runs() == 2
    assert sandbox.call() == ANSWER
    assert sandbox.runs() == 2
    assert sandbox.left() == [path.name]
    assert path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600


def test_a_directory_with_the_name_of_a_library_is_kept(sandbox):
    """Every process then compiles the library."""
    sandbox.call()
    (path,) = sandbox.libraries()
    path.unlink()
    path.mkdir()
    assert sandbox.call() == ANSWER
    assert sandbox.runs() == 2
    assert sandbox.left() == [path.name]


# ---------------------------------------------------------------- where it lies


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({}, "cache"),
        ({"GD_TORCH_CACHE": "~/mine"}, "home/mine"),
        ({"GD_TORCH_CACHE": None, "XDG_CACHE_HOME": "{root}/xdg"}, "xdg/gd_torch"),
        ({"GD_TORCH_CACHE": None, "XDG_CACHE_HOME": "relative"}, "home/.cache/gd_torch"),
        ({"GD_TORCH_CACHE": None, "XDG_CACHE_HOME": ""}, "home/.cache/gd_torch"),
    ],
)
def test_the_directory_is_private(changes, where, sandbox):
    """It is that of the environment, and only this user can read it, for any umask."""
    changes = {name: value and value.format(root=sandbox.root) for name, value in changes.items()}
    code = "os.umask(0)\n" + CALL.format(source=SOURCE, options={})
    assert sandbox.go(code, **changes) == ANSWER
    (path,) = (sandbox.root / where).iterdir()
    assert path.suffix == ".so" and path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def _nothing(sandbox):
    """Leave the cache as it is."""


def _shared(sandbox):
    sandbox.cache.mkdir()
    sandbox.cache.chmod(0o770)


def _foreign(sandbox):
    sandbox.cache.mkdir(0o700)
    os.chown(sandbox.cache, 12345, -1)


UNUSABLE = {
    "off": (_nothing, {"GD_TORCH_CACHE": "off"}),
    "OFF": (_nothing, {"GD_TORCH_CACHE": "OFF"}),
    "0": (_nothing, {"GD_TORCH_CACHE": "0"}),
    "empty": (_nothing, {"GD_TORCH_CACHE": ""}),
    "a file": (lambda sandbox: sandbox.cache.write_text(""), {}),
    "below a file": (_nothing, {"GD_TORCH_CACHE": sys.executable + "/cache"}),
    "shared": (_shared, {}),
}
if os.getuid() == 0:
    UNUSABLE["foreign"] = (_foreign, {})


@pytest.mark.parametrize("why", UNUSABLE)
def test_without_a_directory_every_process_compiles(why, sandbox):
    """Loading still works, and no file remains."""
    prepare, changes = UNUSABLE[why]
    prepare(sandbox)
    for _ in range(2):
        assert sandbox.call(**changes) == ANSWER
    assert sandbox.runs() == 2
    assert os.listdir(sandbox.temporary) == os.listdir(sandbox.home) == []
    assert sandbox.libraries() == []


def test_a_user_without_a_home_has_no_cache(sandbox):
    """No directory named "~" is created in the working directory."""
    code = """
import pwd
def unknown(user):
    raise KeyError(user)
pwd.getpwuid = unknown
os.chdir(os.environ["TMPDIR"])
"""
    printed = sandbox.go(
        code + CALL.format(source=SOURCE, options={}), HOME=None, GD_TORCH_CACHE=None
    )
    assert (printed, sandbox.left()) == (ANSWER, [])


# ---------------------------------------------------------------- its size


def test_the_number_of_libraries_is_bounded(sandbox):
    """Compiling removes the least recently used; files with other names are kept."""
    sandbox.cache.mkdir(0o700)
    for number in range(300):
        path = sandbox.cache / f"{number:064x}.so"
        path.touch()
        os.utime(path, (1e9 + number, 1e9 + number))
    (sandbox.cache / "notes.so").touch()
    os.utime(sandbox.cache / "notes.so", (1e9, 1e9))
    sandbox.call()
    kept = [path for path in sandbox.libraries() if path.name != "notes.so"]
    old = [int(path.stem, 16) for path in kept if path.stem.startswith("0" * 60)]
    assert len(kept) == 256 and old == list(range(45, 300))
    assert (sandbox.cache / "notes.so").exists()


def test_the_size_of_the_cache_is_bounded(sandbox):
    """At most 256 MiB, including the new library."""
    sandbox.cache.mkdir(0o700)
    for number in range(6):
        path = sandbox.cache / f"{number:064x}.so"
        path.touch()
        os.truncate(path, 60 << 20)
        os.utime(path, (1e9 + number, 1e9 + number))
    sandbox.call()
    old = [int(path.stem, 16) for path in sandbox.libraries() if path.stem.startswith("0" * 60)]
    assert old == [2, 3, 4, 5] and len(sandbox.libraries()) == 5


@pytest.mark.parametrize(("age", "touched"), [(3 * 3600, False), (2 * 86400, True)])
def test_use_is_recorded_once_a_day(age, touched, sandbox):
    """The modification time of a library is that of its last use, to a day."""
    sandbox.call()
    (path,) = sandbox.libraries()
    before = time.time() - age
    os.utime(path, (before, before))
    assert sandbox.call() == ANSWER
    assert (abs(path.stat().st_mtime - time.time()) < 60) is touched
    assert sandbox.runs() == 1


# ---------------------------------------------------------------- killed, at once, too long

SLOW = """
while [ "$1" != -o ]; do shift; done
printf half > "$2"
echo $$ > {pids}
sleep 60 & echo $! >> {pids}
wait
"""
"""Writes part of the output, then waits, with a child; writes the ids of both to a file."""


def slow_compiler(sandbox):
    """Let the compiler hang if $SLOW is set; returns the file with its process ids."""
    pids = sandbox.root / "pids"
    sandbox.wrap(f'if [ -n "$SLOW" ]; then {SLOW.format(pids=pids)} fi')
    return pids


def both(pids):
    """The process ids of the hanging compiler and its child."""
    wait_for(lambda: len(numbers(pids)) == 2)
    return numbers(pids)


def test_partial_output_of_a_killed_process_is_not_loaded(sandbox):
    """It does not have the name of a library; it is removed when it is an hour old."""
    pids = slow_compiler(sandbox)
    process = sandbox.start(CALL.format(source=SOURCE, options={}), SLOW="1")
    compiler, _ = both(pids)
    process.kill()
    process.wait()
    os.killpg(compiler, signal.SIGKILL)
    (left,) = sandbox.left()
    assert (sandbox.cache / left / "library.so").read_text() == "half"
    assert sandbox.call() == ANSWER
    assert left in sandbox.left()
    old = time.time() - 2 * 3600
    os.utime(sandbox.cache / left, (old, old))
    sandbox.call()  # no compile
    assert left in sandbox.left()
    assert sandbox.call(OTHER) == "2"
    assert sandbox.left() == [path.name for path in sandbox.libraries()]


def test_kills_at_any_moment_do_not_affect_later_processes(sandbox):
    """Five kills, before, during and after compiling; then the result is correct."""
    for number in range(5):
        source = f"int number(void) {{ return {number}; }}"
        process = sandbox.start(CALL.format(source=source, options={}))
        before = sandbox.runs()
        wait_for(lambda before=before: sandbox.runs() > before)
        time.sleep(0.02 * number)
        process.kill()
        process.wait()
        assert sandbox.call(source) == str(number)


@pytest.mark.parametrize("cache", ["", "off"])
def test_a_compiler_that_takes_too_long_is_killed(cache, sandbox):
    """With its children; the error is one line, and no file remains."""
    pids = slow_compiler(sandbox)
    began = time.monotonic()
    changes = {"GD_TORCH_CACHE": cache} if cache else {}
    said = sandbox.call(options={"limit_seconds": 0.5}, SLOW="1", **changes)
    assert said == "CompilerError: compiling took longer than 0.5 s"
    assert time.monotonic() - began < 10
    wait_for(lambda: all(ended(pid) for pid in both(pids)))
    assert sandbox.left() == []


def test_a_killed_real_compiler_leaves_no_temporary_files(sandbox):
    """Its own temporary files are removed too."""
    line = (
        "double f{0}(double *x, long n) {{ while (n--) x[n] = x[n] / (x[n] + {0}.5); return *x; }}"
    )
    source = "\n".join(line.format(number) for number in range(300))
    said = sandbox.call(source, options={"limit_seconds": 0.3})
    assert said == "CompilerError: compiling took longer than 0.3 s"
    assert sandbox.left() == []


def test_an_interrupt_kills_the_compiler(sandbox):
    """KeyboardInterrupt is raised; the compiler and its children end; no file remains."""
    pids = slow_compiler(sandbox)
    process = sandbox.start(CALL.format(source=SOURCE, options={}), SLOW="1")
    running = both(pids)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == -signal.SIGINT
    wait_for(lambda: all(ended(pid) for pid in running))
    assert sandbox.left() == []


def test_an_interrupt_while_the_compiler_is_started_kills_it(sandbox):
    """Ctrl-C between the start and the wait: the compiler is known and killed."""
    pids = slow_compiler(sandbox)
    code = f"""
import signal, subprocess, time
class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        while not os.path.exists({str(pids)!r}):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
subprocess.Popen = Popen
try:
    load_library({SOURCE!r})
except KeyboardInterrupt:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert sandbox.go(code, SLOW="1") == "True"
    wait_for(lambda: all(ended(pid) for pid in numbers(pids)))
    assert sandbox.left() == []


def test_processes_compile_the_same_text_at_once(sandbox):
    """All of them work, and one library remains."""
    sandbox.wrap(f"""
echo here >> {sandbox.root}/together
while [ $(wc -l < {sandbox.root}/together) -lt 3 ]; do sleep 0.02; done
""")
    code = f"assert load_library({SOURCE!r}).number() == {ANSWER}"
    processes = [sandbox.start(code) for _ in range(3)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    assert sandbox.runs() == 3
    assert sandbox.left() == [path.name for path in sandbox.libraries()]
    assert len(sandbox.libraries()) == 1


def test_threads_compile_once(sandbox):
    """Eight threads load one text and get the same library."""
    code = f"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    made = list(pool.map(lambda _: load_library({SOURCE!r}), range(8)))
print(len({{id(library) for library in made}}), made[0].number())
"""
    assert sandbox.go(code) == f"1 {ANSWER}"
    assert sandbox.runs() == 1


def test_a_forked_process_does_not_wait_for_threads_of_its_parent(sandbox):
    """The parent's thread compiles while the child loads another text."""
    sandbox.call(OTHER)
    sandbox.wrap(f"touch {sandbox.root}/begun\nsleep 1")
    os.utime(sandbox.compiler, ns=(0, 10**18))
    sandbox.call(OTHER)
    (sandbox.root / "begun").unlink()
    code = f"""
import signal, threading, time
thread = threading.Thread(target=load_library, args=({SOURCE!r},))
thread.start()
while not os.path.exists({str(sandbox.root / "begun")!r}):
    time.sleep(0.01)
child = os.fork()
if child == 0:
    signal.alarm(10)
    os._exit(load_library({OTHER!r}).number())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), thread.is_alive())
thread.join()
print(load_library({SOURCE!r}).number())
"""
    assert sandbox.go(code) == f"2 True\n{ANSWER}"


# ---------------------------------------------------------------- what fails

HOPELESS = {
    "exit 3": "cc failed: exit status 3",
    "echo one; echo two >&2; echo 'x: error: three' >&2; exit 1": "cc failed: x: error: three",
    "printf '\\033[1mbold' >&2; exit 1": "cc failed: ?[1mbold",
    "kill -9 $$": "cc failed: signal 9",
    "exit 0": "cc failed: it wrote no library",
}


@pytest.mark.parametrize("body", HOPELESS)
def test_the_error_of_a_failing_compiler_is_one_line(body, sandbox):
    """Its message or its exit status; no file remains."""
    sandbox.wrap(body)
    assert sandbox.call() == f"CompilerError: {HOPELESS[body]}"
    assert sandbox.left() == []


def test_the_error_for_invalid_c_is_one_line(sandbox):
    """The compiler's first error, with its line."""
    said = sandbox.call("int number(void) {\n return x; }")
    assert re.fullmatch(r"CompilerError: cc failed: <stdin>:2:.*error: .*", said), said
    assert sandbox.left() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"CC": None, "PATH": "/nowhere"},
            "no C compiler: install gcc or clang (searched $CC, cc, gcc, clang)",
        ),
        ({"CC": "/nowhere/cc -m64"}, "no C compiler: $CC is '/nowhere/cc', which is not found"),
        ({"CC": "'cc"}, "no C compiler: $CC cannot be parsed (No closing quotation)"),
    ],
)
def test_the_error_for_a_missing_compiler_is_one_line(changes, said, sandbox):
    """It names the commands that were searched for."""
    assert sandbox.call(**changes) == f"CompilerError: {said}"
    assert sandbox.left() == []


def test_the_error_for_a_compiler_that_cannot_be_started_is_one_line(sandbox):
    """An executable file that is not a program."""
    sandbox.compiler.write_bytes(b"\x7fnothing")
    said = f"CompilerError: {sandbox.compiler} cannot be started: Exec format error"
    assert sandbox.call() == said
    assert sandbox.left() == []


@pytest.mark.parametrize(
    ("body", "source", "reason"),
    [
        ('while [ "$1" != -o ]; do shift; done; echo junk > "$2"; exit', SOURCE, "file too short"),
        ("", "int f(void); int number(void) { return f(); }", "undefined symbol: f"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_not_stored(body, source, reason, sandbox):
    """The error is one line, and no later process loads it."""
    sandbox.wrap(body)
    said = sandbox.call(source)
    message = (
        f"CompilerError: no library can be written to the temporary directory {sandbox.temporary}: "
    )
    assert said == message + reason
    assert sandbox.left() == []


def test_a_compiler_that_refuses_the_machine_flag_is_used_without_it(sandbox):
    """Its library is stored, too."""
    sandbox.wrap('case "$*" in *=native*) echo "error: unknown" >&2; exit 1;; esac')
    assert sandbox.call() == ANSWER
    before = sandbox.runs()
    assert before == (2 if os.uname().machine in ("x86_64", "aarch64") else 1)
    assert sandbox.call() == ANSWER
    assert sandbox.runs() == before


def test_the_first_compiler_that_is_installed_is_used(sandbox):
    """Without $CC, or with an empty one: cc, gcc, clang, in this order."""
    for name, other in (("clang", None), ("gcc", "clang"), ("cc", "gcc")):
        directory = sandbox.root / f"only-{name}"
        directory.mkdir()
        for each in filter(None, (name, other)):
            body = f"echo {each} > {sandbox.root}/used"
            sandbox.wrap(body).rename(directory / each)
        code = f"os.environ['PATH'] = {str(directory)!r}\n"
        code += CALL.format(source=SOURCE, options={})
        sandbox.go(code, CC=None if other else "", GD_TORCH_CACHE="off")
        assert (sandbox.root / "used").read_text() == f"{name}\n"


# ---------------------------------------------------------------- disks

ON_DISK = """
set -e
options=$1
shift
while [ "$1" != -- ]; do mount -t tmpfs -o "$options" none "$1"; shift; done
shift
exec "$@"
"""


def on_disk(options, *places):
    """The prefix of a command that mounts a tmpfs at each of these directories."""
    where = map(str, places)
    return (*UNSHARED, "sh", "-c", ON_DISK, "sh", f"mode=0700,{options}", *where, "--")


LIST_FILES = """
print(os.listdir(os.environ["GD_TORCH_CACHE"]), os.listdir(os.environ["TMPDIR"]))
"""

if can_mount():

    def test_a_cache_that_forbids_loading_is_not_used(sandbox):
        """The temporary directory is used instead."""
        sandbox.cache.mkdir(0o700)
        code = CALL.format(source=SOURCE, options={}) + LIST_FILES
        said = sandbox.go(code, before=on_disk("noexec", sandbox.cache))
        assert said == f"{ANSWER}\n[] []"
        assert sandbox.runs() == 1

    def test_the_error_for_two_directories_that_forbid_loading_is_one_line(sandbox):
        """If neither the cache nor the temporary directory allows it."""
        sandbox.cache.mkdir(0o700)
        before = on_disk("noexec", sandbox.cache, sandbox.temporary)
        said = sandbox.go(CALL.format(source=SOURCE, options={}) + LIST_FILES, before=before)
        message = f"the temporary directory {sandbox.temporary} does not allow loading of libraries"
        assert said == f"CompilerError: {message} (noexec)\n[] []"

    def test_noexec_is_reported_by_the_loader(sandbox):
        """The same error if the flags of the mount are not known."""
        code = "cache.forbids_loading = lambda place: False\n"
        code += CALL.format(source=SOURCE, options={}) + LIST_FILES
        sandbox.cache.mkdir(0o700)
        before = on_disk("noexec", sandbox.cache, sandbox.temporary)
        message = f"the temporary directory {sandbox.temporary} does not allow loading of libraries"
        assert sandbox.go(code, before=before) == f"CompilerError: {message} (noexec)\n[] []"

    def test_a_read_only_home_is_not_changed(sandbox):
        """Every process compiles."""
        before = on_disk("ro", sandbox.home)
        for _ in range(2):
            code = CALL.format(source=SOURCE, options={})
            assert sandbox.go(code, before=before, GD_TORCH_CACHE=None) == ANSWER
        assert sandbox.runs() == 2
        assert sandbox.left() == []

    def test_a_read_only_cache_is_read(sandbox):
        """Its libraries are loaded; others are compiled in the temporary directory."""
        sandbox.cache.mkdir(0o700)
        code = f"""
import subprocess
print(load_library({SOURCE!r}).number())
library._loaded.clear()
subprocess.run(["mount", "-o", "remount,ro", os.environ["GD_TORCH_CACHE"]], check=True)
print(load_library({SOURCE!r}).number(), load_library({OTHER!r}).number())
print(len(os.listdir(os.environ["GD_TORCH_CACHE"])), os.listdir(os.environ["TMPDIR"]))
"""
        said = sandbox.go(code, before=on_disk("rw", sandbox.cache))
        assert said == f"{ANSWER}\n{ANSWER} 2\n1 []"
        assert sandbox.runs() == 2

    def test_a_full_cache_is_not_needed(sandbox):
        """The temporary directory is used instead."""
        sandbox.cache.mkdir(0o700)
        code = CALL.format(source=SOURCE, options={}) + LIST_FILES
        assert sandbox.go(code, before=on_disk("size=4k", sandbox.cache)) == f"{ANSWER}\n[] []"
        assert sandbox.runs() >= 2

    def test_full_disks_leave_no_partial_files(sandbox):
        """Whichever write fails: the error is one line, no file remains, and a retry works."""
        sandbox.cache.mkdir(0o700)
        code = f"""
import subprocess
for pages in range(1, 40):
    for name in ("GD_TORCH_CACHE", "TMPDIR"):
        size = f"remount,nr_blocks={{pages}}"
        subprocess.run(["mount", "-o", size, os.environ[name]], check=True)
    try:
        print(load_library({SOURCE!r}, optimization=0).number())
        break
    except CompilerError as error:
        print(error)
    assert os.listdir(os.environ["GD_TORCH_CACHE"]) == os.listdir(os.environ["TMPDIR"]) == []
"""
        before = on_disk("size=4k", sandbox.cache, sandbox.temporary)
        *failures, last = sandbox.go(code, before=before).splitlines()
        message = f"no library can be written to the temporary directory {sandbox.temporary}: "
        assert last == ANSWER and len(failures) >= 3
        assert set(failures) == {message + "No space left on device"}
