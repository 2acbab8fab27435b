"""Erdős–Rényi topologies: exact count, no repeats, sorted, uniform, both views of the same connections."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tsnn.config import Config
from tsnn.engine.shapes import epsilon_to_connections, granted_connections
from tsnn.engine.topology import PIECE, Topology, draw_free, erdos_renyi
from tsnn.errors import TopologyError

sizes = st.integers(1, 40)


@st.composite
def topologies(draw):
    n_in, n_out = draw(sizes), draw(sizes)
    connections = draw(st.integers(0, n_in * n_out))
    return erdos_renyi(n_in, n_out, connections, rng=np.random.default_rng(draw(st.integers(0, 2**32))))


@given(topologies(), st.data())
def test_erdos_renyi__has_the_exact_count_sorted_and_distinct(t, data):
    keys = t.keys()
    assert t.connections == len(keys)
    assert (np.diff(keys) > 0).all()
    assert len(keys) == 0 or (keys[0] >= 0 and keys[-1] < t.n_in * t.n_out)
    assert t.indices.dtype == np.int32
    assert t.indptr.dtype == np.int64


@given(topologies())
def test_transposed_view__has_the_same_connections(t):
    columns = np.repeat(np.arange(t.n_out), t.in_degree)
    assert (np.diff(t.t_indptr) >= 0).all()
    assert (t.indices[t.t_perm] == columns).all()
    assert (t.rows()[t.t_perm] == t.t_indices).all()
    assert sorted(t.t_perm) == list(range(t.connections))


@given(topologies())
def test_keys__and_csr_are_equivalent(t):
    for twin in (Topology.from_keys(t.keys(), t.n_in, t.n_out), Topology.from_csr(t.indptr, t.indices, t.n_out)):
        assert (twin.indptr == t.indptr).all()
        assert (twin.indices == t.indices).all()


def free_keys(n_in, n_out, occupied, count, rng, **chosen):
    """Draw free positions beside a pattern in which every other connection does not count; sorted keys."""
    gone = np.setdiff1d(np.arange(0, n_in * n_out, 7), occupied)
    t = Topology.from_keys(np.union1d(occupied, gone).astype(np.int64), n_in, n_out)
    taken = t.indptr, t.indices, np.isin(t.keys(), occupied)
    return Topology.from_csr(*draw_free(n_in, n_out, count, rng=rng, taken=taken, **chosen), n_out).keys()


@given(st.sets(st.integers(0, 99)), st.integers(0, 100), st.sampled_from([1, 4, 10, 50, 100]), st.integers(0, 2**32))
def test_draw_free__positions_are_free_distinct_and_of_the_given_number(occupied, count, n_in, seed):
    occupied, rng = np.array(sorted(occupied), dtype=np.int64), np.random.default_rng(seed)
    if count > 100 - len(occupied):
        with pytest.raises(TopologyError, match="positions are free"):
            free_keys(n_in, 100 // n_in, occupied, count, rng)
        return
    keys = free_keys(n_in, 100 // n_in, occupied, count, rng)
    assert len(keys) == count
    assert (np.diff(keys) > 0).all()
    assert not set(keys.tolist()) & set(occupied.tolist())


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("n_in", [1, 8, 40])
@pytest.mark.parametrize("count", [10, 30, 45])  # below half of the space by redrawing, above by selecting
def test_draw_free__positions_are_equally_likely(n_in, count):
    occupied = np.array([3, 4, 50], dtype=np.int64)
    rng = np.random.default_rng(1)
    drawn = np.concatenate([free_keys(n_in, 80 // n_in, occupied, count, rng) for _ in range(4000)])
    hits = np.delete(np.bincount(drawn, minlength=80), occupied)
    expected = 4000 * count / 77
    assert abs(hits - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_draw_free__sets_are_equally_likely(count):
    rng, sets = np.random.default_rng(2), {}
    for _ in range(3000):
        keys = tuple(free_keys(3, 3, np.array([2, 7]), count, rng).tolist())
        sets[keys] = sets.get(keys, 0) + 1
    expected = 3000 / math.comb(7, count)
    assert len(sets) == math.comb(7, count)
    assert abs(np.array(list(sets.values())) - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("count", [3, 11])
def test_draw_free__stays_among_the_chosen_neurons(count, rng):
    rows, columns = np.array([1, 3, 4]), np.array([0, 2, 5, 6])
    keys = free_keys(6, 7, np.array([7]), count, rng, rows=rows, columns=columns)
    assert len(keys) == count
    assert set(keys.tolist()) <= {i * 7 + j for i in rows for j in columns} - {7}


@pytest.mark.compiled
def test_erdos_renyi__takes_no_memory_except_the_result(rng):
    erdos_renyi(100, 100, 2000, rng=rng)
    tracemalloc.start()
    t = erdos_renyi(100_000, 100_000, 8_000_000, rng=rng)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * (t.indices.nbytes + t.indptr.nbytes) + 40 * PIECE


@settings(max_examples=20)
@given(st.floats(0.01, 50), sizes, sizes)
def test_epsilon__gives_the_rounded_number_or_all(epsilon, n_in, n_out):
    p = epsilon * (n_in + n_out) / (n_in * n_out)
    wanted = epsilon_to_connections(epsilon, n_in, n_out)
    assert wanted == n_in * n_out if p >= 1 else abs(wanted - p * n_in * n_out) <= 0.5 + 1e-6


@pytest.mark.compiled
def test_erdos_renyi__a_million_squared_needs_no_dense_array(rng):
    t = erdos_renyi(1_000_000, 1_000_000, 2_000_000, rng=rng)
    assert t.connections == 2_000_000
    assert t.density == 2e-6


@pytest.mark.parametrize(
    ("indptr", "indices", "words"),
    [
        ([0, 2, 1], [0, 1], "Row pointers"),
        ([0, 1, 3], [0, 1], "Row pointers"),
        ([0, 1, 2], [0, 5], "0 to 2"),
        ([0, 1, 2], [0, -1], "0 to 2"),
        ([0, 2, 2], [1, 1], "rise within each row"),
        ([0, 2, 2], [2, 1], "rise within each row"),
    ],
)
def test_topology__damaged_patterns_are_refused(indptr, indices, words):
    with pytest.raises(TopologyError, match=words):
        Topology.from_csr(np.array(indptr), np.array(indices), 3)


@pytest.mark.parametrize(("n_in", "n_out", "connections"), [(0, 3, 0), (3, 0, 0), (2, 2, 5), (3, 2**31, 1)])
def test_erdos_renyi__impossible_sizes_are_refused(n_in, n_out, connections, rng):
    with pytest.raises(TopologyError):
        erdos_renyi(n_in, n_out, connections, rng=rng)


networks = st.lists(st.integers(1, 3000), min_size=2, max_size=6)


@given(networks, st.floats(1e-6, 1), st.sampled_from(["erdos_renyi", "uniform"]))
@example(sizes=[1, 1, 1], density=0.5, allocation="erdos_renyi")  # one is dense by rounding
def test_density__meets_the_total_exactly_and_no_layer_is_more_than_dense(sizes, density, allocation):
    config = Config().replace({"network.hidden": sizes[1:-1], "network.density": density, "allocation": allocation})
    counts = granted_connections(sizes, config.network)
    pairs = list(itertools.pairwise(sizes))
    places = [a * b for a, b in pairs]
    assert sum(counts) == round(density * sum(places))
    assert all(0 <= count <= dense for count, dense in zip(counts, places, strict=True))
    if allocation == "uniform":
        wanted = [round(density * sum(places)) * dense / sum(places) for dense in places]
    else:  # one epsilon for all layers, whose sum over them, each dense at most, is the total
        low, high = 0.0, float(max(places))
        for _ in range(100):
            epsilon = (low + high) / 2
            wanted = [min(epsilon * sum(pair), number) for pair, number in zip(pairs, places, strict=True)]
            low, high = (epsilon, high) if sum(wanted) < sum(counts) else (low, epsilon)
    assert all(abs(count - share) < 1 + 1e-6 * share for count, share in zip(counts, wanted, strict=True))


@given(networks, st.floats(0.01, 50))
def test_epsilon__divided_uniformly_keeps_its_total(sizes, epsilon):
    config = Config().replace({"network.hidden": sizes[1:-1], "network.epsilon": epsilon})
    by_epsilon = granted_connections(sizes, config.network)
    assert by_epsilon == [epsilon_to_connections(epsilon, *pair) for pair in itertools.pairwise(sizes)]
    uniform = granted_connections(sizes, config.replace(allocation="uniform").network)
    assert sum(uniform) == sum(by_epsilon)
    densities = [n / (a * b) for n, (a, b) in zip(uniform, itertools.pairwise(sizes), strict=True)]
    slack = max(1 / (a * b) for a, b in itertools.pairwise(sizes))
    assert max(densities) - min(densities) <= 2 * slack


@given(networks, st.data())
def test_density__of_each_layer_is_rounded(sizes, data):
    densities = data.draw(st.lists(st.floats(1e-6, 1), min_size=len(sizes) - 1, max_size=len(sizes) - 1))
    config = Config().replace({"network.hidden": sizes[1:-1], "network.density": densities})
    places = [a * b for a, b in itertools.pairwise(sizes)]
    counts = granted_connections(sizes, config.network)
    if len(densities) > 1:
        assert counts == [round(d * dense) for d, dense in zip(densities, places, strict=True)]
