"""What of a state dict fits a module, and what does not.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.tables import format_table


def list_misfits(own, found):
    """Names of tensors that are not of the same shape in two state dicts.

    Arguments
    ---------
    own : dict
        State dict of a module.
    found : dict
        Another.

    Returns
    -------
    list of str
        The names of both; extra states are no tensors, and left out.

    Example
    -------
    >>> import torch
    >>> a, b = torch.ones(2), torch.ones(3)
    >>> list_misfits({"a": a, "b": b}, {"a": a, "b": a, "c": a})
    ['b', 'c']
    """
    return [
        name
        for name in {**own, **found}
        if _shape(own, name) != _shape(found, name)
    ]


def format_misfits(names, own, found):
    """A table of what two state dicts have by some names.

    Example
    -------
    >>> import torch
    >>> print(format_misfits(["a"], {"a": torch.ones(2, 3)}, {}))
    | weight | here, of shape | found |
    | ------ | -------------- | ----- |
    | a      |         (2, 3) |  none |
    """
    rows = [
        [name, *(str(_shape(state, name)).lower() for state in (own, found))]
        for name in names
    ]
    return format_table(["weight", "here, of shape", "found"], rows)


def _shape(state, name):
    """That of a tensor; None for what is not there, or is an extra state, and
    the type of anything else."""
    if name not in state or name.endswith("_extra_state"):
        return None
    return tuple(getattr(state[name], "shape", [type(state[name]).__name__]))
