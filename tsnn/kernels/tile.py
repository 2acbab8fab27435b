"""Tiles of samples in vector registers: the LLVM type that the fast kernels are built on, and its instructions.

Plain Numba loops vectorise, but LLVM does not keep a whole row of partial sums in registers while it walks the
connections. So this module gives compiled code a value type, `Tile`, that does: V vectors of 16 float32 lanes, one
lane per sample. A tile of 8 samples or of one is a single vector of as many. Its operations are in
:mod:`tsnn.kernels.vectors`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from tsnn.tiling import LANES

FLOAT, INT, INDEX, WORD = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(16)
FLOATS, INTS = (ir.VectorType(kind, LANES) for kind in (FLOAT, INT))


class Tile(types.Type):
    """Numba type of a tile of 1, 8, 16, 32 ... samples: V vectors of 16 float32, or one of 8 or 1."""

    def __init__(self, samples: int) -> None:
        self.lanes = min(samples, LANES)
        self.vectors = samples // self.lanes
        super().__init__(name=f"Tile({samples})")

    @property
    def vector(self) -> Any:
        """LLVM type of one of its vectors."""
        return ir.VectorType(FLOAT, self.lanes)

    @property
    def registers(self) -> Any:
        """LLVM type of all of them."""
        return ir.ArrayType(self.vector, self.vectors)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """LLVM representation of a tile: an array of vectors, which the optimiser splits into registers."""

    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, tile.registers)  # type: ignore[no-untyped-call]


def build(builder: Any, kind: Tile, one: Callable[[int], Any]) -> Any:
    """Make a tile from the function that emits its vector number v."""
    tile = ir.Constant(kind.registers, ir.Undefined)
    for v in range(kind.vectors):
        tile = builder.insert_value(tile, one(v), v)
    return tile


def splat(builder: Any, scalar: Any, lanes: int = LANES) -> Any:
    """Return a vector with the scalar in all lanes."""
    kind = ir.VectorType(scalar.type, lanes)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, INT(0))
    return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(INT, lanes), None))


def pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, kind: Any = FLOATS) -> Any:
    """Return the address of array.flat[offset] as a pointer to kind."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), kind.as_pointer())


def function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Declare an LLVM function."""
    declare: Any = cgutils.get_or_insert_function
    return declare(builder.module, ir.FunctionType(result, arguments), name)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c of vectors, rounded once."""
    return builder.call(function(builder, f"llvm.fma.v{a.type.count}f32", a.type, *[a.type] * 3), [a, b, c])


def add_lanes(builder: Any, vectors: list[Any]) -> Any:
    """Return one vector of 1, 2, 4 or 8 lanes: the sums over the lanes of that number of vectors."""
    width = vectors[0].type.count

    def add(x: Any, y: Any, *halves: list[int]) -> Any:
        masks = (ir.Constant(ir.VectorType(INT, len(half)), half) for half in halves)
        return builder.fadd(*(builder.shuffle_vector(x, y, mask) for mask in masks))

    count, group = len(vectors), 1
    if width == 1:
        sums = ir.Constant(ir.VectorType(FLOAT, count), ir.Undefined)
        for c, vector in enumerate(vectors):
            sums = builder.insert_element(sums, builder.extract_element(vector, INT(0)), INT(c))
        return sums
    while len(vectors) > 1:  # pairs become one: the sums of both lie side by side in each block
        block = max(4, 2 * group)
        halves = [
            [start + vector + i + lane for start in range(half, width, block) for i in range(0, block // 2, group)
             for vector in (0, width) for lane in range(group)]
            for half in (0, block // 2)
        ]  # fmt: skip
        vectors = [add(x, y, *halves) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        group *= 2
    total = vectors[0]
    while (lanes := total.type.count // 2) >= count:
        total = add(total, total, list(range(lanes)), list(range(lanes, 2 * lanes)))
    return total


def fetch_lines(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, count: int) -> Any:
    """Emit the prefetch into L1 of a number of cache lines from array.flat[offset] on."""
    first = pointer(context, builder, array_type, array, offset)
    byte = ir.IntType(8).as_pointer()
    ask = function(builder, "llvm.prefetch.p0", ir.VoidType(), byte, INT, INT, INT)
    for line in range(count):
        place = builder.bitcast(builder.gep(first, [INDEX(line)]), byte)
        builder.call(ask, [place, INT(0), INT(3), INT(1)])  # to read, into L1, data
    return context.get_dummy_value()


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Return the transpose of 16 vectors of 16."""
    for d in (8, 4, 2, 1):  # swap the off-diagonal blocks of size d, as for a 2 x 2 matrix
        low = ir.Constant(INTS, [lane if not lane & d else lane - d + LANES for lane in range(LANES)])
        high = ir.Constant(INTS, [lane + d if not lane & d else lane + LANES for lane in range(LANES)])
        for i in range(LANES):
            if not i & d:
                a, b = rows[i], rows[i + d]
                rows[i], rows[i + d] = builder.shuffle_vector(a, b, low), builder.shuffle_vector(a, b, high)
    return rows
