"""Command line: arguments, output, exit codes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from scipy.special import softmax

from tests.support import fake_engine
from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.config import Config, setting_names
from tsnn.engine.metrics import decision_values
from tsnn.engine.serialization import load_network
from tsnn.engine.workspace import Workspace
from tsnn.runs import RunStore

QUICK = ["--set", "data.size=small", "--set", "network.hidden=20-10", "--set", "training.epochs=2"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TSNN_RUNS", str(tmp_path / "runs"))
    return tmp_path


def test_train__records_a_run_and_prints_its_directory(capsys):
    assert main(["train", "madelon", *QUICK, "--seed", "3"]) == 0
    output, errors = capsys.readouterr()
    assert "Memory: " in errors
    assert "MiB expected (connections " in errors
    run = RunStore().list()[0]
    assert run.meta()["memory"]["micro_batch"] == 32
    assert str(run.path) in output
    assert "test accuracy" in output
    assert "500 to 20" in output
    assert len(run.records()) == 2
    config = run.config()
    assert (config.run.seed, config.training.epochs, config.network.hidden) == (3, 2, (20, 10))
    assert config.training.batch_size == 32  # the paper's setting for this data set
    assert main(["runs"]) == 0
    assert f"{run.id}" in (listing := capsys.readouterr().out)
    assert "finished" in listing
    assert "2/2" in listing


def test_train__configuration_file_and_csv_table(folder, capsys):
    rows = [f"{i % 7};{i % 3};{'yes' if i % 3 else 'no'}" for i in range(60)]
    (folder / "table.csv").write_text("a;b;answer\n" + "\n".join(rows))
    (folder / "experiment.toml").write_text(
        f'[data]\nname = "{folder / "table.csv"}"\ntarget = "answer"\n[network]\nhidden = [5]\n[training]\nepochs = 2\n'
    )
    assert main(["train", str(folder / "experiment.toml"), "--set", "zeta=0.1", "--set", "network.topology=fixed"]) == 0
    run = RunStore().list()[0]
    assert run.meta()["data"]["class_names"] == ["no", "yes"]
    assert (run.config().training.zeta, run.config().training.method) == (0.1, "fixed")


def test_export__network_predicts_from_unscaled_features(folder):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 6)) * [1, 10, 100, 1, 1, 1] + 3, np.arange(90) % 3
    np.savez(folder / "three.npz", X_train=x, y_train=y, X_test=x[:30], y_test=y[:30])
    assert main(["train", str(folder / "three.npz"), *QUICK[2:]]) == 0
    run = RunStore().list()[0]
    for form, ending in (("onnx", "onnx"), ("npz", "npz")):
        assert main(["export", run.id, "--format", form, "-o", str(folder / f"model.{ending}")]) == 0
    network = load_network(folder / "model.npz")
    offset, scale = network.scaling
    np.testing.assert_allclose(offset, x.mean(axis=0))
    z = decision_values(network, np.float32((x - offset) * scale), Workspace(network.sizes, 16))
    answers = ReferenceEvaluator(str(folder / "model.onnx")).run(None, {"features": x.astype(np.float32)})[0]
    np.testing.assert_allclose(answers, softmax(z, axis=1), rtol=1e-5, atol=1e-5)
    assert run.records()[-1].test_accuracy == pytest.approx((answers[:30].argmax(axis=1) == y[:30]).mean())


def test_export__refuses_a_run_without_weights(capsys):
    run = RunStore().create(Config())
    assert main(["export", run.id, "--format", "npz"]) == 1
    assert "is created and has no weights yet" in capsys.readouterr().err


def test_inspect__prints_columns_classes_and_a_command(folder, capsys):
    rows = [f"p{i},{i / 4},{'?' if i == 7 else i % 5},{i % 3},{'yes' if i % 4 else 'no'}" for i in range(60)]
    (folder / "table.csv").write_text("name,a,b,c,answer\n" + "\n".join(rows))
    assert main(["inspect", str(folder / "table.csv"), "--seed", "3"]) == 1
    output = capsys.readouterr().out
    for text in ("missing   1 values", "refused", "row 7 of column 'b'", "--set missing=fill --seed 3\n"):
        assert text in output
    assert main(["inspect", str(folder / "table.csv"), "--set", "missing=fill", "--set", "drop=c"]) == 0
    output = capsys.readouterr().out
    for text in (
        "classification, 2 classes", "40 training, 20 test", "test accuracy 75.00%", "missing   1 values",
        "Warning: Column 'name' is no feature and was dropped", "data.drop", "--set network.hidden=256-256",
        "--set missing=fill --set drop=c",
    ):  # fmt: skip
        assert text in output
    assert not (folder / "runs").exists()
    assert main(["inspect", "madelon"]) == 0
    assert capsys.readouterr().out.endswith("  tsnn train madelon\n")


def test_train__takes_settings_for_the_shape_of_a_file_but_those_given(folder, capsys):
    rows = [f"{i * 7 % 11},{i * 5 % 13},{'yes' if i % 4 else 'no'}" for i in range(60)]
    (folder / "table.csv").write_text("a,b,answer\n" + "\n".join(rows))
    assert main(["train", str(folder / "table.csv"), "--prepare", "--set", "hidden=7-5"]) == 0
    config = RunStore().list()[0].config()
    assert (config.network.hidden, config.network.epsilon, config.training.batch_size) == ((7, 5), 20, 32)
    shown = capsys.readouterr().err
    assert "training.epochs=45, training.batch_size=32" in shown
    (folder / "table.csv").write_text("a,b,answer\n" + "\n".join([*rows, "some,5,no"]))
    assert main(["train", str(folder / "table.csv")]) == 1
    assert "row 60 of column 'a' holds 'some'" in capsys.readouterr().err
    assert len(RunStore().list()) == 1, "no run is made for a file that cannot be read"


def test_train__drops_columns_and_fills_missing_values(folder, capsys):
    rows = [f"{i},{'' if i == 7 else i % 5},{'yes' if i % 4 else 'no'}" for i in range(60)]
    (folder / "table.csv").write_text("a,b,answer\n" + "\n".join(rows))
    settings = ["--set", "missing=fill", "--set", "drop=a", "--set", "epochs=1", "--set", "hidden=5"]
    assert main(["train", str(folder / "table.csv"), *settings]) == 0
    assert RunStore().list()[0].meta()["data"]["n_features"] == 1


def test_compare__differing_settings_and_results(folder, capsys):
    store = RunStore()
    settings = {"data.name": "madelon", "training.epochs": 3}
    runs = [fake_engine.finished_run(store, {**settings, "training.zeta": z}, 3) for z in (0.1, 0.2)]
    assert main(["compare", *(run.id for run in runs)]) == 0
    head, *rows, note = capsys.readouterr().out.splitlines()
    assert "training.zeta" in head
    assert "network.hidden" not in head
    assert [row.split()[0] for row in rows] == [run.id for run in runs]
    assert f"{runs[1].records()[-1].test_accuracy:.2%}".replace("%", " %") in rows[1]
    assert "last epoch" in note
    assert main(["compare", runs[0].id, runs[0].id, "--seeds"]) == 0
    assert "more seed" not in capsys.readouterr().out, "it is one run"
    assert main(["export", runs[0].id, "--format", "toml", "-o", str(folder / "copy.toml")]) == 0
    assert Config.from_toml(folder / "copy.toml") == runs[0].config()
    assert main(["export", runs[0].id, "--format", "csv", "-o", str(folder / "epochs.csv")]) == 0
    assert len((folder / "epochs.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "no-such-run"], "There is no run 'no-such-run'"),
        (["export", "../outside"], "not the name of a run"),
        (["train", "fashion_minst"], "fashion_mnist"),
        (["train", "madelon", "--set", "training.zetta=0.2"], "Did you mean 'training.zeta'?"),
        (["train", "madelon", "--set", "training.zeta"], "has no value"),
        (["train", "madelon", "--set", "zetta=0.2"], "Did you mean 'training.zeta'?"),
        (["train", "madelon", "--set", "network.epsilon=0"], "network.epsilon must be greater than 0"),
        (["train", "none.toml"], "Cannot read the configuration none.toml"),
        (["train", "none.csv"], "none.csv"),
    ],
)
def test_errors__are_one_line(capsys, arguments, message):
    assert main(arguments) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("tsnn: ")
    assert message in last
    assert not RunStore().list(), "no run is made"


@pytest.mark.parametrize("arguments", [["runs", "-n", "0"], ["sweep", "digits", "--grid", "zeta=0.1", "--seeds", "0"]])
def test_counts__below_one_are_refused(capsys, arguments):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "0 was given, expected at least 1" in capsys.readouterr().err


def test_report__names_the_file_that_cannot_be_written(folder, capsys):
    run = fake_engine.finished_run(RunStore(), {"data.name": "madelon"}, 1)
    for output in (folder, folder / "none" / "x.html"):
        assert main(["report", run.id, "-o", str(output)]) == 1
        assert f"The report cannot be written. {output}: " in capsys.readouterr().err


def test_inspect__of_a_configuration_suggests_no_other_settings(folder, capsys):
    (folder / "c.toml").write_text('[data]\nname = "digits"\n[training]\nepochs = 2\n')
    assert main(["inspect", str(folder / "c.toml"), "--seed", "5"]) == 0
    assert capsys.readouterr().out.endswith(f"  tsnn train {folder / 'c.toml'} --seed 5\n")


def test_runs__of_another_format_are_listed_as_unreadable(capsys):
    run = fake_engine.finished_run(RunStore(), {"data.name": "madelon"}, 1)
    (run.path / "meta.json").write_text('{"format": 1}')
    assert main(["runs"]) == 0
    message = f"Run {run.id} has format 1; this version of tsnn reads format 2."
    assert f"unreadable {message}" in capsys.readouterr().out
    assert main(["compare", run.id]) == 0
    for arguments in (["export", run.id], ["resume", run.id]):
        assert main(arguments) == 1
        assert f"tsnn: {message}" in capsys.readouterr().err


def test_train__refuses_a_run_that_does_not_fit(capsys):
    assert main(["train", "madelon", *QUICK, "--set", "network.hidden=1000000000-1000000000"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "GiB of memory, but" in last
    assert "run.ignore_memory=true" in last
    assert RunStore().list()[0].status()["state"] == "failed"


def test_train__divergence_is_reported_and_recorded(capsys):
    arguments = ["train", "madelon", *QUICK, "--set", "training.learning_rate=1e30"]
    assert main(arguments) == 1
    assert "diverged in epoch 1" in capsys.readouterr().err
    assert RunStore().list()[0].status()["state"] == "failed"


def test_help__describes_every_setting(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    output = capsys.readouterr().out
    assert all(name in output for name in setting_names())


def test_lists__runs_and_datasets(capsys):
    assert main(["runs"]) == 0
    assert "tsnn train fashion_mnist" in capsys.readouterr().out
    assert main(["datasets"]) == 0
    listing = capsys.readouterr().out
    assert "fashion_mnist (small)" in listing
    assert "5,000 / 1,000" in listing


def test_main__python_dash_m(folder):
    result = subprocess.run([sys.executable, "-m", "tsnn", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("tsnn 0.")


@pytest.mark.slow
@pytest.mark.compiled
def test_train__ctrl_c_stops_and_keeps_the_records(folder, capsys):
    arguments = ["train", "madelon", "--set", "training.epochs=100000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tsnn", *arguments], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    runs = wait_until(lambda: [run for run in RunStore().list() if run.records()], what="an epoch is recorded")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert str(runs[0].path) in output
    assert runs[0].status()["state"] == "stopped"
    assert (runs[0].path / "weights.npz").exists()
    assert main(["runs"]) == 0
    assert "Continue a stopped, failed or lost run with: tsnn resume RUN" in capsys.readouterr().out


def test_train__prepares_a_parallel_run_for_a_scheduler(capsys):
    assert main(["train", "madelon", *QUICK, "--workers", "3", "--mode", "wassp", "--prepare"]) == 0
    (run,) = RunStore().list()
    command = capsys.readouterr().out.split()
    assert command[1:3] == ["-n", "4"]
    assert command[-3:] == ["-m", "tsnn.execution", str(run.path.resolve())]
    assert (run.config().parallel.workers, run.config().parallel.mode) == (3, "wassp")
    assert run.status()["state"] == "created"


def test_errors__of_the_system_are_one_sentence_with_the_path(folder, capsys):
    run = fake_engine.finished_run(RunStore(), {"data.name": "madelon"}, 1)
    (folder / "file").touch()
    for arguments, message in (
        (["runs", "--runs", str(folder / "file")], f"{folder / 'file'}: Not a directory"),
        (["train", "madelon", "--runs", str(folder / "file")], f"{folder / 'file'}: File exists"),
        (["train", "madelon", "--runs", "/proc/nowhere"], "/proc/nowhere: No such file or directory"),
        (["export", run.id, "-o", str(folder / "no" / "x.csv")], f"{folder / 'no' / 'x.csv'}: No such file"),
        (["export", run.id, "-o", str(folder)], f"{folder}: Is a directory"),
        (["export", run.id, "-o", "/dev/full"], "/dev/full: No space left on device. Free some space"),
    ):
        assert main(arguments) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("tsnn: ")
        assert message in line


def test_help__prints_on_a_console_without_greek_letters():
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    command = [sys.executable, "-m", "tsnn", "train", "--help"]
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert b"training.zeta" in result.stdout


def test_kernels__are_compiled_in_memory_without_a_cache_folder(folder):
    (folder / "script.py").write_text(
        "from numba.core import caching; caching.CacheImpl._locator_classes = []\n"
        "from tsnn.kernels.compiling import compiled\n"
        "@compiled()\ndef add(x): return x + 1\n"
        "@compiled()\ndef add_two(x): return add(add(x))\n"
        "print(add_two(3))\n"
    )
    command = [sys.executable, str(folder / "script.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.strip() in ("5", "5.0"), result.stderr
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":
        assert result.stderr.count("NUMBA_CACHE_DIR") == 1
