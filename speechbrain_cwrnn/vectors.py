"""Arithmetic in vectors of numbers, for loops that numba compiles.

LLVM makes no good vectors of a product of two matrices: it sums up within
blocks of four terms, and loads and stores all sums for each block. So that
product is written in LLVM's own vectors, with up to twelve sums of eight
numbers each in registers. Of 64 units and 8 sequences, it is as fast as those
of large matrices in PyTorch (on one thread of an AMD EPYC, 88 GFLOP/s and 75).

Authors
 * The speechbrain_cwrnn developers 2026
"""

import hashlib
import logging
from functools import cache, partial
from importlib.resources import files

import numba
import torch
from llvmlite import ir
from numba.core import cgutils, event, types
from numba.extending import intrinsic

logger = logging.getLogger(__name__)

# So many numbers are a vector here.
VECTOR = 8

# What loops of other files are made with.
SHARED = ("activations.py", "cells.py", "panels.py", "vectors.py")


@cache
def _hash_shared():
    folder = files(__package__)
    try:
        sources = [folder.joinpath(name).read_bytes() for name in SHARED]
    except OSError:
        # In a frozen application there are none, and to numba what is cached is
        # as old as the whole.
        return None
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _compiled(function, fastmath):
    """A function as a loop that numba compiles, and keeps in its cache."""
    # Numba's own error model would look for divisions by zero one by one.
    loop = numba.njit(
        cache=True, nogil=True, error_model="numpy", fastmath=fastmath
    )(function)
    # What is cached is as old as the function's own file, to numba. If what it
    # is made with is another one, after an update, it would be used, too.
    stored = getattr(getattr(loop, "_cache", None), "_cache_file", None)
    if hasattr(stored, "_source_stamp"):
        stored._source_stamp = stored._source_stamp, _hash_shared()
    return loop


# The order of sums is kept where sequences or units make the vectors, as LLVM
# would otherwise make them of the sums; a sequence on its own has no others.
jit_ordered = partial(_compiled, fastmath={"contract"})
jit_any_order = partial(_compiled, fastmath={"contract", "reassoc"})


@jit_ordered
def add_product(totals, left, right, first, end, start, stop):
    """totals[i] += sum over start <= c < stop of left[i, c] * right[c]

    for the rows first <= i < end, of whole vectors. Each sum is formed before
    it is added.
    """
    columns = totals.shape[1]
    whole = end - (end - first) % 4
    column = 0
    # Columns of the right stay in the cache, as all rows of the left go by.
    while column < columns:
        row = first
        if column + 3 * VECTOR <= columns:
            while row < whole:
                _add_4_3(totals, left, right, row, start, stop, column)
                row += 4
            column += 3 * VECTOR
        else:
            while row + 8 <= whole:
                _add_8_1(totals, left, right, row, start, stop, column)
                row += 8
            if row < whole:
                _add_4_1(totals, left, right, row, start, stop, column)
            column += VECTOR
    for row in range(whole, end):
        column = 0
        while column < columns:
            if column + 8 * VECTOR <= columns:
                _add_1_8(totals, left, right, row, start, stop, column)
                column += 8 * VECTOR
            else:
                _add_1_1(totals, left, right, row, start, stop, column)
                column += VECTOR


@intrinsic
def _pointer(typing_context, address, array):
    """An address as that of a number such as those of an array."""

    def generate(context, builder, signature, arguments):
        pointer = context.get_value_type(signature.return_type)
        return builder.inttoptr(arguments[0], pointer)

    return types.CPointer(array.dtype)(types.int64, array), generate


@jit_any_order
def array_at(address, shape, array):
    """What is in memory at an address, in the dtype of some array."""
    return numba.carray(_pointer(address, array), shape)


@cache
def empty_array(dtype):
    """An array of nothing, in a dtype of PyTorch, for `array_at`."""
    return torch.empty(0, dtype=dtype).numpy()


def adder(rows, vectors, size=None, ahead=None):
    """What adds a product to a block of so many rows and vectors, of a size in
    bytes or of VECTOR numbers, whose sums are in registers meanwhile; the right
    is fetched into the cache so many rows ahead, past its end, too."""

    @intrinsic
    def add(typing_context, totals, left, right, row, start, stop, column):
        def generate(context, builder, signature, arguments):
            arrays = [
                context.make_array(kind)(context, builder, array)
                for kind, array in zip(signature.args, arguments[:3])
            ]
            row, start, stop, column = arguments[3:]
            number = context.get_value_type(totals.dtype)
            # Of a number: rows begin anywhere.
            align = context.get_abi_sizeof(number)
            width = VECTOR if size is None else size // align
            vector = ir.VectorType(number, width)
            nothing = ir.Constant(vector, ir.Undefined)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), None)

            def at(i, *place):
                return cgutils.get_item_pointer(
                    context, builder, signature.args[i], arrays[i], place
                )

            def vector_at(i, *place):
                return builder.bitcast(at(i, *place), vector.as_pointer())

            def of_left(i, c, j):
                if left.ndim == 3:
                    return builder.load(vector_at(1, i, c, j), align=align)
                one = builder.insert_element(
                    nothing, builder.load(at(1, i, c)), ir.IntType(32)(0)
                )
                return builder.shuffle_vector(one, nothing, zeros)

            numbers = [builder.add(row, row.type(i)) for i in range(rows)]
            columns = [
                builder.add(column, column.type(j * width))
                for j in range(vectors)
            ]
            sums = {
                (i, j): cgutils.alloca_once_value(
                    builder, ir.Constant(vector, None)
                )
                for i in numbers
                for j in columns
            }
            one = stop.type(1)
            with cgutils.for_range_slice(builder, start, stop, one) as (c, _):
                for j in columns if ahead else ():
                    later = builder.add(c, c.type(ahead))
                    _fetch(builder, at(2, later, j))
                values = {
                    j: builder.load(vector_at(2, c, j), align=align)
                    for j in columns
                }
                for (i, j), total in sums.items():
                    product = builder.fmul(
                        of_left(i, c, j), values[j], flags=["contract"]
                    )
                    builder.store(
                        builder.fadd(
                            builder.load(total), product, flags=["contract"]
                        ),
                        total,
                    )
            for place, total in sums.items():
                pointer = vector_at(0, *place)
                before = builder.load(pointer, align=align)
                after = builder.fadd(before, builder.load(total))
                builder.store(after, pointer, align=align)
            return context.get_dummy_value()

        arguments = totals, left, right, row, start, stop, column
        return types.none(*arguments), generate

    return add


def _fetch(builder, pointer):
    """Fetch what is at a place into the nearest cache, to be read."""
    pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
    number = ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, *[number] * 3])
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch", [pointer.type], kind
    )
    # To read, to be kept, data.
    builder.call(prefetch, [pointer, *map(number, (0, 3, 1))])


_add_4_3, _add_8_1, _add_4_1 = adder(4, 3), adder(8, 1), adder(4, 1)
_add_1_8, _add_1_1 = adder(1, 8), adder(1, 1)


class _Notice(event.Listener):
    """Says why nothing happens for a while, where numba's cache does not have
    our loops yet."""

    def __init__(self):
        self.is_said = False

    def on_start(self, event):
        """Something is compiled, maybe of someone else's."""
        # What was made of a text has none.
        module = event.data["dispatcher"].py_func.__module__ or ""
        ours = module.startswith(f"{__package__}.")
        if ours and not self.is_said:
            self.is_said = True
            logger.info(
                "Compiling for this CPU, which takes some seconds, once."
            )

    def on_end(self, event):
        """Nothing is said."""


notice = _Notice()
event.register("numba:compile", notice)
