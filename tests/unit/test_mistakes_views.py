"""Errors tab and its plots: drawn values, chosen samples, and messages where there is nothing to draw."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("panel")

from bokeh.events import Tap

from tests.support import fake_engine
from tsnn import views
from tsnn.config import Config
from tsnn.errors import RunError
from tsnn.execution.engine import execute
from tsnn.runs.writer import RunWriter
from tsnn.snapshot import MAX_CONFUSED, LayerSnapshot, Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import curves, palette
from tsnn.views.plots.comparison import ComparePlot, styled
from tsnn.views.plots.examples import ContributionPlot, ExamplePictures, grey_or_colours, with_contributions
from tsnn.views.plots.mistakes import LISTED, ClassPlot, ConfusionPlot, ScatterPlot
from tsnn.views.tabs.run import RunView

CONFUSION = np.array([[8, 2, 0], [0, 9, 1], [5, 0, 5]])


def snapshot(**changes):
    """Return a snapshot of four inputs and three classes with two kept samples."""
    fields = {
        "test_confusion": CONFUSION,
        "test_counts": np.stack([CONFUSION.sum(1), CONFUSION.sum(0), np.diag(CONFUSION)], axis=1),
        "test_samples": np.array([[7, 2, 0], [3, 0, 1], [5, 2, 0]]),
        "test_sample_values": np.array([[0.2, 0.7], [0.3, 0.6], [0.1, 0.8]], np.float32),
        "test_inputs": np.array([[3, 0], [1, 2], [0, 3]], np.int32),
        "test_contributions": np.array([[2, -1], [1, 0.5], [-3, 1]], np.float16),
        "test_features": np.array([[10, 20], [30, 40], [50, 60]], np.float32),
    }
    return Snapshot(sizes=np.array([4, 5, 3]), layers=(LayerSnapshot(), LayerSnapshot()), **(fields | changes))


@pytest.fixture
def write(store):
    """Write a run with these snapshots by epoch, and return a view of it with its tab."""

    def write(snapshots, **data):
        config = Config().replace({"data.name": "file.csv", "training.epochs": 9})
        run = store.create(config)
        with RunWriter(run) as writer:
            meta = fake_engine.meta(config)
            names = {"class_names": ["cat", "dog", "<b>fox"], "feature_names": ["a", "b", "c", "d"], "n_features": 4}
            writer.meta({**meta, "data": {**meta["data"], "n_outputs": 3, **names, **data}})
            for epoch, each in snapshots.items():
                writer.snapshot(epoch, each)
            writer.end("finished", "")
        view = RunView(RunFollower(run, min_interval=0))
        view.tick("errors")
        return view, view.tabs["errors"]

    return write


def test_confusion_plot__draws_counts_in_their_cells():
    chosen = []
    plot = ConfusionPlot(("cat", "dog", "fox"), lambda *cell: chosen.append(cell))
    plot.update(snapshot())
    data = plot.source.data
    cells = {(was, is_): (n, text) for was, is_, n, text in zip(
        data["was"], data["is"], data["count"], data["text"], strict=True)}  # fmt: skip
    assert cells["cat", "dog"] == (2, "2")
    assert cells["fox", "cat"] == (5, "5")
    assert cells["cat", "fox"] == (0, "")
    assert data["alpha"] == [float(n > 0) for n in data["count"]], "an empty cell has the colour of the page"
    colors = dict(zip(zip(data["was"], data["is"], strict=True), data["color"], strict=True))
    assert colors["fox", "cat"] == palette.SIGNED[255], "the most frequent confusion"
    assert colors["cat", "fox"] == palette.SIGNED[128]
    assert "22 of 30" in plot.figure.title.text
    handler = plot.figure._event_callbacks["tap"][0]
    handler(Tap(plot.figure, x=0.5, y=2.5))
    handler(Tap(plot.figure, x=3.5, y=0.5))
    assert chosen == [(2, 0)], "a click beside the matrix chooses nothing"


def test_class_plot__draws_recall_and_precision_of_the_weakest_classes():
    plot = ClassPlot(("cat", "dog", "fox"))
    plot.update(snapshot())
    assert plot.source.data["name"] == ["cat", "dog", "fox"]
    assert plot.source.data["recall"].tolist() == [0.8, 0.9, 0.5]
    assert plot.source.data["precision"].tolist() == [8 / 13, 9 / 11, 5 / 6]
    counts = np.array([[10, 10, i % 9] for i in range(80)] + [[0, 5, 0]])
    plot.update(snapshot(test_counts=counts))
    assert len(plot.source.data["name"]) == LISTED
    assert max(plot.source.data["recall"]) <= 0.4
    assert "80" not in plot.source.data["name"], "a class without samples has no recall"
    assert f"{LISTED} of 81" in plot.note


def test_scatter_plot__draws_one_target():
    plot = ScatterPlot((), target=1)
    pairs = np.array([[[1, 10], [2, 12]], [[3, 30], [4, 27]]], np.float32)
    plot.update(snapshot(test_scatter=pairs))
    assert plot.source.data["actual"].tolist() == [10, 30]
    assert plot.source.data["error"].tolist() == [2, -3]


def test_pictures__colour_what_decided(rng):
    image = rng.integers(0, 255, (2, 2)).astype(np.uint8)
    grey = grey_or_colours(image.ravel(), (2, 2))
    assert grey.tolist() == [[[v] * 3 for v in row] for row in image.tolist()]
    heat = with_contributions(grey, np.array([0, 3]), np.array([2.0, -2.0]), (2, 2))
    as_hex = ["#" + "".join(f"{v:02X}" for v in heat[at]) for at in ((0, 0), (1, 1))]
    assert as_hex == [palette.ORANGE, palette.BLUE]
    assert np.ptp(heat[0, 1]) == 0, "grey where nothing was recorded"
    colours = rng.integers(0, 255, (3, 4, 5)).astype(np.uint8)
    assert grey_or_colours(colours.ravel(), (3, 4, 5)).tolist() == np.moveaxis(colours, 0, 2).tolist()
    assert grey_or_colours(colours.ravel(), (7, 4)) is None
    plot = ExamplePictures((2, 2), ("cat", "dog", "fox"))
    plot.update(snapshot(test_pixels=rng.integers(0, 255, (3, 4)).astype(np.uint8)), [2, 0])
    assert len(plot.source.data["image"]) == 4, "each with its twin"
    assert plot.labels.data["text"] == ["fox → cat 80 %", "fox → cat 70 %"]


def test_contribution_plot__names_features_with_values():
    plot = ContributionPlot(("a", "b", "c", "d"), ("cat", "dog", "fox"))
    plot.update(snapshot(), 0)
    assert plot.source.data["label"] == ["d = 10", "a = 20"]
    assert plot.source.data["color"] == [palette.ORANGE, palette.BLUE]
    assert plot.figure.title.text == "fox → cat 70 %"
    plot.update(snapshot(), None)
    assert plot.source.data["label"] == []


def test_tab__shows_samples_of_the_cell_that_is_chosen(write):
    view, tab = write({1: snapshot(), 2: snapshot(test_confusion=CONFUSION.T.copy())})
    view.replay.go(1)
    assert tab.cell.value == (2, 0), "the most frequent confusion"
    assert list(tab.cell.options) == [
        "<b>fox → cat (5)", "cat → dog (2)", "dog → <b>fox (1)", "dog → dog (9)", "cat → cat (8)", "<b>fox → <b>fox (5)"
    ]  # fmt: skip
    assert list(tab.sample.options.values()) == [0, 2]
    assert "Test sample 7: <b>fox → cat 70 %" in tab.sample.options
    tab.sample.value = 2
    assert tab.contributions.source.data["label"] == ["a = 50", "d = 60"]
    tab.plots["confusion"].figure._event_callbacks["tap"][0](Tap(None, x=1.5, y=0.5))
    assert tab.cell.value == (0, 1)
    assert list(tab.sample.options.values()) == [1]
    view.replay.go(2)
    assert tab.cell.value == (0, 1), "the choice stays"
    tab.cell.value = (1, 1)
    assert tab.sample.options == {}
    assert "No sample of this kind was kept" in tab._cards["samples"]._text.object
    drawn = tab.plots["confusion"].source.data
    view.tick("errors")
    assert tab.plots["confusion"].source.data is drawn, "nothing changed, so nothing is done"


def test_tab__says_why_there_is_nothing(write):
    bare = {name: None for name in snapshot().arrays() if name.startswith("test_")}
    empty = snapshot(**bare)
    view, tab = write({0: empty, 1: empty, 2: snapshot()})
    for epoch, text in ((0, "after epoch 1"), (1, "phase 2")):
        view.replay.go(epoch)
        assert text in tab._empty.object
        assert tab.layout.objects == [tab._empty]
    view.replay.go(2)
    assert tab.layout.objects == [tab._grid]
    _, tab = write({0: empty})
    assert "ended before its first epoch" in tab._empty.object
    _, tab = write({1: empty}, n_test=0)
    assert "no test part" in tab._empty.object


def test_tab__of_epochs_with_counts_only_and_of_many_classes(write):
    kept = {name: None for name in snapshot().arrays() if name.startswith("test_") and name != "test_counts"}
    k = MAX_CONFUSED + 1
    many = dataclasses.replace(snapshot(**kept, test_counts=np.ones((k, 3), int)), sizes=np.array([4, 5, k]))
    _, tab = write({1: many}, n_outputs=k, class_names=[])
    assert tab.plots.keys() == {"classes"}
    assert "too many for a confusion matrix" in tab._cards["classes"]._text.object
    assert "Only counts were recorded" in tab._cards["samples"]._text.object


def test_tab__of_regression(store, tmp_path, rng):
    x = rng.normal(size=(120, 3))
    table = "\n".join(["a,b,c,price", *(f"{p},{q},{r},{3 * p + 1}" for p, q, r in x)])
    (tmp_path / "prices.csv").write_text(table)
    config = Config().replace({"data.name": str(tmp_path / "prices.csv"), "hidden": (8,), "epochs": 2})
    run = store.create(config)
    list(execute(run))
    view = RunView(RunFollower(run, min_interval=0))
    view.tick("errors")
    tab = view.tabs["errors"]
    assert tab.plots.keys() == {"scatter"}
    assert len(tab.plots["scatter"].source.data["actual"]) == 40
    label = next(iter(tab.sample.options))
    assert ": price: " in label
    names = {name.partition(" ")[0] for name in tab.contributions.source.data["label"]}
    assert names == {"a", "b", "c"}
    assert "price" in views.mistakes(run).title.text
    with pytest.raises(RunError, match="holds no mistakes"):
        views.mistakes(run, 0)


def test_compare_plot__draws_baselines_and_the_trunk_of_a_fork_pale(store):
    run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 6}, 6)
    history = RunFollower(run, min_interval=0).history
    plot = ComparePlot("Accuracy", "test_accuracy", "0")
    plot.show_levels([0.5, 0.25, 0.5])
    assert plot.levels.data["y"] == [0.25, 0.5]
    plot.update(styled(["parent", "fork"], [[history], [history]], [0, 4]), "epoch", 0)
    own = plot.lines.data["ys"]
    assert np.isfinite(own[0]).all()
    assert np.isfinite(own[1]).tolist() == [False] * 3 + [True] * 3
    assert len(plot._raw.data["ys"]) == 1
    curve = curves.accuracy_plot()
    curve.show_trunk(4)
    curve.update(history)
    assert curve.source.data["epoch"] == [4, 5, 6]
    assert curve._trunk.data["epoch"] == [1, 2, 3, 4]
    assert [r.glyph.line_alpha for r in curve.figure.renderers if r.data_source is curve._trunk] == [0.35, 0.35]


def test_overview__of_a_fork_draws_its_parents_later_epochs(store):
    parent = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 9}, 9)
    fork = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 9}, 6)
    meta = {**fork.meta(), "fork": {"parent": parent.id, "epoch": 4, "settings": {}}}
    fork.path.joinpath("meta.json").write_text(json.dumps(meta))
    view = RunView(RunFollower(fork, min_interval=0))
    view.tick("overview")
    plot = view.tabs["overview"].plots["accuracy"]
    history = RunFollower(parent, min_interval=0).history
    assert plot._ghost.data["epoch"] == [4, 5, 6, 7, 8, 9]
    assert plot._ghost.data["test_accuracy"] == history["test_accuracy"][3:].tolist()
    assert plot.source.data["epoch"] == [4, 5, 6]
    assert plot.figure.x_range.end == pytest.approx(9 * 1.02), "all of the parent is in sight"
    assert [item.label.value for item in plot.figure.legend[0].items][-1] == "parent"
    assert views.accuracy(fork).x_range.end == pytest.approx(9 * 1.02), "in a notebook too"
    shutil.rmtree(parent.path)
    view = RunView(RunFollower(fork, min_interval=0))
    view.tick("overview")
    assert view.tabs["overview"].plots["accuracy"]._ghost is None, "the parent was deleted"
    assert view.tabs["overview"].plots["accuracy"]._trunk.data["epoch"] == [1, 2, 3, 4]
