"""Regrowth rules: where new connections of a layer are placed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tsnn.engine.network import Float32
from tsnn.engine.pruning import ANY, drop_smallest
from tsnn.engine.topology import Int32, Int64, Topology, draw_free

Gradient = Callable[[Int64, Int32], Float32]

CANDIDATES_PER_CONNECTION = 10  # of gradient regrowth: how many free positions are tried for each one that is filled


def regrow(
    t: Topology, survives: NDArray[np.bool_], count: int, living_in: NDArray[np.bool_] | None,
    living_out: NDArray[np.bool_] | None, gradient: Gradient | None, rng: np.random.Generator,
) -> tuple[Int64, Int32]:  # fmt: skip
    """Draw ``count`` free positions between living neurons, or as many as there are; CSR."""
    rows, columns = (
        None if living is None or living.all() else np.flatnonzero(living) for living in (living_in, living_out)
    )
    space = (t.n_in if rows is None else len(rows)) * (t.n_out if columns is None else len(columns))
    free = space - int(np.count_nonzero(survives))
    count = min(count, free)
    wanted = count if gradient is None else min(CANDIDATES_PER_CONNECTION * count, free)
    indptr, indices = draw_free(
        t.n_in, t.n_out, wanted, rng=rng, taken=(t.indptr, t.indices, survives), rows=rows, columns=columns
    )
    if gradient is None or count == wanted:
        return indptr, indices
    chosen = np.ones(wanted, dtype=bool)
    drop_smallest(gradient(indptr, indices), ANY, wanted - count, chosen)
    indptr = np.append(0, np.cumsum(chosen))[indptr]
    return indptr, indices[chosen]
