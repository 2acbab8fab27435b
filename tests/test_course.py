"""Rules of the course. nbmake executes the notebooks; see notebooks/conftest.py."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ALL = [*NOTEBOOKS, *sorted((FOLDER / "solutions").glob("*.ipynb"))]
EXERCISES = re.compile(r"(task|exercise|check)-\d")
MIN_PLAYS = 2
MAX_LINES = 15
#: Packages with public names: those in their ``__all__``.
PACKAGES = {name: importlib.import_module(name) for name in (
    "tsnn", "tsnn.config", "tsnn.datasets", "tsnn.parallel", "tsnn.runs", "tsnn.views",
)}  # fmt: skip
PUBLIC = {*PACKAGES} | {f"{package}.{name}" for package, module in PACKAGES.items() for name in module.__all__}


def cells(path, kind=""):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in ("", cell["cell_type"])]


def text(cell):
    return "".join(cell["source"])


def name(path):
    return str(path.relative_to(FOLDER))


def imported_names(tree):
    """Yield the full names of tsnn that a syntax tree imports, and their local names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", alias.asname or alias.name) for alias in node.names)


def used_names(path):
    """Return the full names of tsnn that a notebook uses, in code and in texts: ``tsnn.views.watch``."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile("\n".join(map(text, cells(path, "code"))), name(path), "exec", flags)
    local = {short: full for full, short in imported_names(tree) if full.split(".")[0] == "tsnn"}
    used = {*local.values()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            start, *rest = ast.unparse(node).split(".")
            if all(map(str.isidentifier, [start, *rest])):
                used.add(".".join([local.get(start, start), *rest]))
    used.update(re.findall(r"`(tsnn(?:\.\w+)+)", "\n".join(map(text, cells(path, "markdown")))))
    return {full for full in used if full.split(".")[0] == "tsnn"}


def is_public(full):
    """Return whether a name is that of a public object, or of an attribute of one: ``tsnn.Topology.from_keys``."""
    parts = full.split(".")
    package = ".".join(parts[:2]) if ".".join(parts[:2]) in PACKAGES else "tsnn"
    owned = parts[package.count(".") + 1 :]
    return not owned or f"{package}.{owned[0]}" in PUBLIC


@pytest.mark.parametrize("path", ALL, ids=name)
def test_notebooks__use_public_names_only(path):
    used = used_names(path)
    assert "tsnn" in used
    assert sorted(full for full in used if not is_public(full)) == []


def test_is_public__refuses_what_no_package_exports():
    assert all(map(is_public, ["tsnn", "tsnn.views", "tsnn.train", "tsnn.views.watch", "tsnn.Topology.from_keys"]))
    assert not any(map(is_public, ["tsnn.engine", "tsnn.engine.metrics.evaluate", "tsnn.runs.control", "tsnn.kernels"]))


def test_packages__load_neither_numba_nor_mpi_when_imported():
    code = f"import sys, {', '.join(PACKAGES)}; print(*[m for m in ('numba', 'mpi4py') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True).stdout.strip() == b""


def test_course__has_ten_parts_with_solutions():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{k:02d}_" for k in range(1, 11)]
    assert [path.name for path in ALL[len(NOTEBOOKS) :]] == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_notebooks__contain_no_output(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == [], cell["id"]
        assert cell["execution_count"] is None, cell["id"]
    assert '"attachments"' not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ALL, ids=name)
def test_cells__are_short_and_have_unique_ids(path):
    ids = [cell["id"] for cell in cells(path)]
    assert len(set(ids)) == len(ids)
    for cell in cells(path, "code"):
        assert len(cell["source"]) <= MAX_LINES, cell["id"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebooks__have_all_sections_and_widgets(path):
    prose = "\n".join(map(text, cells(path, "markdown")))
    for heading in (
        "What you'll do",
        "What you'll learn",
        "What you'll need",
        "Exercises",
        "In practice",
        "To read on",
    ):
        assert f"\n## {heading}\n" in prose, heading
    plays = [cell for cell in cells(path, "code") if re.search(r"pn\.bind\(|views\.trials\(", text(cell))]
    assert len(plays) >= MIN_PLAYS
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_solutions__solve_the_exercises_of_the_notebook(path):
    posed, solved = (
        {cell["id"]: text(cell) for cell in cells(each) if EXERCISES.fullmatch(cell["id"])}
        for each in (path, FOLDER / "solutions" / path.name)
    )
    assert list(posed) == list(solved)
    exercises = [key for key in posed if key.startswith("exercise")]
    assert exercises
    for key in posed:
        assert (posed[key] != solved[key]) == (key in exercises), f"{key} must {'not ' * (key not in exercises)}differ"
    for key in exercises:
        assert "raise NotImplementedError(" in posed[key], key
        assert "NotImplementedError" not in solved[key], key


@pytest.mark.parametrize("path", ALL, ids=name)
def test_checks__report_each_exercise_and_no_cell_may_fail(path):
    made = next(text(cell) for cell in cells(path, "code") if "views.Exercises(" in text(cell))
    checked = [text(cell).splitlines()[0] for cell in cells(path, "code") if cell["id"].startswith("check")]
    names = [re.fullmatch(r'with exercises\.check\("(\d+\.\d)"\):', line)[1] for line in checked]
    assert f"views.Exercises({', '.join(map(json.dumps, names))})" in made
    assert not any("raises-exception" in cell["metadata"].get("tags", ()) for cell in cells(path))
    if path not in NOTEBOOKS:
        assert text(cells(path, "code")[-1]) == "assert exercises.missing == []", "a wrong solution fails"


def test_readme__contains_the_command_that_opens_the_course():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -e '.[notebooks]' && jupyter lab notebooks/" in readme
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(need.startswith("jupyterlab") for need in extras["notebooks"])
