"""What units do with their sums, for loops that numba compiles.

In float32, tanh and the logistic function are computed in float64, so that they
are as exact as PyTorch's, in steps that processors have for vectors. They are
written in LLVM's own operations: in a loop of many numbers, with vectors of
these; numba would let their order be changed where that of sums may be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from speechbrain_cwrnn.cells import NONLINEARITIES
from speechbrain_cwrnn.vectors import VECTOR, jit_ordered

TANH, RELU = map(NONLINEARITIES.index, ("tanh", "relu"))

# Added to a number and subtracted again, it leaves a whole one; and the last
# bits of the sum are this one.
ROUNDING = 1.5 * 2.0**52


class _Numbers:
    """Arithmetic with numbers in float64, or vectors of them."""

    def __init__(self, builder, kind):
        self.builder, self.kind = builder, kind

    def _constant(self, value, kind):
        if isinstance(kind, ir.VectorType):
            value = [value] * kind.count
        return ir.Constant(kind, value)

    def _both(self, *numbers):
        return (
            self._constant(n, self.kind) if isinstance(n, float) else n
            for n in numbers
        )

    def add(self, x, y):
        """x + y; with a product, it may be rounded once."""
        return self.builder.fadd(*self._both(x, y), flags=["contract"])

    def multiply(self, x, y):
        """x y."""
        return self.builder.fmul(*self._both(x, y), flags=["contract"])

    def divide(self, x, y):
        """x / y."""
        return self.builder.fdiv(*self._both(x, y))

    def at_most(self, x, most):
        """x, or what it is not to exceed; NaN stays."""
        x, most = self._both(x, most)
        return self.builder.select(
            self.builder.fcmp_ordered(">", x, most), most, x
        )

    def power_of_two(self, rounded):
        """2^n from n + ROUNDING."""
        integer = ir.IntType(64)
        if isinstance(self.kind, ir.VectorType):
            integer = ir.VectorType(integer, self.kind.count)
        shift, bias = (self._constant(n, integer) for n in (52, 1023 << 52))
        bits = self.builder.bitcast(rounded, integer)
        bits = self.builder.add(self.builder.shl(bits, shift), bias)
        return self.builder.bitcast(bits, self.kind)

    def call(self, name, *numbers):
        """A function that LLVM has."""
        vector = isinstance(self.kind, ir.VectorType)
        suffix = f"v{self.kind.count}f64" if vector else "f64"
        function = self.builder.module.declare_intrinsic(
            f"llvm.{name}.{suffix}",
            (),
            ir.FunctionType(self.kind, [self.kind] * len(numbers)),
        )
        return self.builder.call(function, [*self._both(*numbers)])


def _tanh_of_half(numbers, x2):
    """tanh(x / 2) for x >= 0.

    tanh x = e / (e + 2) with e = exp(2 x) - 1, which loses nothing for small x.
    exp is 2^n times a power series in the rest r. From x = 10 on, all is 1.
    """
    add, multiply = numbers.add, numbers.multiply
    x2 = numbers.at_most(x2, 20.0)
    rounded = add(multiply(x2, 1 / math.log(2)), ROUNDING)
    n = add(rounded, -ROUNDING)
    r = add(x2, multiply(n, -math.log(2)))
    p = 1 / math.factorial(9)
    for k in range(8, 1, -1):
        p = add(multiply(r, p), 1 / math.factorial(k))
    power = numbers.power_of_two(rounded)
    e = multiply(power, add(r, multiply(multiply(r, r), p)))
    e = add(e, add(power, -1.0))
    return numbers.divide(e, add(e, 2.0))


def _tanh(numbers, x):
    """tanh x."""
    x2 = numbers.multiply(numbers.call("fabs", x), 2.0)
    return numbers.call("copysign", _tanh_of_half(numbers, x2), x)


def _sigmoid(numbers, x):
    """1 / (1 + exp(-x))."""
    y = _tanh_of_half(numbers, numbers.call("fabs", x))
    y = numbers.multiply(numbers.call("copysign", y, x), 0.5)
    return numbers.add(y, 0.5)


def _of_one(function):
    """A function of a number in float32."""

    @intrinsic
    def of_one(typing_context, x):
        def generate(context, builder, signature, arguments):
            numbers = _Numbers(builder, ir.DoubleType())
            (x,) = arguments
            y = function(numbers, builder.fpext(x, numbers.kind))
            return builder.fptrunc(y, x.type)

        return types.float32(types.float32), generate

    return of_one


def _of_vector(function):
    """What replaces VECTOR numbers of a row in float32, from a column on."""

    @intrinsic
    def of_vector(typing_context, values, row, column):
        def generate(context, builder, signature, arguments):
            kind = signature.args[0]
            array = context.make_array(kind)(context, builder, arguments[0])
            place = cgutils.get_item_pointer(
                context, builder, kind, array, arguments[1:]
            )
            vector = ir.VectorType(ir.FloatType(), VECTOR)
            place = builder.bitcast(place, vector.as_pointer())
            numbers = _Numbers(builder, ir.VectorType(ir.DoubleType(), VECTOR))
            # Aligned as numbers are: rows begin anywhere.
            x = builder.fpext(builder.load(place, align=4), numbers.kind)
            y = builder.fptrunc(function(numbers, x), vector)
            builder.store(y, place, align=4)
            return context.get_dummy_value()

        return types.none(values, row, column), generate

    return of_vector


def tanh(x):
    """tanh of a number."""
    return math.tanh(x)


def sigmoid(x):
    """The logistic function of a number."""


def tanh_row(values, row, first, end):
    """Replace values[row, first:end], contiguous, by their tanh."""


def sigmoid_row(values, row, first, end):
    """Replace values[row, first:end], contiguous, by the logistic function."""


def _overload(of_number, of_row, function, in_float64):
    """Say what numba compiles for the functions of a number and of a row."""
    of_one, of_vector = _of_one(function), _of_vector(function)

    @overload(of_number, inline="always")
    def choose(x):
        if x == types.float64:
            return in_float64
        return lambda x: of_one(x)

    @overload(of_row)
    def choose_row(values, row, first, end):
        if values.dtype == types.float64:

            def in_turn(values, row, first, end):
                for column in range(first, end):
                    values[row, column] = of_number(values[row, column])

            return in_turn

        def in_vectors(values, row, first, end):
            whole = end - (end - first) % VECTOR
            for column in range(first, whole, VECTOR):
                of_vector(values, row, column)
            for column in range(whole, end):
                values[row, column] = of_number(values[row, column])

        return in_vectors


_overload(tanh, tanh_row, _tanh, lambda x: math.tanh(x))
_overload(
    sigmoid,
    sigmoid_row,
    _sigmoid,
    lambda x: 0.5 + 0.5 * math.tanh(0.5 * x),
)


@jit_ordered
def activate(values, first, end, columns, f):
    """Replace values[i, :columns] by f of it, for the rows first <= i < end."""
    for i in range(first, end):
        # Chosen outside of the loops, so that LLVM makes vectors there.
        if f == TANH:
            tanh_row(values, i, 0, columns)
        elif f == RELU:
            for j in range(columns):
                values[i, j] = 0 if values[i, j] < 0 else values[i, j]
        else:
            for j in range(columns):
                scale = 0.01 if values[i, j] < 0 else 1
                values[i, j] *= scale


@jit_ordered
def slope(y, f):
    """f'(x), by y = f(x)."""
    if f == TANH:
        return 1 - y * y
    if f == RELU:
        return y > 0
    return 1.0 if y > 0 else 0.01
