"""The rules of the course. Pytest runs the notebooks themselves, through nbmake; see notebooks/conftest.py."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ALL = [*NOTEBOOKS, *sorted((FOLDER / "solutions").glob("*.ipynb"))]
EXERCISES = re.compile(r"(task|exercise|check)-\d")
FEWEST_PLAYS = 2
MOST_LINES = 15


def cells(path, kind=""):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in ("", cell["cell_type"])]


def text(cell):
    return "".join(cell["source"])


def name(path):
    return str(path.relative_to(FOLDER))


def test_the_course_has_seven_parts_and_a_solution_to_each():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{k}_" for k in range(1, 8)]
    assert [path.name for path in ALL[len(NOTEBOOKS) :]] == [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_no_output_is_kept(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == [], cell["id"]
        assert cell["execution_count"] is None, cell["id"]
    assert '"attachments"' not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ALL, ids=name)
def test_cells_are_short_and_have_names_of_their_own(path):
    ids = [cell["id"] for cell in cells(path)]
    assert len(set(ids)) == len(ids)
    for cell in cells(path, "code"):
        assert len(cell["source"]) <= MOST_LINES, cell["id"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_a_notebook_says_what_it_is_for_and_lets_play(path):
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
    assert sum("pn.bind(" in text(cell) for cell in cells(path, "code")) >= FEWEST_PLAYS
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert target.startswith("http") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_the_solutions_solve_the_exercises_of_the_notebook(path):
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
def test_only_checks_of_unsolved_exercises_may_fail(path):
    for cell in cells(path):
        may = "raises-exception" in cell["metadata"].get("tags", ())
        assert may == (path in NOTEBOOKS and cell["id"].startswith("check")), cell["id"]


def test_the_readme_opens_the_course():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "pip install -e '.[notebooks]' && jupyter lab notebooks/" in readme
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert any(need.startswith("jupyterlab") for need in extras["notebooks"])
