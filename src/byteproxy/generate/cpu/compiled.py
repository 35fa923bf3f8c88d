"""A pass over a model's layers on a CPU, compiled as one function: from what positions read to their hidden states.

B documents, N new positions of one, M of all, T positions that fit, D width, H query heads, G key-value heads,
S = H / G query heads that share keys, E head width, X = (H + 2 G) x E, F ffn width, L layers; P and W: `product`.

Keys and values are kept in panels, as weights are (`product`): keys W positions to a panel, values W of a head's
numbers. So both products of attention share a read among a document's new positions, and with that a pass of several
costs little more than a pass of one. Called from Python a layer is some 25 operations, which for a small model cost
more than the products.
"""

import math
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from byteproxy.generate.cpu.product import ROWS, WIDTH, next_panels, next_rows, sums, times_part
from byteproxy.generate.cpu.team import meet, share
from byteproxy.jit import nb
from byteproxy.model.embedding import MULTIPLIER

_FAST = {"nnan", "reassoc", "contract", "nsz", "arcp"}


class Layers(NamedTuple):
    """All layers' weights, the first axis being theirs; biases, norms of queries and keys and value tables may be of
    none."""

    before_LD: np.ndarray
    qkv_LPIW: np.ndarray
    qkv_bias_LX: np.ndarray
    q_norm_LE: np.ndarray
    k_norm_LE: np.ndarray
    value_LVO: np.ndarray
    out_LPIW: np.ndarray
    out_bias_LD: np.ndarray
    between_LD: np.ndarray
    gate_up_LPIW: np.ndarray
    down_LPIW: np.ndarray
    norm_D: np.ndarray
    cos_TE: np.ndarray  # here E is half a head
    sin_TE: np.ndarray


class Cache(NamedTuple):
    """Keys [L, B, G, T / W, E, W] and values [L, B, G, E / W, T, W], rounded up."""

    keys: np.ndarray
    values: np.ndarray


class Room(NamedTuple):
    """What the threads of a pass share: all have the first axis in common but the last, q [B, G, S x N, E]."""

    projected_MX: np.ndarray
    gathered_MD: np.ndarray
    added_MD: np.ndarray
    gate_up_MF: np.ndarray
    active_MF: np.ndarray
    q_BGQE: np.ndarray


def room(layers: Layers, cache: Cache, rows: int, documents: int, count: int, heads: int) -> Room:
    """Memory for passes over M = `rows` positions of so many documents, at most `count` of each."""
    groups, kind = cache.keys.shape[2], cache.keys.dtype
    head_width = 2 * layers.cos_TE.shape[1]

    def of(width: int) -> np.ndarray:
        return np.empty((rows, width), kind)

    return Room(
        of(layers.qkv_LPIW.shape[1] * WIDTH),
        of(layers.out_LPIW.shape[2]),
        of(layers.out_LPIW.shape[1] * WIDTH),
        of(layers.gate_up_LPIW.shape[1] * WIDTH),
        of(layers.down_LPIW.shape[2]),
        np.empty((documents, groups, heads // groups * count, head_width), kind),
    )


@nb.njit(cache=True, nogil=True)
def run(  # type: ignore[no-untyped-def]
    layers, cache, room, x_MD, symbols_M, first, place_M, begin_B, heads, epsilon, worker, workers, sync
):
    """Hidden states [M, D]; x, what the first layer reads, is written over.

    first: the document that is the first of these. place_M: where in their documents they stand, one after the other.
    begin_B: the row at which each document's begin, and M at the end, [B + 1].
    worker, workers, sync: `team`. Each thread takes its panels of a product, and its groups of attention. Every number
    is computed by one of them, in the same order whoever it is; norms, which cost little, each computes for itself.
    """
    groups = cache.keys.shape[2]
    normed_MD = np.empty_like(x_MD)
    for layer in range(len(layers.qkv_LPIW)):
        _norm(x_MD, layers.before_LD[layer], epsilon, normed_MD)
        begin, end = share(len(layers.qkv_LPIW[layer]), worker, workers)
        times_part(normed_MD, layers.qkv_LPIW[layer], room.projected_MX, begin, end)
        meet(sync, workers)
        begin, end = share((len(begin_B) - 1) * groups, worker, workers)
        for item in range(begin, end):
            document, group = divmod(item, groups)
            _gather(layers, cache, room, symbols_M, first, place_M, begin_B, heads, epsilon, layer, document, group)
        meet(sync, workers)
        begin, end = share(len(layers.out_LPIW[layer]), worker, workers)
        times_part(room.gathered_MD, layers.out_LPIW[layer], room.added_MD, begin, end)
        _add(x_MD, room.added_MD, begin * WIDTH, end * WIDTH)
        if layers.out_bias_LD.shape[1]:
            _add_to_each(x_MD, layers.out_bias_LD[layer], begin * WIDTH, end * WIDTH)
        meet(sync, workers)
        _norm(x_MD, layers.between_LD[layer], epsilon, normed_MD)
        begin, end = share(len(layers.gate_up_LPIW[layer]), worker, workers)
        times_part(normed_MD, layers.gate_up_LPIW[layer], room.gate_up_MF, begin, end)
        meet(sync, workers)
        begin, end = share(room.active_MF.shape[1], worker, workers)
        _activate(room.gate_up_MF, room.active_MF, begin, end)
        meet(sync, workers)
        begin, end = share(len(layers.down_LPIW[layer]), worker, workers)
        times_part(room.active_MF, layers.down_LPIW[layer], room.added_MD, begin, end)
        _add(x_MD, room.added_MD, begin * WIDTH, end * WIDTH)
        meet(sync, workers)
    _norm(x_MD, layers.norm_D, epsilon, normed_MD)
    return normed_MD


@nb.njit(cache=True)
def _gather(  # type: ignore[no-untyped-def]
    layers, cache, room, symbols_M, first, place_M, begin_B, heads, epsilon, layer, document, group
):
    """Keep the keys and values of a document's new positions in one group, and attend to all that there are."""
    first_row, end_row = begin_B[document], begin_B[document + 1]
    groups = cache.keys.shape[2]
    head_width, shared = 2 * layers.cos_TE.shape[1], heads // groups
    keys, values = cache.keys[layer, first + document, group], cache.values[layer, first + document, group]
    q_QE = room.q_BGQE[document, group]
    at = (heads + groups + group) * head_width  # of the values
    for new in range(end_row - first_row):
        row = first_row + new
        place = place_M[row]
        for index in range(shared + 1):
            key = index == shared
            head = heads + group if key else group * shared + index
            x_E = room.projected_MX[row, head * head_width : (head + 1) * head_width]
            if layers.qkv_bias_LX.shape[1]:
                _add_row(x_E, layers.qkv_bias_LX[layer, head * head_width : (head + 1) * head_width])
            if layers.q_norm_LE.shape[1]:
                norm = layers.k_norm_LE if key else layers.q_norm_LE
                _norm_row(x_E, norm[layer], epsilon, x_E)
            if key:
                into_E = keys[place // WIDTH, :, place % WIDTH]
                _rotate(x_E, layers.cos_TE[place], layers.sin_TE[place], 1.0, into_E)
            else:
                into_E = q_QE[new * shared + index]
                _rotate(x_E, layers.cos_TE[place], layers.sin_TE[place], head_width**-0.5, into_E)
        if layers.qkv_bias_LX.shape[1]:
            _add_row(room.projected_MX[row, at : at + head_width], layers.qkv_bias_LX[layer, at : at + head_width])
        if layers.value_LVO.shape[1]:
            value_E = layers.value_LVO[layer, symbols_M[row], group * head_width : (group + 1) * head_width]
            _add_row(room.projected_MX[row, at : at + head_width], value_E)
        for index in range(head_width):
            values[index // WIDTH, place, index % WIDTH] = room.projected_MX[row, at + index]
    gathered_NO, queries = room.gathered_MD[first_row:end_row], (end_row - first_row) * shared
    begin, end = group * shared * head_width, (group + 1) * shared * head_width
    _attend(q_QE[:queries], keys, values, place_M[first_row:end_row], gathered_NO[:, begin:end])


@nb.njit(cache=True, fastmath=_FAST)
def _norm(x_MD, weight_D, epsilon, out_MD):  # type: ignore[no-untyped-def]
    for row in range(len(x_MD)):
        _norm_row(x_MD[row], weight_D, epsilon, out_MD[row])


@nb.njit(cache=True, fastmath=_FAST)
def _norm_row(x_D, weight_D, epsilon, out_D):  # type: ignore[no-untyped-def]
    square = x_D[0] * x_D[0]
    for index in range(1, len(x_D)):
        square += x_D[index] * x_D[index]
    scale = x_D.dtype.type(1 / np.sqrt(square / len(x_D) + epsilon))
    for index in range(len(x_D)):
        out_D[index] = x_D[index] * scale * weight_D[index]


@nb.njit(cache=True, fastmath=_FAST)
def _add(x_MD, added_MD, begin, end):  # type: ignore[no-untyped-def]
    for row in range(x_MD.shape[0]):
        for index in range(begin, min(end, x_MD.shape[1])):
            x_MD[row, index] += added_MD[row, index]


@nb.njit(cache=True, fastmath=_FAST)
def _add_to_each(x_MD, added_D, begin, end):  # type: ignore[no-untyped-def]
    for row in range(x_MD.shape[0]):
        for index in range(begin, min(end, x_MD.shape[1])):
            x_MD[row, index] += added_D[index]


@nb.njit(cache=True, fastmath=_FAST)
def _add_row(x_E, added_E):  # type: ignore[no-untyped-def]
    for index in range(len(x_E)):
        x_E[index] += added_E[index]


@nb.njit(cache=True, fastmath=_FAST)
def _rotate(x_E, cos_E, sin_E, scale, into_E):  # type: ignore[no-untyped-def]
    half, scale = len(cos_E), x_E.dtype.type(scale)
    for index in range(half):
        left, right = x_E[index] * scale, x_E[half + index] * scale
        into_E[index] = left * cos_E[index] - right * sin_E[index]
        into_E[half + index] = right * cos_E[index] + left * sin_E[index]


@nb.njit(cache=True, fastmath=_FAST)
def _activate(gate_up_MX, active_MF, begin, end):  # type: ignore[no-untyped-def]
    count = active_MF.shape[1]
    for row in range(active_MF.shape[0]):
        for index in range(begin, end):
            active_MF[row, index] = _silu(gate_up_MX[row, index]) * gate_up_MX[row, count + index]


@nb.njit(cache=True, fastmath=_FAST)
def _attend(q_QE, keys_PEW, values_PTW, place_N, out_NO):  # type: ignore[no-untyped-def]
    """What the queries of one document that share keys gather: out [N, S x E]. They are in the order [N, S]."""
    queries, width = q_QE.shape
    shared, panels = queries // len(place_N), values_PTW.shape[0]
    q, keys, values = q_QE.reshape(-1), keys_PEW.reshape(-1), values_PTW.reshape(-1)
    step, step_out = (place_N[-1] // WIDTH + 1) * WIDTH, panels * WIDTH
    weight, found = np.empty(ROWS * step, q.dtype), np.empty(ROWS * step_out, q.dtype)
    total = np.empty(ROWS, q.dtype)
    row = 0
    while row < queries:
        count = next_rows(queries - row)
        last = place_N[(row + count - 1) // shared]
        panel, there, key_step = 0, last // WIDTH + 1, width * WIDTH
        while panel < there:
            taken, at = next_panels(count, there - panel), panel * WIDTH
            sums(taken, count, width, q, row * width, width, keys, panel * key_step, key_step, weight, at, step)
            panel += taken
        for index in range(count):
            weight_T = weight[index * step : index * step + last + 1]
            total[index] = _soften(weight_T, place_N[(row + index) // shared] + 1)
        panel, value_step = 0, values_PTW.shape[1] * WIDTH
        while panel < panels:
            taken, at = next_panels(count, panels - panel), panel * WIDTH
            sums(taken, count, last + 1, weight, 0, step, values, panel * value_step, value_step, found, at, step_out)
            panel += taken
        for index in range(count):
            into_E = out_NO[(row + index) // shared, (row + index) % shared * width :]
            for at in range(width):
                into_E[at] = found[index * step_out + at] / total[index]
        row += count


@nb.njit(cache=True, fastmath=_FAST)
def _soften(weight_T, seen):  # type: ignore[no-untyped-def]
    """Scores to their exponentials over the largest one, zeros from `seen` on; gives the sum."""
    most = weight_T[0]
    for place in range(1, seen):
        most = max(most, weight_T[place])
    for place in range(seen):
        weight_T[place] = _exp(weight_T[place] - most)
    total = weight_T[0]
    for place in range(1, seen):
        total += weight_T[place]
    weight_T[seen:] = 0
    return total


@nb.njit(cache=True)
def ngram_rows(sequence_BT, document_M, place_M, lengths_K, rows):  # type: ignore[no-untyped-def]
    """The rows of the n-grams that end at these places, int64 [K, M]: as `model.embedding.ngram_rows` has them."""
    found_KM = np.empty((len(lengths_K), len(place_M)), np.int64)
    for row in range(len(place_M)):
        document, place = document_M[row], place_M[row]
        for number in range(len(lengths_K)):
            hashed = np.int64(0)
            for back in range(lengths_K[number]):
                symbol = sequence_BT[document, place - back] if place >= back else 0
                product = (hashed + symbol + 1) * MULTIPLIER
                hashed = product ^ (product >> 29)
            found_KM[number, row] = hashed % rows
    return found_KM


@nb.njit(cache=True)
def add_ngrams(x_MD, tables, row_KM):  # type: ignore[no-untyped-def]
    """Add to each position its rows of all tables, which are a tuple."""
    for number in range(len(tables)):
        add_rows(x_MD, tables[number], row_KM[number], 1.0)


@nb.njit(cache=True)
def add_rows(x_MD, table_RD, row_M, times):  # type: ignore[no-untyped-def]
    """Add so many times a row of a table to each position."""
    times = x_MD.dtype.type(times)
    for row in range(len(row_M)):
        for index in range(x_MD.shape[1]):
            x_MD[row, index] += times * table_RD[row_M[row], index]


@intrinsic
def _exp(typing, x):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _exponential(builder, arguments[0])

    return x(x), generate


@intrinsic
def _silu(typing, x):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        (x,) = arguments
        one = ir.Constant(x.type, 1.0)
        return builder.fdiv(x, builder.fadd(one, _exponential(builder, builder.fneg(x))))

    return x(x), generate


def _exponential(builder, x):  # type: ignore[no-untyped-def]
    """e^x to the last place or so, in steps that LLVM makes vectors of, which it does not of a call.

    A power of two times Taylor's polynomial of what is left, at most ln(2) / 2 from zero; it stops at the type's range.
    """
    single = isinstance(x.type, ir.FloatType)
    bits, mantissa, bias, most = (32, 23, 127, 87.0) if single else (64, 52, 1023, 708.0)

    def number(value):  # type: ignore[no-untyped-def]
        return ir.Constant(x.type, value)

    def plus(one, factor, other):  # type: ignore[no-untyped-def]
        return builder.fadd(one, builder.fmul(factor, other, flags=("contract",)), flags=("contract",))

    x = builder.select(builder.fcmp_ordered("<", x, number(-most)), number(-most), x)
    x = builder.select(builder.fcmp_ordered(">", x, number(most)), number(most), x)
    floor = builder.module.declare_intrinsic("llvm.floor", [x.type])
    whole = builder.call(floor, [plus(number(0.5), x, number(1 / math.log(2)))])
    rest = plus(x, whole, number(-0.693359375))  # ln(2) in two parts, so that the product with the first is exact
    rest = plus(rest, whole, number(0.693359375 - math.log(2)))
    series = number(1 / math.factorial(7 if single else 13))
    for power in range(6 if single else 12, -1, -1):
        series = plus(number(1 / math.factorial(power)), series, rest)
    integer = ir.IntType(bits)
    power = builder.add(builder.fptosi(whole, integer), ir.Constant(integer, bias))
    return builder.fmul(series, builder.bitcast(builder.shl(power, ir.Constant(integer, mantissa)), x.type))
