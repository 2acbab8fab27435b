"""Operations on tiles of samples, as Numba intrinsics: each emits the LLVM instructions of one operation.

:mod:`tsnn.kernels.plain` has the same operations as plain loops. Offsets count elements from the start of a
C-contiguous array. Nothing is bounds-checked. No alignment is needed, but arrays that start on 64 bytes are 20-35 %
faster.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tsnn.kernels import stripes
from tsnn.kernels.bfloat16 import is_narrow
from tsnn.kernels.tile import (
    FLOAT,
    FLOATS,
    INDEX,
    INT,
    WORD,
    Tile,
    add_lanes,
    build,
    fetch_lines,
    fused,
    pointer,
    splat,
    transposed,
)
from tsnn.tiling import LANES


@intrinsic(prefer_literal=True)
def zeros(typing: Any, samples: Any) -> Any:
    """Return a tile of zeros; the number of samples, 1, 8 or a multiple of 16, is a compile-time constant."""
    tile = Tile(samples.literal_value)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(tile.registers, None)

    return tile(samples), emit


@intrinsic
def filled(typing: Any, like: Any, value: Any) -> Any:
    """Return a tile as wide as `like`, every lane holding the value."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = splat(builder, args[1], like.lanes)
        return build(builder, like, lambda v: lanes)

    return like(like, types.float32), emit


@intrinsic
def load(typing: Any, like: Any, array: Any, offset: Any) -> Any:
    """Return the tile at array.flat[offset], as wide as `like`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = pointer(context, builder, array, args[1], args[2])
        return build(builder, like, stripes.stripe(builder, array, first, like.lanes))

    return like(like, array, types.int64), emit


@intrinsic
def store(typing: Any, tile: Any, array: Any, offset: Any) -> Any:
    """Write the tile to array.flat[offset]."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [builder.extract_value(args[0], v) for v in range(tile.vectors)]
        stripes.store_stripe(builder, array, pointer(context, builder, array, args[1], args[2]), parts)
        return context.get_dummy_value()

    return types.void(tile, array, types.int64), emit


@intrinsic
def prefetch(typing: Any, like: Any, array: Any, offset: Any) -> Any:
    """Prefetch the tile at array.flat[offset] into L1."""
    lines = -(-like.vectors // (1 + is_narrow(array)))

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fetch_lines(context, builder, array, args[1], args[2], lines)

    return types.void(like, array, types.int64), emit


@intrinsic
def prefetch_value(typing: Any, array: Any, offset: Any) -> Any:
    """Prefetch array.flat[offset] into L1."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return fetch_lines(context, builder, array, args[0], args[1], 1)

    return types.void(array, types.int64), emit


@intrinsic
def multiply_add(typing: Any, scalar: Any, tile: Any, total: Any) -> Any:
    """Return scalar * tile + total."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        factor, part = splat(builder, args[0], tile.lanes), builder.extract_value
        return build(builder, tile, lambda v: fused(builder, factor, part(args[1], v), part(args[2], v)))

    return tile(types.float32, tile, tile), emit


@intrinsic
def add_weighted(typing: Any, tile: Any, array: Any, offsets: Any, weights: Any) -> Any:
    """Return the tile plus those at array.flat[offset], one or two, each times its weight; then see `in_order`."""
    count = len(offsets)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        part, total = builder.extract_value, args[0]
        places = [pointer(context, builder, array, args[1], part(args[2], c)) for c in range(count)]
        weighted = stripes.stripes(builder, array, places, [part(args[3], c) for c in range(count)], tile.lanes)
        totals = [part(total, v) for v in range(tile.vectors)]
        for v in range(0, tile.vectors, weighted.step):
            totals[v : v + weighted.step] = weighted.add_weighted(v, totals[v : v + weighted.step])
        return build(builder, tile, totals.__getitem__)

    several: Any = types.UniTuple
    return tile(tile, array, several(types.int64, count), several(types.float32, count)), emit


@intrinsic
def in_order(typing: Any, tile: Any, array: Any) -> Any:
    """Return sums of `add_weighted`, from zero or equal ones on, or of `train`, in the order of the samples."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [builder.extract_value(args[0], v) for v in range(tile.vectors)]
        return build(builder, tile, stripes.in_order(builder, array, parts).__getitem__)

    return tile(tile, array), emit


@intrinsic
def add_samples(typing: Any, tile: Any) -> Any:
    """Return the sum over all samples, float32."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        parts = [builder.extract_value(args[0], v) for v in range(tile.vectors)]
        return builder.extract_element(add_lanes(builder, [functools.reduce(builder.fadd, parts)]), INT(0))

    return types.float32(tile), emit


@intrinsic
def group_size(typing: Any, tile: Any) -> Any:
    """Return how many connections `train` trains at once: the number whose sums still fit into registers."""
    count = 4 if tile.vectors > 2 else 8
    literal: Any = types.literal

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return INDEX(count)

    return literal(count)(tile), emit


@intrinsic(prefer_literal=True)
def train(
    typing: Any, count: Any, a: Any, below: Any, delta: Any, column: Any, indices: Any, k: Any, weights: Any,
    velocity: Any, rule: Any,
) -> Any:  # fmt: skip
    """Train `count` (1, 2, 4 or 8) connections of one neuron, from number k on: see :mod:`tsnn.kernels.plain`.

    Several at once share the additions across lanes, and the rule is applied to all of them in one vector; a single
    one costs a third more. Everything from the first load of a stripe on must be free of branches: LLVM would
    move the multiply-adds of `below` behind one, and keep the stripes in memory until then.
    """
    number = count.literal_value

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        part = builder.extract_value
        width = part(context.make_array(delta)(context, builder, args[3]).shape, 1)
        ends = pointer(context, builder, indices, args[5], args[6], INT)
        singles = pointer(context, builder, weights, args[7], args[6], FLOAT)
        addresses, factors = [], []
        for c in range(number):
            end = builder.sext(builder.load(builder.gep(ends, [INDEX(c)]), align=4), INDEX)
            offset = builder.add(builder.mul(end, width), args[4])
            addresses.append(pointer(context, builder, delta, args[3], offset))
            factors.append(builder.load(builder.gep(singles, [INDEX(c)]), align=4))
        weighted = stripes.stripes(builder, delta, addresses, factors, a.lanes)
        mine, totals = ([part(args[i], v) for v in range(a.vectors)] for i in (1, 2))
        sums = [ir.Constant(a.vector, None)] * number
        for v in range(0, a.vectors, weighted.step):
            some = slice(v, v + weighted.step)
            totals[some], sums = weighted.train(v, mine[some], totals[some], sums)
        tile = build(builder, a, totals.__getitem__)
        momentum, rate, step, decay = (splat(builder, part(args[9], i), number) for i in range(4))
        rows = ir.VectorType(FLOAT, number)
        places = [pointer(context, builder, kind, args[i], args[6], rows) for i, kind in ((7, weights), (8, velocity))]
        w, old = (builder.load(place, align=4) for place in places)
        new = fused(builder, momentum, old, builder.fneg(builder.fmul(rate, add_lanes(builder, sums))))
        builder.store(new, places[1], align=4)
        builder.store(fused(builder, step, new, fused(builder, builder.fneg(decay), w, w)), places[0], align=4)
        return tile

    return below(count, a, below, delta, column, indices, k, weights, velocity, rule), emit


def store_bits(builder: Any, bits: Any, word: Any) -> None:
    """Emit the store of one bit per lane in a word of 16 bits."""
    number = builder.bitcast(bits, ir.IntType(bits.type.count))
    builder.store(builder.zext(number, WORD), word, align=2)


@intrinsic
def store_positive(typing: Any, tile: Any, masks: Any, offset: Any) -> Any:
    """Write one bit per sample, tile > 0, to the uint16 array at masks.flat[offset]."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = pointer(context, builder, masks, args[1], args[2], WORD)
        for v in range(tile.vectors):
            bits = builder.fcmp_ordered(">", builder.extract_value(args[0], v), ir.Constant(tile.vector, None))
            store_bits(builder, bits, builder.gep(first, [INDEX(v)]))
        return context.get_dummy_value()

    return types.void(tile, masks, types.int64), emit


@intrinsic
def choose(typing: Any, masks: Any, offset: Any, if_one: Any, if_zero: Any) -> Any:
    """Take each sample from the first tile where its bit at masks.flat[offset] is 1, else from the second."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = pointer(context, builder, masks, args[0], args[1], WORD)

        def one(v: int) -> Any:
            word = builder.trunc(builder.load(builder.gep(first, [INDEX(v)]), align=2), ir.IntType(if_one.lanes))
            a, b = (builder.extract_value(tile, v) for tile in args[2:])
            return builder.select(builder.bitcast(word, ir.VectorType(ir.IntType(1), if_one.lanes)), a, b)

        return build(builder, if_one, one)

    return if_one(masks, types.int64, if_one, if_one), emit


@intrinsic
def store_keeps(
    typing: Any, like: Any, masks: Any, offset: Any, low: Any, high: Any, sample: Any, threshold: Any
) -> Any:
    """Write the dropout bits of consecutive samples to masks.flat[offset]: see :mod:`tsnn.kernels.plain`."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = pointer(context, builder, masks, args[1], args[2], WORD)
        narrow = [builder.trunc(arg, INT) for arg in args[3:]]
        n = like.lanes
        start = splat(builder, builder.add(narrow[0], narrow[2]), n)
        high_lanes, limit = splat(builder, narrow[1], n), splat(builder, narrow[3], n)

        def every(value: int) -> Any:
            return ir.Constant(start.type, [value] * n)

        for v in range(like.vectors):
            x = builder.add(start, ir.Constant(start.type, [n * v + lane for lane in range(n)]))
            x = builder.xor(x, builder.lshr(x, every(16)))
            x = builder.add(builder.mul(x, every(0x85EBCA6B)), high_lanes)
            x = builder.xor(x, builder.lshr(x, every(13)))
            bits = builder.icmp_unsigned(">=", builder.mul(x, every(0xC2B2AE35)), limit)
            store_bits(builder, bits, builder.gep(first, [INDEX(v)]))
        return context.get_dummy_value()

    number = types.int64
    return types.void(like, masks, number, number, number, number, number), emit


@intrinsic
def transpose_block(typing: Any, like: Any, x: Any, order: Any, sample: Any, feature: Any, out: Any) -> Any:
    """Write out[feature + f, sample + s] = x[order[sample + s], feature + f]: 16 features; 0 beyond the order.

    The samples are as many as those of `like`: 1, 8 or 16, or 32 of 16 bits.
    """
    lanes = like.lanes
    first = ir.Constant(ir.VectorType(INT, lanes), list(range(lanes)))

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        args, zero = args[1:], ir.Constant(FLOATS, None)
        samples = context.make_array(order)(context, builder, args[1])
        count = builder.extract_value(samples.shape, 0)
        n = builder.extract_value(context.make_array(x)(context, builder, args[0]).shape, 1)
        width = builder.extract_value(context.make_array(out)(context, builder, args[4]).shape, 1)

        def row(s: int) -> Any:
            wanted = builder.add(args[2], INDEX(s))
            inside = builder.icmp_signed("<", wanted, count)
            safe = builder.select(inside, wanted, builder.sub(count, INDEX(1)))
            start = builder.mul(builder.load(builder.gep(samples.data, [safe])), n)
            place = pointer(context, builder, x, args[0], builder.add(start, args[3]))
            return builder.select(inside, builder.load(place, align=4), zero)

        starts = range(0, lanes * like.vectors, LANES)
        blocks = [transposed(builder, [row(s + k) if k < lanes else zero for k in range(LANES)]) for s in starts]
        for f, wide in enumerate(zip(*blocks, strict=True)):
            vectors = [builder.shuffle_vector(vector, zero, first) for vector in wide]
            offset = builder.add(builder.mul(builder.add(args[3], INDEX(f)), width), args[2])
            stripes.store_stripe(builder, out, pointer(context, builder, out, args[4], offset), vectors)
        return context.get_dummy_value()

    return types.void(like, x, order, types.int64, types.int64, out), emit
