"""What a unit does when it ticks.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import dataclass

from speechbrain_cwrnn.errors import InputError

NONLINEARITIES = ("tanh", "relu", "leaky_relu")


@dataclass(frozen=True)
class Cell:
    """What a unit makes of z + W h[n-1], for one row of z and W or for two:

        plain:  h[n] = f(a)
        gated:  h[n] = u h[n-1] + (1 - u) m c,  c = f(a),  u = sigmoid(a')

    The rows of the candidates c of a group come before those of its gates u;
    m is a mask, that of the dropout.

    Arguments
    ---------
    nonlinearity : str
        f: "tanh", "relu" or "leaky_relu" (of slope 0.01).
    gated : bool
        Whether it is the gated one, that of Li-GRU.

    Example
    -------
    >>> Cell(gated=True).columns
    2
    """

    nonlinearity: str = "tanh"
    gated: bool = False

    @property
    def columns(self):
        """Numbers in z for each unit."""
        return 2 if self.gated else 1


def check_nonlinearity(nonlinearity):
    """Raise an error if the engines do not know a nonlinearity."""
    if nonlinearity not in NONLINEARITIES:
        raise InputError(
            f"nonlinearity={nonlinearity!r}: expected one of {NONLINEARITIES}."
        )
