"""Checks of ``tsnn doctor``: their results and remedies."""

import json
import os
import subprocess
import sys

import pytest

from tsnn.cli import doctor, main


def checks(capsys, *arguments):
    code = main(["doctor", "--quick", "--json", *arguments])
    found = json.loads(capsys.readouterr().out)["checks"]
    return code, {check["name"]: check for check in found}


@pytest.fixture(autouse=True)
def no_processes(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "mpi4py" else object())
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("TSNN_DATA", raising=False)


def test_doctor__finds_no_problem_here(capsys):
    code, found = checks(capsys)
    assert code == 0
    assert {"Python", "Processor", "Kernel cache", "MPI", "[tables]", "Runs", "Data"} <= found.keys()
    assert "pip install 'tsnn[mpi]'" in found["MPI"]["found"]
    assert "fashion_mnist" in found["Data"]["found"]


def test_doctor__names_a_folder_that_is_wrong_and_the_remedy(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "file"))
    monkeypatch.setenv("TSNN_DATA", str(tmp_path / "nowhere"))
    code, found = checks(capsys)
    assert code == 1
    assert [found[name]["state"] for name in ("Runs", "Data")] == ["problem", "problem"]
    assert "TSNN_RUNS" in found["Runs"]["remedy"]
    assert main(["doctor", "--quick"]) == 1
    assert "\n                       -> Set TSNN_RUNS" in capsys.readouterr().out


def test_doctor__warns_of_a_full_disk(capsys, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**6}))
    code, found = checks(capsys)
    assert (code, found["Runs"]["state"]) == (0, "warning")


def test_doctor__warns_of_a_cache_that_cannot_be_written(capsys, monkeypatch):
    from tsnn import kernels

    cache = type("Cache", (), {"cache_path": "/proc/nowhere"})
    monkeypatch.setattr(doctor, "available_cores", lambda: 1)
    monkeypatch.setattr(kernels, "merge_connections", type("Kernel", (), {"_cache": cache}))
    _, found = checks(capsys)
    assert found["Kernel cache"]["state"] == "warning"
    assert "NUMBA_CACHE_DIR" in found["Kernel cache"]["remedy"]


def test_doctor__writes_no_name_of_the_home_folder(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "private-name"))
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "private-name" / "runs"))
    main(["doctor", "--quick", "--json"])
    text = capsys.readouterr().out
    assert "~/runs" in text
    assert "private-name" not in text


LAUNCHERS = {
    "alone": ("echo '1 Some MPI'", "do not see each other; mpi4py uses Some MPI"),
    "broken": ("echo no such host >&2; exit 3", "could not be started: no such host"),
    "hung": ("sleep 60", "did not answer"),
    "right": ("echo '2 Some MPI'", "two processes greet each other"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="a launcher made of a shell script")
@pytest.mark.parametrize("kind", LAUNCHERS)
def test_doctor__tries_the_launcher_of_mpi(capsys, monkeypatch, tmp_path, kind):
    script, message = LAUNCHERS[kind]
    launcher = tmp_path / "mpiexec"
    launcher.write_text(f"#!/bin/sh\n{script}\n")
    launcher.chmod(0o755)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "mpiexec", lambda: str(launcher))
    monkeypatch.setattr(doctor, "HELLO_SECONDS", 5.0 if kind != "hung" else 0.3)
    code, found = checks(capsys)
    assert message in found["MPI"]["found"]
    assert code == (kind != "right")


MEASURED = {
    "threads": 2, "threading_layer": "tbb", "bits": "a", "bits_one_thread": "a", "bits_expected": "a", "gflops": 50.0,
    "samples_per_second": 1e4, "share_of_dense": 0.5, "share_expected": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, "ok ok ok"),
        ({"threading_layer": "workqueue"}, "warning ok ok"),
        ({"bits_one_thread": "b"}, "ok problem ok"),
        ({"bits_expected": "b"}, "ok warning ok"),
        ({"bits_expected": None}, "ok ok ok"),
        ({"share_of_dense": 0.1}, "ok ok warning"),
        ({"share_of_dense": 0.1, "share_expected": None}, "ok ok ok"),
    ],
)
def test_doctor__judges_what_was_measured(monkeypatch, changes, states):
    done = subprocess.CompletedProcess([], 0, json.dumps(MEASURED | changes), "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *arguments, **options: done)
    found = list(doctor._training())
    assert " ".join(check.state for check in found) == states
    assert all(bool(check.remedy) == (check.state != "ok") for check in found)


def test_doctor__reports_a_training_that_fails(monkeypatch):
    done = subprocess.CompletedProcess([], -4, "", "Traceback\nImportError: no LLVM")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *arguments, **options: done)
    (check,) = doctor._training()
    assert (check.state, check.found) == ("problem", "a short training failed: ImportError: no LLVM")


@pytest.mark.slow
@pytest.mark.compiled
def test_measurement__finds_the_expected_bits():
    script = (
        "from tsnn.cli import measurement as m; from tsnn.kernels.compiling import vector_path\n"
        "print(m.bits(1), m.bits(0), m.EXPECTED_BITS.get(vector_path()), *m.rates(0.1))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, env=os.environ | {"NUMBA_NUM_THREADS": "2"}, capture_output=True, text=True, check=True
    )
    one, several, expected, *rates = done.stdout.split()
    assert one == several
    assert expected in (one, "None")
    assert all(float(rate) > 0 for rate in rates)
