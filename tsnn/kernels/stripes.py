"""Stripes: the samples of a neuron in memory, as LLVM instructions that read, weigh, multiply and write them.

Of values of 16 bits (:mod:`tsnn.kernels.bfloat16`) 32 are read as 16 words. A processor that has a dot product of
bfloat16 adds the products of two connections, or of both samples of a word, in one instruction. On others the sums have
the same order, so the same bits but for numbers below 2**-126, which that instruction takes for 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from tsnn.kernels.bfloat16 import GROUP, NAN, UPPER, is_narrow
from tsnn.kernels.compiling import processor_features, processor_name
from tsnn.kernels.tile import FLOAT, FLOATS, INDEX, INT, INTS, WORD, function, fused, splat
from tsnn.tiling import LANES

#: Whether to use the processor's dot product: where Intel's have one, steps with it took 1.3 times as long as without.
HAS_DOT = "avx512bf16" in processor_features() and processor_name().startswith("znver")
_DOT = "llvm.x86.avx512bf16.dpbf16ps.512"
_WORDS = ir.VectorType(WORD, GROUP)

Vectors = list[Any]  # LLVM values


def stripe(builder: Any, array: Any, address: Any, lanes: int) -> Callable[[int], Any]:
    """Return a function that emits vector v of the stripe at an address as float32."""
    if not is_narrow(array):
        return _vectors(builder, address, ir.VectorType(FLOAT, lanes))
    words = _vectors(builder, address, INTS)
    return lambda v: _half(builder, words(v // 2), v % 2)


def store_stripe(builder: Any, array: Any, address: Any, vectors: Vectors) -> None:
    """Emit the store of vectors of float32 as the stripe at an address."""
    if is_narrow(array):
        bits = [_rounded(builder, vector) for vector in vectors]
        vectors = [_joined(builder, *pair) for pair in zip(bits[::2], bits[1::2], strict=True)]
    first = builder.bitcast(address, vectors[0].type.as_pointer())
    for v, vector in enumerate(vectors):
        builder.store(vector, builder.gep(first, [INDEX(v)]), align=4)


class Stripes:
    """Stripes of float32 of some connections, and their weights.

    Attributes
    ----------
    step : int
        Vectors of 16 samples that are processed at a time.
    """

    step = 1

    def __init__(self, builder: Any, addresses: Sequence[Any], weights: Vectors, lanes: int) -> None:
        self.builder = builder
        self.values = [_vectors(builder, address, ir.VectorType(FLOAT, lanes)) for address in addresses]
        self.factors = [splat(builder, weight, lanes) for weight in weights]

    def add_weighted(self, v: int, totals: Vectors) -> Vectors:
        """Return sums, a vector from number v on, plus the stripes there, each times its weight."""
        (total,) = totals
        for values, factor in zip(self.values, self.factors, strict=True):
            total = fused(self.builder, factor, values(v), total)
        return [total]

    def train(self, v: int, mine: Vectors, totals: Vectors, sums: Vectors) -> tuple[Vectors, Vectors]:
        """Return `add_weighted`, and a sum for each stripe plus the products of a vector and its own, from v on.

        Both at once for each stripe: with AVX2 there is no register to keep its vector in.
        """
        (total,), products = totals, []
        for values, factor, products_before in zip(self.values, self.factors, sums, strict=True):
            total = fused(self.builder, factor, values(v), total)
            products.append(fused(self.builder, mine[0], values(v), products_before))
        return [total], products


class NarrowStripes(Stripes):
    """Stripes of 16 bits: 32 samples at a time, connections in pairs, of which the second one is added first.

    With a dot product, sums of weighted stripes are in the order of two stripes interleaved.
    """

    step = 2

    def __init__(self, builder: Any, addresses: Sequence[Any], weights: Vectors) -> None:
        self.builder = builder
        self.values = [_vectors(builder, address, INTS) for address in addresses]
        self.factors = [_nearest(builder, weight) for weight in weights]

    def add_weighted(self, v: int, totals: Vectors) -> Vectors:
        """Return sums of 32 samples, from vector number v on, plus the stripes there, each times its weight."""
        words = [values(v // 2) for values in self.values]
        for c in range(0, len(words), 2):
            totals = self._add_pair(words[c : c + 2], self.factors[c : c + 2], totals)
        return totals

    def _add_pair(self, words: Vectors, weights: Vectors, totals: Vectors) -> Vectors:
        """Return the sums of 32 samples plus one or two stripes, each times its weight."""
        builder = self.builder
        if not HAS_DOT:
            for word, weight in zip(words[::-1], weights[::-1], strict=True):
                factor = builder.bitcast(splat(builder, builder.and_(weight, INT(UPPER))), FLOATS)
                totals = [fused(builder, factor, _half(builder, word, upper), totals[upper]) for upper in (0, 1)]
            return totals
        factor = builder.lshr(weights[0], INT(16))
        if len(weights) > 1:
            factor = builder.or_(factor, builder.and_(weights[1], INT(UPPER)))
        factor, (a, b) = splat(builder, factor), (builder.bitcast(word, _WORDS) for word in (words[0], words[-1]))
        mixed = (builder.bitcast(builder.shuffle_vector(a, b, _interleaved(half)), INTS) for half in (0, 1))
        return [_dot(builder, total, pairs, factor) for total, pairs in zip(totals, mixed, strict=True)]

    def train(self, v: int, mine: Vectors, totals: Vectors, sums: Vectors) -> tuple[Vectors, Vectors]:
        """Return `add_weighted`, and a sum for each stripe plus the products of 32 samples and its own, from v on."""
        own = _joined(self.builder, *mine)
        words = [values(v // 2) for values in self.values]
        products = [_dot(self.builder, total, own, word) for total, word in zip(sums, words, strict=True)]
        return self.add_weighted(v, totals), products


def stripes(builder: Any, array: Any, addresses: Sequence[Any], weights: Vectors, lanes: int) -> Stripes:
    """Return the stripes at some addresses of an array, and their weights: float32."""
    if is_narrow(array):
        return NarrowStripes(builder, addresses, weights)
    return Stripes(builder, addresses, weights, lanes)


def in_order(builder: Any, array: Any, vectors: Vectors) -> Vectors:
    """Return sums of `Stripes.add_weighted` in the order of the samples."""
    if not (is_narrow(array) and HAS_DOT):
        return vectors
    orders = [[4 * b + first + d + v for b in range(4) for v in (0, LANES) for d in (0, 2)] for first in (0, 1)]
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    return [builder.shuffle_vector(*pair, ir.Constant(INTS, order)) for pair in pairs for order in orders]


def _vectors(builder: Any, address: Any, kind: Any) -> Callable[[int], Any]:
    """Return a function that emits the load of vector v from an address on, each once."""
    first, known = builder.bitcast(address, kind.as_pointer()), {}

    def one(v: int) -> Any:
        if v not in known:
            known[v] = builder.load(builder.gep(first, [INDEX(v)]), align=4)
        return known[v]

    return one


def _every(value: int, kind: Any = INTS) -> Any:
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def _half(builder: Any, word: Any, upper: int) -> Any:
    """Return the lower or upper halves of words as float32."""
    return builder.bitcast(builder.and_(word, _every(UPPER)) if upper else builder.shl(word, _every(16)), FLOATS)


def _joined(builder: Any, low: Any, high: Any) -> Any:
    """Return words of the upper halves of two vectors of 32 bits."""
    low, high = (builder.bitcast(vector, INTS) for vector in (low, high))
    return builder.or_(builder.lshr(low, _every(16)), builder.and_(high, _every(UPPER)))


def _nearest(builder: Any, values: Any) -> Any:
    """Return bits whose upper halves are the nearest bfloat16 of a float32 or of a vector of them.

    A NaN must be one that arithmetic makes: others may be rounded up to a number.
    """
    kind = INTS if isinstance(values.type, ir.VectorType) else INT
    bits = builder.bitcast(values, kind)
    odd = builder.and_(builder.lshr(bits, _every(16, kind)), _every(1, kind))
    return builder.add(bits, builder.add(odd, _every(0x7FFF, kind)))


def _rounded(builder: Any, vector: Any) -> Any:
    """Return `_nearest` of a vector, any NaN as one."""
    undefined = builder.fcmp_unordered("uno", vector, vector)
    return builder.select(undefined, _every(NAN), _nearest(builder, vector))


def _interleaved(upper: int) -> Any:
    """Return which values of two stripes are interleaved: of each block of eight the lower or upper four."""
    lanes = [8 * block + lane + 4 * upper + start for block in range(4) for lane in range(4) for start in (0, GROUP)]
    return ir.Constant(ir.VectorType(INT, GROUP), lanes)


def _dot(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Return total + upper halves of a * those of b, rounded, + lower halves of a * those of b."""
    if HAS_DOT:
        return builder.call(function(builder, _DOT, FLOATS, FLOATS, INTS, INTS), [total, a, b])
    for upper in (1, 0):
        total = fused(builder, _half(builder, a, upper), _half(builder, b, upper), total)
    return total
