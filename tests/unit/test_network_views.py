"""Drawing of a network: changes between two snapshots, its look, the tab and the preset for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("panel")

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.datasets import known_datasets, load_dataset
from tsnn.runs import RunStore
from tsnn.snapshot import LayerSnapshot, Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import layout, palette
from tsnn.views.plots.network import STYLES, NetworkPlot
from tsnn.views.tabs.run import RunView


def snapshot(epoch, *edges, sizes=(4, 3, 2), drawn=((0, 1, 2), (0, 1)), births=None, inputs=None):
    """Return a snapshot with these connections of each layer, all of weight 1."""
    layers = []
    for l, pairs in enumerate(edges):
        pairs = np.array(sorted(pairs), np.int32).reshape(-1, 2)
        neurons = np.array(drawn[l], np.int32)
        after = np.array(edges[l + 1], np.int32).reshape(-1, 2) if l + 1 < len(edges) else np.empty((0, 2), np.int32)
        degree = [[(pairs[:, 1] == n).sum(), (after[:, 0] == n).sum()] for n in neurons]
        layers.append(LayerSnapshot(
            drawn=neurons, drawn_degree=np.array(degree, np.int32), edges=pairs,
            edge_weights=np.ones(len(pairs), np.float16),
            edge_births=np.full(len(pairs), epoch if births is None else births, np.int32),
        ))  # fmt: skip
    return Snapshot(
        sizes=np.array(sizes), layers=tuple(layers), epoch=np.int64(epoch), ages_since=np.int64(0),
        input_degree=np.bincount(layers[0].edges[:, 0], minlength=sizes[0]).astype(np.float32),
        drawn_inputs=np.arange(sizes[0], dtype=np.int32) if inputs is None else np.array(inputs, np.int32),
        drawn_input_degree=np.ones(sizes[0] if inputs is None else len(inputs), np.int32),
    )  # fmt: skip


BEFORE = snapshot(1, [(0, 0), (1, 1), (3, 2)], [(0, 0), (1, 1)], births=0)
AFTER = snapshot(2, [(0, 0), (1, 2), (3, 2)], [(0, 0), (1, 1)], births=0)


def test_network_plot__tells_kept_pruned_and_regrown_apart():
    plot = NetworkPlot()
    plot.update(AFTER, BEFORE)
    assert plot.counts == {"kept": 4, "pruned": 1, "regrown": 1}
    data = plot.neurons.data
    place = {name: at for name, *at in zip(data["name"], data["x"], data["y"], strict=True)}
    ends = {kind: [tuple(s.data[n][i] for n in ("x0", "y0", "x1", "y1")) for i in range(len(s.data["x0"]))]
            for kind, s in plot.sources.items()}  # fmt: skip
    assert ends["pruned"] == [(*place["Input 1"], *place["Layer 1, neuron 1"])]
    assert ends["regrown"] == [(*place["Input 1"], *place["Layer 1, neuron 2"])]
    looks = {r.data_source: (r.glyph.line_color, r.glyph.line_dash) for r in plot.figure.renderers
             if r.data_source in plot.sources.values()}  # fmt: skip
    drawn = {kind: looks[source] for kind, source in plot.sources.items()}
    assert len({color for color, _ in drawn.values()}) == 3
    assert len({str(dash) for _, dash in drawn.values()}) == 3
    assert {color for color, _ in STYLES.values()} == {palette.EDGE, palette.VERMILION, palette.GREEN}
    assert plot.figure.title.text == "Epoch 1 → 2: 4 kept, 1 pruned, 1 regrown"
    assert plot.figure.html_attributes["aria-label"] == plot.text
    assert "4 kept, 1 pruned, 1 regrown since epoch 1" in plot.text


def test_network_plot__age_width_size_and_cut_off_neurons():
    plot = NetworkPlot()
    young = replace(AFTER.layers[0], edge_births=np.array([0, 2, 1], np.int32),
                    edge_weights=np.array([0.1, -1, 0.5], np.float16))  # fmt: skip
    plot.update(replace(AFTER, layers=(young, AFTER.layers[1])))
    kept = plot.sources["kept"].data
    assert kept["alpha"][0] > kept["alpha"][2] > kept["alpha"][1], "the oldest is the strongest"
    assert kept["width"][1] > kept["width"][2] > kept["width"][0], "by |weight|"
    living = dict(zip(plot.neurons.data["name"], plot.neurons.data["living"].tolist(), strict=True))
    assert not living["Layer 1, neuron 1"], "nothing comes in"
    assert living["Layer 1, neuron 0"]
    size = dict(zip(plot.neurons.data["name"], plot.neurons.data["size"].tolist(), strict=True))
    assert size["Layer 1, neuron 0"] > size["Layer 1, neuron 1"]


@pytest.mark.parametrize("layer", [0, 1])
def test_compare__is_the_naive_difference_among_neurons_drawn_twice(layer):
    one, two = (fake_engine.snapshot(epoch, Config.preset("paper/fashion_mnist")) for epoch in (3, 4))
    new, gone = layout.compare(two, one, layer)
    before, now = ({tuple(edge) for edge in s.layers[layer].edges.tolist()} for s in (one, two))
    edges = [tuple(edge) for edge in two.layers[layer].edges.tolist()]
    assert {edge for edge, is_new in zip(edges, new, strict=True) if is_new} == now - before
    n_out = int(two.sizes[layer + 1])
    assert set(zip(*(part.tolist() for part in np.divmod(gone.keys, n_out)), strict=True)) == before - now
    assert len(gone.keys) == fake_engine.REPLACED


def test_compare__neurons_that_were_not_drawn_count_by_birth():
    before = snapshot(1, [(0, 0)], [(0, 0)], drawn=((0, 1), (0, 1)), births=0)
    now = snapshot(2, [(0, 0), (1, 2)], [(2, 1)], drawn=((0, 2), (0, 1)), births=0)
    assert not layout.compare(now, before, 0)[0].any(), "it was there, undrawn"
    born = replace(now, layers=(replace(now.layers[0], edge_births=np.array([0, 2], np.int32)), now.layers[1]))
    assert layout.compare(born, before, 0)[0].tolist() == [False, True]
    assert len(layout.compare(now, before, 1)[1].keys) == 1


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (4, 4, 3)])
def test_network_plot__pictures_lay_colour_planes_on_each_other(shape):
    plot, n = NetworkPlot(shape), int(np.prod(shape))
    edges = [(i, 0) for i in range(n)]
    plot.update(replace(snapshot(1, edges, [(0, 0)], sizes=(n, 3, 2)), drawn_inputs=None))
    assert plot.pixels.data["fan_out"].tolist() == [n / 16] * 16
    pixels = np.arange(16)
    pixel_of_input = pixels if n == 16 else np.tile(pixels, 3) if shape[0] == 3 else np.repeat(pixels, 3)
    assert plot.sources["kept"].data["start"][:n].tolist() == pixel_of_input.tolist()


@pytest.mark.parametrize("width", [330, 720, 1060])
def test_network_plot__cells_are_square_and_apart_in_any_width(width):
    plot, n = NetworkPlot((28, 28)), 784
    plot.update(snapshot(1, [(i, 0) for i in range(n)], [(0, 0)], sizes=(n, 3, 2)))
    plot.fit(width)
    data, inner = plot.pixels.data, (width - 40, plot.figure.height - 110)
    wide, high = data["width"][0] * inner[0], data["height"][0] * inner[1]
    assert wide == pytest.approx(high, rel=0.01)
    apart = (data["x"][1] - data["x"][0]) * inner[0]
    assert 3 < wide < 0.95 * apart
    assert data["x"].max() < plot.neurons.data["x"].min() - 0.1, "left of the neurons"
    starts = plot.sources["kept"].data
    assert starts["x0"][:n].tolist() == data["x"].tolist(), "connections start at the cells"


def test_picture__large_images_are_divided_into_cells():
    picture = layout.Picture.of((100, 50))
    assert (picture.height, picture.width, picture.pixels) == (25, 13, 4)
    assert picture.cells[4 * 50 + 7] == 14
    assert picture.sums(np.ones(5000), 5000).sum() == 5000
    assert picture.sums(np.array([1.0, 3.0]), 5000)[[0, -1]].tolist() == [16, 24], "means over blocks of inputs"


def test_network_tab__follows_the_timeline_and_says_what_is_missing(tmp_path):
    run = fake_engine.finished_run(RunStore(tmp_path), {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    view = RunView(RunFollower(run))
    view.tick("network")
    tab = view.tabs["network"]
    assert tab.plot.counts["pruned"] == 4 * fake_engine.REPLACED
    view.replay.go(0)
    assert tab.plot.counts == {"kept": 4 * fake_engine.EDGES, "pruned": 0, "regrown": 0}
    view.replay.go(5)
    assert tab.plot.figure.title.text.startswith("Epoch 4 → 5: ")
    tab.slow_motion.clicks += 1
    assert tab.plot.cue.data["text"] == [
        "1. Prune: 40 weak connections go", "2. Regrow: 40 new ones come", "3. Train: the weights change until epoch 6",
    ]  # fmt: skip
    for epoch in run.snapshot_epochs():
        arrays = run.snapshot(epoch).arrays()
        old = Snapshot.from_arrays({k: v for k, v in arrays.items() if not k.startswith(("drawn", "edge"))})
        old.write(run.path / "snapshots" / f"{epoch:07d}.npz")
    view = RunView(RunFollower(run))
    view.tick("network")
    assert "recorded by an older version" in view.tabs["network"].layout[0].object


def test_slow_motion__goes_back_to_the_last_evolution(tmp_path):
    run = fake_engine.finished_run(RunStore(tmp_path), {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    run.snapshot(11).write(run.path / "snapshots" / "0000012.npz")  # the last epoch is not evolved
    view = RunView(RunFollower(run))
    view.tick("network")
    assert view.tabs["network"].plot.counts["pruned"] == 0
    view.tabs["network"].slow_motion.clicks += 1
    assert view.replay.epoch == 11
    assert view.tabs["network"].plot.counts["pruned"] > 0


def test_digits__are_bundled_and_have_a_preset():
    data = load_dataset("digits", rng=np.random.default_rng(0))
    assert (data.x_train.shape, data.x_test.shape, data.image_shape) == ((1297, 64), (500, 64), (8, 8))
    from sklearn.datasets import load_digits

    images = load_digits()
    assert data.y_test.tolist() == images.target[1297:].tolist()
    config = Config.preset("digits")
    assert config.network.hidden == (40, 40)
    assert config.training.regrow == "gradient"
    info = next(info for info in known_datasets() if info.name == "digits")
    assert info.available
    assert info.sizes == {"full": (1297, 500)} or info.sizes["full"] == (1297, 500)


def test_legend__has_the_full_colours_whatever_the_ages_of_the_connections():
    plot = NetworkPlot()
    plot.update(AFTER, BEFORE)
    for item in plot.figure.legend[0].items:
        look = item.renderers[0]
        assert len(look.data_source.data["x0"]) == 1, "Bokeh draws no look of a renderer without data"
        assert look.glyph.line_alpha == 1
