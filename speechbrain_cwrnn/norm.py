"""Normalisation of what a group sees of the input, at its ticks alone.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
import torch.nn.functional as F
from torch import nn


class BatchNorm(nn.Module):
    """Normalises each column over all valid places of a batch.

    As `torch.nn.BatchNorm1d` over these places, as rows, would:

        y = (x - mean) / sqrt(variance + eps) weight + bias

    with the statistics of the batch in training, and running ones else. But
    what stands past the end of a sequence does not count; nor is it an error
    that there is a single place, or none, as a slow group may have in a chunk:
    the running variance is left as it is then.

    Processes that train together each use statistics of their own. (What
    `torch.nn.SyncBatchNorm.convert_sync_batchnorm` replaces knows of no
    sequences.)

    Arguments
    ---------
    columns : int
        Number of columns.
    momentum : float
        Share of the batch in the running statistics.
    eps : float
        Added to the variance.

    Example
    -------
    >>> norm, z = BatchNorm(1), torch.tensor([[[1.0], [3.0]], [[2.0], [9.0]]])
    >>> norm(z, valid=torch.tensor([[True, True], [True, False]])).data[0].mT
    tensor([[-1.2247,  1.2247]])
    """

    def __init__(self, columns, momentum=0.05, eps=1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(columns))
        self.bias = nn.Parameter(torch.zeros(columns))
        self.register_buffer("running_mean", torch.zeros(columns))
        self.register_buffer("running_var", torch.ones(columns))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x, valid=None):
        """Normalise x [B, N, columns]; valid are the places that count [B, N],
        by default all."""
        rows = x.flatten(0, 1)
        if self.training:
            self.num_batches_tracked += 1
            if valid is not None or len(rows) < 2:
                return self._normalize(rows, valid).view(x.shape)
        running = self.running_mean, self.running_var
        if self.training:
            # The graph holds what it changes, which no other call may then.
            changed = [buffer.clone() for buffer in running]
        else:
            changed = running
        y = F.batch_norm(
            rows,
            *changed,
            self.weight,
            self.bias,
            self.training,
            self.momentum,
            self.eps,
        )
        if self.training:
            for buffer, value in zip(running, changed):
                buffer.copy_(value)
        return y.view(x.shape)

    def _normalize(self, x, valid):
        """The same for rows [B N, columns] in training."""
        count = x.new_ones(len(x)) if valid is None else valid.flatten()
        # In half precision, the number of places would soon be infinite.
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        count = count.to(dtype)
        n = count.sum()
        share = count / n.clamp(min=1)
        # Products with the places that count read x once, and keep no copy of
        # it for the gradient; autocast would round them.
        with torch.autocast(x.device.type, enabled=False):
            mean = share @ x.to(dtype)
            centred = x - mean
            variance = share @ centred.square()
        with torch.no_grad():
            unbiased = variance * n / (n - 1).clamp(min=1)
            for running, now, enough in (
                (self.running_mean, mean, n > 0),
                (self.running_var, unbiased, n > 1),
            ):
                running += self.momentum * enough * (now - running)
        scale = (variance + self.eps).rsqrt() * self.weight
        return torch.addcmul(self.bias.to(dtype), centred, scale).to(x.dtype)

    def extra_repr(self):
        """What `print` shows between the brackets."""
        return f"{len(self.weight)}, momentum={self.momentum}, eps={self.eps}"


class LayerNorm(nn.LayerNorm):
    """Normalises each place over its columns, as that of PyTorch does.

    Example
    -------
    >>> LayerNorm(2)(torch.tensor([[[1.0, 5.0]]])).data
    tensor([[[-1.0000,  1.0000]]])
    """

    def forward(self, x, valid=None):
        """Normalise x [B, N, columns], wherever it is."""
        return super().forward(x)
