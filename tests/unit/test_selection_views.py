"""Views of a selection of features: the records of a fit, its epochs in a pane, the ranking as a figure."""

import asyncio
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest

import tsnn
from tests.support.waiting import run_coroutine
from tests.unit.test_watching import answer
from tsnn import views
from tsnn.estimator import selector as selectors
from tsnn.records import SelectionRecord
from tsnn.views.plots.figures import title_of
from tsnn.views.plots.ranking import BARS, COLORS, DROPPED, OTHER, SELECTED, RankingPlot

SMALL = {"hidden": (20,), "epsilon": 6, "epochs": 5, "random_state": 0, "threads": 1}


@pytest.fixture
def table(rng):
    """Three classes in 30 named features, of which 3, 7, 11 and 20 tell them apart."""
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 30)).astype(np.float32)
    x[:, [3, 7, 11, 20]] += 3 * rng.normal(size=(3, 4))[y]
    return pd.DataFrame(x, columns=[f"gene {i}" for i in range(30)]), y


class Selector:
    """A selector whose records are made by hand, each by the features that it selects of the first eight."""

    def __init__(self):
        self.records = []

    def record(self):
        return self.records

    def add(self, *chosen, epochs=3, names=(), trial=False, n=8):
        selected = np.isin(np.arange(n), chosen)
        scores = np.where(selected, 2.0, 1.0).astype(np.float32) - np.arange(n, dtype=np.float32) / 100
        record = SelectionRecord(
            "strength", trial, len(self.records) + 1, epochs, 1.5, 3 * 2**20, np.arange(n, dtype=np.int32), scores,
            selected, names,
        )  # fmt: skip
        self.records.append(record)


@pytest.mark.parametrize("method", selectors.METHODS)
def test_record__has_the_state_of_each_epoch(table, method):
    x, y = table
    selector = tsnn.SparseSelector(4, method=method, **SMALL)
    records = selector.record()
    assert records == []
    selector.fit(x, None if method in selectors.UNSUPERVISED else y)
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5]
    assert {(record.method, record.trial, record.epochs) for record in records} == {(method, False, 5)}
    seconds = [record.seconds for record in records]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert all(record.scores.any() and record.selected.sum() == 4 for record in records[1:])
    last = records[-1]
    np.testing.assert_array_equal(last.scores, selector.scores_.astype(np.float32))
    np.testing.assert_array_equal(last.selected, selector.support_)
    np.testing.assert_array_equal(last.connections, selector.estimator_.network_.layers[0].topology.out_degree)
    assert list(last.names) == list(x.columns)
    assert last.memory_bytes > 2**20


def test_record__changes_no_bit_and_survives_copies(table):
    plain, watched = (tsnn.SparseSelector(4, method="strength", **SMALL) for _ in range(2))
    watched.record()
    np.testing.assert_array_equal(plain.fit(*table).scores_, watched.fit(*table).scores_)
    assert len(pickle.loads(pickle.dumps(watched)).record()) == 5
    assert clone(watched).record() == []
    assert len(watched.fit(*table).record()) == 5, "a training empties the list"


@pytest.mark.parametrize("method", ["strength", "quickselection"])
def test_record__of_a_fitted_selector_holds_the_result(table, method):
    selector = tsnn.SparseSelector(4, method=method, threshold="mean", **SMALL).fit(*table)
    [record] = selector.record()
    assert (record.epoch, record.epochs) == (5, 5)
    np.testing.assert_array_equal(record.selected, selector.support_)
    assert list(record.names) == list(table[0].columns)


def test_record__marks_the_methods_that_are_only_tried(table, monkeypatch):
    trained, recorded = [], selectors.recorded
    monkeypatch.setattr(selectors, "recorded", lambda *args: trained.append(args[3:5]) or recorded(*args))
    selector = tsnn.SparseSelector(4, **SMALL)
    records = selector.record()
    selector.fit(*table)
    assert trained == [("elimination", True), ("products", True), (selector.method_, False)]
    assert {record.trial for record in records} == {False}


def test_selection__follows_a_fit_in_another_thread(table):
    selector = tsnn.SparseSelector(4, method="strength", **SMALL)

    async def fit():
        pane = views.selection(selector, period=10)
        assert "Not fitted yet" in pane.head.object
        assert not pane.player.visible
        await asyncio.to_thread(selector.fit, *table)
        while pane.player.end < 5:
            answer(pane.throttle)
            await asyncio.sleep(0.01)
        pane._ticker.callback.stop()
        return pane

    pane = run_coroutine(asyncio.wait_for(fit(), 60))
    assert "epoch 5 of 5" in pane.head.object
    bars = pane.scores.source.data
    assert len(bars["name"]) == 30
    best = table[0].columns[np.argsort(selector.ranking_)].tolist()
    assert bars["name"] == best
    assert bars["state"][:4] == [SELECTED] * 4
    assert SELECTED not in bars["state"][4:]
    degrees = dict(zip(pane.inputs.source.data["name"], pane.inputs.source.data["value"], strict=True))
    expected = selector.estimator_.network_.layers[0].topology.out_degree
    assert [degrees[name] for name in table[0].columns] == expected.tolist()


def test_selection__displays_features_that_enter_and_drop_out():
    selector = Selector()
    pane = views.selection(selector)
    selector.add(1, 2)
    selector.add(2, 5)
    selector.add(2, 6, names=[f"<{i}>" for i in range(8)])
    assert pane.tick()
    assert not pane.tick(), "nothing is new"
    text = pane.head.object
    assert "2 of 8 features selected" in text
    assert "1 (&lt;6&gt;) entered, 1 (&lt;5&gt;) dropped out · 2 in all" in text
    assert "1.5 s, 3 MiB" in text
    bars = pane.scores.source.data
    states = dict(zip(bars["name"], bars["state"], strict=True))
    assert [states[f"<{i}>"] for i in (1, 2, 5, 6, 7)] == [DROPPED, SELECTED, DROPPED, SELECTED, OTHER]
    assert bars["color"] == [COLORS[state] for state in bars["state"]]


def test_selection__replays_and_follows_at_the_end_only():
    selector = Selector()
    selector.add(1, 2)
    selector.add(2, 5)
    pane = views.selection(selector)
    assert "epoch 2 of 3" in pane.head.object
    pane.player.value = 1
    assert "epoch 1 of 3" in pane.head.object
    assert DROPPED not in pane.scores.source.data["state"]
    selector.add(2, 6)
    assert pane.tick()
    assert "epoch 1 of 3" in pane.head.object, "the user looks at it"
    assert pane.player.end == 3
    pane.player.value = 3
    selector.records.clear()
    selector.add(4, trial=True)
    assert pane.tick()
    assert "epoch 1 of 3" in pane.head.object
    assert "to be compared" in pane.head.object
    assert not pane.player.visible
    selector.add(4)
    pane.tick()
    assert "epoch 2 of 3" in pane.head.object


def test_selection__draws_pixels():
    selector = Selector()
    selector.add(1, 2)
    selector.add(2, 7)
    pane = views.selection(selector, image_shape=(2, 4))
    assert pane.inputs.selected.data == {"x": [2.5, 3.5], "y": [0.5, 1.5]}
    assert pane.inputs.dropped.data == {"x": [1.5], "y": [0.5]}
    np.testing.assert_array_equal(pane.inputs._picture.source.data["image"][0], np.arange(8).reshape(2, 4))


def test_selection__reports_a_shape_that_does_not_fit():
    selector = Selector()
    selector.add(1)
    pane = views.selection(selector, image_shape=(3, 3))
    assert "8 features form no image of the shape (3, 3)" in pane.head.object


def test_ranking__names_the_first_features(table):
    x, y = table
    selector = tsnn.SparseSelector(4, method="strength", **SMALL).fit(x, y)
    figure = views.ranking(selector)
    bars = figure.renderers[0].data_source.data
    assert bars["name"][:4] == x.columns[np.argsort(selector.ranking_)][:4].tolist()
    np.testing.assert_allclose(bars["value"], -np.sort(-selector.scores_))
    assert bars["state"] == [SELECTED] * 4 + [OTHER] * 26
    assert title_of(figure) == "30 features: score"


def test_ranking__draws_other_selectors(table):
    x, y = table
    best = SelectKBest(k=2).fit(x, y)
    bars = views.ranking(best).renderers[0].data_source.data
    assert set(bars["name"][:2]) == set(x.columns[best.get_support()])
    assert bars["state"].count(SELECTED) == 2


def test_ranking_plot__is_limited_and_takes_negative_scores():
    plot, scores = RankingPlot(), np.arange(100.0)[::-1] - 70
    nothing = np.zeros(100, bool)
    plot.update(scores, scores, nothing, nothing)
    assert plot.source.data["name"] == [str(i) for i in range(BARS)]
    assert title_of(plot.figure) == f"First {BARS} of 100 features: score"
    assert plot.figure.y_range.start <= 29 - BARS + 1 < 29 <= plot.figure.y_range.end
