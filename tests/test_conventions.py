"""Conventions of the project: style, types, import directions, language. One test for each tool or rule."""

import ast
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("tsnn", "app", "tests", "notebooks")


def modules(*folders):
    """Yield the Python files below some folders."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def run(*command, **environment):
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def tool(name):
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def test_code__passes_lint():
    run(tool("ruff"), "check", ".")


def test_code__is_formatted():
    run(tool("ruff"), "format", "--check", ".")


def test_code__has_consistent_types():
    run(sys.executable, "-m", "mypy")


def test_imports__go_downwards():
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
def test_imports__load_little(module, absent):
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
HOMES |= {
    name: {"views", "dashboard.py"} for name in ("panel", "bokeh", "holoviews", "datashader")
}  # tsnn dashboard serves the page


def test_heavy_packages__have_one_home():
    for path in (ROOT / "tsnn").rglob("*.py"):
        for name in imports(path):
            package = name.split(".")[0]
            assert package not in HOMES or HOMES[package] & set(path.parts), f"{path} imports {name}"


def test_dashboard__imports_no_engine():
    allowed = (
        "config",
        "datasets",
        "engine.memory",
        "engine.shapes",
        "errors",
        "files",
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


def test_kernels__do_not_hide_nan():
    from tsnn.kernels.compiling import FASTMATH

    assert not FASTMATH & {"nnan", "ninf", "fast"}
    for path in (ROOT / "tsnn").rglob("*.py"):
        text = path.read_text()
        assert "fastmath=True" not in text, path
        assert "njit" not in text or path.name == "compiling.py", f"{path}: use compiling.compiled"


#: Words that must not come back, and the words to use. Spaces stand for any white space and for underscores in
#: identifiers; identifiers are also split where an upper-case letter follows a lower-case one.
WORDS = {
    r"wish(es|ed)?": "command, pending setting",
    r"t(ake|akes|aken|aking|ook) up": "apply, load",
    r"(in|into) force": "current, applied",
    r"go(es)? on": "continue, resume",
    r"foret(ell|ells|elling|old)": "estimate, predict",
    r"ma(ke|kes|de|king) up for": "defer, run late",
    r"(hold|holds|held|holding) back": "validation split",
    r"(wait|waits|waiting|put|place|places|placed|stand|stands|position \S+( of \S+)?) in line": "queue",
    r"(tended|bells?)": "queue thread, wake-up socket",
    r"ledgers?": "worker statistics",
    r"(tally|tallies)": "worker statistics",
    r"crowding": "oversubscription",
    r"doomed": "to prune",
    r"pace": "duration estimate, throttle",
    r"carr(y|ies|ied|ying) out": "run, execute",
    r"as against": "compared with",
    r"whatever the number": "for any number",
    r"(so|as) many( as)?(?= (values|connections|workers|samples|neurons|epochs|updates)\b)": "N, the same number",
    r"for so long": "for that long",
    r"bars? of time": "timeline",
    r"(rungs?|ladders?)": "size benchmark",
    r"silenced": "dropped",
    r"anew": "again",
    r"now and then": "occasionally",
    r"passed over": "skipped",
    r"(whoever|nobody|somebody)": "the name of the thing",
}
SUFFIXES = {".py", ".md", ".ipynb", ".toml", ".yaml", ".cff", ".html", ".css", ".js"}


def phrase(pattern):
    """Return a regular expression for words that may be spread over lines or strings, or be part of an identifier."""
    pattern = pattern.replace(" ", r"""(?:\\n",|[\s_#"])+""")
    return re.compile(rf"(?<![a-z]){pattern}(?![a-z])", re.IGNORECASE)


@functools.cache
def texts():
    """Return the text files of the project, except this one, with identifiers split, by path."""
    paths = [*ROOT.glob("*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*"))]
    return {
        path.relative_to(ROOT): re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if path.suffix in SUFFIXES
        and path != Path(__file__)
        and not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}
    }


@pytest.mark.parametrize("words", WORDS)
def test_words__private_vocabulary_is_absent(words):
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {' '.join(match.group().split())}"
        for path, text in texts().items()
        for match in phrase(words).finditer(text)
    ]
    assert not found, f"Use instead: {WORDS[words]}\n" + "\n".join(found)


RIDDLES = re.compile(r"\b(what|whatever|who|whoever)\b|so that nobody", re.IGNORECASE)


def docstrings(path):
    """Yield the line number and the first line of each docstring of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text.splitlines()[0]


def test_docstrings__first_lines_name_the_thing():
    riddles = [
        f"{path.relative_to(ROOT)}:{number}: {line}"
        for path in modules("tsnn", "app", "tests")
        for number, line in docstrings(path)
        if RIDDLES.search(line)
    ]
    assert not riddles, "\n".join(riddles)


LONGEST = 320  # lines
LONGER = {
    "tsnn/config/sections.py": 400,  # every setting, declared once: a split would spread them
}


def test_modules__are_short():
    lengths = {path: path.read_text().count("\n") for path in modules("tsnn", "app", "tests/support")}
    names = {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items()}
    assert not {name: n for name, n in names.items() if n > LONGER.get(name, LONGEST)}
