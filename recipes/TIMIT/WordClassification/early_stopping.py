"""When to stop training, for many networks at once.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
from torch import nn


class EarlyStopping(nn.Module):
    """Tells which networks are through: those that got no better for a while.

    An error that is not a number is no improvement.

    Arguments
    ---------
    num_networks : int
        The number N of networks.
    patience : int
        How many epochs to wait for a lower error.

    Example
    -------
    >>> stopping = EarlyStopping(num_networks=2, patience=1)
    >>> stopping.update(torch.tensor([0.5, 0.5]), epoch=1)
    >>> stopping.update(torch.tensor([0.4, 0.5]), epoch=2)
    >>> stopping.through
    tensor([False,  True])
    """

    def __init__(self, num_networks, patience):
        super().__init__()
        self.patience = patience
        N = num_networks
        self.register_buffer("lowest", torch.full((N,), torch.inf))
        self.register_buffer("lowest_epoch", torch.zeros(N, dtype=torch.long))
        self.register_buffer("last_epoch", torch.zeros(N, dtype=torch.long))

    def update(self, errors, epoch):
        """Compare the errors [N] after an epoch with those before."""
        in_training = ~self.through
        improved = (errors < self.lowest) & in_training
        self.last_epoch[in_training] = epoch
        self.lowest[improved] = errors[improved]
        self.lowest_epoch[improved] = epoch

    @property
    def through(self):
        """Which networks [N] are to be trained no more."""
        return self.last_epoch - self.lowest_epoch >= self.patience
