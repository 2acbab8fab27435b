"""Activations in 16 bits: the format against its definition, and kernels against those of float32 on rounded values."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.support import naive
from tests.support.layers import Sample, all_results
from tsnn import kernels
from tsnn.kernels.compiling import processor_features
from tsnn.kernels.stripes import HAS_DOT

WIDTHS = [32, 160]  # 2, 8 + 2 vectors of 16 samples


def rounded(values):
    """Return the nearest values that bfloat16 can hold."""
    return kernels.widen(kernels.narrow(values))


def coarse(values):
    """Return the nearest multiples of 1/16: bfloat16 holds them, and their products add up exactly in any order."""
    return np.round(16 * values) / np.float32(16)


def is_nearest_bfloat16(value, stored):
    """Return whether no bfloat16 is nearer to a float32, nor as near with an even last bit."""
    if np.isnan(value):
        return bool(np.isnan(stored))
    upper = int(np.float32(value).view(np.uint32)) >> 16
    sign, size = upper & 0x8000, upper & 0x7FFF
    if size == 0x7F80:  # infinite
        return bool(value == stored)
    below, above = (
        float(np.uint32((sign | s) << 16).view(np.float32)) if s < 0x7F80 else (-1) ** (sign > 0) * 2.0**128
        for s in (size, size + 1)
    )
    to_below, to_above = abs(float(value) - below), abs(above - float(value))
    expected = below if to_below < to_above or (to_below == to_above and not size & 1) else above
    return float(stored) == (np.copysign(np.inf, expected) if abs(expected) == 2.0**128 else expected)


def pairs(width, **settings):
    """Return a sample whose sums are exact, stored as float32 and in 16 bits."""
    whole, half = Sample(11, 9, width, **settings), Sample(11, 9, width, store=kernels.narrow, **settings)
    for layer in (whole, half):
        layer.activation, layer.delta = coarse(layer.activation), coarse(width * layer.delta)
        layer.weights, layer.bias = coarse(layer.weights), coarse(layer.bias)
    return whole, half


def test_narrow__rounds_to_the_nearest_and_half_way_to_the_even_one():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 6400, dtype=np.uint32)
    bits[::5] = (bits[::5] & 0xFFFF0000) + 0x8000  # half-way
    values = bits.view(np.float32)
    values[:6] = np.inf, -np.inf, np.nan, 0.0, -0.0, np.finfo(np.float32).max
    found = rounded(values.reshape(50, 128)).reshape(-1)
    for value, ours in zip(values, found, strict=True):
        assert ours.view(np.uint32) & 0xFFFF == 0
        assert is_nearest_bfloat16(value, ours), (value, ours)
    assert_array_equal(np.signbit(found[3:5]), [False, True])


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("width", WIDTHS)
def test_forward__is_that_of_float32_rounded_at_the_end(width, p):
    whole, half = pairs(width)
    rule = -0.6, kernels.dropout_threshold(p), 12345, 7
    (out, masks), (stored, its_masks) = whole.forward(*rule), half.forward(*rule)
    assert stored.dtype == np.uint16
    assert_array_equal(stored, kernels.narrow(out))
    assert_array_equal(its_masks, masks)


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("width", WIDTHS)
def test_backward__is_that_of_float32_rounded_at_the_end(width, p):
    whole, half = pairs(width, seed=1)
    rule = {"threshold": kernels.dropout_threshold(p)}
    (state, below), (its_state, stored) = (layer.backward(0.9, 0.1, 0.01, **rule) for layer in (whole, half))
    for ours, theirs in zip(its_state, state, strict=True):
        assert_array_equal(ours, theirs)
    assert_array_equal(stored, kernels.narrow(below))


def test_weights__are_rounded_in_products_and_exact_in_updates():
    half, plain = (Sample(11, 9, 96, store=kernels.narrow) for _ in range(2))
    half.weights[:], plain.weights[:] = np.float32(1 + 2**-9), 1.0
    for ours, theirs in zip(half.forward(), plain.forward(), strict=True):
        assert_array_equal(ours, theirs)
    (weights, *_), below = half.backward(0.0, 0.0, 0.0)
    assert_array_equal(weights, np.float32(1 + 2**-9))
    assert_array_equal(below, plain.backward(0.0, 0.0, 0.0)[1])


if HAS_DOT:

    def test_dot_product__has_the_bits_of_other_processors(tmp_path):
        script = (
            "import sys, numpy; from tests.support.layers import Sample, all_results; from tsnn.kernels import narrow;"
            "from tsnn.kernels.stripes import HAS_DOT; assert not HAS_DOT;"
            "numpy.savez(sys.argv[1], *all_results(Sample(40, 30, 160, store=narrow)))"
        )
        features = ",".join(sorted(f"+{name}" for name in processor_features() - {"avx512bf16"}))
        variant = {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": features}
        path = tmp_path / "variant.npz"
        subprocess.run([sys.executable, "-c", script, str(path)], env=os.environ | variant, check=True)
        with np.load(path) as theirs:
            for mine, other in zip(
                all_results(Sample(40, 30, 160, store=kernels.narrow)), theirs.values(), strict=True
            ):
                assert_array_equal(mine, other)


@pytest.mark.parametrize(("b", "n"), [(1, 1), (16, 16), (37, 50), (100, 33), (128, 784)])
def test_gather__rounds_the_features(b, n):
    rng = np.random.default_rng(0)
    x, order, width = rng.random((150, n), np.float32), rng.permutation(150)[:b], -(-b // 32) * 32
    out = np.full((n, width), 0x7FC0, np.uint16)
    kernels.gather(x, order, out)
    assert_array_equal(kernels.widen(out), rounded(naive.gather(x, order, width)))


def test_gather_sparse_and_artificial__round_the_features(monkeypatch):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 9)).astype(np.float32) * (rng.random((80, 9)) < 0.3)
    indptr, order, scale = (
        np.append(0, np.cumsum((x != 0).sum(axis=1))),
        rng.permutation(80)[:70],
        np.ones(9, np.float32),
    )
    keys, centres = rng.integers(2**32, size=5), rng.choice([-1, 1], 5).astype(np.float32)
    shift, artificial = rng.normal(size=7).astype(np.float32), np.zeros((7, 32), np.float32)
    kernels.artificial(keys, centres, shift, artificial)
    for chunks in (1, 3):
        monkeypatch.setattr("numba.get_num_threads", lambda chunks=chunks: chunks)
        out = np.full((9, 96), 0x7FC0, np.uint16)
        kernels.gather_sparse(indptr, np.nonzero(x)[1].astype(np.int32), x[x != 0], scale, order, out)
        assert_array_equal(kernels.widen(out), rounded(naive.gather(x, order, 96)))
        made = np.full((7, 32), 0x7FC0, np.uint16)
        kernels.artificial(keys, centres, shift, made)
        assert_array_equal(kernels.widen(made), rounded(artificial))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_kernels__keep_non_finite_values(bad):
    layer = Sample(11, 9, 64, store=kernels.narrow)
    layer.activation[:, 3] = bad
    with np.errstate(all="ignore"):
        out, _ = layer.forward(0.25)
        (weights, *_), _ = layer.backward(0.9, 0.1, 0.01)
    assert not np.isfinite(kernels.widen(out)[layer.view[0][1:] > layer.view[0][:-1], 3]).any()
    assert not np.isfinite(weights).any()
