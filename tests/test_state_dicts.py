"""What of a state dict fits a module."""

import torch

from speechbrain_cwrnn.state_dicts import format_misfits, list_misfits


def test_misfits():
    """Missing, more, and of another shape; but no extra state."""
    own = {"a": torch.ones(2), "b": torch.ones(2, 3), "c": torch.tensor(1)}
    found = {"b": torch.ones(3, 2), "c": torch.tensor(2), "d": torch.ones(4)}
    own["x._extra_state"] = "any"
    names = list_misfits(own, {**found, "_extra_state": torch.ones(1)})
    assert names == ["a", "b", "d"]
    assert format_misfits(names, own, found).splitlines()[2:] == [
        "| a      |           (2,) |   none |",
        "| b      |         (2, 3) | (3, 2) |",
        "| d      |           none |   (4,) |",
    ]
