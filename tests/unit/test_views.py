"""Followers, thinning of curves, and figures that draw exactly the recorded data."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import param
import pytest

pytest.importorskip("panel")

import panel as pn
from bokeh.plotting import figure

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.records import Event, EventKind, RunState
from tsnn.runs import Run, RunStore
from tsnn.runs.metrics_index import IndexBuilder
from tsnn.runs.writer import RunWriter
from tsnn.views.history import History
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.notebook import watch
from tsnn.views.plots import curves, degrees, neurons, palette, topology
from tsnn.views.plots.figures import EventMarks, decimate, log_padded, padded
from tsnn.views.tabs.run import RunView
from tsnn.views.tabs.summary import progress, summary_html

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 12}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def finished(store: RunStore) -> Run:
    return fake_engine.finished_run(store, SETTINGS, 12)


def write_epochs(run: Run, first: int, last: int) -> None:
    config = run.config()
    with open(run.path / "metrics.jsonl", "a") as file:
        for epoch in range(first, last + 1):
            file.write(json.dumps({"type": "epoch", **fake_engine.epoch_record(epoch, config).to_dict()}) + "\n")


# --- following -------------------------------------------------------------------------------------------


def test_follower__reads_only_new_bytes(store):
    run = store.create(Config().replace(SETTINGS))
    follower = RunFollower(run, min_interval=0)
    assert len(follower.history) == 0
    assert follower.state == "created"
    assert follower.live
    write_epochs(run, 1, 3)
    version = follower.version
    assert follower.poll() > version
    assert follower.history["epoch"].tolist() == [1, 2, 3]
    read: list[int] = []
    run_lines = Run.lines
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "lines", lambda self, offset=0: read.append(offset) or run_lines(self, offset))
        version = follower.poll()
        assert follower.poll() == version
        assert read == [], "nothing new, so nothing was opened"
        size = (run.path / "metrics.jsonl").stat().st_size
        write_epochs(run, 4, 4)
        follower.poll()
    assert read == [size]
    assert len(follower.history) == 4


def test_follower__waits_for_the_end_of_a_torn_line(store):
    run = store.create(Config())
    write_epochs(run, 1, 1)
    follower = RunFollower(run, min_interval=0)
    line = json.dumps({"type": "epoch", **fake_engine.epoch_record(2, run.config()).to_dict()})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write(line[:100])
    follower.poll()
    assert len(follower.history) == 1
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write(line[100:] + "\nnot json\n[1]\n" + '{"type": "epoch"}\n{"type": "event", "epoch": "x"}\n')
    follower.poll()
    assert follower.history["epoch"].tolist() == [1, 2]


def test_follower__starts_over_with_a_replaced_file(store):
    run = store.create(Config())
    write_epochs(run, 1, 5)
    follower = RunFollower(run, min_interval=0)
    (run.path / "metrics.jsonl").unlink()
    write_epochs(run, 1, 2)
    follower.poll()
    assert follower.history["epoch"].tolist() == [1, 2]


def test_history__drops_the_epochs_after_a_repeated_one(store):
    run = store.create(Config())
    write_epochs(run, 1, 5)
    follower = RunFollower(run, min_interval=0)
    write_epochs(run, 4, 4)
    follower.poll()
    assert follower.history["epoch"].tolist() == [1, 2, 3, 4]
    assert len(follower.history["density_0"]) == 4


def test_follower__is_shared_and_limits_its_rate(store):
    run = store.create(Config())
    follower = RunFollower(run, min_interval=60)
    write_epochs(run, 1, 1)
    follower.poll()
    assert len(follower.history) == 0
    assert follow(run) is follow(store.open(run.id))


def test_follower__has_events_acks_snapshots_and_the_end(store):
    run = store.create(Config().replace(SETTINGS))
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(run.config()))
        writer.snapshot(0, fake_engine.snapshot(0, run.config()))
        writer.line("event", epoch=0, kind="setting", message="zeta 0.2")
        writer.line("event", epoch=0, kind="setting", message="zeta 0.2")
        writer.line("ack", command="abc", epoch=0, accepted=True, message="ok")
        follower = RunFollower(run, min_interval=0)
        assert follower.live
        writer.end("failed", "The loss is no longer finite.")
    follower.poll()
    assert follower.state == "failed"
    assert not follower.live
    assert follower.events == [Event(0, EventKind.SETTING, "zeta 0.2")]
    assert follower.acks["abc"]["accepted"] is True
    assert follower.sizes == [784, 1000, 1000, 1000, 10]
    assert follower.image_shape == (28, 28)
    assert set(follower.snapshot(0).arrays()) >= {"sizes", "input_degree", "density_0", "importance_3"}
    (run.path / "snapshots" / "0000000.npz").write_bytes(b"damaged")
    assert follower.snapshot(0) is not None, "kept in memory"
    follower._reader.forget()
    assert follower.snapshot(0) is None
    assert follower.snapshots == []


def test_follower__finishes_the_search_for_events_of_a_long_file(store, finished, monkeypatch):
    monkeypatch.setattr("tsnn.views.live.follower.SHORT_BYTES", 100)
    monkeypatch.setattr("tsnn.runs.sampling.END_BYTES", 100)
    line = {"type": "event", "seq": 0, "time": 1.0, "epoch": 4, "kind": "setting", "message": "zeta"}
    path = finished.path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:-4], json.dumps(line) + "\n", *lines[-4:]]))
    with monkeypatch.context() as before:
        before.setattr(IndexBuilder, "advance", lambda builder: [])
        follower = RunFollower(finished, min_interval=3600)
    assert follower.events == [], "found in parts"
    follower.finish()
    assert [event.message for event in follower.events] == ["zeta"]


def test_follower__reports_the_problem_of_a_damaged_run(store, finished):
    (finished.path / "config.toml").write_text("[data]\nname = 3\n")
    follower = RunFollower(finished, min_interval=0)
    assert "data.name must be text" in follower.problem
    assert len(follower.history) == 12
    assert follower.config == Config()


def test_views__load_neither_numba_nor_scipy():
    modules = "tsnn.views.tabs.run, tsnn.jobs.launch, tsnn.datasets, sys"
    code = f"import {modules}; print({{'numba', 'scipy', 'mpi4py'}} & {{*sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# --- thinning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 999, 1000, 1001, 5000, 100_003])
def test_decimate__keeps_extremes_and_ends(n):
    rng = np.random.default_rng(n)
    curves = [rng.normal(size=n), rng.normal(size=n).cumsum()]
    rows = decimate(curves, 1000)
    assert len(rows) <= 1000
    assert (np.diff(rows) > 0).all()
    if n:
        assert rows[0] == 0
        assert rows[-1] == n - 1
        for curve in curves:
            assert curve.argmin() in rows
            assert curve.argmax() in rows


def test_decimate__skips_missing_values():
    curve = np.full(10_000, np.nan)
    curve[5000:] = np.arange(5000)
    assert 9999 in decimate([curve], 100)
    assert len(decimate([curve], 100)) <= 100


def test_padded__contains_all_finite_values():
    low, high = padded([np.array([1.0, np.nan, 3.0]), np.array([2.0])], floor=0)
    assert 0 <= low < 1
    assert high > 3
    assert padded([np.array([])], floor=0, ceiling=1) == (0, 1)
    low, high = log_padded([np.array([0.0, 0.01, 1.0])])
    assert 0 < low < 0.01
    assert high > 1


# --- plots -----------------------------------------------------------------------------------------------

CURVES = {
    curves.accuracy: ["train_accuracy", "test_accuracy"],
    curves.loss: ["train_loss", "test_loss"],
    curves.connections: ["connections_0", "connections_3"],
    curves.density: ["density_0", "density_3"],
    curves.seconds: ["seconds_train", "seconds_evolve", "seconds_evaluate"],
}


def line_sources(figure):
    return [r.data_source.data for r in figure.renderers if type(r.glyph).__name__ == "Line"]


@pytest.mark.parametrize("draw", CURVES, ids=lambda f: f.__name__)
def test_curves__draw_the_recorded_data(draw, finished):
    history = History.of(finished)
    for source in (finished, finished.records(), history):
        figure = draw(source)
        data = line_sources(figure)[0]
        assert list(data["epoch"]) == list(range(1, 13))
        for column in CURVES[draw]:
            assert np.array_equal(data[column], history[column])
            values = history[column]
            assert figure.y_range.start <= values.min() <= values.max() <= figure.y_range.end
        assert figure.xaxis[0].axis_label
        assert figure.yaxis[0].axis_label
        assert figure.title.text


def test_history__agrees_with_the_records(finished):
    history = History.of(finished)
    records = finished.records()
    assert history["test_loss"].tolist() == [r.test_loss for r in records]
    assert history["connections_1"].tolist() == [r.layers[1].connections for r in records]
    assert history.layers == 4
    assert history.last("zeta") == records[-1].settings["zeta"]


def test_curves__draw_nothing_without_accuracy(store):
    run = store.create(Config().replace(SETTINGS))
    line = fake_engine.epoch_record(1, run.config()).to_dict() | {"train_accuracy": None, "test_accuracy": None}
    history = History()
    history.append(line)
    assert history.last("test_accuracy") is None
    curves.accuracy(history)  # raises nothing


def other_task_run(store: RunStore, task: str, **results: float | None) -> Run:
    """Write a run of three epochs with these results of a task, and a warning about its data."""
    config = Config.preset("fashion_mnist").replace(SETTINGS)
    run = store.create(config)
    meta = fake_engine.meta(config)
    meta["data"] |= {"task": task, "baseline_accuracy": 0.25 if task == "multilabel" else None}
    with RunWriter(run) as writer:
        writer.meta(meta)
        writer.event(Event(0, EventKind.DATA_WARNING, "200 numbers are <classes>"))
        for epoch in range(1, 4):
            writer.line("epoch", **fake_engine.epoch_record(epoch, config).to_dict() | results)
    return run


REGRESSION = {"train_accuracy": None, "test_accuracy": None, "train_r2": 0.5, "test_r2": 0.25, "test_loss": 2.5e9}


def test_overview__shows_r2_where_there_is_no_accuracy(store):
    run = other_task_run(store, "regression", **REGRESSION)
    figure = curves.r2(run)
    assert list(line_sources(figure)[1]["test_r2"]) == [0.25] * 3
    assert figure.y_range.start < 0.25 < 0.5 < figure.y_range.end <= 1
    overview = RunView(RunFollower(run)).tabs["overview"]
    assert "accuracy" not in overview.plots
    assert overview._cards["r2"].visible
    assert overview._cards["loss"].visible
    text = summary_html(RunFollower(run))
    assert "<b>0.250</b><span>test R²</span>" in text
    assert "<b>2.5e+09</b><span>test loss</span>" in text
    assert "accuracy" not in text


def test_overview__draws_densities_when_connections_change(store):
    config = Config.preset("fashion_mnist").replace(SETTINGS)
    run = store.create(config)
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(config))
        for epoch in (1, 2):
            writer.line("epoch", **fake_engine.epoch_record(epoch, config).to_dict())
        overview = RunView(RunFollower(run, min_interval=0)).tabs["overview"]
        connections = overview.plots["connections"].figure
        assert (connections.y_range.start, overview._cards["density"].visible) == (0, False)
        assert "Of dense layers: 4." in overview._cards["connections"]._text.object
        record = fake_engine.epoch_record(3, config).to_dict()
        record["layers"][0]["density"] /= 2
        writer.line("epoch", **record)
        overview._follower.poll()
        overview.update()
        assert overview._cards["density"].visible
        assert "Of dense layers" not in overview._cards["connections"]._text.object
        writer.end("finished", "")


def test_overview__names_labels_correct_and_draws_the_baseline(store):
    run = other_task_run(store, "multilabel")
    overview = RunView(RunFollower(run)).tabs["overview"]
    assert overview.plots["accuracy"].figure.title.text == "Labels correct (%)"
    assert (overview.plots["accuracy"].level.location, overview.plots["accuracy"].level.visible) == (0.25, True)
    assert "r2" not in overview.plots
    assert curves.accuracy(run).title.text == "Labels correct (%)"
    assert "test labels correct</span>" in summary_html(RunFollower(run))


def test_summary__shows_warnings_about_the_data(store):
    run = other_task_run(store, "regression", **REGRESSION)
    assert "Warning: 200 numbers are &lt;classes&gt;" in summary_html(RunFollower(run))


def test_event_marks__are_one_per_epoch():
    marks = EventMarks()
    marks.update(
        [Event(3, EventKind.SETTING, "zeta 0.2"), Event(3, EventKind.DISK, "paused"), Event(5, EventKind.RESUMED, "go")]
    )
    assert marks.source.data["x"] == [3, 5]
    assert marks.source.data["message"][0] == "zeta 0.2 · paused"


def test_input_picture__draws_the_snapshot(finished):
    snapshot = finished.snapshot(5)
    plot = topology.input_plot((28, 28))
    topology.draw(plot, snapshot)
    assert np.array_equal(plot.source.data["image"][0], snapshot.input_degree.reshape(28, 28))
    plot.measure = "strength"
    topology.draw(plot, snapshot)
    assert np.allclose(plot.source.data["image"][0], snapshot.input_strength.reshape(28, 28))
    assert (plot.figure.y_range.start, plot.figure.y_range.end) == (28, 0), "row 0 is on top"


def test_as_picture__sums_colour_planes():
    values = np.arange(3 * 4 * 4)
    first = topology.as_picture(values, (3, 4, 4))
    assert np.array_equal(first, values.reshape(3, 4, 4).sum(axis=0))
    assert np.array_equal(topology.as_picture(values, (4, 4, 3)), values.reshape(16, 3).sum(axis=1).reshape(4, 4))
    assert topology.as_picture(values, (5, 5)) is None


def test_top_inputs__are_the_largest(store):
    run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 2}, 2)
    snapshot = run.snapshot(2)
    plot = topology.input_plot(None)
    topology.draw(plot, snapshot)
    values = plot.source.data["value"]
    assert values == sorted(snapshot.input_degree.tolist(), reverse=True)[: topology.TOP_FEATURES]
    named = [snapshot.input_degree[int(name)] for name in plot.source.data["feature"]]
    assert named == values


def test_survival__is_a_fraction_of_neurons():
    counts = np.array([[0, 5], [1, 3], [4, 2]])
    k, fraction = degrees.survival(counts)
    assert k.tolist() == [1, 4]
    assert fraction.tolist() == [0.5, 0.2]


def test_matrix_and_importance__draw_the_snapshot(store):
    run = fake_engine.finished_run(store, {**SETTINGS, "importance.percentile": 20}, 1)
    snapshot = run.snapshot(1)
    matrix = topology.MatrixMap(1)
    topology.draw(matrix, snapshot)
    exact = snapshot.layers[1].density.astype(float) * 6 / 255
    assert np.array_equal(matrix.source.data["image"][0], np.rint(exact)), "counts are whole numbers"
    assert matrix.source.data["dw"] == [1000]
    bars = neurons.ImportancePlot(2)
    topology.draw(bars, snapshot)
    assert bars.source.data["top"] == snapshot.layers[2].importance.tolist()
    assert bars.threshold.visible
    assert bars.threshold.location == pytest.approx(float(snapshot.layers[2].importance_threshold))


# --- texts and lists -------------------------------------------------------------------------------------


def test_summary__escapes_text_from_files(store):
    run = store.create(Config.preset("<script>alert(1)</script>.npz"))
    with RunWriter(run) as writer:
        writer.end("failed", "<img src=x onerror=alert(1)>")
    text = summary_html(RunFollower(run))
    assert "<script>" not in text
    assert "<img" not in text
    assert "&lt;img" in text


def test_summary__has_the_log_of_a_lost_run(store, finished):
    status = json.loads((finished.path / "status.json").read_text())
    status |= {"state": "training", "process": status["process"] | {"pid": 2**22 + 1}}
    (finished.path / "status.json").write_text(json.dumps(status))
    (finished.path / "log.txt").write_text("Killed <by> the kernel")
    follower = RunFollower(finished)
    assert follower.state == "lost"
    text = summary_html(follower)
    assert "ended without a message" in text
    assert "Killed &lt;by&gt; the kernel" in text
    assert progress(follower) == (12.0, 12)


def test_summary__has_throughput_and_memory(finished):
    text = summary_html(RunFollower(finished))
    last = finished.records()[-1]
    assert f"<b>{10_000 / last.seconds_train:,.0f}</b><span>samples / s</span>" in text
    assert "<b>286 MiB</b><span>memory</span>" in text


def test_palette__formats_numbers():
    assert palette.count(125680) == "125,680"
    assert [palette.duration(s) for s in (0.08, 2.34, 75, 7260)] == ["80 ms", "2.3 s", "1 min 15 s", "2 h 01 min"]
    assert palette.percent(None) == "–"
    assert palette.small_percent(0.0036) == "0.36 %"


def test_palette__has_a_colour_of_every_state():
    assert set(palette.STATE_COLORS) == set(RunState)


# --- live views ------------------------------------------------------------------------------------------


def test_run_view__follows_and_replays(finished):
    view = RunView(RunFollower(finished))
    assert view.tick()
    assert not view.tick(), "nothing changed, nothing done"
    overview = view.tabs["overview"]
    assert overview.input.plot is not None
    assert view.replay.epoch == 12
    assert view.replay.cursor is None
    newest = overview.input.plot.source.data["image"][0]
    with param.edit_constant(view.replay.slider):
        view.replay.slider.value_throttled = 3  # like a user
    view.tick()
    assert not view.replay.following
    assert view.replay.cursor == 3
    assert overview.plots["accuracy"].cursor.visible
    assert overview.plots["accuracy"].cursor.location == 3
    assert not np.array_equal(overview.input.plot.source.data["image"][0], newest)
    view.replay.follow.value = True
    view.tick()
    assert view.replay.epoch == 12
    assert np.array_equal(overview.input.plot.source.data["image"][0], newest)
    view.tick("connectivity")
    view.replay.layer.value = 3
    assert "Layer 4" in view.tabs["connectivity"].matrix.figure.title.text, "at once"


def test_run_view__draws_only_the_visible_tab(finished):
    view = RunView(RunFollower(finished))
    view.tick("overview")
    assert view.tabs["connectivity"]._cards == view.tabs["neurons"]._cards == {}


def test_watch__has_three_visible_parts(finished):
    pane = watch(finished)
    assert sum(part.visible for part in pane) == 3
    assert pane[0].styles["flex-flow"] == "row wrap", "in a column the title would be as high as it is to be wide"


def test_titles__fit_a_page_of_390_pixels(finished):
    view, titles = RunView(RunFollower(finished, min_interval=0)), set()
    for tab in ("overview", "network", "connectivity", "neurons"):
        view.tick(tab)
        view.tick(tab)
        panes = view.tabs[tab].layout.select(pn.pane.Bokeh)
        titles |= {pane.object.title.text for pane in panes if isinstance(pane.object, figure)}
    assert len(titles) >= 12
    assert [title for title in titles if len(title) > 46] == [], "46 letters fit"
