"""Measures of a topology: each against a naive twin; those of a run: computed from checkpoints, stored, compared."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tsnn
from tests.support import naive
from tsnn.cli import main
from tsnn.engine import measures
from tsnn.engine.measures import distances, random_twin
from tsnn.engine.topology import Topology, erdos_renyi
from tsnn.errors import RunError, TopologyError
from tsnn.execution.engine import execute
from tsnn.execution.measuring import topologies_after
from tsnn.files import append_line
from tsnn.runs.comparison import table
from tsnn.runs.forks import make_fork
from tsnn.runs.measures import COLUMNS, known_distance, measurable_epochs, read_measures
from tsnn.runs.results import result


def layer_of(matrix):
    matrix = np.asarray(matrix, bool)
    rows, columns = np.nonzero(matrix)
    return Topology.from_keys(rows * matrix.shape[1] + columns, *matrix.shape)


def dense(t):
    return naive.dense(t.indptr, t.indices, np.ones(t.connections), t.n_out)


sizes = st.integers(1, 9)


@st.composite
def layers(draw, n_in=sizes, n_out=sizes):
    shape = draw(n_in), draw(n_out)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return layer_of(rng.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])))


@settings(max_examples=30)
@given(layers())
def test_clustering__is_the_fraction_of_closed_paths(t):
    a = dense(t)
    paths = closed = 0
    for i, j, k, l in itertools.product(range(t.n_in), range(t.n_out), range(t.n_in), range(t.n_out)):
        if i != k and j != l and a[i, j] and a[k, j] and a[i, l]:
            paths, closed = paths + 1, closed + a[k, l]
    found = measures.clustering(t, paths=40_000, rng=np.random.default_rng(0))
    assert (found is None) == (paths == 0)
    if paths:
        c = closed / paths
        assert found == pytest.approx(c, abs=1e-9 + 5 * np.sqrt(c * (1 - c) / 40_000))


def test_modularity__of_separate_blocks_is_that_of_the_formula():
    t = layer_of(np.kron(np.eye(5), np.ones((8, 6))))
    assert measures.modularity(t, rng=np.random.default_rng(1)) == pytest.approx(1 - 1 / 5, abs=0.15)
    assert measures.modularity(layer_of(np.ones((4, 3))), rng=np.random.default_rng(0)) == pytest.approx(0, abs=1e-6)
    assert measures.modularity(layer_of(np.zeros((4, 3))), rng=np.random.default_rng(0)) is None


@settings(max_examples=30)
@given(layers(), st.integers(0, 99))
def test_labels__have_the_modularity_of_barbers_formula_and_no_better_neighbour(t, seed):
    if not t.connections:
        return
    a, right = dense(t), np.random.default_rng(seed).integers(3, size=t.n_out)
    left, q = measures._best_labels(measures._matrix(t), right, t.out_degree, t.in_degree)

    def modularity(labels):
        gain = a - np.outer(t.out_degree, t.in_degree) / t.connections
        return sum(gain[i, j] for i in range(t.n_in) for j in range(t.n_out) if labels[i] == right[j]) / t.connections

    assert q == pytest.approx(modularity(left), abs=1e-5)
    for i in np.flatnonzero(t.out_degree):
        for label in set(right[a[i] > 0]):
            assert modularity([*left[:i], label, *left[i + 1 :]]) <= q + 1e-5


@settings(max_examples=30)
@given(layers())
def test_path_length__is_the_mean_distance_of_neurons_that_reach_each_other(t):
    a, n = dense(t), t.n_in + t.n_out
    steps = np.full((n, n), np.inf)
    steps[: t.n_in, t.n_in :][a > 0] = steps.T[: t.n_in, t.n_in :][a > 0] = 1
    np.fill_diagonal(steps, 0)
    for k in range(n):
        steps = np.minimum(steps, steps[:, [k]] + steps[[k]])
    reached = steps[np.isfinite(steps) & (steps > 0)]
    found = measures.path_length(t, sources=n, rng=np.random.default_rng(0))
    assert found == (pytest.approx(reached.mean()) if len(reached) else None)


@settings(max_examples=60)
@given(layers(), st.integers(0, 99))
def test_random_twin__has_the_same_degrees(t, seed):
    twin = random_twin(t, rng=np.random.default_rng(seed))
    twin = Topology.from_csr(twin.indptr, twin.indices, twin.n_out)  # sorted, distinct
    assert (twin.out_degree == t.out_degree).all()
    assert (twin.in_degree == t.in_degree).all()


def test_random_twin__of_a_regular_layer_is_another_one_with_its_chance_of_common_places():
    t = layer_of(np.kron(np.eye(10), np.ones((20, 20))))
    twin = random_twin(t, rng=np.random.default_rng(0))
    assert (dense(t) * dense(twin)).sum() / t.connections == pytest.approx(0.1, abs=0.03)
    values = measures.measure([t], [twin], rng=np.random.default_rng(0))[0]
    assert (values["clustering"], values["path_length"]) == (1, pytest.approx(58 / 39))
    c, l, random_c, random_l = (values[f"{p}{n}"] for p in ("", "random_") for n in ("clustering", "path_length"))
    assert values["small_world"] == pytest.approx(c / random_c / (l / random_l))
    assert values["small_world"] > 5


def test_hubs__are_neurons_with_more_connections_than_chance_gives():
    t = erdos_renyi(400, 300, 6000, rng=np.random.default_rng(0))
    assert measures.hubs(t.out_degree, 300) == measures.hubs(t.in_degree, 400) == 0
    matrix = dense(t)
    matrix[7, ::2] = 1
    assert measures.hubs(layer_of(matrix).out_degree, 300) == 1
    assert measures.hubs(np.full(4, 5), 5) == 0  # dense


@settings(max_examples=30)
@given(layers(n_out=st.just(6)), layers(n_in=st.just(6), n_out=st.just(4)))
def test_cut_off_neurons__have_no_path_to_an_output(first, second):
    paths = dense(first) @ dense(second)
    reaching = measures.reaching_outputs([first, second])
    assert (reaching[0] == (paths.sum(axis=1) > 0)).all()
    assert (reaching[1] == (dense(second).sum(axis=1) > 0)).all()


def jaccard(a, b):
    pairs = [(set(np.flatnonzero(x)), set(np.flatnonzero(y))) for x, y in zip(a.T, b.T, strict=True)]
    values = [1 - len(x & y) / len(x | y) for x, y in pairs if x | y]
    return np.mean(values) if values else 0.0


@settings(max_examples=30)
@given(layers(n_in=st.just(7), n_out=st.just(4)), layers(n_in=st.just(7), n_out=st.just(4)))
def test_distance__is_the_least_over_all_matchings(t, u):
    output = layer_of(np.ones((4, 2)))
    a, b = dense(t), dense(u)
    assert distances([t, output], [u, output], match=False) == [pytest.approx(jaccard(a, b)), 0]
    matched = distances([t, output], [u, output], match=True)[0]
    if (t.in_degree > 0).all():  # else neurons without inputs leave the mean
        assert matched == pytest.approx(min(jaccard(a, b[:, list(p)]) for p in itertools.permutations(range(4))))


@given(st.integers(0, 2**32))
def test_distance__of_a_network_with_exchanged_neurons_is_zero(seed):
    rng = np.random.default_rng(seed)
    first, second, third = rng.random((20, 15)) < 0.3, rng.random((15, 12)) < 0.3, rng.random((12, 3)) < 0.5
    p, q = rng.permutation(15), rng.permutation(12)
    network = [layer_of(first), layer_of(second), layer_of(third)]
    exchanged = [layer_of(first[:, p]), layer_of(second[p][:, q]), layer_of(third[q])]
    if len({*map(tuple, first.T)}) == 15 and len({*map(tuple, second.T)}) == 12:
        assert distances(network, exchanged, match=True) == [0, 0, 0]
    assert distances(network, network, match=False) == [0, 0, 0]


def test_distance__refuses_other_sizes_and_layers_too_wide_to_match(monkeypatch):
    a, b = layer_of(np.ones((4, 3))), layer_of(np.ones((3, 2)))
    with pytest.raises(TopologyError, match="sizes differ"):
        distances([a], [b], match=True)
    monkeypatch.setattr(measures, "MATCHED", 2)
    with pytest.raises(TopologyError, match="at most those of 2"):
        distances([a, b], [a, b], match=True)
    assert distances([a, b], [a, b], match=False) == [0, 0]


@pytest.fixture
def trained(store, filed, monkeypatch):
    """Run of six epochs with a checkpoint of each."""
    monkeypatch.setenv("TSNN_RUNS", str(store.root))
    run = store.create(filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 1, "run.measures": True}))
    list(execute(run))
    return run


def test_measures_of_a_run__are_stored_and_displayed_by_comparisons(trained, capsys):
    layers = tsnn.measure(trained)
    assert [layer["layer"] for layer in layers] == [1, 2, 3, 4]
    assert [layer["connections"] for layer in layers] == [layer.connections for layer in trained.records()[-1].layers]
    found = read_measures(trained)
    assert list(found.topologies) == [6]
    assert {key[2] for key in found.distances} == set(measurable_epochs(trained)) - {6} == {0, 1, 2, 3, 4, 5}
    to_start = found.distances[6, "", 0]["layers"]
    assert 0 < found.distances[6, "", 4]["layers"][0] < to_start[0] < 1
    again = tsnn.measure(trained)
    assert again == layers
    values = result(trained).measures
    assert values.keys() == COLUMNS.keys()
    assert values["cut_off"] == layers[0]["cut_off"]
    columns = {column.title: column.values for column in table([result(trained)])}
    assert {title for title, _ in COLUMNS.values()} <= columns.keys()
    assert main(["compare", trained.id]) == 0
    assert "ITOP rate" in capsys.readouterr().out


def test_start_of_a_run__is_drawn_again(trained):
    drawn = topologies_after(trained, 0)
    snapshot = trained.snapshot(0)
    assert (drawn[0].out_degree == snapshot.input_degree).all()
    fork = make_fork(trained, 3, {"network.epsilon": 3.0})
    with pytest.raises(RunError, match="cannot be drawn again"):
        topologies_after(fork, 0)
    list(execute(fork))
    tsnn.measure(fork, 4)  # without the distance to the start
    assert 0 not in {key[2] for key in read_measures(fork).distances}


def test_distance_of_two_runs__matches_their_neurons(trained, store, capsys):
    other = store.create(trained.config().replace({"run.seed": 5}))
    list(execute(other))
    found = tsnn.distance(trained, other)
    line = read_measures(trained).distances[6, other.id, 6]
    assert known_distance(trained, other) == known_distance(other, trained) == line
    assert known_distance(trained, trained) is None
    assert main(["compare", trained.id, other.id]) == 0
    assert f"topologies of {trained.id} and {other.id}: {np.mean(line['layers']):.1%}" in capsys.readouterr().out
    assert line["layers"] == found
    unmatched = distances(topologies_after(trained, 6), topologies_after(other, 6), match=False)
    assert found[0] < unmatched[0]


def test_command__prints_measures_and_refuses_unknown_epochs(trained, tmp_path, capsys):
    assert main(["measure", trained.id]) == 0
    text = capsys.readouterr().out
    assert "after epoch 6" in text
    assert "distance to 0" in text
    assert main(["measure", trained.id, "--epoch", "2", "-o", str(tmp_path / "m.csv")]) == 0
    assert (tmp_path / "m.csv").read_text().startswith("layer,n_in,n_out,connections,hubs_in")
    assert main(["measure", trained.id, "--distance", trained.id, "--other-epoch", "1"]) == 0
    assert "Distance" in capsys.readouterr().out
    assert main(["measure", trained.id, "--epoch", "9"]) == 1
    assert "It is after: 0, 1, 2, 3, 4, 5, 6." in capsys.readouterr().err


def test_measures__of_a_damaged_file_or_checkpoint_or_without_memory(trained, store, capsys, monkeypatch):
    tsnn.measure(trained, 5)
    good = read_measures(trained)
    path = trained.path / "measures.jsonl"
    for line in (
        {"type": "topology", "epoch": 7, "seconds": 1.0, "layers": [{"n_in": 3}]},
        {"type": "topology", "epoch": "x", "seconds": 1.0, "layers": []},
        {"type": "distance", "epoch": 7, "run": "", "other_epoch": 0, "seconds": 1.0, "layers": ["x"], "random": []},
        {"type": "distance", "epoch": 7},
        {"type": 3},
    ):
        append_line(path, line)
    with open(path, "ab") as file:
        file.write(b"{damaged\n")
    assert read_measures(trained) == good
    assert result(trained).measures["small_world"] is not None
    monkeypatch.setattr("tsnn.execution.measuring.available_memory", lambda: 1000)
    assert main(["measure", trained.id, "--epoch", "5"]) == 1
    assert "GiB of memory" in capsys.readouterr().err
    monkeypatch.undo()
    newest = trained.checkpoints()[0]
    newest.write_bytes(newest.read_bytes()[:-200])
    assert main(["measure", trained.id, "--runs", str(store.root)]) == 1
    assert "is damaged" in capsys.readouterr().err
