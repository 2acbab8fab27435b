"""Weights of a whole layer: each image equals the means of the matrix, down to single connections."""

import gc
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("datashader")

import holoviews as hv
from bokeh.models import HoverTool

from tests.support import naive
from tests.support.layers import Sample
from tests.support.waiting import run_coroutine
from tsnn.archives import read_archive, write_archive
from tsnn.errors import MissingPackageError, RunError
from tsnn.execution.engine import execute
from tsnn.runs.checkpoints import LayerWeights, read_layer
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.weights import WeightImage
from tsnn.views.tabs import weights
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.weights import WeightCard, weight_image

N_IN, N_OUT = 37, 23


@pytest.fixture(scope="module")
def layer():
    sample = Sample(N_IN, N_OUT, 16, density=0.2)
    return LayerWeights(sample.indptr, sample.indices, sample.weights, N_OUT)


@pytest.fixture(scope="module")
def image(layer):
    return WeightImage(layer)


def pixels(found):
    """Values by row and column, the first row on top, and the bounds of the neurons."""
    x0, y0, x1, y1 = (round(bound) for bound in found.bounds.lbrt())
    return found.dimension_values(2, flat=False), range(x0, x1), range(y0, y1)


bounds = st.tuples(st.floats(-5, 40), st.floats(-5, 40)).filter(lambda pair: pair[0] != pair[1])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(x_range=bounds, y_range=bounds, width=st.integers(1, 60), height=st.integers(1, 60))
def test_image__holds_the_means_of_whole_squares_of_neurons(image, layer, x_range, y_range, width, height):
    matrix = np.full((200, 200), np.nan)
    rows = np.repeat(np.arange(N_IN), np.diff(layer.indptr))
    matrix[rows, layer.indices] = layer.weights
    values, columns, rows = pixels(image.image(x_range, y_range, width, height))
    assert values.shape[0] <= height + 1
    assert values.shape[1] <= width + 1
    down, across = len(rows) // values.shape[0], len(columns) // values.shape[1]
    assert (down * values.shape[0], across * values.shape[1]) == (len(rows), len(columns))
    for r, c in np.ndindex(values.shape):
        top, left = rows[0] + r * down, columns[0] + c * across
        part = matrix[top : top + down, left : left + across]
        expected = np.nan if np.isnan(part).all() else np.nanmean(part)
        np.testing.assert_allclose(values[r, c], expected, rtol=1e-5)


def test_image__of_a_few_neurons_shows_single_weights(image, layer):
    values, _, _ = pixels(image.image((3, 9), (5, 12), 400, 300))
    expected = naive.dense(layer.indptr, layer.indices, layer.weights, N_OUT)[5:12, 3:9]
    np.testing.assert_array_equal(np.nan_to_num(values), expected.astype(np.float32))


def test_hover__names_whole_neurons(image):
    found = hv.render(image.plot(), backend="bokeh")
    (hover,) = found.select({"type": HoverTool})
    assert [text for _, text in hover.tooltips] == ["$y{custom}", "$x{custom}", "@image{0.0000}"]
    assert {name: "Math.floor(value)" in custom.code for name, custom in hover.formatters.items()} == {
        "$x": True, "$y": True,
    }  # fmt: skip


@pytest.fixture
def run(store, filed):
    run = store.create(filed.replace({"training.epochs": 2, "run.checkpoint_epochs": 1}))
    list(execute(run))
    return run


def test_layer_of_a_checkpoint__is_read_and_checked(run):
    path = run.checkpoints()[0]
    header, arrays = read_archive(path)
    found = read_layer(run, 2, 1)
    assert all(
        (a == arrays[f"{name}_1"]).all() for name, a in zip(("indptr", "indices", "weights"), found, strict=False)
    )
    with pytest.raises(RunError, match="has no checkpoint of epoch 7"):
        read_layer(run, 7, 1)
    for name, bad in (
        ("indices_1", arrays["indices_1"] + 99), ("indices_1", arrays["indices_1"].astype(np.int64)),
        ("indptr_1", arrays["indptr_1"][::-1].copy()), ("weights_1", arrays["weights_1"][1:]),
        ("n_out_1", np.array([1, 2])),
    ):  # fmt: skip
        write_archive(path, "sequential", header["values"], {**arrays, name: bad})
        with pytest.raises(RunError, match="is damaged"):
            read_layer(run, 2, 1)


def card_of(run):
    follower = RunFollower(run, 0)
    replay = Replay(2, lambda: None)
    replay.update(follower.snapshots)
    replay.name_layers(follower.sizes)
    card = WeightCard(follower, replay)
    card.update()
    return card


def test_card__opens_and_closes_the_weights(run):
    card = card_of(run)
    assert (card.open.label, len(card.place.objects)) == ("Open layer 1 after epoch 2", 0)
    run_coroutine(card._open(None))
    assert len(card.place.objects) == 1
    assert card.open.disabled
    assert weight_image(run, 2, 0) is card._image  # shared by pages
    card._replay.layer.value = 1
    card.update()
    assert (card.open.label, card.open.disabled) == ("Open layer 2 after epoch 2", False)
    card._show(None)
    gc.collect()
    assert len(card.place.objects) == len(weights._images) == 0


def test_card__names_the_extra_and_refuses_huge_layers(run, monkeypatch):
    monkeypatch.setattr(weights, "MOST", 5)
    card = card_of(run)
    run_coroutine(card._open(None))
    assert "at most 5 are drawn" in card.problem.object
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "datashader", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tsnn\[datashader\]'"):
        weight_image(run, 2, 0)
    run_coroutine(card._open(None))
    assert "datashader" in card.problem.object
