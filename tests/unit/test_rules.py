"""Built-in rules by their equations; the interface of rules; rules that fail, return rubbish or do not end."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import tsnn
from tests.support import naive
from tests.support.waiting import wait_until
from tsnn import kernels
from tsnn.datasets import make_dataset
from tsnn.engine.evolution import LayerContext, divided_budget, evolve, evolve_all, remove_chains
from tsnn.engine.free_positions import Activations, grow
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import Layer, init_network
from tsnn.engine.pruning import Connections, drop_lowest, surviving
from tsnn.engine.regrowth import FreePositions, pairs, path_scores
from tsnn.engine.topology import Topology, erdos_renyi
from tsnn.errors import RuleError
from tsnn.execution.engine import execute
from tsnn.registry import PRUNING, REGROWTH, recorded_registries
from tsnn.runs.forks import make_fork


@pytest.fixture(autouse=True)
def _clean():
    """Remove the rules that a test registers."""
    yield
    for registry in recorded_registries().values():
        for name in [name for name, rule in registry.items() if rule.is_own]:
            registry.unregister(name)


def a_layer(rng, n_in=20, n_out=15, connections=90):
    layer = Layer.new(erdos_renyi(n_in, n_out, connections, rng=rng), rng.normal(size=connections).astype(np.float32))
    layer.velocity[:] = rng.normal(size=connections)
    return layer


def dense_of(layer):
    t = layer.topology
    return naive.dense(t.indptr, t.indices, layer.weights, t.n_out)


def lowest(scores, count):
    """The survivors, without the lowest scores."""
    survives = np.ones(len(scores), bool)
    survives[np.argsort(scores, kind="stable")[:count]] = False
    return survives.tolist()


@pytest.mark.parametrize("shift", [-3, -0.5, 0, 0.5, 3])
@pytest.mark.parametrize("count", [0, 1, 40, 99, 100])
def test_lowest_scores__are_those_of_a_sort(rng, shift, count):
    scores = (rng.normal(size=100).round(1) + shift).astype(np.float32)
    survives = np.ones(100, bool)
    drop_lowest(scores, count, survives)
    kept, expected = np.sort(scores[survives]), np.sort(scores)[count:]
    assert (kept == expected).all()


def test_relative_importance__is_its_equation(rng):
    layer = a_layer(rng)
    w = np.abs(dense_of(layer))
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = w / w.sum(axis=1, keepdims=True) + w / w.sum(axis=0, keepdims=True)
    t = layer.topology
    expected = lowest(scores[t.rows(), t.indices], 27)
    given = Connections(layer.weights, t)
    assert surviving([given], 0.3, PRUNING["relative_importance"])[0].tolist() == expected


def test_mest__is_its_equation(rng):
    layer, gradient = a_layer(rng), 50 * rng.normal(size=90).astype(np.float32)
    given = Connections(layer.weights, layer.topology, probe=lambda indptr, indices: gradient)
    expected = lowest(np.abs(layer.weights) + 0.01 * np.abs(gradient), 27)
    assert surviving([given], 0.3, PRUNING["mest"])[0].tolist() == expected
    assert surviving([given], 0.3, PRUNING["magnitude"])[0].tolist() != expected


@pytest.mark.parametrize("progress", [0, 1])
def test_soft_magnitude__prunes_in_proportion_to_its_power(progress):
    """With one connection to prune, its probability is |w|^-T / sum, T = 1 + 2 t."""
    weights = np.array([1, -1.5, 2, 4], np.float32)
    t, rng = Topology.from_sorted(np.array([0, 4]), np.arange(4, dtype=np.int32), 4), np.random.default_rng(0)
    given, hits = Connections(weights, t, progress, rng), np.zeros(4)
    for _ in range(4000):
        hits += ~surviving([given], 0.25, PRUNING["soft_magnitude"])[0]
    expected = np.abs(weights) ** -(1 + 2.0 * progress)
    np.testing.assert_allclose(hits / 4000, expected / expected.sum(), atol=0.03)


def test_soft_magnitude__prunes_a_zero_weight_whatever_is_drawn():
    """Also if 0 is drawn, the lower end of the generator's range."""
    weights = np.array([1, 0, 2, 4], np.float32)
    t = Topology.from_sorted(np.array([0, 4]), np.arange(4, dtype=np.int32), 4)
    zeros = SimpleNamespace(random=lambda size, dtype: np.zeros(size, dtype))
    masks = surviving([Connections(weights, t, 0.5, zeros)], 0.25, PRUNING["soft_magnitude"])
    assert masks[0].tolist() == [True, False, True, True]


def a_network(rng, hidden=(20, 15), epsilon=3):
    return init_network(12, 4, tsnn.Config().replace(hidden=hidden, epsilon=epsilon), rng=rng)


def test_threshold__is_one_for_all_layers(rng):
    network = a_network(rng)
    network.layers[0].weights *= 10
    layers = network.layers[:-1]
    masks = surviving([Connections(l.weights, l.topology) for l in layers], 0.3, PRUNING["threshold"])
    sizes = np.abs(np.concatenate([l.weights for l in layers]))
    assert np.concatenate(masks).tolist() == lowest(sizes, int(0.3 * len(sizes)))
    assert masks[0].mean() > masks[1].mean()


def test_threshold__divides_new_connections_by_the_survivors(rng):
    network = a_network(rng)
    network.layers[0].weights *= 10
    before = [l.topology.connections for l in network.layers]
    evolve_all(network, tsnn.Config().replace(prune="threshold", zeta=0.3), None, None, rng)
    after = [l.topology.connections for l in network.layers]
    assert sum(after) == sum(before)
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert after[2] == before[2]


@pytest.mark.parametrize(
    ("connections", "kept", "places", "expected"),
    [
        (100, [50, 30], [1000, 1000], [63, 37]), (100, [50, 30], [55, 1000], [55, 45]),
        (100, [0, 0], [70, 70], [50, 50]),
        (100, [60, 20], [60, 30], [60, 30]), (81, [50, 30], [99, 99], [51, 30]), (80, [50, 30], [99, 99], [50, 30]),
    ],
)  # fmt: skip
def test_budget__is_divided_among_the_layers(connections, kept, places, expected):
    assert divided_budget(connections, kept, places) == expected


def test_chains__are_removed_until_none_is_left(rng):
    network = a_network(rng, hidden=(12, 12, 12), epsilon=1)
    masks = [rng.random(l.topology.connections) < 0.6 for l in network.layers[:-1]]
    dense = [naive.dense(l.topology.indptr, l.topology.indices, m, l.topology.n_out) > 0 for l, m in
             zip(network.layers, [*masks, np.ones(network.layers[-1].topology.connections)], strict=True)]  # fmt: skip
    while True:  # the naive twin: again and again
        before = sum(d.sum() for d in dense[:-1])
        for l in range(len(dense) - 1):
            if l:
                dense[l][~dense[l - 1].any(axis=0)] = False
            dense[l][:, ~dense[l + 1].any(axis=1)] = False
        if sum(d.sum() for d in dense[:-1]) == before:
            break
    removed = sum(m.sum() for m in masks)
    remove_chains(network, masks)
    for d, mask, layer in zip(dense, masks, network.layers, strict=False):
        t = layer.topology
        assert (d[t.rows(), t.indices] == mask).all()
    assert sum(m.sum() for m in masks) < removed


def test_chain_removal__keeps_the_number_of_connections(rng):
    network = a_network(rng, hidden=(30, 30), epsilon=1)
    before = network.connections
    grown = evolve_all(network, tsnn.Config().replace(chain_removal=True, zeta=0.3), None, None, rng)
    assert network.connections == before
    plain = a_network(np.random.default_rng(0), hidden=(30, 30), epsilon=1)
    assert sum(grown) > sum(evolve_all(plain, tsnn.Config().replace(zeta=0.3), None, None, rng))


def test_new_weights__are_zero_where_wanted(rng):
    layer = a_layer(rng)
    result = evolve(layer, 90, zeta=0.3, initializer="zero", rng=rng).layer
    assert np.count_nonzero(result.weights == 0) >= 25
    network = a_network(rng)
    evolve_all(network, tsnn.Config().replace(new_weights="zero"), None, None, rng)
    assert [np.count_nonzero(l.weights == 0) > 0 for l in network.layers] == [True, True, False]


@pytest.mark.parametrize("common", [0, 1])
def test_path_scores__are_those_of_dense_matrices(rng, common):
    t, places = erdos_renyi(9, 7, 25, rng=rng), erdos_renyi(9, 7, 20, rng=rng)
    one = naive.add_path_scores(t.indptr, t.indices, t.t_indptr, t.t_indices, places.indptr, places.indices, common)
    other = naive.add_path_scores(
        t.t_indptr, t.t_indices, t.indptr, t.indices, places.t_indptr, places.t_indices, common
    )  # fmt: skip
    expected = one.copy()
    expected[places.t_perm] += other
    scores = np.zeros(20, np.float32)
    kernels.add_path_scores(
        t.indptr, t.indices, t.t_indptr, t.t_indices, places.indptr, places.indices, common, scores
    )  # fmt: skip
    np.testing.assert_allclose(scores, one, rtol=1e-5)
    np.testing.assert_allclose(path_scores(t, places.indptr, places.indices, common=common), expected, rtol=1e-5)


@pytest.mark.parametrize("regrow", ["cht", "cht_ch2"])
def test_cht__takes_the_best_of_all_places_where_all_are_candidates(rng, regrow):
    layer = a_layer(rng, 8, 8, 24)
    survives = np.ones(24, bool)
    free = FreePositions(layer.topology, survives, rng=rng)
    grown = free_keys(grow(REGROWTH[regrow], free, 3), 8)
    everywhere = pairs(*free.draw(free.count, rng))
    indptr = np.append(0, np.cumsum(np.bincount(everywhere[0], minlength=8)))
    scores = path_scores(layer.topology, indptr, everywhere[1], common=regrow == "cht_ch2")
    best = np.sort(scores)[::-1][:3]
    found = [score for score, r, c in zip(scores, *everywhere, strict=True) if r * 8 + c in grown]
    np.testing.assert_allclose(sorted(found, reverse=True), best, rtol=0.35)  # 30 walks may miss a place
    assert min(found) > np.median(scores)


def free_keys(positions, n_out):
    rows, columns = pairs(*positions)
    return set((rows.astype(int) * n_out + columns).tolist())


def test_chts__samples_in_proportion_to_the_score(rng):
    layer = a_layer(rng, 6, 6, 14)
    hits: dict[int, int] = {}
    free = FreePositions(layer.topology, np.ones(14, bool), rng=rng)
    places = free.draw(free.count, rng)
    scores = path_scores(layer.topology, *places)
    for _ in range(1500):
        for key in free_keys(grow(REGROWTH["chts"], free, 1), 6):
            hits[key] = hits.get(key, 0) + 1
    rows, columns = pairs(*places)
    counts = np.array([hits.get(int(r) * 6 + int(c), 0) for r, c in zip(rows, columns, strict=True)])
    assert np.corrcoef(counts, scores)[0, 1] > 0.5
    assert counts[scores == 0].sum() < 75  # all ten walks may end at taken places


def test_gse__draws_by_activity_and_takes_the_largest_gradients(rng):
    layer = a_layer(rng, 30, 30, 120)
    below, deltas = (np.abs(rng.normal(size=(30, 8))).astype(np.float32) for _ in range(2))
    below[10:] = 0
    deltas[:20] = 0
    free = FreePositions(
        layer.topology, np.ones(120, bool), rng=rng, probe=lambda: Activations(below, below, deltas)
    )  # fmt: skip
    rows, columns = pairs(*grow(REGROWTH["gse"], free, 12))
    assert (rows < 10).all()
    assert (columns >= 20).all()
    gradient = np.abs(below @ deltas.T)
    assert np.median(gradient[rows, columns]) > np.median(gradient[:10, 20:])


@pytest.mark.parametrize(("prune", "regrow"), [*zip(PRUNING, [*REGROWTH][::-1], strict=False)])
def test_rules__train_and_continue_bit_for_bit(filed, store, prune, regrow):
    config = filed.replace({"training.prune": prune, "training.regrow": regrow, "training.epochs": 4})
    config = config.replace({"run.checkpoint_epochs": 1, "training.chain_removal": regrow == "cht"})
    whole = store.create(config)
    list(execute(whole))
    continued = make_fork(whole, 2)
    list(execute(continued))
    a, b = (np.load(run.path / "weights.npz") for run in (whole, continued))
    assert all((a[name] == b[name]).all() for name in a.files)
    assert all(record.connections == whole.records()[0].connections for record in whole.records())


def test_built_in_rules__have_the_same_bits_through_the_public_interface(filed, store):
    @tsnn.pruning("own_magnitude")
    def own_magnitude(weights, zeta):
        return np.abs(weights)

    @tsnn.pruning("own_signed", needs="layer")
    def own_signed(layer, zeta):
        survives = np.ones(len(layer.weights), bool)
        for sign in (layer.weights >= 0, layer.weights < 0):
            places = np.flatnonzero(sign)
            order = np.argsort(np.abs(layer.weights[places]), kind="stable")
            survives[places[order[: int(zeta * len(places))]]] = False
        return survives

    @tsnn.regrowth("own_random")
    def own_random(free, count, rng):
        return free.draw(count, rng)

    @tsnn.regrowth("own_gradient", needs="gradient", candidates=10)
    def own_gradient(free, rows, columns):
        return np.abs(free.gradient_at(rows, columns))

    def weights(prune, regrow):
        run = store.create(filed.replace(prune=prune, regrow=regrow, epochs=4))
        list(execute(run))
        return np.load(run.path / "weights.npz")

    for built_in in (("signed", "random"), ("magnitude", "gradient"), ("signed", "gradient"), ("magnitude", "random")):
        one, other = weights(*built_in), weights(*(f"own_{name}" for name in built_in))
        assert all((one[name] == other[name]).all() for name in one.files), built_in


def test_interface__gives_activations_deltas_and_gradient_that_fit_together(filed, store):
    """On one batch the gradient at any position is the sum over samples of activation x delta."""
    seen = []

    @tsnn.regrowth("look", needs="activations")
    def look(free, count, rng):
        positions = free.draw(count, rng)
        rows, columns = pairs(*positions)
        below, above = free.activations
        seen.append((free.gradient(*positions), (below[rows] * free.deltas[columns]).sum(axis=1), above.shape))
        assert 0 < free.progress < 1
        return positions

    network = a_network(np.random.default_rng(0))
    x, rng = np.random.default_rng(1).normal(size=(60, 12)), np.random.default_rng(2)
    data = make_dataset(x, np.arange(60) % 4, rng=rng)
    config = tsnn.Config().replace(hidden=(20, 15), epsilon=3, epochs=3, batch_size=32, regrow="look")
    list(tsnn.train(network, data, config, rng=rng))
    assert len(seen) == 4
    for gradient, product, shape in seen:
        np.testing.assert_allclose(gradient, product, rtol=1e-3, atol=1e-6)
        assert shape[1] == 32


def csr(rows, columns, n_in):
    order = np.lexsort((columns, rows))
    counts = np.bincount(np.asarray(rows)[order], minlength=n_in)
    return np.append(0, np.cumsum(counts)), np.asarray(columns, np.int32)[order]


BAD_PRUNING = {
    "shape": (lambda weights, zeta: np.ones(3, bool), r"returned bool\[3\]; expected bool\[90\]"),
    "type": (lambda weights, zeta: "all", r"returned a str; expected float32\[90\]"),
    "objects": (lambda weights, zeta: np.full(90, None), r"returned object\[90\]; expected float32\[90\]"),
    "nan": (lambda weights, zeta: weights * np.nan, "returned NaN for 90 of 90 scores"),
    "error": (lambda weights, zeta: weights[1000], r"failed in line \d+ of .*test_rules.py .*IndexError"),
    "none": (lambda weights, zeta: None, "returned a NoneType"),
}
BAD_REGROWTH = {
    "none": (lambda free, count, rng: None, "returned a NoneType; expected a sorted CSR pattern"),
    "few": (lambda free, count, rng: free.draw(count - 1, rng), r"returned 26 positions; expected 27 of 237 free"),
    "many": (lambda free, count, rng: free.draw(count + 1, rng), r"returned 28 positions; expected 27"),
    "shape": (lambda free, count, rng: (np.zeros(3), np.zeros(count)), r"returned float64\[3\] and float64\[27\]"),
    "loose": (lambda free, count, rng: (np.zeros(21, int), np.zeros(count, int)), "do not fit together"),
    "outside": (lambda free, count, rng: csr([0] * count, range(count), 20), "output neuron 26; expected 0 to 14"),
    "negative": (lambda free, count, rng: csr([0] * count, range(-9, count - 9), 20), "returned output neuron"),
    "taken": (
        lambda free, count, rng: csr(*(side[free.survives][:count] for side in
                                       (free.topology.rows(), free.topology.indices)), 20),
        "returned 27 of 27 positions that are taken or repeated",
    ),
    "repeated": (lambda free, count, rng: csr([0] * count, [3] * count, 20), "positions that are taken or repeated"),
    "needs": (lambda free, count, rng: free.activations, 'register the rule with needs="activations"'),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_PRUNING)
def test_bad_pruning_rule__is_named_with_its_fault(rng, fault):
    function, message = BAD_PRUNING[fault]
    tsnn.pruning("bad")(function)
    with pytest.raises(RuleError, match=f"The pruning rule 'bad' .*{message}"):
        evolve(a_layer(rng), 90, zeta=0.3, prune="bad", initializer="normal", rng=rng)


@pytest.mark.parametrize("fault", BAD_REGROWTH)
def test_bad_regrowth_rule__is_named_with_its_fault(rng, fault):
    function, message = BAD_REGROWTH[fault]
    tsnn.regrowth("bad")(function)
    with pytest.raises(RuleError, match=f"The regrowth rule 'bad' .*{message}"):
        evolve(a_layer(rng), 90, zeta=0.3, prune="magnitude", regrow="bad", initializer="normal", rng=rng)


def test_bad_regrowth_rule__may_not_connect_pruned_neurons(rng):
    tsnn.regrowth("bad")(lambda free, count, rng: csr([0] * count, range(count), 20))
    living = np.ones(20, bool)
    living[0] = False
    layer = a_layer(rng, connections=0)
    with pytest.raises(RuleError, match="returned positions of pruned neurons"):
        evolve(layer, 5, zeta=0, regrow="bad", initializer="normal", rng=rng, context=LayerContext(living))


def test_bad_scores__are_named_with_their_fault(rng):
    tsnn.regrowth("bad", candidates=4)(lambda free, rows, columns: np.ones(3))
    with pytest.raises(RuleError, match=r"returned float64\[3\]; expected float32\[108\], a score of each candidate"):
        evolve(a_layer(rng), 90, zeta=0.3, prune="magnitude", regrow="bad", initializer="normal", rng=rng)


@pytest.mark.parametrize("value", [2, -1, float("nan"), None, "1", True, np.ones(3)])
def test_bad_schedule__is_named_with_its_fault(filed, store, value):
    @tsnn.schedule("bad")
    def bad(progress, result=value):
        return result

    network = a_network(np.random.default_rng(0))
    with pytest.raises(RuleError, match=r"The schedule 'bad' returned .*; expected a number from 0 to 1"):
        tsnn.engine.schedules.rates_at(tsnn.Config().replace(learning_rate_schedule="bad"), 1.0)
    assert network.connections


def endless(weights, zeta):
    while True:
        with contextlib.suppress(Exception):
            len(weights)


def waiting(weights, zeta):
    time.sleep(1000)


hang = endless


@pytest.mark.parametrize("in_thread", [False, True])
def test_endless_rule__is_interrupted(rng, in_thread):
    tsnn.pruning("bad")(endless)
    errors = []

    def run():
        with pytest.raises(RuleError, match=r"did not end within 0.2 s .run.rule_seconds.*in line \d+ of "):
            evolve(
                a_layer(rng), 90, zeta=0.3, prune="bad", initializer="normal", rng=rng,
                context=LayerContext(seconds=0.2),
            )  # fmt: skip
        errors.append("raised")

    if in_thread:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(20)
    else:
        run()
    assert errors == ["raised"]


def in_place(weights, zeta):
    return np.abs(weights, out=weights)


def quitting(weights, zeta):
    sys.exit(0)


@pytest.mark.parametrize(
    ("rule", "message"),
    [(in_place, "'bad' changed an array of the network"), (quitting, r"'bad' failed in line \d+ .*SystemExit: 0")],
)
def test_rule__that_changes_its_input_or_exits_is_refused(rng, rule, message):
    tsnn.pruning("bad")(rule)
    with pytest.raises(RuleError, match=message):
        evolve(a_layer(rng), 90, zeta=0.3, prune="bad", initializer="normal", rng=rng)


def test_regrowth_rule__that_changes_the_survivors_is_refused(rng):
    @tsnn.regrowth("wiping")
    def wiping(free, count, rng):
        free.survives[:] = False
        return free.draw(count, rng)

    with pytest.raises(RuleError, match="'wiping' changed an array of the network"):
        evolve(a_layer(rng), 90, zeta=0.3, regrow="wiping", initializer="normal", rng=rng)


@pytest.mark.parametrize("rule", [endless, waiting])
def test_endless_rule__ends_its_run_and_loses_nothing(filed, store, rule, monkeypatch):
    monkeypatch.setitem(globals(), "hang", rule)

    @tsnn.pruning("late", needs="layer")
    def late(layer, zeta):
        if layer.progress > 0.5:
            hang(layer.weights, zeta)
        return np.abs(layer.weights)

    run = tsnn.start(filed.replace(prune="late", epochs=8).replace({"run.rule_seconds": 1}), store)
    wait_until(lambda: run.status()["state"] == "failed")
    assert "The pruning rule 'late' did not end within 1 s" in run.status()["message"]
    assert [record.epoch for record in run.records()] == [1, 2, 3, 4]
    assert run.checkpoints() or run.resumes_from() == 0


def test_memory__counts_what_rules_need():
    config = tsnn.Config().replace(hidden=(10_000, 10_000))
    of = {
        name: memory_estimate(config.replace(prune=name), 784, 10, 100).items["evolution"]
        for name in ("magnitude", "soft_magnitude", "threshold")
    }  # fmt: skip
    assert of["magnitude"] <= of["soft_magnitude"] <= of["threshold"]
    estimates = [memory_estimate(config.replace(regrow=r), 784, 10, 100) for r in ("random", "cht")]
    assert estimates[0].items["evolution"] < estimates[1].items["evolution"]
