"""Erdős–Rényi topologies: exact count, no repeats, sorted, uniform, both views of the same connections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsnn.errors import TopologyError
from tsnn.topology import Topology, draw_free_keys, epsilon_to_connections, erdos_renyi

sizes = st.integers(1, 40)


@st.composite
def topologies(draw):
    n_in, n_out = draw(sizes), draw(sizes)
    connections = draw(st.integers(0, n_in * n_out))
    return erdos_renyi(n_in, n_out, connections, rng=np.random.default_rng(draw(st.integers(0, 2**32))))


@given(topologies(), st.data())
def test_exact_count_sorted_and_distinct(t, data):
    keys = t.keys()
    assert t.connections == len(keys)
    assert (np.diff(keys) > 0).all()
    assert len(keys) == 0 or (keys[0] >= 0 and keys[-1] < t.n_in * t.n_out)
    assert t.indices.dtype == np.int32
    assert t.indptr.dtype == np.int64


@given(topologies())
def test_the_transposed_view_shows_the_same_connections(t):
    columns = np.repeat(np.arange(t.n_out), t.in_degree)
    assert (np.diff(t.t_indptr) >= 0).all()
    assert (t.indices[t.t_perm] == columns).all()
    assert (t.rows()[t.t_perm] == t.t_indices).all()
    assert sorted(t.t_perm) == list(range(t.connections))


@given(topologies())
def test_keys_and_csr_hold_the_same(t):
    for twin in (Topology.from_keys(t.keys(), t.n_in, t.n_out), Topology.from_csr(t.indptr, t.indices, t.n_out)):
        assert (twin.indptr == t.indptr).all()
        assert (twin.indices == t.indices).all()


@given(st.sets(st.integers(0, 99)), st.integers(0, 100), st.integers(0, 2**32))
def test_free_keys_are_free_distinct_and_as_many_as_asked(occupied, count, seed):
    occupied = np.array(sorted(occupied), dtype=np.int64)
    if count > 100 - len(occupied):
        with pytest.raises(TopologyError, match="positions are free"):
            draw_free_keys(occupied, 100, count, rng=np.random.default_rng(seed))
        return
    keys = draw_free_keys(occupied, 100, count, rng=np.random.default_rng(seed))
    assert len(keys) == count
    assert (np.diff(keys) > 0).all()
    assert not set(keys.tolist()) & set(occupied.tolist())


@pytest.mark.parametrize("count", [10, 45])  # below half of the space by redrawing, above by listing
def test_every_free_position_is_equally_likely(count):
    occupied = np.array([3, 4, 50], dtype=np.int64)
    rng = np.random.default_rng(1)
    drawn = np.concatenate([draw_free_keys(occupied, 80, count, rng=rng) for _ in range(4000)])
    hits = np.delete(np.bincount(drawn, minlength=80), occupied)
    expected = 4000 * count / 77
    assert abs(hits - expected).max() < 5 * np.sqrt(expected)


@settings(max_examples=20)
@given(st.floats(0.01, 50), sizes, sizes)
def test_epsilon_grants_round_p_times_all_or_all(epsilon, n_in, n_out):
    p = epsilon * (n_in + n_out) / (n_in * n_out)
    wanted = epsilon_to_connections(epsilon, n_in, n_out)
    assert wanted == n_in * n_out if p >= 1 else abs(wanted - p * n_in * n_out) <= 0.5 + 1e-6


@pytest.mark.compiled
def test_a_million_squared_needs_no_dense_array(rng):
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
def test_damaged_patterns_are_refused(indptr, indices, words):
    with pytest.raises(TopologyError, match=words):
        Topology.from_csr(np.array(indptr), np.array(indices), 3)


@pytest.mark.parametrize(("n_in", "n_out", "connections"), [(0, 3, 0), (3, 0, 0), (2, 2, 5), (3, 2**31, 1)])
def test_impossible_sizes_are_refused(n_in, n_out, connections, rng):
    with pytest.raises(TopologyError):
        erdos_renyi(n_in, n_out, connections, rng=rng)
