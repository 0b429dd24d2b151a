"""Products with a matrix in panels, for loops that numba compiles.

A large matrix that is multiplied at each step is not in the nearest cache.
Where a block of its columns is read, row after row, each row lies on another
page of memory, and that takes several times longer than the multiplications.
So the matrix is cut into panels, once before the loop: a few columns each,
contiguous. The sums of a product are in registers, the widest there are.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import numpy as np
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target

from speechbrain_cwrnn.vectors import VECTOR, add_product, adder, jit_ordered


def _register_size():
    """Bytes of the widest registers that numba compiles for."""
    features = cpu_target.target_context.codegen().magic_tuple()
    return 64 if "+avx512f" in str(features) else 32


REGISTER = _register_size()
# Sums of a product: so many rows, and registers in each. There are 32 of the
# wide registers, or 16 of the others. In these, panels are not worth more zeros
# than an eighth.
MANY, WIDTH, PADDED = (8, 2, 2) if REGISTER == 64 else (4, 3, 9 / 8)
# Fewer rows than these are not worth panels.
FEW = 4
# So many rows of a panel are fetched ahead, as they would come too late.
AHEAD = 32

_add_many, _add_few, _add_three, _add_two, _add_one = (
    adder(rows, WIDTH, REGISTER, AHEAD) for rows in (MANY, FEW, 3, 2, 1)
)


def cut_panels(weight, rows):
    """A matrix, to be multiplied from the left with so many rows.

    Arguments
    ---------
    weight : numpy.ndarray
        Matrices [R, n, k].
    rows : int
        How many rows that is.

    Returns
    -------
    numpy.ndarray
        Panels [R, P, n, columns], the last one with zeros, so that all are of
        whole vectors.

    Example
    -------
    >>> weight = np.arange(300.0).reshape(1, 3, 100)
    >>> panels = cut_panels(weight, rows=8)
    >>> np.array_equal(np.hstack(panels[0])[:, :100], weight[0])
    True
    """
    R, n, k = weight.shape
    width = WIDTH * REGISTER // weight.itemsize
    narrow = -(-k // VECTOR) * VECTOR
    count = -(-k // width)
    if rows < FEW or k < width or count * width > PADDED * narrow:
        count, width = 1, narrow
    if count * width != k:
        padded = np.zeros((R, n, count * width), weight.dtype)
        padded[:, :, :k] = weight
        weight = padded
    panels = weight.reshape(R, n, count, width).swapaxes(1, 2)
    return np.ascontiguousarray(panels)


@jit_ordered
def add_panels(totals, left, panels, stop):
    """totals[i] += sum over c < stop of left[i, c] * right[c]

    where right is the matrix of some panels [P, n, columns], and totals has as
    many columns as all of them.
    """
    rows, columns = len(totals), panels.shape[2]
    is_wide = columns * totals.itemsize == WIDTH * REGISTER
    for p in range(len(panels)):
        own = totals[:, p * columns : (p + 1) * columns]
        right = panels[p]
        if not is_wide:
            add_product(own, left, right, 0, rows, 0, stop)
            continue
        row = 0
        while row + MANY <= rows:
            _add_many(own, left, right, row, 0, stop, 0)
            row += MANY
        while row + FEW <= rows:
            _add_few(own, left, right, row, 0, stop, 0)
            row += FEW
        # Of so few sums, each waits for itself: three rows take no longer.
        if rows - row == 3:
            _add_three(own, left, right, row, 0, stop, 0)
        elif rows - row == 2:
            _add_two(own, left, right, row, 0, stop, 0)
        elif rows - row == 1:
            _add_one(own, left, right, row, 0, stop, 0)


def find_fault():
    """What is wrong with products that numba compiles, of a narrow matrix and
    of one in panels; None if they are right."""
    for columns in (VECTOR, WIDTH * REGISTER // 4):
        weight = np.full((1, 1, columns), 3, np.float32)
        totals = np.full((MANY, columns), 3, np.float32)
        try:
            add_panels(totals, totals.copy(), cut_panels(weight, MANY)[0], 1)
        except (RuntimeError, NumbaError) as error:
            # Compiling is switched off, or there is no place for what is
            # compiled; numba does not know what is written here.
            return f"{type(error).__name__}: {error}"
        if (totals != 12).any():
            return f"3 + 3 * 3 was {totals[0, 0]}"
    return None
