"""Check partials derived by hand: the tutorial's, or those in a file of yours.

examples:
  python scripts/check_partials.py                        every derivation of the tutorial
  python scripts/check_partials.py --example mine.py      write a starter file with one mistake
  python scripts/check_partials.py mine.py                check it: what is wrong, and why
  python scripts/check_partials.py mine.py --json out.json

A file defines `objective`, `partials` (or `hand`) and `at`. It is executed as Python.
exit status: 0 every partial is ok, 1 one is not, 2 the file cannot be used
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from pathlib import Path

EXAMPLE = '''\
"""A 4-2-3 net and its partials by hand, with one mistake. Run scripts/check_partials.py on it."""

import torch

torch.manual_seed(0)
X = torch.randn(10, 4, dtype=torch.float64)
Y = torch.rand(10, 3, dtype=torch.float64)

# the point: one tensor per argument of the objective
at = (torch.randn(4, 2, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64))


def objective(W1, W2):
    """One number: the mean squared error."""
    H = torch.sigmoid(X @ W1)
    P = torch.sigmoid(H @ W2)
    return ((P - Y) ** 2).mean()


def partials(W1, W2):
    """One partial per argument, each of its argument's shape."""
    H = torch.sigmoid(X @ W1)
    P = torch.sigmoid(H @ W2)
    D2 = 2 / P.numel() * (P - Y) * P * (1 - P)
    D1 = (D2 @ W2.T) * H  # the mistake: the derivative of the sigmoid is H * (1 - H)
    return X.T @ D1, H.T @ D2
'''


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line, read before torch is imported."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", nargs="?", type=Path, help="a file of yours, executed as Python")
    parser.add_argument(
        "--example", type=Path, metavar="FILE", help="write a starter file and stop"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    parser.add_argument("--points", type=int, default=4, help="points to judge at (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moved points (default 0)")
    args = parser.parse_args(argv)
    if args.points < 1 or args.seed < 0:
        parser.error("--points must be at least 1 and --seed not negative")
    return args


def main() -> int:
    args = parse()
    if args.example:
        return write_example(args.example)
    if args.file and not args.file.is_file():
        return unusable(f"{args.file}: no such file")
    import torch

    from gd_torch import check_partials

    torch.set_num_threads(1)
    try:
        cases = read(args.file) if args.file else tutorial()
        reports = [check_partials(*case, points=args.points, seed=args.seed) for case in cases]
    except (Exception, SystemExit) as error:  # the reader's code may raise anything
        return unusable(f"{args.file}: {type(error).__name__}: {error}")
    print("\n".join(map(str, reports)))
    if args.json:
        text = json.dumps([report.to_dict() for report in reports], indent=2, allow_nan=False)
        try:
            write(args.json, text + "\n")
        except OSError as error:
            return unusable(f"{args.json}: {error.strerror}")
    return 0 if all(report.ok for report in reports) else 1


def tutorial() -> list[tuple]:
    """Every derivation of the tutorial, at its own start."""
    from gd_torch import (
        BOWL,
        CURVE,
        bowl_partials,
        curve_partials,
        init_weights,
        load_iris,
        network_mse,
        network_partials,
    )

    iris = load_iris()
    data = iris.X.double(), iris.Y.double()
    weights = init_weights((4, 4, 3), seed=0)
    return [
        (CURVE.objective, curve_partials, CURVE.start),
        (BOWL.objective, bowl_partials, BOWL.start),
        (network_mse(*data), network_partials(*data), weights),
    ]


def read(path: Path) -> list[tuple]:
    """Execute the reader's file and take what it defines."""
    print(f"executing {path.resolve()}", flush=True)
    names = runpy.run_path(str(path))
    hand = names.get("partials", names.get("hand"))
    missing = [name for name in ("objective", "at") if name not in names]
    if hand is None:
        missing.append("partials")
    if missing:
        raise ValueError(f"must define {', '.join(missing)}")
    return [(names["objective"], hand, names["at"])]


def write_example(path: Path) -> int:
    """Write the starter file; never over one that is there."""
    if path.exists():
        return unusable(f"{path}: exists already")
    try:
        write(path, EXAMPLE)
    except OSError as error:
        return unusable(f"{path}: {error.strerror}")
    print(f"wrote {path}; now run: python scripts/check_partials.py {path}")
    return 0


def write(path: Path, text: str) -> None:
    """All of a file or none of it: written beside its place, then moved there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def unusable(message: str) -> int:
    """One line on stderr and exit status 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
