"""The layering: imports point downwards, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "gd_torch"

MODULES = [
    "objectives",
    "sealed",
    "directories",
    "checkpoint",
    "runs",
    "networks",
    "columns",
    "table",
    "iris",
    "closed_form",
    "arguments",
    "engine",
    "partials",
    "checking",
    "brute_force",
    "record",
    "gauge",
    "stepping",
    "transition",
    "guards",
    "inductor",
    "layout",
    "kernel",
    "fused",
    "descent",
    "block",
    "ensemble",
    "processes",
    "finished",
    "plots",
]
"""From the bottom to the top; a module may import those before it."""


def imported(path: Path) -> set[str]:
    """The modules of gd_torch that a file names in its imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gd_torch"):
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            found.update(names)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_downwards(path):
    """No cycle and no upward arrow; a new module must be given its place in the list."""
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if module == "__init__":
        return
    below = MODULES[: MODULES.index(module) + 1]
    if path.parent == PACKAGE:
        below = below[:-1]
    assert imported(path) <= set(below)


def test_the_closed_form_knows_neither_autograd_nor_the_objectives():
    """Otherwise the comparison would compare a thing with itself."""
    text = (PACKAGE / "closed_form.py").read_text()
    assert imported(PACKAGE / "closed_form.py") == set()
    for word in ("torch.autograd", "backward(", "torch.func", "requires_grad"):
        assert word not in text


def test_importing_the_library_imports_no_plotting():
    """matplotlib and plotly are paid for when they are used."""
    code = "import gd_torch, sys; print({'matplotlib', 'plotly'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_library_uses_neither_optimisers_nor_modules():
    """The update loop is written out."""
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert "torch.optim" not in text and "nn.Module" not in text
