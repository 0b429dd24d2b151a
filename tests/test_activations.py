"""What units do with their sums, in loops that numba compiles."""

import numba
import numpy as np
import pytest

from speechbrain_cwrnn import activations

ROWS = {
    "tanh": (activations.tanh, activations.tanh_row, np.tanh),
    "sigmoid": (
        activations.sigmoid,
        activations.sigmoid_row,
        lambda x: 1 / (1 + np.exp(-x)),
    ),
}


@pytest.fixture(params=ROWS)
def functions(request):
    """Of a number and of a row, compiled, and what they stand for."""
    of_number, of_row, expected = ROWS[request.param]
    return (
        numba.njit(lambda x: of_number(x)),
        numba.njit(lambda *args: of_row(*args)),
        expected,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_row(functions, dtype):
    """The same as of each number, and nothing else of the values changes."""
    of_number, of_row, expected = functions
    x = np.linspace(-5, 5, 3 * 40).astype(dtype).reshape(3, 40)
    for first, end in ((0, 40), (3, 8), (5, 13), (7, 36), (2, 2)):
        y = x.copy()
        of_row(y, 1, first, end)
        alone = [of_number(number) for number in x[1, first:end]]
        np.testing.assert_array_equal(y[1, first:end], alone)
        y[1, first:end] = x[1, first:end]
        np.testing.assert_array_equal(y, x)
    y = x.copy()
    of_row(y, 1, 0, 40)
    exact = expected(x[1].astype(np.float64))
    # In float32, rounded once.
    tolerance = {"rtol": 2**-24, "atol": 0}
    if dtype == np.float64:
        tolerance = {"rtol": 0, "atol": 2**-52}
    np.testing.assert_allclose(y[1], exact, **tolerance)


def test_limits(functions):
    """Of what is large, and of what is no number."""
    of_number, of_row, expected = functions
    x = np.float32([[1e3, -1e3, np.inf, -np.inf, np.nan, 3e38, 1e-40, 0]])
    y = x.copy()
    of_row(y, 0, 0, 8)
    with np.errstate(over="ignore"):
        exact = expected(x.astype(np.float64))
    # The logistic function goes on falling to zero from 2e-9 on.
    np.testing.assert_allclose(y, exact, rtol=1.2e-7, atol=3e-9)
    np.testing.assert_array_equal(y[0], [of_number(n) for n in x[0]])
