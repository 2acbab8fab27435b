"""Machines without optional packages, POSIX modules, or letters in the console."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.errors import MissingPackageError
from tsnn.extras import EXTRAS, require
from tsnn.runs import RunStore

ROOT = Path(__file__).parents[2]
OPTIONAL = [*EXTRAS, "param", "requests", "jupyter"]
POSIX_ONLY = ["fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "nis", "spwd", "crypt"]

#: Refuses imports, and takes away what other systems lack.
BLOCK = """
import importlib.abc, sys
if "fcntl" in BLOCKED:  # libraries may use what a system has
    import numba, platformdirs, psutil, sklearn.base, tqdm.auto
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in BLOCKED:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Block())
"""

OF_ARRAYS = """
import numpy as np, tsnn
from tsnn.cli import main
rng = np.random.default_rng(0)
x = rng.normal(size=(120, 6)).astype(np.float32); y = (x[:, 0] > 0).astype(int)
model = tsnn.SparseMLPClassifier(hidden=(8,), epochs=3).fit(x, y)
assert model.predict(x).shape == y.shape
np.savez("own.npz", X=x, y=y)
for command in (["train", "own.npz", "--set", "epochs=1", "--set", "hidden=8"], ["runs"], ["datasets"], ["--help"]):
    try:
        assert main(command) == 0, command
    except SystemExit as end:
        assert end.code == 0
run = tsnn.RunStore().list()[0]
assert main(["predict", run.id, "own.npz", "-o", "answers.csv"]) == 0
assert main(["compare", run.id]) == main(["export", run.id, "-o", "epochs.csv"]) == 0
"""


def blocked(script, names, folder, **environment):
    """Run a script in a process that cannot import some modules."""
    code = f"BLOCKED = {names!r}\n{BLOCK}\n{script}"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"TSNN_RUNS": str(folder / "runs"), **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_arrays__need_no_optional_package(tmp_path):
    done = blocked(OF_ARRAYS, OPTIONAL, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_training__needs_no_module_of_posix(tmp_path):
    script = """
import os, signal
os.cpu_count = lambda: 1  # subprocess needs SIGKILL to end the helper, which a single core does not get
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGCHLD"):
    delattr(signal, name)
for name in ("fork", "getuid", "geteuid", "killpg", "setsid", "sched_getaffinity", "getpgid", "O_NONBLOCK"):
    delattr(os, name)
del os.O_DIRECTORY
"""
    done = blocked(script + OF_ARRAYS, POSIX_ONLY, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("statement", "extra"),
    [
        ("tsnn.load_dataset('t.csv', rng=rng)", "tables"),
        ("tsnn.load_dataset('t.parquet', rng=rng)", "tables"),
        ("tsnn.views.curves", "app"),
        ("tsnn.to_onnx(None)", "onnx"),
        ("tsnn.to_torch(None)", "torch"),
        ("tsnn.datasets.openml._fetch('x', 1, None, '')", "download"),
        ("tsnn.jobs.launch.mpiexec()", "mpi"),
    ],
)
def test_missing_package__is_named_with_its_extra(tmp_path, statement, extra):
    for name in ("t.csv", "t.parquet"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    script = f"""
import importlib.util, numpy as np, tsnn, tsnn.jobs.launch, tsnn.datasets.openml
importlib.util.find_spec = lambda name: None
rng = np.random.default_rng(0)
try:
    {statement}
except tsnn.errors.TsnnError as error:
    print(error)
"""
    done = blocked(script, OPTIONAL, tmp_path)
    assert f"pip install 'tsnn[{extra}]'" in done.stdout, done.stderr


def test_require__returns_modules_and_refuses_absent_ones(monkeypatch):
    assert require("json", "A test") is json
    monkeypatch.setitem(EXTRAS, "no_such_package", "tables")
    with pytest.raises(MissingPackageError, match=r"A test needs the package no_such_package.*tsnn\[tables\]"):
        require("no_such_package.part", "A test")


def test_import__loads_no_library(tmp_path):
    heavy = ["numba", "scipy", "sklearn", "pandas", "pyarrow", "numpy", "psutil", "tqdm", *OPTIONAL]
    done = blocked("import tsnn; print(tsnn.__version__)", heavy, tmp_path)
    assert done.returncode == 0, done.stderr


def test_extras__are_declared_and_bring_what_messages_promise():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def closure(extra):
        names = set()
        for requirement in extras[extra]:
            name, inner = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement).groups()
            names.add(name.replace("-", "_"))
            for part in (inner or "").split(",") if name == "tsnn" else ():
                names |= closure(part)
        return names

    for module, extra in EXTRAS.items():
        assert module in closure(extra)
    assert {"pandas", "pyarrow", "pooch"} <= closure("app") & closure(
        "test"
    )  # the dashboard reads tables and downloads
    core = {re.match(r"[\w-]+", requirement)[0].replace("-", "_") for requirement in project["dependencies"]}
    assert core.isdisjoint(EXTRAS)


def test_console__prints_where_letters_are_missing(tmp_path):
    store = RunStore(tmp_path / "runs")
    run = fake_engine.finished_run(store, {"data.name": "madelon"}, 1)
    lines = ["α,β,label", *["1,2,→", "3,4,ж", "1,4,→", "5,2,ж"] * 30]
    (tmp_path / "größe α.csv").write_text("\n".join(lines), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "TSNN_RUNS": str(store.root)}
    for arguments in (
        ["--help"],
        ["train", "--help"],
        ["runs"],
        ["compare", run.id],
        ["datasets"],
        ["inspect", "größe α.csv"],
    ):
        command = [sys.executable, "-m", "tsnn", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode("cp1252").strip(), arguments


RESERVED = re.compile(r'[<>:"|?*\x00-\x1f\\]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


@pytest.mark.parametrize(
    "name", ["aux", "con.csv", "a:b", "what?.csv", "trailing. ", "größe α", "x" * 300, "..", "a|b<c>"]
)
def test_file_names__are_legal_on_windows(tmp_path, name):
    run = RunStore(tmp_path).create(Config().replace({"data.name": name}))
    created = [path.relative_to(tmp_path) for path in tmp_path.rglob("*")]
    assert created
    for path in created:
        for part in path.parts:
            assert not RESERVED.search(part), part
            assert len(part) < 120
    assert run.id.isascii()


def test_repository__has_names_that_are_legal_on_windows():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git repository")
    names = listed.stdout.splitlines()
    assert not [name for name in names if any(RESERVED.search(part) for part in name.split("/"))]
    assert len({name.lower() for name in names}) == len(names)
