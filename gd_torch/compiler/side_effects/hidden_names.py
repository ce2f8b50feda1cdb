"""Functions and modules whose results do not depend on Python state alone."""

from __future__ import annotations

CLOCK = "it reads a clock"
RANDOM = "it draws random numbers that cannot be repeated"
FILES = "it reads files"
INPUT = "it reads input"
NETWORK = "it uses the network"
PROCESSES = "it uses other processes"
THREADS = "it uses threads"

MODULES = {
    "time": CLOCK,
    "secrets": RANDOM,
    "uuid": RANDOM,
    **dict.fromkeys(
        ["glob", "fileinput", "tempfile", "shutil", "sqlite3", "shelve", "mmap"], FILES
    ),
    **dict.fromkeys(
        [
            "socket",
            "_socket",
            "ssl",
            "select",
            "selectors",
            "http",
            "urllib",
            "urllib3",
            "ftplib",
            "smtplib",
            "requests",
            "httpx",
            "aiohttp",
        ],
        NETWORK,
    ),
    **dict.fromkeys(["subprocess", "multiprocessing", "signal"], PROCESSES),
    **dict.fromkeys(["threading", "_thread", "concurrent", "asyncio", "queue"], THREADS),
}
"""Modules whose use is a reason, by their top-level name."""

MEMBERS = {
    **{("datetime", name): CLOCK for name in ("now", "today", "utcnow")},
    **{("os", name): CLOCK for name in ("times", "getloadavg")},
    **{("os", name): RANDOM for name in ("urandom", "getrandom")},
    **{("os", name): FILES for name in ("open", "read", "listdir", "scandir", "stat", "walk")},
    **{("os", name): PROCESSES for name in ("popen", "system", "fork")},
    ("random", "SystemRandom"): RANDOM,
    ("torch", "load"): FILES,
    ("torch", "seed"): RANDOM,
    **{("numpy", name): FILES for name in ("load", "loadtxt", "genfromtxt", "fromfile", "memmap")},
    ("io", "open"): FILES,
}
"""Members of other modules: top-level name of the module and last name of a dotted path."""

ATTRIBUTES = {
    **dict.fromkeys(["read_text", "read_bytes", "readline", "readlines", "read_csv"], FILES),
}
"""Methods that are a reason for any object."""

BUILTINS = {"open": FILES, "input": INPUT}

UNSEEDED = frozenset(("default_rng", "RandomState", "SeedSequence", "Random"))
"""Constructors of random generators that are seeded by the system if called without arguments."""

_ALIASES = {"posix": "os", "nt": "os", "_random": "random", "_io": "io", "_pydatetime": "datetime"}


def of_module(module: str) -> str | None:
    """The reason why using a module hides an input.

    >>> of_module("time"), of_module("math")
    ('it reads a clock (`time`)', None)
    """
    first = module.partition(".")[0]
    return f"{MODULES[first]} (`{module}`)" if first in MODULES else None


def of_member(module: str, name: str) -> str | None:
    """The reason why a member of a module hides an input.

    >>> of_member("posix", "urandom")
    'it draws random numbers that cannot be repeated (`os.urandom`)'
    """
    first = module.partition(".")[0]
    first = _ALIASES.get(first, first)
    reason = MEMBERS.get((first, name))
    return of_module(first) if reason is None else f"{reason} (`{first}.{name}`)"
