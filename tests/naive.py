"""Slow, obvious twins of the kernels: dense NumPy and plain Python, same names, new arrays returned.

A twin takes what its kernel takes, computes in float64 where that is simpler, and never changes its
arguments, so a test reads ``expected = naive.forward(...)`` and compares.
"""

import numpy as np

MASK32 = 0xFFFFFFFF


def dense(indptr, indices, weights, n_out):
    """The layer's matrix, float64[n_in, n_out]."""
    matrix = np.zeros((len(indptr) - 1, n_out))
    for i in range(len(indptr) - 1):
        for k in range(indptr[i], indptr[i + 1]):
            matrix[i, indices[k]] = weights[k]
    return matrix


def transpose_pattern(indptr, indices, n_out):
    """Sort the triples (output, input, position)."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    triples = sorted(zip(indices.tolist(), rows.tolist(), range(len(indices)), strict=True))
    t_indptr = [sum(j < row for j, _, _ in triples) for row in range(n_out + 1)]
    return t_indptr, [i for _, i, _ in triples], [k for _, _, k in triples]


def gather(x, order, width):
    """Rows of x as columns, padded with zero columns."""
    out = np.zeros((x.shape[1], width), np.float32)
    out[:, : len(order)] = x[order].T
    return out


def mix(x):
    """Scramble 32 bits."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK32
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK32
    return x ^ x >> 16


def keeps(key, neuron, sample, threshold):
    """Whether dropout keeps this neuron for this sample."""
    low = mix(mix(key & MASK32) + neuron & MASK32)
    high = mix(low ^ mix(key >> 32))
    x = low + sample & MASK32
    x ^= x >> 16
    x = x * 0x85EBCA6B + high & MASK32
    x ^= x >> 13
    return x * 0xC2B2AE35 & MASK32 >= threshold


def pack(bits):
    """bool[n, B] -> uint16[n, B // 16], bit b of word v being sample 16 v + b."""
    return np.packbits(bits, axis=1, bitorder="little").view("<u2")


def forward(matrix, bias, activation, slope, threshold, key, sample_offset):
    """Activations float64[n_out, B], sign bits and keep bits of one layer given as a dense matrix."""
    z = matrix.T @ activation + bias[:, None]
    out = np.where(z > 0, z, slope * z)
    keep = np.array([[keeps(key, j, sample_offset + s, threshold) for s in range(z.shape[1])] for j in range(len(z))])
    if threshold:
        out = np.where(keep, out / (1 - threshold / 2**32), 0)
    return out, z > 0, keep


def gradient(matrix, activation, delta):
    """dLoss/dW (dense), dLoss/dbias and dLoss/dactivation of one layer."""
    return activation @ delta.T, delta.sum(axis=1), matrix @ delta


def sgd(weights, velocity, gradient, momentum, learning_rate, weight_decay):
    """New weights and velocity."""
    velocity = momentum * velocity - learning_rate * gradient
    return weights + velocity - weight_decay * weights, velocity


def softmax_cross_entropy(z, labels, weights, scale):
    """Loss sum, number correct, delta of the b labelled columns."""
    z = z[:, : len(labels)].astype(float)
    p = np.exp(z - z.max(axis=0))
    p /= p.sum(axis=0)
    columns = np.arange(len(labels))
    loss = -(weights * np.log(p[labels, columns])).sum()
    correct = int((z.argmax(axis=0) == labels).sum())
    p[labels, columns] -= 1
    return loss, correct, scale * weights * p


def mean_squared_error(z, targets, weights, scale):
    """Loss sum and delta."""
    error = z[:, : len(targets)].astype(float) - targets.T
    return (weights * (error**2).mean(axis=0)).sum(), scale * weights * 2 * error / len(z)


def binary_cross_entropy(z, targets, weights, scale):
    """Loss sum and delta, from the definition (so only for moderate z)."""
    p = 1 / (1 + np.exp(-z[:, : len(targets)].astype(float)))
    losses = -(targets.T * np.log(p) + (1 - targets.T) * np.log(1 - p)).mean(axis=0)
    return (weights * losses).sum(), scale * weights * (p - targets.T) / len(z)


def choose_survivors(weights, zeta, prune):
    """Survivors as a list of bools, by sorting."""
    order = sorted(range(len(weights)), key=lambda k: abs(weights[k]))
    groups = [order]
    if prune == "signed":
        groups = [[k for k in order if weights[k] >= 0], [k for k in order if weights[k] < 0]]
    to_prune = {k for group in groups for k in group[: int(zeta * len(group))]}
    return [k not in to_prune for k in range(len(weights))]


def merge_connections(indptr, indices, weights, velocity, survives, new_indptr, new_indices, new_weights, n_out):
    """Sort the triples (key, weight, velocity) of survivors and newcomers."""
    rows, new_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, new_indptr))
    old = [(int(i) * n_out + int(j), w, v) for i, j, w, v in zip(rows, indices, weights, velocity, strict=True)]
    triples = [t for t, stays in zip(old, survives, strict=True) if stays]
    new = zip(new_rows, new_indices, new_weights, strict=True)
    triples = sorted(triples + [(int(i) * n_out + int(j), w, 0) for i, j, w in new])
    row_ends = [sum(key < i * n_out for key, _, _ in triples) for i in range(len(indptr))]
    return row_ends, [key % n_out for key, _, _ in triples], [w for _, w, _ in triples], [v for _, _, v in triples]


def carry_births(rows, indptr, indices, old_indptr, old_indices, old_births, epoch):
    """Columns and births of some rows, by looking each connection up."""
    known = {
        (r, old_indices[k]): old_births[k]
        for r in range(len(old_indptr) - 1)
        for k in range(old_indptr[r], old_indptr[r + 1])
    }
    found = [(r, indices[k]) for r, i in enumerate(rows) for k in range(indptr[i], indptr[i + 1])]
    return [column for _, column in found], [known.get(position, epoch) for position in found]


def keep_free(indptr, indices, taken_indptr, taken, counts):
    """Distinct positions of each row that are not taken, as a list of rows."""
    return [
        sorted(
            set(indices[indptr[i] : indptr[i + 1]].tolist())
            - {taken[k] for k in range(taken_indptr[i], taken_indptr[i + 1]) if counts[k]}
        )
        for i in range(len(indptr) - 1)
    ]


def drop_smallest(bits, sign, number, survives):
    """Survivors as a list of bools, by sorting."""
    weights = bits.view(np.float32)
    meant = [k for k in range(len(weights)) if survives[k] and (sign == 2 or (weights[k] < 0) == (sign == 1))]
    to_prune = set(sorted(meant, key=lambda k: abs(weights[k]))[:number])
    return [bool(survives[k]) and k not in to_prune for k in range(len(weights))]


def artificial(keys, centres, shift):
    """Features float64[n, b], value by value."""
    out = np.zeros((len(shift), len(keys)))
    for f in range(len(shift)):
        for s in range(len(keys)):
            x = mix(int(keys[s]) ^ mix(f))
            total = sum(x.to_bytes(4)) + sum(mix(x ^ 0x9E3779B9).to_bytes(4))
            out[f, s] = (total - 8 * 127.5) / np.sqrt(8 * (256**2 - 1) / 12) + shift[f] * centres[s]
    return out


def momentum_step(gradient, momentum, learning_rate, weight_decay, update, weights, velocity):
    """New weights and velocity, value by value."""
    velocity = [momentum * v - learning_rate * g for v, g in zip(velocity, gradient, strict=True)]
    if not update:
        return list(weights), velocity
    return [w + v - weight_decay * w for w, v in zip(weights, velocity, strict=True)], velocity


def retain(gradient, sources):
    """A late gradient at the connections that still exist, 0 at new ones."""
    return [gradient[k] if k >= 0 else 0 for k in sources]


def find_connections(indptr, indices, old_indptr, old_indices, offset):
    """Look every connection up in a dictionary of the old ones."""
    rows, old_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, old_indptr))
    positions = {pair: offset + k for k, pair in enumerate(zip(old_rows.tolist(), old_indices.tolist(), strict=True))}
    return [positions.get(pair, -1) for pair in zip(rows.tolist(), indices.tolist(), strict=True)]


def add_layers(indptr, indices, weights, other_indptr, other_indices, other_weights, share):
    """Add dictionaries: position to weight, in order."""
    rows, other_rows = (np.repeat(np.arange(len(ends) - 1), np.diff(ends)) for ends in (indptr, other_indptr))
    total = {(int(i), int(j)): w for i, j, w in zip(rows, indices, weights, strict=True)}
    for i, j, w in zip(other_rows, other_indices, other_weights, strict=True):
        total[int(i), int(j)] = total.get((int(i), int(j)), 0) + share * w
    return sorted((i, j, w) for (i, j), w in total.items())
