"""The benchmark command, on a network of 372 connections; names that the benchmarks import."""

import ast
import importlib.util
from pathlib import Path

import pytest

from tests.benchmarks.targets import line
from tsnn import cli

BENCHMARKS = sorted(Path(__file__).parents[1].joinpath("benchmarks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.compiled
def test_bench__prints_a_report(capfd):
    assert cli.main(["bench", "--tiny", "--peer", "published step"]) == 0
    report = capfd.readouterr().out
    for expected in ("372 connections", "| published step |", "## Evolution", "## Targets", "4,050", "GFLOP/s"):
        assert expected in report


@pytest.mark.slow
@pytest.mark.compiled
def test_bench__names_a_missing_peer(capfd, monkeypatch, tmp_path):
    (tmp_path / "sklearn.py").write_text("raise ImportError(name='sklearn')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert cli.main(["bench", "--tiny", "--peer", "scikit-learn", "--section", "step"]) == 0
    assert "Missing: scikit-learn (sklearn is not installed" in capfd.readouterr().out


@pytest.mark.slow
def test_bench__needs_a_checkout(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tsnn.cli.commands.__file__", str(tmp_path / "tsnn" / "cli" / "commands.py"))
    assert cli.main(["bench", "--quick"]) == 1
    assert "no checkout" in capsys.readouterr().err


def test_targets__are_met_in_their_direction():
    assert line("speed", 2, 1, True).startswith("- met")
    assert line("time", 2, 1, False).startswith("- NOT MET")


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks__import_names_that_exist(path):
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    missing = []
    for node in imports:
        if (node.module or "").startswith("tsnn.") and "parallel" not in node.module:  # MPI is for its own processes
            try:
                module = importlib.import_module(node.module)
            except ImportError as error:
                if error.name != "torch":  # PyTorch is not installed for tests
                    raise
                continue
            missing += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name)
                        and importlib.util.find_spec(f"{node.module}.{alias.name}") is None]  # fmt: skip
    assert missing == [], "they have moved"
