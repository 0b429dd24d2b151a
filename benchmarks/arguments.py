"""What the options of benchmarks may be: one sentence of argparse's, if not.

Each is a `type` of argparse. They need torch alone, as the scripts do.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from argparse import ArgumentTypeError
from pathlib import Path

import torch

# The last has a period of 2^30.
MOST_GROUPS = 31


def count(text):
    """A positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a positive integer, got {text}.")
    return int(text)


def groups(text):
    """A number of groups, for the periods 1, 2, 4 and so on."""
    number = count(text)
    if number > MOST_GROUPS:
        raise ArgumentTypeError(
            f"expected {MOST_GROUPS} groups at most, got {text}."
        )
    return number


def check_units(parser, args, least):
    """Stop where there are fewer units than groups."""
    if args.groups > least:
        parser.error(
            f"--groups {args.groups}: expected {least} at most, a unit in each."
        )


def dtype(text):
    """The name of a dtype of PyTorch's for numbers that are not whole."""
    found = getattr(torch, text, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ArgumentTypeError(
            f"expected a dtype such as float32 or bfloat16, got {text}."
        )
    return text


def device(text):
    """The name of a device that is there."""
    try:
        torch.empty(1, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentTypeError(
            f"expected a device that is there, got {text} ({reason})."
        ) from error
    return text


def new_file(text):
    """A file that is there, or can be."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ArgumentTypeError(
            f"expected a file in a folder that is there, got {text}."
        )
    return path
