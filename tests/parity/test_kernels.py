"""Every kernel against its naive twin, for full tiles, partial tiles and several tiles."""

import itertools
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.support import naive
from tests.support.layers import Sample, all_results
from tsnn import kernels
from tsnn.tiling import SEGMENT, padded

WIDTHS = [1, 8, 16, 48, 112, 128, 272]  # a sample, half a vector, 1, 3, 7, 8, 8 + 8 + 1 vectors of 16 samples


def test_transpose_pattern__equals_the_naive_twin():
    layer = Sample(13, 7, 16)
    for ours, theirs in zip(layer.view, naive.transpose_pattern(layer.indptr, layer.indices, 7), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(5))
def test_merge_connections__equals_the_naive_twin(seed):
    layer, rng = Sample(9, 8, 16, seed=seed), np.random.default_rng(seed)
    survives = rng.random(len(layer.weights)) < 0.6
    keys = layer.rows * 8 + layer.indices
    free = np.setdiff1d(np.arange(72), keys[survives])
    new = np.sort(rng.choice(free, rng.integers(len(free) + 1), replace=False))
    new_indptr, new_indices = np.searchsorted(new, np.arange(10) * 8), (new % 8).astype(np.int32)
    new_weights = rng.normal(size=len(new)).astype(np.float32)
    old = layer.indptr, layer.indices, layer.weights, layer.velocity, survives
    arguments = *old, new_indptr, new_indices, new_weights, 8
    for ours, theirs in zip(kernels.merge_connections(*arguments), naive.merge_connections(*arguments), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_mark_places__equals_the_naive_twin(stride):
    layer, bits = Sample(9, 7, 16), np.zeros(8, np.uint8)
    bits[::2] = 0b10010010
    expected = naive.mark_places(layer.indptr, layer.indices, 7, stride, bits)
    assert kernels.mark_places(layer.indptr, layer.indices, 7, stride, bits) == expected[0]
    assert_array_equal(bits, expected[1])
    assert kernels.mark_places(layer.indptr, layer.indices, 7, stride, bits) == 0


@pytest.mark.parametrize(("b", "n"), [(1, 1), (5, 50), (16, 16), (37, 50), (100, 33), (128, 784)])
def test_gather__equals_the_naive_twin(b, n):
    rng = np.random.default_rng(0)
    x = rng.random((150, n), np.float32)
    order = rng.permutation(150)[:b]
    width = padded(b, "float32")
    for source in (x, np.frombuffer(x.tobytes(), np.float32).reshape(x.shape)):  # the second is read-only
        out = np.full((n, width), np.nan, np.float32)
        kernels.gather(source, order, out)
        assert_array_equal(out, naive.gather(x, order, width))


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("width", WIDTHS)
def test_forward__equals_the_naive_twin(width, p):
    layer = Sample(11, 9, width)
    threshold = kernels.dropout_threshold(p)
    out, masks = layer.forward(-0.6, threshold, 2**62 + 12345, 7)
    expected, sign, keep = naive.forward(layer.matrix, layer.bias, layer.activation, -0.6, threshold, 2**62 + 12345, 7)
    assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert_array_equal(masks[:, 0], naive.pack(sign))
    if p:
        assert_array_equal(masks[:, 1], naive.pack(keep))


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("width", WIDTHS)
def test_scatter__is_forward_without_the_transposed_view(width, p):
    layer = Sample(11, 9, width)
    rule = -0.6, kernels.dropout_threshold(p), 2**62 + 12345, 7
    for ours, theirs in zip(layer.scatter(*rule), layer.forward(*rule), strict=True):
        assert_array_equal(ours, theirs)


def test_forward__sums_long_rows_in_segments():
    layer = Sample(SEGMENT + 300, 3, 16, density=0.99)
    assert len(layer.segments) == 4
    out, _ = layer.forward()
    assert_allclose(out, layer.matrix.T @ layer.activation + layer.bias[:, None], rtol=1e-3, atol=1e-3)


def test_forward__micro_batches_get_the_dropout_of_the_batch():
    layer = Sample(5, 20, 128)
    batch, _ = layer.forward(0.0, kernels.dropout_threshold(0.5), 3)
    for start, stop in ((0, 112), (112, 128)):
        part, _ = layer.forward(0.0, kernels.dropout_threshold(0.5), 3, start, slice(start, stop))
        assert_allclose(part, batch[:, start:stop], rtol=1e-5)


def test_dropout__has_its_rate_and_is_independent():
    keep = naive.keeps
    threshold = kernels.dropout_threshold(0.3)
    for key in (0, 1, 2**40):
        mask = np.array([[keep(key, i, s, threshold) for s in range(100)] for i in range(100)], float)
        assert abs(mask.mean() - 0.7) < 0.02
        assert np.abs(np.corrcoef(mask) - np.eye(100)).max() < 0.5
        assert np.abs(np.corrcoef(mask.T) - np.eye(100)).max() < 0.5


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("width", WIDTHS)
def test_backward__equals_the_naive_twin(width, p):
    layer = Sample(11, 9, width)
    threshold = kernels.dropout_threshold(p)
    (weights, velocity, bias, bias_velocity), delta_in = layer.backward(0.9, 0.1, 0.01, threshold=threshold)
    g, g_bias, _ = naive.gradient(layer.matrix, layer.activation, layer.delta)
    expected = naive.sgd(layer.weights, layer.velocity, g[layer.rows, layer.indices], 0.9, 0.1, 0.01)
    assert_allclose(weights, expected[0], rtol=1e-4, atol=1e-5)
    assert_allclose(velocity, expected[1], rtol=1e-4, atol=1e-5)
    expected = naive.sgd(layer.bias, layer.bias_velocity, g_bias, 0.9, 0.1, 0.01)
    assert_allclose(bias, expected[0], rtol=1e-4, atol=1e-5)
    assert_allclose(bias_velocity, expected[1], rtol=1e-4, atol=1e-5)
    assert_allclose(delta_in, layer.expected_delta_in(-0.6, threshold), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [48, 272])
def test_backward__of_the_first_layer_needs_no_delta_in(width):
    layer = Sample(11, 9, width)
    with_delta, _ = layer.backward(0.9, 0.1, 0.01)
    without, _ = layer.backward(0.9, 0.1, 0.01, pass_down=False)
    for ours, theirs in zip(without, with_delta, strict=True):
        assert_allclose(ours, theirs, rtol=1e-6)


def test_backward__without_update_gives_the_gradient():
    layer = Sample(11, 9, 48)
    zero = [np.zeros_like(a) for a in (layer.velocity, layer.bias_velocity)]
    state = [layer.weights.copy(), zero[0], layer.bias.copy(), zero[1]]
    layer.backward(1.0, -1.0, 0.5, update=False, state=state)
    g, g_bias, _ = naive.gradient(layer.matrix, layer.activation, layer.delta)
    assert_array_equal(state[0], layer.weights)
    assert_allclose(state[1], g[layer.rows, layer.indices], rtol=1e-4, atol=1e-5)
    assert_array_equal(state[2], layer.bias)
    assert_allclose(state[3], g_bias, rtol=1e-4, atol=1e-5)


def test_backward__of_micro_batches_is_that_of_the_batch():
    layer = Sample(11, 9, 128)
    batch, below = layer.backward(0.9, 0.1, 0.01)
    state, first = layer.backward(0.9, 0.1, 0.01, update=False, columns=slice(0, 112))
    state, second = layer.backward(1.0, 0.1, 0.01, columns=slice(112, 128), state=state)
    for ours, theirs in zip(state, batch, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert_allclose(np.hstack([first, second]), below, rtol=1e-5, atol=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("width", [48, 272])
def test_kernels__give_the_same_bits_for_any_number_of_threads(monkeypatch, width):
    layer = Sample(SEGMENT + 30, 5, width, density=0.99) if width == 48 else Sample(40, 30, width)
    results = []
    narrow = Sample(40, 30, 160, store=kernels.narrow)
    for chunks in (1, 2, 3, 7):
        monkeypatch.setattr("numba.get_num_threads", lambda chunks=chunks: chunks)
        results.append([a.tobytes() for sample in (layer, narrow) for a in all_results(sample)])
    assert results[1:] == results[:1] * 3


AVX2 = "+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+f16c,+fma,+avx2,+bmi,+bmi2,+lzcnt,+movbe"
VARIANTS = {"plain Python": {"NUMBA_DISABLE_JIT": "1"}}
if platform.machine() in ("x86_64", "AMD64"):
    VARIANTS["AVX2"] = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2}
    VARIANTS["neither AVX2 nor AVX-512"] = {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": "+sse4.2"}


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_kernels__agree_on_other_processors(variant, tmp_path):
    script = (
        "import sys, numpy; from tests.support.layers import Sample, all_results; from tsnn.kernels import narrow;"
        "numpy.savez(sys.argv[1], *all_results(Sample(40, 30, 272)), *all_results(Sample(40, 30, 160, store=narrow)))"
    )
    path = tmp_path / "variant.npz"
    subprocess.run([sys.executable, "-c", script, str(path)], env=os.environ | VARIANTS[variant], check=True)
    with np.load(path) as theirs:
        ours = [*all_results(Sample(40, 30, 272)), *all_results(Sample(40, 30, 160, store=kernels.narrow))]
        for mine, other in zip(ours, theirs.values(), strict=True):
            if mine.dtype == np.uint16 and mine.ndim == 2:
                mine, other = kernels.widen(mine), kernels.widen(other)  # equal sums, or neighbours after rounding
                assert_allclose(mine, other, rtol=2**-7, atol=1e-5)
            else:
                assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_forward__of_a_layer_without_connections_is_its_bias():
    layer = Sample(4, 3, 16, density=0.0)
    layer.indptr[:] = 0
    layer.indices, layer.weights, layer.velocity = layer.indices[:0], layer.weights[:0], layer.velocity[:0]
    layer.view = kernels.transpose_pattern(layer.indptr, layer.indices, 3)
    assert_array_equal(layer.forward()[0], np.tile(layer.bias[:, None], 16))
    _, delta_in = layer.backward(0.9, 0.1, 0.01)
    assert_array_equal(delta_in, 0)


@pytest.mark.parametrize("count", [1, 31, 32])
def test_gather_sparse__equals_the_naive_twin(count):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 9)).astype(np.float32) * (rng.random((40, 9)) < 0.3)
    order = rng.permutation(40)[:count]
    indptr = np.append(0, np.cumsum((x != 0).sum(axis=1)))
    scale = rng.random(9).astype(np.float32)
    out = np.full((9, 32), np.nan, np.float32)
    kernels.gather_sparse(indptr, np.nonzero(x)[1].astype(np.int32), x[x != 0], scale, order, out)
    assert_array_equal(out, naive.gather(x * scale, order, 32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kernels__keep_non_finite_values(bad):
    layer = Sample(11, 9, 48)
    layer.activation[:, 3] = bad
    layer.delta[:, 5] = bad
    with np.errstate(all="ignore"):
        out, _ = layer.forward(0.25)
        (weights, *_), delta_in = layer.backward(0.9, 0.1, 0.01)
    assert not np.isfinite(out[layer.view[0][1:] > layer.view[0][:-1], 3]).any()
    assert not np.isfinite(weights).any()
    assert not np.isfinite(delta_in[layer.indptr[1:] > layer.indptr[:-1], 5]).any()


@pytest.mark.parametrize("b", [1, 29, 32])
def test_losses__equal_the_naive_twins(b):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(5, 32)).astype(np.float32) * 3
    labels = rng.integers(0, 5, b)
    targets = rng.random((b, 5)).astype(np.float32)
    weights = rng.random(b).astype(np.float32) * 3
    for name, target in [
        ("softmax_cross_entropy", labels),
        ("mean_squared_error", targets),
        ("binary_cross_entropy", targets),
    ]:
        delta = z.copy()
        got = getattr(kernels, name)(delta, target, weights, 0.25)
        *expected, expected_delta = getattr(naive, name)(z, target, weights, 0.25)
        assert_allclose(got, expected if len(expected) > 1 else expected[0], rtol=1e-5)
        assert_allclose(delta[:, :b], expected_delta, rtol=1e-4, atol=1e-6)
        assert_array_equal(delta[:, b:], 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_losses__of_a_non_finite_logit_are_not_finite(bad):
    z = np.zeros((3, 16), np.float32)
    z[1, 4] = bad
    labels, targets = np.ones(16, np.int64), np.full((16, 3), 0.5, np.float32)
    weights = np.ones(16, np.float32)
    with np.errstate(all="ignore"):
        assert not np.isfinite(kernels.softmax_cross_entropy(z.copy(), labels, weights, 1.0)[0])
        assert not np.isfinite(kernels.mean_squared_error(z.copy(), targets, weights, 1.0))
        assert not np.isfinite(kernels.binary_cross_entropy(z.copy(), targets, weights, 1.0))


def test_losses__of_extreme_logits_are_finite():
    z = np.array([[1e4] * 16, [-1e4] * 16], np.float32)
    loss, correct = kernels.softmax_cross_entropy(z.copy(), np.ones(16, np.int64), np.ones(16, np.float32), 1.0)
    assert (loss, correct) == (16 * 2e4, 0)
    assert kernels.binary_cross_entropy(z, np.ones((16, 2), np.float32), np.ones(16, np.float32), 1.0) == 16 * 0.5e4


def test_sums_and_counts__equal_the_naive_twins():
    layer = Sample(23, 17, 16)
    emitted = np.random.default_rng(1).normal(size=23).astype(np.float32)
    emitted[3] = 0
    assert_allclose(kernels.row_strength(layer.indptr, layer.weights), abs(layer.matrix).sum(axis=1), rtol=1e-6)
    assert_allclose(kernels.column_strength(layer.indices, layer.weights, 17), abs(layer.matrix).sum(axis=0), rtol=1e-6)
    assert_allclose(
        kernels.column_sums(layer.indptr, layer.indices, layer.weights, emitted, 17), emitted @ layer.matrix, rtol=1e-5
    )
    counts, cells = np.zeros(17, np.int64), np.zeros((5, 4), np.int64)
    kernels.count(layer.indices, counts)
    assert_array_equal(counts, (layer.matrix != 0).sum(axis=0))
    kernels.count_cells(layer.indptr, layer.indices, 17, cells)
    expected = np.zeros((5, 4))
    np.add.at(expected, (layer.rows * 5 // 23, layer.indices * 4 // 17), 1)
    assert_array_equal(cells, expected)
    gradient = np.ones(len(layer.weights), np.float32)
    kernels.add_gradient(layer.indptr, layer.indices, layer.activation, layer.delta, gradient)
    dense = naive.gradient(layer.matrix, layer.activation, layer.delta)[0]
    assert_allclose(gradient, 1 + dense[layer.rows, layer.indices], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [3, 200])
def test_sort_rows_and_keep_free__equal_the_naive_twins(length):
    rng = np.random.default_rng(length)
    layer = Sample(9, 150, 16)
    counts = rng.random(len(layer.indices)) < 0.7
    indptr = np.append(0, np.cumsum(rng.integers(0, length, 9)))
    indices = rng.integers(0, 150, indptr[-1]).astype(np.int32)
    expected = naive.keep_free(indptr, indices, layer.indptr, layer.indices, counts)
    kernels.sort_rows(indptr, indices)
    for i in range(9):
        assert (np.diff(indices[indptr[i] : indptr[i + 1]]) >= 0).all()
    kept = kernels.keep_free(indptr, indices, layer.indptr, layer.indices, counts)
    assert [indices[a:b].tolist() for a, b in itertools.pairwise(indptr)] == expected
    assert kept == indptr[-1]


@pytest.mark.parametrize("sign", [0, 1, 2])
@pytest.mark.parametrize("number", [0, 1, 5, 13])
def test_drop_smallest__equals_the_naive_twin(sign, number):
    rng = np.random.default_rng(number)
    weights = rng.normal(size=90).astype(np.float32)
    weights[::7] = np.round(weights[::7])  # ties, and zeros of both signs
    weights[5], weights[6] = 0.0, -0.0
    survives = rng.random(90) < 0.8
    expected = naive.drop_smallest(weights.view(np.uint32), sign, number, survives)
    kernels.drop_smallest(weights.view(np.uint32), sign, number, survives)
    assert survives.tolist() == expected


def test_artificial__equals_the_naive_twin():
    rng = np.random.default_rng(0)
    keys, centres = rng.integers(2**32, size=5), rng.choice([-1, 1], 5).astype(np.float32)
    shift, out = rng.normal(size=7).astype(np.float32), np.full((7, 16), np.nan, np.float32)
    kernels.artificial(keys, centres, shift, out)
    assert_allclose(out[:, :5], naive.artificial(keys, centres, shift), rtol=1e-5, atol=1e-5)
    assert (out[:, 5:] == 0).all()


@pytest.mark.parametrize("stride", [1, 3])
def test_carry_births__equals_the_naive_twin(stride):
    rng = np.random.default_rng(stride)
    matrices = [rng.random((20, 15)) < 0.3 for _ in range(2)]
    (old_indptr, old_indices), (indptr, indices) = (
        (np.append(0, np.cumsum(m.sum(axis=1))), np.nonzero(m)[1].astype(np.int32)) for m in matrices
    )
    rows = np.arange(0, 20, stride)
    kept = np.concatenate([np.arange(old_indptr[i], old_indptr[i + 1]) for i in rows])
    kept_indptr = np.append(0, np.cumsum(np.diff(old_indptr)[rows]))
    births = rng.integers(0, 5, len(kept)).astype(np.int32)
    new_indptr = np.append(0, np.cumsum(np.diff(indptr)[rows]))
    columns, since = np.empty(new_indptr[-1], np.int32), np.empty(new_indptr[-1], np.int32)
    arguments = rows, indptr, indices, kept_indptr, old_indices[kept], births, 7
    kernels.carry_births(*arguments, new_indptr, columns, since)
    expected = naive.carry_births(*arguments)
    assert_array_equal(columns, expected[0])
    assert_array_equal(since, expected[1])
    assert 7 in since
