"""Reports: one file with all that a run consists of, of bounded size, without scripts or addresses from outside."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import holoviews as hv
import numpy as np
import pytest
from pages.reports import ReportButton

import tsnn
from tests.support import fake_engine
from tests.support.waiting import run_coroutine
from tsnn.cli import commands, main
from tsnn.cli.parser import build_parser
from tsnn.config import Config
from tsnn.errors import RunError, TsnnError
from tsnn.files import append_line, read_json
from tsnn.runs import RunStore
from tsnn.runs.notes import annotate
from tsnn.runs.repeat import code, command, differences
from tsnn.runs.sweep_plan import Plan, trial_name
from tsnn.runs.sweeps import create_sweep
from tsnn.views import report as reports
from tsnn.views.plots import frames
from tsnn.views.plots.frames import choose_epochs, topology_map

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
CONFIGS = {
    "preset": Config.preset("digits").replace(seed=7, zeta=1 / 3),
    "text": Config.preset("madelon").replace(hidden=(40,), missing_marks=("n/a", "a b"), target="7"),
    "papers": Config.preset("paper/cifar10").replace(epsilon=3),
    "parallel": Config.preset("fashion_mnist").replace(workers=2, mode="wassp", hidden=(10, 20)),
}


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store):
    return fake_engine.finished_run(store, {"data.name": "fashion_mnist", "training.epochs": 3}, 3)


@pytest.fixture(autouse=True)
def _few_frames(monkeypatch):
    """Draw the topology at two epochs: each takes a tenth of a second."""
    monkeypatch.setattr(reports, "FRAMES", 2)


def parsed(line):
    """Return the settings that a command line trains with."""
    program, *arguments = shlex.split(line)
    assert program == "tsnn"
    return commands.suited_config(build_parser().parse_args(arguments))


@pytest.mark.parametrize("name", CONFIGS)
def test_command_and_code__repeat_all_settings(name, monkeypatch):
    config = CONFIGS[name]
    assert parsed(command(config)) == config
    started = []
    monkeypatch.setattr(tsnn, "start", started.append)
    exec(code(config), {})
    assert started == [config]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_command__repeats_a_file_whatever_its_shape_suggests(task, tmp_path):
    path = tmp_path / "own table.csv"
    rows = np.random.default_rng(0).normal(size=(60, 4))
    target = rows[:, 0] > 0 if task == "classification" else rows[:, 0]
    path.write_text(
        "a,b,c,d,y\n" + "\n".join(",".join(map(str, [*row, y])) for row, y in zip(rows, target, strict=True))
    )
    config = Config.preset(str(path)).replace(epochs=3)
    assert parsed(command(config)) == config, "the defaults, which its shape would change"
    assert "training.epochs" in differences(config)[1]


def test_report__is_one_file_with_everything(run, tmp_path):
    annotate(run, title="My <b>run</b>", tags=["for the paper"])
    text = tsnn.report(run, tmp_path / "a.html").read_text()
    assert len(text) < reports.MAX_BYTES
    assert "My &lt;b&gt;run&lt;/b&gt;" in text
    assert "for the paper" in text
    assert command(run.config()) in text
    assert "tsnn.Config.preset(&#x27;fashion_mnist&#x27;)" in text
    assert "2 of 4 snapshots" in text
    assert all(title in text for title in ("Accuracy (%)", "Connections per layer", "Connections of each input"))
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="?http', text)
    assert '"ImportedStyleSheet"' not in text.partition('<script type="application/json"')[2]


@pytest.mark.slow
def test_report__escapes_text_from_files(store, tmp_path):
    run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 2}, 2)
    meta = fake_engine.meta(run.config())
    meta["data"] |= {"class_names": [EVIL, "b"], "feature_names": [f"{EVIL}{i}" for i in range(500)], "digest": EVIL}
    (run.path / "meta.json").write_text(json.dumps(meta | {"versions": {EVIL: EVIL}, "machine": {"processor": EVIL}}))
    (run.path / "notes.json").write_text(json.dumps({"title": EVIL, "tags": [EVIL], "text": EVIL}))
    line = {"type": "event", "seq": 99, "time": 1.0, "epoch": 1, "kind": "setting", "message": EVIL}
    append_line(run.path / "metrics.jsonl", line)
    status = read_json(run.path / "status.json")
    (run.path / "status.json").write_text(json.dumps(status | {"state": "failed", "message": EVIL}))
    for runs in (run, [run, run]):
        text = tsnn.report(runs, tmp_path / "evil.html").read_text()
        assert "alert(1)" in text
        assert "<script>alert(1)" not in text
        assert "<img src=x" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["meta.json", "config.toml", "snapshots/0000003.npz"])
def test_report__of_a_damaged_run_shows_the_rest(run, name, tmp_path):
    (run.path / name).write_bytes(b"\x00garbage")
    assert run.id in tsnn.report(run, tmp_path / "damaged.html").read_text()


@pytest.mark.slow
def test_report__names_the_damage_of_impossible_snapshots(run, tmp_path):
    for path in (run.path / "snapshots").iterdir():
        arrays = dict(np.load(path))
        np.savez(path, **arrays | {"edges_0": arrays["edges_0"] + 10**6})
    assert "The snapshots are damaged" in tsnn.report(run, tmp_path / "damaged.html").read_text()


@pytest.mark.slow
def test_report__draws_fewer_epochs_where_they_would_be_too_large(run, tmp_path, monkeypatch):
    full = tsnn.report(run, tmp_path / "full.html").stat().st_size
    monkeypatch.setattr(reports, "MAX_BYTES", full - 1)
    path = tsnn.report(run, tmp_path / "less.html")
    assert path.stat().st_size < full
    assert "1 of 4 snapshots" in path.read_text()


def test_report__compares_runs(run, store, tmp_path):
    other = fake_engine.finished_run(store, {"training.epochs": 3, "training.method": "dense"}, 3)
    text = tsnn.report([run, other], tmp_path / "b.html").read_text()
    assert "Comparison of 2 runs" in text
    assert command(other.config()) in text
    assert "Test accuracy (%)" in text


@pytest.fixture
def sweep(store):
    values = {"training.zeta": (0.1, 0.3), "network.epsilon": (2.0, 5.0)}
    points = [{"training.zeta": zeta, "network.epsilon": epsilon} for zeta in (0.1, 0.3) for epsilon in (2.0, 5.0)]
    base = Config.preset("fashion_mnist").replace(epochs=2, hidden=(20,))
    trials = tuple((point, 0) for point in points)
    return create_sweep(store, Plan(EVIL, "grid", base, values, {}, (0,), trials, "test accuracy"))


def test_report__of_a_sweep_has_ranking_plots_and_topologies(sweep, store, run, tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "FRAMES", 4)
    path = tmp_path / "map.html"
    text = tsnn.report(sweep, path).read_text()
    assert "No trial has finished yet" in text
    assert "Test accuracy (%)" not in text
    for number, (settings, _) in enumerate(sweep.plan.trials):
        fake_engine.finished_run(sweep.store, {**sweep.base.flat(), **settings}, 2, name=trial_name(number))
    assert main(["report", sweep.id, "--runs", str(store.root), "-o", str(path)]) == 0
    text = path.read_text()
    assert "4 of 4 trials finished." in text
    assert text.partition("<h2>Ranking</h2>")[2].partition("</table>")[0].count("<tr>") == 1 + 4
    for title in (
        "Test accuracy (%)",
        "Pareto",
        "Parallel coordinates",
        "Importance of the settings",
        "Drag the sliders",
    ):
        assert title in text, title
    assert "<script>alert(1)" not in text
    full = len(text)
    monkeypatch.setattr(reports, "MAX_BYTES", full - 1)
    text = tsnn.report(sweep, path).read_text()
    assert "Drag the sliders" not in text
    assert "Importance of the settings" in text
    with pytest.raises(RunError, match="report of its own, got 2 names"):
        tsnn.report([sweep, run])


@pytest.mark.slow
def test_report__of_many_long_runs_is_no_larger_than_allowed(store, tmp_path):
    run = fake_engine.finished_run(store, {"training.epochs": 500}, 500)
    assert tsnn.report([run] * reports.MAX_RUNS, tmp_path / "many.html").stat().st_size < reports.MAX_BYTES


def test_report__refuses_no_runs_and_too_many(run):
    for runs in ([], [run] * (reports.MAX_RUNS + 1)):
        with pytest.raises(RunError, match="1 to 20 runs"):
            tsnn.report(runs)


def test_report__says_what_the_command_does_not_repeat(run, tmp_path):
    line = {"type": "event", "seq": 99, "time": 1.0, "epoch": 2, "kind": "setting", "message": "zeta: 0.3 -> 0.5"}
    append_line(run.path / "metrics.jsonl", line)
    assert "repeats the run up to epoch 2" in tsnn.report(run, tmp_path / "c.html").read_text()


def test_topology_map__draws_the_snapshots(run):
    snapshots = {epoch: (run.snapshot(epoch), None) for epoch in (1, 3)}
    drawn = topology_map(snapshots, run.meta()["data"])
    network, picture, degrees = drawn.values()
    assert list(network.keys()) == list(picture.keys()) == list(degrees.keys()) == [1, 3]
    kept = network[3].get(1) if len(network[3]) else None
    assert kept is not None
    image = picture[3].dimension_values(2, flat=False)
    assert np.array_equal(image.ravel(), run.snapshot(3).input_degree)


def test_topology_map__equal_degrees_have_a_range_on_logarithmic_axes(run, monkeypatch):
    monkeypatch.setattr(frames, "random_degrees", lambda *_: (np.array([40.0]), np.array([1.0])))  # of a dense layer
    snapshot = run.snapshot(1)
    equal = np.array([[40, 1000]])
    layers = [dataclasses.replace(layer, in_degree=equal) for layer in snapshot.layers]
    *_, degrees = topology_map({1: (dataclasses.replace(snapshot, layers=layers), None)}, run.meta()["data"]).values()
    figure = hv.render(degrees)
    for axis in (figure.x_range, figure.y_range):
        assert 0 < axis.start < axis.end
    assert figure.x_range.start < 40 < figure.x_range.end
    assert 0.5 < figure.y_range.start < 1 < figure.y_range.end


def test_choose_epochs__keeps_first_and_last():
    assert choose_epochs([0, 1, 5], 40) == [0, 1, 5]
    chosen = choose_epochs(range(200), 40)
    assert chosen[0] == 0
    assert chosen[-1] == 199
    assert len(chosen) == 40


def test_command_line__writes_a_report(run, tmp_path, capsys):
    path = tmp_path / "out.html"
    assert main(["report", run.id, "--runs", str(run.path.parent), "-o", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    assert path.exists()


def test_command_line__names_the_missing_extra(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "holoviews", None)
    assert main(["report", run.id, "--runs", str(run.path.parent)]) == 1
    assert "pip install 'tsnn[app]'" in capsys.readouterr().err


def test_report__names_the_missing_extra():
    code = (
        "import sys; sys.modules |= dict.fromkeys(('bokeh', 'jinja2', 'panel', 'holoviews')); import tsnn; tsnn.report"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "tsnn.report needs the package panel" in ended.stderr
    assert "pip install 'tsnn[app]'" in ended.stderr


@pytest.mark.slow
def test_button__writes_the_report_in_another_process(run):
    warnings = []
    report = ReportButton(lambda: [run], warnings.append)
    content = run_coroutine(report._content()).read()
    assert content.startswith(b"<!DOCTYPE html>")
    assert run.id.encode() in content
    assert not report.button.disabled
    (run.path / "config.toml").unlink()
    with pytest.raises(TsnnError):
        run_coroutine(report._content())
    assert "There is no run" in warnings[0]
    assert report.button.label == "Report"
