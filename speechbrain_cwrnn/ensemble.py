"""Many independent copies of a network, trained in one computation.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
from functools import partial

import torch
from torch import nn
from torch.func import functional_call, vmap

from speechbrain_cwrnn.errors import InputError


class Ensemble(nn.Module):
    """N copies of a module, each with parameters of its own.

    The copies share no parameter: where the losses of all are added up, each
    is trained as it would be alone. The parameters bear the names that they
    have in the module, after "module.", and have a leading dimension N.

    Arguments
    ---------
    module : callable
        Makes one copy each time that it is called without arguments. What the
        copies compute must work under `torch.func.vmap`, as `ClockworkRNN`
        and most of PyTorch do, and must not update buffers.
    num_copies : int
        The number N of copies.
    seed : int
        Copy n is made with torch's random numbers seeded by seed + n, so
        that it does not depend on N; the state of torch's own generator is
        left as it was. By default, the generator is used as it is.

    Example
    -------
    >>> from functools import partial
    >>> ensemble = Ensemble(partial(nn.Linear, 3, 2), num_copies=5, seed=0)
    >>> ensemble(torch.rand(7, 3)).shape
    torch.Size([5, 7, 2])
    >>> ensemble.module.weight.shape
    torch.Size([5, 2, 3])
    """

    def __init__(self, module, num_copies, seed=None):
        super().__init__()
        if num_copies < 1:
            raise InputError(f"num_copies={num_copies}: expected at least 1.")
        self.num_copies = num_copies
        copies = []
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            for n in range(num_copies):
                if seed is not None:
                    torch.manual_seed(seed + n)
                copies.append(module())
        # The first copy stays as the one that runs; its parameters make room
        # for those of all.
        self.module = copies[0]
        stacked, _ = torch.func.stack_module_state(copies)
        for name, parameter in stacked.items():
            owner, _, name = name.rpartition(".")
            owner = self.module.get_submodule(owner)
            owner.register_parameter(name, nn.Parameter(parameter.detach()))

    def forward(self, *args, in_dims=None):
        """What each copy returns, with a leading dimension N.

        Arguments
        ---------
        *args : torch.Tensor
            Arguments of the module.
        in_dims : int or tuple
            As in `torch.func.vmap`, the dimension of the arguments that runs
            over the copies; by default, all copies get the same arguments.

        Returns
        -------
        torch.Tensor or tuple
            What the module returns, each tensor with a leading dimension N.
        """
        if not isinstance(in_dims, tuple):
            in_dims = (in_dims,) * len(args)

        def run(parameters, *args):
            return functional_call(self.module, parameters, args)

        parameters = dict(self.module.named_parameters())
        mapped = vmap(run, in_dims=(0, *in_dims), randomness="different")
        return mapped(parameters, *args)

    def clip_gradients(self, max_norm):
        """Scale down the gradient of each copy whose norm exceeds a limit.

        Arguments
        ---------
        max_norm : float
            The limit, of the norm over all parameters of one copy.

        Example
        -------
        >>> ensemble = Ensemble(lambda: nn.Linear(3, 2), num_copies=2)
        >>> losses = ensemble(torch.ones(1, 3)).sum((1, 2))
        >>> (losses * torch.tensor([0.1, 1])).sum().backward()
        >>> ensemble.clip_gradients(max_norm=2**0.5)
        >>> ensemble.module.bias.grad
        tensor([[0.1000, 0.1000],
                [0.5000, 0.5000]])
        """
        gradients = [parameter.grad for parameter in self.parameters()]
        norm = partial(nn.utils.get_total_norm, foreach=False)
        scale = (max_norm / (vmap(norm)(gradients) + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))

    def freeze(self, optimizer, copies):
        """Leave some copies as they are at the next step of an optimizer.

        To be called between the backward pass and the step: the copies'
        gradients and momentum are set to zero.

        Arguments
        ---------
        optimizer : torch.optim.SGD
            The optimizer of the ensemble's parameters.
        copies : torch.Tensor
            Which ones, as booleans [N].

        Example
        -------
        >>> ensemble = Ensemble(lambda: nn.Linear(3, 2), num_copies=2)
        >>> optimizer = torch.optim.SGD(ensemble.parameters(), lr=1)
        >>> before = ensemble.module.bias.clone()
        >>> ensemble(torch.ones(1, 3)).sum().backward()
        >>> ensemble.freeze(optimizer, torch.tensor([True, False]))
        >>> optimizer.step()
        >>> (ensemble.module.bias == before).all(1)
        tensor([ True, False])
        """
        if copies.any():
            for parameter in self.parameters():
                parameter.grad[copies] = 0
                momentum = optimizer.state[parameter].get("momentum_buffer")
                if momentum is not None:
                    momentum[copies] = 0

    def extract(self, index):
        """One of the copies, as an ordinary module.

        Arguments
        ---------
        index : int
            Which one.

        Returns
        -------
        torch.nn.Module
            A module with parameters of its own.

        Example
        -------
        >>> ensemble = Ensemble(lambda: nn.Linear(3, 2), num_copies=5)
        >>> ensemble.extract(4).weight.shape
        torch.Size([2, 3])
        """
        module = copy.deepcopy(self.module)
        for name, parameter in self.module.named_parameters():
            owner, _, name = name.rpartition(".")
            value = nn.Parameter(parameter[index].detach().clone())
            module.get_submodule(owner).register_parameter(name, value)
        return module
