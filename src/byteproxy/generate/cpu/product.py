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
PANELS = 4  # that one row is multiplied with at once
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

    def __call__(self, x_I: torch.Tensor) -> torch.Tensor:
        """[..., O] of x [..., I]."""
        if self._packed is None:
            out_O = F.linear(x_I, self._weight_OI)
            return out_O if out_O.dtype == torch.float64 else out_O.float()
        x_MI = np.ascontiguousarray(x_I.flatten(0, -2).numpy())
        out_MO = np.empty((len(x_MI), len(self._packed) * WIDTH), x_MI.dtype)
        times(x_MI, self._packed, out_MO)
        return torch.from_numpy(out_MO)[:, : len(self._weight_OI)].unflatten(0, x_I.shape[:-1])


@nb.njit(cache=True)
def times(x_MI: np.ndarray, weight_PIW: np.ndarray, out_MO: np.ndarray) -> None:
    """Write x times the transposed matrix into out [M, P x W]."""
    times_part(x_MI, weight_PIW, out_MO, 0, len(weight_PIW))


@nb.njit(cache=True)
def times_part(x_MI: np.ndarray, weight_PIW: np.ndarray, out_MO: np.ndarray, first: int, end: int) -> None:
    """The same for the panels from `first` to before `end` only."""
    rows, width = x_MI.shape
    x, weight, out = x_MI.reshape(-1), weight_PIW.reshape(-1), out_MO.reshape(-1)
    panel, step = first, width * WIDTH
    while panel < end:
        panels, row = next_panels(rows, end - panel), 0
        while row < rows:
            count = next_rows(rows - row)
            out_at = row * out_MO.shape[1] + panel * WIDTH
            sums(panels, count, width, x, row * width, width, weight, panel * step, step, out, out_at, out_MO.shape[1])
            row += count
        panel += panels


@nb.njit(cache=True, inline="always")
def next_rows(left):  # type: ignore[no-untyped-def]
    """Rows to take at once, so that all shares are about the same."""
    shares = (left + ROWS - 1) // ROWS
    return (left + shares - 1) // shares


@nb.njit(cache=True, inline="always")
def next_panels(rows, left):  # type: ignore[no-untyped-def]
    """Panels to take at once: each addition waits for the one before, so a few sums alone leave a core idle."""
    if rows == 1 and left >= PANELS:
        return PANELS
    return 2 if rows <= 3 and left >= 2 else 1


@nb.njit(cache=True)
def sums(  # type: ignore[no-untyped-def]
    panels, count, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step
):
    """For each of `panels` (see `next_panels`) and `count` rows: out[W] = sum over `length` of x[i] weight[i, W].

    As `times` does it, and attention for keys or values. All arrays are flat: where the first row or panel begins in
    them, and the step to the next one; a row's panels stand side by side in `out`.
    """
    if panels == PANELS:
        _block(1, 4, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif panels == 2 and count == 1:
        _block(1, 2, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif panels == 2 and count == 2:
        _block(2, 2, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif panels == 2:
        _block(3, 2, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif count == 1:
        _block(1, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif count == 2:
        _block(2, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif count == 3:
        _block(3, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif count == 4:
        _block(4, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    elif count == 5:
        _block(5, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)
    else:
        _block(6, 1, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step)


@intrinsic(prefer_literal=True)
def _block(  # type: ignore[no-untyped-def]
    typing, count, panels, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step
):
    signature = types.void(
        count, panels, length, x, x_at, x_step, weight, weight_at, weight_step, out, out_at, out_step
    )
    rows, beside = range(count.literal_value), range(panels.literal_value)
    number = ir.FloatType() if x.dtype == types.float32 else ir.DoubleType()
    vector, integer = ir.VectorType(number, WIDTH), ir.IntType(64)
    halves = weight.dtype == types.uint16
    read = ir.VectorType(ir.IntType(16), WIDTH) if halves else vector

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        length, x_data, x_at, x_step, weight_data, weight_at, weight_step, out_data, out_at, out_step = arguments[2:]

        def begin(kind, data, at):  # type: ignore[no-untyped-def]
            return builder.gep(context.make_array(kind)(context, builder, data).data, [at])

        def nth(at, step, index):  # type: ignore[no-untyped-def]
            return builder.add(at, builder.mul(step, ir.Constant(integer, index)))

        def vectors(pointer, kind):  # type: ignore[no-untyped-def]
            return builder.bitcast(pointer, kind.as_pointer())

        def weights(panel, place):  # type: ignore[no-untyped-def]
            taken = builder.gep(panel, [builder.mul(place, ir.Constant(integer, WIDTH))])
            if len(rows) > 1:
                _fetch(builder, builder.gep(taken, [ir.Constant(integer, _AHEAD)]))
            loaded = builder.load(vectors(taken, read), align=2 if halves else 4)
            if not halves:
                return loaded
            wide = ir.VectorType(ir.IntType(32), WIDTH)
            upper = builder.shl(builder.zext(loaded, wide), ir.Constant(wide, [16] * WIDTH))
            return builder.bitcast(upper, vector)

        x_rows = [begin(x, x_data, nth(x_at, x_step, index)) for index in rows]
        out_rows = [begin(out, out_data, nth(out_at, out_step, index)) for index in rows]
        panel_starts = [begin(weight, weight_data, nth(weight_at, weight_step, index)) for index in beside]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        place = builder.phi(integer)
        place.add_incoming(ir.Constant(integer, 0), before)
        summed = [[builder.phi(vector) for _ in beside] for _ in rows]
        loaded = [weights(panel, place) for panel in panel_starts]
        grown: list[list[ir.Value]] = []
        for index in rows:
            one = _spread(builder, builder.load(builder.gep(x_rows[index], [place])), vector)
            grown.append([])
            for weight_W, sum_W in zip(loaded, summed[index], strict=True):
                product = builder.fmul(one, weight_W, flags=("contract",))
                grown[index].append(builder.fadd(product, sum_W, flags=("contract",)))
                sum_W.add_incoming(ir.Constant(vector, [0.0] * WIDTH), before)
                sum_W.add_incoming(grown[index][-1], loop)
        following = builder.add(place, ir.Constant(integer, 1))
        place.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, after)
        builder.position_at_end(after)
        for index in rows:
            for panel in beside:
                into = builder.gep(out_rows[index], [ir.Constant(integer, panel * WIDTH)])
                builder.store(grown[index][panel], vectors(into, vector), align=4)
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
