"""The benchmark command, on a network of 372 connections."""

import pytest

from tests.benchmarks.targets import line
from tsnn import cli


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
