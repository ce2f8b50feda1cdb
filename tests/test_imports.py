"""The layering: imports point downwards, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import gd_torch

PACKAGE = ROOT / "gd_torch"

MODULES = [
    "typing",
    "text_table",
    "torch_loading",
    "validation",
    "data",
    "objectives",
    "gradients",
    "grid_search",
    "compiler",
    "descent",
    "storage",
    "checking",
    "plots",
    "tutorial",
    "cli",
]
"""From the bottom to the top; a module may import those before it."""

DESCENT = [
    "result",
    "plan",
    "recorder",
    "step",
    "cost_model",
    "driver",
    "eager",
    "eager_batch",
    "agreement",
    "verification",
    "fallback",
    "compiled",
    "end_verification",
    "compiled_batch",
    "single",
    "batch",
    "distributed",
]
"""The same within the package ``descent``: a run goes from single to driver to stepper."""

CHECKING = [
    "decompositions",
    "trace",
    "replay",
    "finite_differences",
    "points",
    "derivation",
    "report",
    "evidence",
    "diagnosis",
    "preconditions",
    "verdict",
    "partials_check",
]
"""The same within ``checking``: measure, collect evidence, name the mistake, give a verdict."""

DIAGNOSIS = [
    "constants",
    "comparison",
    "hypotheses",
    "tensors",
    "formulas",
    "linear_algebra",
    "matrix_products",
    "products",
    "pointwise",
    "factors",
    "repeated_mistakes",
    "matcher",
    "numeric_patterns",
    "terms",
    "cotangent_sums",
    "search",
]
"""The same within ``checking.diagnosis``: hypotheses, what tests them, and the search."""

PUBLIC = {"_replace", "_asdict", "_fields", "_exit"}
"""Documented names with an underscore: those of a NamedTuple, and os._exit."""

HOMES = {
    name: module.split(".")[0] for module, names in gd_torch._MODULES.items() for name in names
}
"""The module or package below gd_torch that defines each public name."""

MAY_BE_PRIVATE = {PACKAGE / "checking" / "trace.py", *(PACKAGE / "compiler").rglob("*.py")}
"""Where private names of torch may appear."""


def parsed(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text())))


def imported(path: Path, package: str = "gd_torch") -> set[str]:
    """The modules of a package that a file names in its imports, inside functions too."""
    found = set()
    for node in parsed(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names = [f"{package}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        inside = [name.removeprefix(package + ".") for name in names if name.startswith(package)]
        found.update(name.split(".")[0] for name in inside)
    return {HOMES.get(name, name) for name in found}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_downwards(path):
    """No cycle and no upward arrow; a new module must be given its place in the list."""
    module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if module in ("__init__", "__main__"):
        return
    below = MODULES[: MODULES.index(module) + 1]
    if path.parent == PACKAGE:
        below = below[:-1]
    assert imported(path) <= set(below)


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "descent").glob("[a-z]*.py")), ids=lambda p: p.stem
)
def test_imports_within_descent_point_downwards(path):
    """No cycle; a new module must be given its place in the list."""
    below = DESCENT[: DESCENT.index(path.stem)]
    assert imported(path, "gd_torch.descent") <= set(below)


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "checking").rglob("[a-z]*.py")), ids=lambda p: p.stem
)
def test_imports_within_checking_point_downwards(path):
    """The diagnosis knows traces and numbers, but no verdict; each package has its own order."""
    if path.parent.name == "diagnosis":
        inside = DIAGNOSIS[: DIAGNOSIS.index(path.stem)]
        assert imported(path, "gd_torch.checking.diagnosis") <= set(inside)
        below = CHECKING[: CHECKING.index("diagnosis") + 1]
    else:
        below = CHECKING[: CHECKING.index(path.stem)]
    assert imported(path, "gd_torch.checking") <= set(below)


def private_names(path: Path) -> set[str]:
    """Private parts of imports of torch, and private attributes that the file does not define."""
    found, own = set(), set(PUBLIC)
    for node in parsed(path):
        names = []
        if isinstance(node, ast.Attribute):
            names = [node.attr]
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                own.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.FunctionDef):
            own.add(node.name)
        found.update(name for name in names if name.startswith("_") and not name.endswith("__"))
    return found - own


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_private_names_of_torch_stay_in_the_compiler_and_the_trace(path):
    """A release of torch that changes them is felt there only."""
    assert path in MAY_BE_PRIVATE or private_names(path) == set()


def test_the_search_for_private_names_finds_them(tmp_path):
    """An attribute, a module and a name imported from one."""
    path = tmp_path / "example.py"
    path.write_text("import torch._C\nfrom torch.utils._python_dispatch import x\nw._version\n")
    assert private_names(path) == {"_C", "_python_dispatch", "_version"}


def test_the_closed_form_knows_neither_autograd_nor_the_objectives():
    """Otherwise the comparison would compare a thing with itself."""
    path = PACKAGE / "objectives" / "closed_form.py"
    text = path.read_text()
    assert imported(path) == set()
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
