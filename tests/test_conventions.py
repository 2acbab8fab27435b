"""Conventions of the project: style, types, import directions, language. One test for each tool or rule."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, **environment):
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def tool(name):
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def test_lint():
    run(tool("ruff"), "check", ".")


def test_format():
    run(tool("ruff"), "format", "--check", ".")


def test_types():
    run(sys.executable, "-m", "mypy")


def test_import_directions():
    run(tool("lint-imports"))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("tsnn", "numba scipy pandas panel"),
        ("tsnn.runs, tsnn.runs.control, tsnn.jobs.launch", "numba mpi4py sklearn panel pandas"),
        ("tsnn.cli, tsnn.engine.memory", "numba panel"),
        ("tsnn.engine.training", "panel bokeh mpi4py"),
        ("tsnn.views", "numba mpi4py"),
    ],
)
def test_importing_little_loads_little(module, absent):
    code = f"import sys, {module}; print(*[m for m in {absent.split()} if m in sys.modules])"
    assert run(sys.executable, "-c", code).strip() == ""


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


HOMES = {"numba": {"kernels"}, "llvmlite": {"kernels"}, "mpi4py": {"parallel"}, "sklearn": {"estimator"}}
HOMES |= {"onnx": {"formats"}, "torch": {"formats"}}
HOMES |= {name: {"views"} for name in ("panel", "bokeh", "holoviews")}


def test_each_heavy_package_has_one_home():
    for path in (ROOT / "tsnn").rglob("*.py"):
        for name in imports(path):
            package = name.split(".")[0]
            assert package not in HOMES or HOMES[package] & set(path.parts), f"{path} imports {name}"


def test_the_dashboard_imports_no_engine():
    allowed = (
        "config",
        "datasets",
        "engine.memory",
        "engine.shapes",
        "errors",
        "jobs",
        "machine",
        "records",
        "runs",
        "views",
    )
    for path in (ROOT / "app").rglob("*.py"):
        for name in imports(path):
            if name.startswith("tsnn."):
                assert name.removeprefix("tsnn.").startswith(allowed), f"{path} imports {name}"


def test_no_kernel_hides_nan():
    from tsnn.kernels.compiling import FASTMATH

    assert not FASTMATH & {"nnan", "ninf", "fast"}
    for path in (ROOT / "tsnn").rglob("*.py"):
        text = path.read_text()
        assert "fastmath=True" not in text, path
        assert "njit" not in text or path.name == "compiling.py", f"{path}: use compiling.compiled"
