"""Sequences whose early symbols must be remembered to the end.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

SYMBOLS = 4
# Two more inputs: nothing, and a request to answer.
BLANK, GO = SYMBOLS, SYMBOLS + 1
FEATURES = SYMBOLS + 2
# The first symbol may stand at any of so many steps: as many as the longest
# period of the clockwork layers, so that each phase of the clock is as likely.
STARTS = 128


@dataclass(frozen=True)
class Task:
    """Some symbols, of which each is asked for after a number of steps.

    Arguments
    ---------
    name : str
        What it is called.
    num_symbols : int
        How many have to be remembered, in their order.
    distractors : bool
        Whether more symbols follow until the request, or blanks.
    starts : int
        Before the first symbol are blanks, fewer than this number; which
        number is random.

    Example
    -------
    >>> task = Task("recall", num_symbols=2, distractors=False, starts=1)
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, symbols, steps = task.draw(1, 4, generator)
    >>> x.argmax(-1), symbols, steps
    (tensor([[3, 1, 4, 4, 5, 5]]), tensor([[3, 1]]), tensor([[4, 5]]))
    """

    name: str
    num_symbols: int
    distractors: bool
    starts: int

    def draw(self, batch_size, delay, generator):
        """Random sequences, and what has to be answered when.

        Arguments
        ---------
        batch_size : int
            Number B of sequences.
        delay : int
            Steps from a symbol to the answer.
        generator : torch.Generator
            The random numbers.

        Returns
        -------
        x : torch.Tensor
            The inputs, one-hot [B, T, FEATURES].
        symbols : torch.Tensor
            Those to remember [B, num_symbols].
        steps : torch.Tensor
            The steps at which they are asked for [B, num_symbols].
        """
        K = self.num_symbols
        shape = (batch_size, self.starts - 1 + delay + K)
        inputs = torch.full(shape, BLANK)
        start = torch.randint(self.starts, (batch_size, 1), generator=generator)
        first = start + torch.arange(K)
        filled = start + torch.arange(delay if self.distractors else K)
        inputs.scatter_(
            1,
            filled,
            torch.randint(SYMBOLS, filled.shape, generator=generator),
        )
        steps = first + delay
        symbols = inputs.gather(1, first)
        inputs.scatter_(1, steps, GO)
        return F.one_hot(inputs, FEATURES).float(), symbols, steps


TASKS = {
    task.name: task
    for task in (
        Task("first symbol, at step 0", 1, True, 1),
        Task("first symbol, at a random step", 1, True, STARTS),
        Task("recall of three, at a random step", 3, False, STARTS),
    )
}
