"""Every compiled loop of tsnn; Numba is imported nowhere else, and only when a kernel is first used.

Kernels take arrays and scalars only, outputs last. Activations and deltas are neuron-major, float32[n, B],
C order, B 8 or a multiple of 16: a connection costs one contiguous stripe, not a strided gather. Padded columns
of a delta are 0, so they reach no gradient. Rows are divided among the threads in chunks of about equal
work, and each output element is written by exactly one of them: the bits are the same for any number
of threads. Fast math never includes "no NaN": divergence must be noticed.

``layers`` (forward, scatter, backward, gather), ``curves``, ``losses``, ``optimizers``, ``patterns``, ``drawing``,
``exchange``, ``images`` and ``artificial_data`` are called from outside; ``rows`` holds the inner loops, made of
``vectors`` or, on processors without suitable vectors, of ``plain``. ``wire`` is the format of messages between server
and workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsnn import lazy

if TYPE_CHECKING:
    from tsnn.kernels.artificial_data import artificial
    from tsnn.kernels.bfloat16 import narrow, widen
    from tsnn.kernels.compiling import COMPILED, helper_is_busy, is_cached, set_helper
    from tsnn.kernels.curves import apply_curve, multiply
    from tsnn.kernels.drawing import add_free, add_gradient, count, drop_smallest, keep_free, select_free, sort_rows
    from tsnn.kernels.exchange import (
        ADDRESS_BYTES,
        add_layers,
        answer_gradients,
        find_connections,
        momentum_step,
        retain,
    )
    from tsnn.kernels.images import move_pixels
    from tsnn.kernels.layers import (
        backward,
        dropout_threshold,
        forward,
        gather,
        gather_sparse,
        scatter,
        scatter_is_faster,
    )
    from tsnn.kernels.losses import binary_cross_entropy, mean_squared_error, softmax_cross_entropy
    from tsnn.kernels.optimizers import adamw_step, nesterov_step
    from tsnn.kernels.patterns import (
        add_path_scores,
        carry_births,
        carry_values,
        column_strength,
        column_sums,
        count_cells,
        long_row_segments,
        mark_places,
        merge_connections,
        row_strength,
        transpose_pattern,
    )
    from tsnn.kernels.threads import set_threads

__all__ = [
    "ADDRESS_BYTES", "COMPILED", "adamw_step", "add_free", "add_gradient", "add_layers", "add_path_scores",
    "answer_gradients", "apply_curve", "artificial", "backward", "binary_cross_entropy", "carry_births",
    "carry_values", "column_strength", "column_sums", "count", "count_cells", "drop_smallest", "dropout_threshold",
    "find_connections", "forward", "gather", "gather_sparse", "helper_is_busy", "is_cached", "keep_free",
    "long_row_segments", "mark_places", "mean_squared_error", "merge_connections", "momentum_step", "move_pixels",
    "multiply", "narrow", "nesterov_step", "retain", "row_strength", "scatter", "scatter_is_faster", "select_free",
    "set_helper", "set_threads", "softmax_cross_entropy", "sort_rows", "transpose_pattern", "widen",
]  # fmt: skip

__getattr__, __dir__ = lazy.attach(
    __name__,
    {
        "artificial_data": "artificial",
        "bfloat16": "narrow widen",
        "compiling": "COMPILED helper_is_busy is_cached set_helper",
        "curves": "apply_curve multiply",
        "drawing": "add_free add_gradient count drop_smallest keep_free select_free sort_rows",
        "exchange": "ADDRESS_BYTES add_layers answer_gradients find_connections momentum_step retain",
        "images": "move_pixels",
        "layers": "backward dropout_threshold forward gather gather_sparse scatter scatter_is_faster",
        "losses": "binary_cross_entropy mean_squared_error softmax_cross_entropy",
        "optimizers": "adamw_step nesterov_step",
        "patterns": (
            "add_path_scores carry_births carry_values column_strength column_sums count_cells long_row_segments "
            "mark_places "
            "merge_connections row_strength transpose_pattern"
        ),
        "threads": "set_threads",
    },
)
