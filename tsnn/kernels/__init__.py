"""Every compiled loop of tsnn; Numba is imported nowhere else.

Kernels take arrays and scalars only, outputs last. Activations and deltas are neuron-major, float32[n, B],
C order, B a multiple of 16: a connection costs one contiguous stripe, not a strided gather. Padded columns
of a delta are 0, so they reach no gradient. Rows are shared among the threads in chunks of about equal
work, and each output element is written by exactly one of them, so the bits do not depend on the number
of threads. Fast math never includes "no NaN": what diverges must be noticed.

``layers`` (forward, scatter, backward, gather), ``losses``, ``patterns``, ``drawing``, ``exchange`` and
``artificial`` are called from outside; ``rows`` holds the inner loops, made of ``vectors`` or, where the processor
has none that would do, of ``plain``.
"""

from tsnn.kernels.artificial import artificial
from tsnn.kernels.compiling import COMPILED
from tsnn.kernels.drawing import add_free, add_gradient, count, drop_smallest, keep_free, select_free, sort_rows
from tsnn.kernels.exchange import (
    ADDRESS_BYTES,
    add_layers,
    answer_gradients,
    find_connections,
    momentum_step,
    retain,
)
from tsnn.kernels.layers import backward, dropout_threshold, forward, gather, gather_sparse, scatter
from tsnn.kernels.losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
from tsnn.kernels.patterns import (
    carry_births,
    column_strength,
    column_sums,
    count_cells,
    long_row_segments,
    merge_connections,
    row_strength,
    transpose_pattern,
)
from tsnn.kernels.threads import set_threads
from tsnn.tiling import SEGMENT

__all__ = [
    "ADDRESS_BYTES",
    "COMPILED",
    "SEGMENT",
    "add_free",
    "add_gradient",
    "add_layers",
    "answer_gradients",
    "artificial",
    "backward",
    "binary_cross_entropy",
    "carry_births",
    "column_strength",
    "column_sums",
    "count",
    "count_cells",
    "drop_smallest",
    "dropout_threshold",
    "find_connections",
    "forward",
    "gather",
    "gather_sparse",
    "keep_free",
    "long_row_segments",
    "mean_squared_error",
    "merge_connections",
    "momentum_step",
    "retain",
    "row_strength",
    "scatter",
    "select_free",
    "set_threads",
    "softmax_cross_entropy",
    "sort_rows",
    "transpose_pattern",
]
