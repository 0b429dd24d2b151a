"""What an argument must be, said in one sentence where it is something else.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import math
import operator
from pathlib import Path

import torch

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.transforms import is_mapped


def check_integer(name, value, least=None, most=None):
    """An int from what stands for one; an error for anything else.

    Arguments
    ---------
    name : str
        Name of the argument.
    value : int
        Its value; an integer of NumPy or a tensor of one will do.
    least : int
        The smallest that it may be; by default, there is none.
    most : int
        The largest, where there is a smallest; by default, there is none.

    Returns
    -------
    int
        The value.

    Example
    -------
    >>> check_integer("index", 2.5)
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: index=2.5: expected an integer.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    too_small = None not in (number, least) and number < least
    if number is None or too_small or (most is not None and number > most):
        which = "" if least is None else f", {least} or more"
        if most is not None:
            which = f" from {least} to {most}"
        raise InputError(f"{name}={value!r}: expected an integer{which}.")
    return number


def check_number(name, value, low=-math.inf, high=math.inf):
    """A float from what stands for one in [low, high]; or else an error.

    Example
    -------
    >>> check_number("p", math.nan, 0, 1)
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: p=nan: expected a number in [0, 1].
    """
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        raise InputError(
            f"{name}={value!r}: expected a number in [{low}, {high}]."
        )
    return number


def check_bool(name, value):
    """True or False; an error for anything else, such as "no", which is true.

    Example
    -------
    >>> check_bool("bias", "no")
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: bias='no': expected True or False.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r}: expected True or False.")
    return value


def check_finite(name, x):
    """Raise an error where a tensor that was made of noise is not finite.

    Example
    -------
    >>> check_finite("normalize", torch.tensor([0.0, math.nan]))
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: normalize: expected finite numbers, \
made of noise, got nan.
    """
    bad = x[~x.isfinite()]
    if len(bad):
        raise InputError(
            f"{name}: expected finite numbers, made of noise, got "
            f"{bad[0].item()}."
        )


def check_is_no_device(path):
    """Raise an error for what would be read for ever, as a pipe.

    Example
    -------
    >>> check_is_no_device("/dev/zero")
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: /dev/zero: expected an ordinary file.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: expected an ordinary file.")


def to_tensor(name, value, expected):
    """A tensor from what stands for one, such as a list; or else an error.

    Example
    -------
    >>> to_tensor("lengths", "all", "relative lengths")
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: lengths='all': expected a tensor of ...
    """
    if isinstance(value, torch.Tensor):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name}={value!r}: expected a tensor of {expected}."
        ) from None


def has_known_values(x):
    """Whether the values of a tensor can be looked at, so that bad ones are an
    error. To ask a GPU would make it wait for the host; a compiler or vmap
    cannot tell, and what is traced is to hold for other values."""
    return (
        x.device.type == "cpu"
        and x.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not is_mapped(x)
    )


def check_sequences(x, *sizes):
    """Raise an error unless x is a padded batch [B, T, *sizes].

    Example
    -------
    >>> check_sequences([1.0, 2.0], 3)
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: x of type list: expected a tensor.
    """
    if not isinstance(x, torch.Tensor):
        raise InputError(f"x of type {type(x).__name__}: expected a tensor.")
    if not x.is_floating_point():
        raise InputError(f"x in {x.dtype}: expected floating-point numbers.")
    if x.is_nested or x.layout != torch.strided:
        raise InputError(
            "x, nested or sparse: expected a dense tensor, padded to one "
            "number of steps."
        )
    if x.dim() < 2 or tuple(x.shape[2:]) != sizes or x.shape[1] < 1:
        expected = ", ".join(map(str, ("batch", "time", *sizes)))
        raise InputError(
            f"x of shape {tuple(x.shape)}: expected [{expected}], with at "
            f"least one step."
        )
