"""Products of a few rows with a matrix that is laid out for it once: on a CPU, for up to some dozen positions a pass.

M rows, I and O width in and out, W outputs of a panel, P panels.

A matrix [O, I] is kept as panels [P, I, W]: what a panel's outputs take from one input stands side by side, so the
matrix is read as one stream, whatever M is. Up to six rows share a read: their sums stay in registers, which is the
scheme of every fast matrix product (Goto and van de Geijn 2008); but a library's product packs the matrix anew at each
call, which for few rows costs more than the product. A row's sums are added up in the same order whatever rows are
beside it, so they are the same to the last bit.

The sums are written in LLVM's vectors, since loops in numba leave them in memory. bfloat16 weights are kept as the
upper halves of float32, uint16, half as much to read; the sums are float32.
"""

import numpy as np
import torch
import torch.nn.functional as F
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from byteproxy.jit import nb

WIDTH = 16  # outputs of a panel: two vectors of AVX2, one of AVX-512
ROWS = 6  # whose sums fit into AVX2's registers
_AHEAD = 512  # numbers ahead of the read that memory is told to bring


def packed(weight_OI: torch.Tensor) -> np.ndarray:
    """Panels [P, I, W] of a matrix, zeros behind its last row: float32 or float64, or uint16 for bfloat16."""
    weight_OI = weight_OI.detach()
    if weight_OI.dtype == torch.bfloat16:
        weight_OI = weight_OI.contiguous().view(torch.uint16)
    elif weight_OI.dtype != torch.float64:
        weight_OI = weight_OI.float()
    made = weight_OI.numpy()
    count, width = made.shape
    panels = -(-count // WIDTH)
    padded = np.zeros((panels * WIDTH, width), made.dtype)
    padded[:count] = made
    return np.ascontiguousarray(padded.reshape(panels, WIDTH, width).transpose(0, 2, 1))


class Matrix:
    """A matrix [O, I] that rows are multiplied with, on a CPU or elsewhere."""

    def __init__(self, weight_OI: torch.Tensor, compiled: bool = True) -> None:
        """Products are float32, or float64 of such a matrix. compiled: on a CPU by the compiled engine."""
        self._weight_OI, self._packed = weight_OI, None
        if compiled and weight_OI.device.type == "cpu":
            self._packed = packed(weight_OI)

    def __call__(self, x_I: torch.Tensor, first: int | None = None) -> torch.Tensor:
        """[..., O] of x [..., I], or of the first `first` outputs only."""
        count = len(self._weight_OI) if first is None else first
        if self._packed is None:
            out_O = F.linear(x_I, self._weight_OI[:count])
            return out_O if out_O.dtype == torch.float64 else out_O.float()
        weight_PIW = self._packed[: -(-count // WIDTH)]
        x_MI = np.ascontiguousarray(x_I.flatten(0, -2).numpy())
        out_MO = np.empty((len(x_MI), len(weight_PIW) * WIDTH), x_MI.dtype)
        times(x_MI, weight_PIW, out_MO)
        return torch.from_numpy(out_MO)[:, :count].unflatten(0, x_I.shape[:-1])


@nb.njit(cache=True)
def times(x_MI: np.ndarray, weight_PIW: np.ndarray, out_MO: np.ndarray) -> None:
    """Write x times the transposed matrix into out [M, P x W]."""
    times_part(x_MI, weight_PIW, out_MO, 0, len(weight_PIW))


@nb.njit(cache=True)
def times_part(x_MI: np.ndarray, weight_PIW: np.ndarray, out_MO: np.ndarray, first: int, end: int) -> None:
    """The same for the panels from `first` to before `end` only."""
    rows, width = x_MI.shape
    x, weight, out = x_MI.reshape(-1), weight_PIW.reshape(-1), out_MO.reshape(-1)
    for panel in range(first, end):
        begin, row = panel * width * WIDTH, 0
        while row < rows:
            count = next_rows(rows - row)
            out_at = row * out_MO.shape[1] + panel * WIDTH
            sums(count, width, x, row * width, width, weight, begin, out, out_at, out_MO.shape[1])
            row += count


@nb.njit(cache=True, inline="always")
def next_rows(left):  # type: ignore[no-untyped-def]
    """Rows to take at once, so that all shares are about the same."""
    shares = (left + ROWS - 1) // ROWS
    return (left + shares - 1) // shares


@nb.njit(cache=True)
def sums(count, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step):  # type: ignore[no-untyped-def]
    """For `count` rows: out[W] = sum over `length` of x[i] weight[i, W].

    As `times` does it for one panel, and attention for one of keys or values. All arrays are flat: where the first row
    begins in them, and the step to the next one.
    """
    if count == 1:
        _block(1, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    elif count == 2:
        _block(2, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    elif count == 3:
        _block(3, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    elif count == 4:
        _block(4, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    elif count == 5:
        _block(5, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    else:
        _block(6, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)


@intrinsic(prefer_literal=True)
def _block(typing, count, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step):  # type: ignore[no-untyped-def]
    signature = types.void(count, length, x, x_at, x_step, weight, weight_at, out, out_at, out_step)
    rows = range(count.literal_value)
    number = ir.FloatType() if x.dtype == types.float32 else ir.DoubleType()
    vector, integer = ir.VectorType(number, WIDTH), ir.IntType(64)
    halves = weight.dtype == types.uint16
    read = ir.VectorType(ir.IntType(16), WIDTH) if halves else vector

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        _, length, x_data, x_at, x_step, weight_data, weight_at, out_data, out_at, out_step = arguments

        def begin(kind, data, at):  # type: ignore[no-untyped-def]
            return builder.gep(context.make_array(kind)(context, builder, data).data, [at])

        def row(at, step, index):  # type: ignore[no-untyped-def]
            return builder.add(at, builder.mul(step, ir.Constant(integer, index)))

        def vectors(pointer, kind):  # type: ignore[no-untyped-def]
            return builder.bitcast(pointer, kind.as_pointer())

        x_rows = [begin(x, x_data, row(x_at, x_step, index)) for index in rows]
        out_rows = [vectors(begin(out, out_data, row(out_at, out_step, index)), vector) for index in rows]
        panel = begin(weight, weight_data, weight_at)
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        place = builder.phi(integer)
        place.add_incoming(ir.Constant(integer, 0), before)
        summed = [builder.phi(vector) for _ in rows]
        taken = builder.gep(panel, [builder.mul(place, ir.Constant(integer, WIDTH))])
        if len(rows) > 1:
            _fetch(builder, builder.gep(taken, [ir.Constant(integer, _AHEAD)]))
        loaded = builder.load(vectors(taken, read), align=2 if halves else 4)
        if halves:
            wide = ir.VectorType(ir.IntType(32), WIDTH)
            upper = builder.shl(builder.zext(loaded, wide), ir.Constant(wide, [16] * WIDTH))
            loaded = builder.bitcast(upper, vector)
        grown = []
        for index in rows:
            one = builder.load(builder.gep(x_rows[index], [place]))
            product = builder.fmul(_spread(builder, one, vector), loaded, flags=("contract",))
            grown.append(builder.fadd(product, summed[index], flags=("contract",)))
            summed[index].add_incoming(ir.Constant(vector, [0.0] * WIDTH), before)
            summed[index].add_incoming(grown[index], loop)
        following = builder.add(place, ir.Constant(integer, 1))
        place.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        for index in rows:
            builder.store(grown[index], out_rows[index], align=4)
        return context.get_dummy_value()

    return signature, generate


def _spread(builder, one, vector):  # type: ignore[no-untyped-def]
    """A number in every place of a vector."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, one, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _fetch(builder, pointer):  # type: ignore[no-untyped-def]
    """Tell memory that this will be read: processors guess so themselves, but not beyond a page."""
    anything, kind = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = ir.FunctionType(ir.VoidType(), [anything, kind, kind, kind])
    prefetch = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
    read, keep, data = (ir.Constant(kind, value) for value in (0, 3, 1))
    builder.call(prefetch, [builder.bitcast(pointer, anything), read, keep, data])
