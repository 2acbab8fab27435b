"""Reference implementation of the kernels: dense NumPy and plain Python, same names, new arrays returned.

A twin has its kernel's parameters, except the outputs, computes in float64 where that is simpler, and never changes
its arguments, so a test reads ``expected = naive.forward(...)`` and compares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MASK32 = 0xFFFFFFFF


def dense(indptr: Array, indices: Array, weights: Array, n_out: int) -> Array:
    """The layer's matrix, float64[n_in, n_out]."""
    matrix = np.zeros((len(indptr) - 1, n_out))
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            matrix[i, indices[k]] = weights[k]
    return matrix


def transpose_pattern(indptr: Array, indices: Array, n_out: int) -> tuple[list[int], list[int], list[int]]:
    """The transposed pattern and permutation, by sorting triples (output, input, position)."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    triples = sorted(zip(indices.tolist(), rows.tolist(), range(len(indices)), strict=True))
    t_indptr = [sum(j < row for j, _, _ in triples) for row in range(n_out + 1)]
    return t_indptr, [i for _, i, _ in triples], [k for _, _, k in triples]


def mark_places(indptr: Array, indices: Array, n_out: int, stride: int, bits: Array) -> tuple[int, Array]:
    """The number of bits that were not set, and the bits afterwards."""
    flags = np.unpackbits(bits, bitorder="little")
    rows = range(0, len(indptr) - 1, stride)
    places = [r * n_out + j for r, i in enumerate(rows) for j in indices[indptr[i] : indptr[i + 1]]]
    fresh = sum(not flags[place] for place in places)
    flags[places] = 1
    return fresh, np.packbits(flags, bitorder="little")


def gather(x: Array, order: Array, width: int) -> Array:
    """Rows of x as columns, padded with zero columns."""
    out = np.zeros((x.shape[1], width), np.float32)
    out[:, : len(order)] = x[order].T
    return out


def mix(x: int) -> int:
    """Scramble 32 bits."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK32
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK32
    return x ^ x >> 16


def keeps(key: int, neuron: int, sample: int, threshold: int) -> bool:
    """Whether dropout keeps this neuron for this sample."""
    low = mix(mix(key & MASK32) + neuron & MASK32)
    high = mix(low ^ mix(key >> 32))
    x = low + sample & MASK32
    x ^= x >> 16
    x = x * 0x85EBCA6B + high & MASK32
    x ^= x >> 13
    return x * 0xC2B2AE35 & MASK32 >= threshold


def pack(bits: Array) -> Array:
    """bool[n, B] -> uint16[n, words], bit b of word v being sample 16 v + b."""
    whole = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 16)))
    return np.packbits(whole, axis=1, bitorder="little").view("<u2")


def forward(
    matrix: Array, bias: Array, activation: Array, slope: float, threshold: int, key: int, sample_offset: int
) -> tuple[Array, Array, Array]:
    """Activations float64[n_out, B], sign bits and keep bits of one layer given as a dense matrix."""
    z = matrix.T @ activation + bias[:, None]
    out = np.where(z > 0, z, slope * z)
    keep = np.array([[keeps(key, j, sample_offset + s, threshold) for s in range(z.shape[1])] for j in range(len(z))])
    if threshold:
        out = np.where(keep, out / (1 - threshold / 2**32), 0)
    return out, z > 0, keep


def gradient(matrix: Array, activation: Array, delta: Array) -> tuple[Array, Array, Array]:
    """dLoss/dW (dense), dLoss/dbias and dLoss/dactivation of one layer."""
    return activation @ delta.T, delta.sum(axis=1), matrix @ delta


def sgd(
    weights: Array, velocity: Array, gradient: Array, momentum: float, learning_rate: float, weight_decay: float
) -> tuple[Array, Array]:
    """New weights and velocity."""
    velocity = momentum * velocity - learning_rate * gradient
    return weights + velocity - weight_decay * weights, velocity


def softmax_cross_entropy(z: Array, labels: Array, weights: Array, scale: float) -> tuple[float, int, Array]:
    """Loss sum, number correct, delta of the b labelled columns."""
    z = z[:, : len(labels)].astype(float)
    p = np.exp(z - z.max(axis=0))
    p /= p.sum(axis=0)
    columns = np.arange(len(labels))
    loss = -(weights * np.log(p[labels, columns])).sum()
    correct = int((z.argmax(axis=0) == labels).sum())
    p[labels, columns] -= 1
    return loss, correct, scale * weights * p


def mean_squared_error(z: Array, targets: Array, weights: Array, scale: float) -> tuple[float, Array]:
    """Loss sum and delta."""
    error = z[:, : len(targets)].astype(float) - targets.T
    return (weights * (error**2).mean(axis=0)).sum(), scale * weights * 2 * error / len(z)


def binary_cross_entropy(z: Array, targets: Array, weights: Array, scale: float) -> tuple[float, Array]:
    """Loss sum and delta, from the definition (so only for moderate z)."""
    p = 1 / (1 + np.exp(-z[:, : len(targets)].astype(float)))
    losses = -(targets.T * np.log(p) + (1 - targets.T) * np.log(1 - p)).mean(axis=0)
    return (weights * losses).sum(), scale * weights * (p - targets.T) / len(z)


def choose_survivors(weights: Array, zeta: float, prune: str) -> list[bool]:
    """Survivors as a list of bools, by sorting."""
    order = sorted(range(len(weights)), key=lambda k: abs(weights[k]))
    groups = [order]
    if prune == "signed":
        groups = [[k for k in order if weights[k] >= 0], [k for k in order if weights[k] < 0]]
    to_prune = {k for group in groups for k in group[: int(zeta * len(group))]}
    return [k not in to_prune for k in range(len(weights))]


def merge_connections(
    indptr: Array,
    indices: Array,
    weights: Array,
    velocity: Array,
    survives: Array,
    new_indptr: Array,
    new_indices: Array,
    new_weights: Array,
    n_out: int,
) -> tuple[list[int], list[int], list[float], list[float]]:
    """Merged layer, by sorting triples (key, weight, velocity) of survivors and new connections."""
    rows, new_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, new_indptr))
    old = [(int(i) * n_out + int(j), w, v) for i, j, w, v in zip(rows, indices, weights, velocity, strict=True)]
    triples = [t for t, stays in zip(old, survives, strict=True) if stays]
    new = zip(new_rows, new_indices, new_weights, strict=True)
    triples = sorted(triples + [(int(i) * n_out + int(j), w, 0) for i, j, w in new])
    row_ends = [sum(key < i * n_out for key, _, _ in triples) for i in range(len(indptr))]
    return row_ends, [key % n_out for key, _, _ in triples], [w for _, w, _ in triples], [v for _, _, v in triples]


def carry_values(
    indptr: Array,
    indices: Array,
    values: Array,
    survives: Array,
    merged_indptr: Array,
    merged_indices: Array,
    out: Array,
) -> list[float]:
    """The values in the merged layer, each connection found in a dictionary; those of others as they were."""
    rows, merged_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, merged_indptr))
    old = zip(zip(rows.tolist(), indices.tolist(), strict=True), values, survives, strict=True)
    known = {pair: value for pair, value, stays in old if stays}
    merged = zip(merged_rows.tolist(), merged_indices.tolist(), out, strict=True)
    return [known.get((i, j), value) for i, j, value in merged]


def carry_births(
    rows: Array, indptr: Array, indices: Array, old_indptr: Array, old_indices: Array, old_births: Array, epoch: int
) -> tuple[list[int], list[int]]:
    """Columns and births of some rows, each connection found in a dictionary."""
    known = {
        (r, old_indices[k]): old_births[k]
        for r in range(len(old_indptr) - 1)
        for k in range(old_indptr[r], old_indptr[r + 1])
    }
    found = [(r, indices[k]) for r, i in enumerate(rows) for k in range(indptr[i], indptr[i + 1])]
    return [column for _, column in found], [known.get(position, epoch) for position in found]


def keep_free(indptr: Array, indices: Array, taken_indptr: Array, taken: Array, counts: Array) -> list[list[int]]:
    """Distinct positions of each row that are not taken, as a list of rows."""
    return [
        sorted(
            set(indices[indptr[i] : indptr[i + 1]].tolist())
            - {taken[k] for k in range(taken_indptr[i], taken_indptr[i + 1]) if counts[k]}
        )
        for i in range(len(indptr) - 1)
    ]


def drop_smallest(bits: Array, sign: int, number: int, survives: Array) -> list[bool]:
    """Survivors as a list of bools, by sorting."""
    weights = bits.view(np.float32)
    meant = [k for k in range(len(weights)) if survives[k] and (sign == 2 or (weights[k] < 0) == (sign == 1))]
    to_prune = set(sorted(meant, key=lambda k: abs(weights[k]))[:number])
    return [bool(survives[k]) and k not in to_prune for k in range(len(weights))]


def add_path_scores(
    indptr: Array, indices: Array, t_indptr: Array, t_indices: Array, at: Array, ends: Array, common: int
) -> Array:  # fmt: skip
    """The scores w A of positions, by dense matrices: D = A A^T, e = deg - D, w = 1 or D + 1, over max(e, 1)."""
    a = dense(indptr, indices, np.ones(len(indices)), len(t_indptr) - 1)
    shared = a @ a.T
    w = np.where(shared > 0, (shared + 1 if common else 1) / np.maximum(a.sum(axis=1) - shared, 1), 0)
    rows = np.repeat(np.arange(len(at) - 1), np.diff(at))
    return (w @ a)[rows, ends]


def artificial(keys: Array, centres: Array, shift: Array) -> Array:
    """Features float64[n, b], value by value."""
    out = np.zeros((len(shift), len(keys)))
    for f in range(len(shift)):
        for s in range(len(keys)):
            x = mix(int(keys[s]) ^ mix(f))
            total = sum(x.to_bytes(4)) + sum(mix(x ^ 0x9E3779B9).to_bytes(4))
            out[f, s] = (total - 8 * 127.5) / np.sqrt(8 * (256**2 - 1) / 12) + shift[f] * centres[s]
    return out


def momentum_step(
    gradient: Array,
    momentum: float,
    learning_rate: float,
    weight_decay: float,
    update: bool,
    weights: Array,
    velocity: Array,
) -> tuple[list[float], list[float]]:
    """New weights and velocity, value by value."""
    moved = [momentum * v - learning_rate * g for v, g in zip(velocity, gradient, strict=True)]
    if not update:
        return list(weights), moved
    return [w + v - weight_decay * w for w, v in zip(weights, moved, strict=True)], moved


def apply_curve(name: str, keep: float, values: Array) -> tuple[Array, Array]:
    """The activation and its derivative, in float64; the derivative of GELU by the product and chain rules."""
    z = values.astype(float) * keep
    if name == "tanh":
        return np.tanh(z) / keep, 1 - np.tanh(z) ** 2
    inner, scale = np.sqrt(2 / np.pi) * (z + 0.044715 * z**3), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)
    t = np.tanh(inner)
    return 0.5 * z * (1 + t) / keep, 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * scale


def multiply(factors: Array, values: Array) -> Array:
    """The products."""
    return factors * values


def nesterov_step(
    gradient: Array, momentum: float, learning_rate: float, weight_decay: float, weights: Array, velocity: Array
) -> tuple[Array, Array]:
    """New weights and velocity, in float64."""
    change = learning_rate * gradient.astype(float)
    moved = momentum * velocity - change
    return weights - weight_decay * weights + momentum * moved - change, moved


def adamw_step(
    gradient: Array, betas: tuple[float, float], weight_decay: float, rates: Array, epsilons: Array, weights: Array,
    mean: Array, square: Array, steps: Array,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """New weights, moments and steps, in float64, value by value."""
    results = []
    for g, w, m, v, t in zip(*(array.tolist() for array in (gradient, weights, mean, square, steps)), strict=True):
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        t = int(min(t + 1, len(rates) - 1))
        results.append((w - weight_decay * w - rates[t] * m / (v**0.5 + epsilons[t]), m, v, t))
    return tuple(np.array(column) for column in zip(*results, strict=True))  # type: ignore[return-value]


def retain(gradient: Array, sources: Array) -> list[float]:
    """A late gradient at the connections that still exist, 0 at new ones."""
    return [gradient[k] if k >= 0 else 0 for k in sources]


def find_connections(indptr: Array, indices: Array, old_indptr: Array, old_indices: Array, offset: int) -> list[int]:
    """Positions of connections among the old ones, found in a dictionary; -1 for new ones."""
    rows, old_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, old_indptr))
    positions = {pair: offset + k for k, pair in enumerate(zip(old_rows.tolist(), old_indices.tolist(), strict=True))}
    return [positions.get(pair, -1) for pair in zip(rows.tolist(), indices.tolist(), strict=True)]


def add_layers(
    indptr: Array,
    indices: Array,
    weights: Array,
    other_indptr: Array,
    other_indices: Array,
    other_weights: Array,
    share: float,
) -> list[tuple[int, int, float]]:
    """Add dictionaries: position to weight, in order."""
    rows, other_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, other_indptr))
    total = {(int(i), int(j)): w for i, j, w in zip(rows, indices, weights, strict=True)}
    for i, j, w in zip(other_rows, other_indices, other_weights, strict=True):
        total[int(i), int(j)] = total.get((int(i), int(j)), 0) + share * w
    return sorted((i, j, w) for (i, j), w in total.items())


def move_pixels(images: Array, maps: Array, shape: tuple[int, int, int]) -> Array:
    """Images, as columns, whose pixels take the nearest pixel of an affine map of their place, or of the border."""
    _, height, width = shape
    given, out = images.reshape(*shape, -1), np.empty((*shape, images.shape[1]), images.dtype)
    for s, i, j in np.ndindex(images.shape[1], height, width):
        row, column = maps[:, :, s] @ (i - (height - 1) / 2, j - (width - 1) / 2, 1)
        out[:, i, j, s] = given[:, min(max(round(row), 0), height - 1), min(max(round(column), 0), width - 1), s]
    return out.reshape(images.shape)
