"""Many independent copies of a network, trained in one computation.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from torch import nn
from torch.func import functional_call, vmap

from speechbrain_cwrnn.checks import check_integer, check_number, to_tensor
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
        and most of PyTorch do. Buffers, such as the statistics of a BatchNorm,
        are each copy's own, as parameters are.
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
        self.num_copies = check_integer("num_copies", num_copies, least=1)
        if seed is not None:
            # All that torch.manual_seed takes, whichever copy it is for.
            most = 2**63 - self.num_copies
            seed = check_integer("seed", seed, least=-(2**63), most=most)
        if isinstance(module, nn.Module) or not callable(module):
            raise InputError(
                f"module of type {type(module).__name__}: expected a function "
                f"that makes a module each time that it is called."
            )
        copies = []
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            for n in range(self.num_copies):
                if seed is not None:
                    torch.manual_seed(seed + n)
                copies.append(module())
        _check_copies(copies)
        # The first copy stays as the one that runs; its parameters make room
        # for those of all.
        self.module = copies[0]
        states = [_tensors(copy) for copy in copies]
        _replace_tensors(
            self.module, lambda name: torch.stack([s[name] for s in states])
        )

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
        self._check_in_dims(in_dims, args)

        def run(tensors, *args):
            after = dict(tensors)
            output = functional_call(
                self.module, after, args, tie_weights=False
            )
            # A buffer may be assigned anew, and not only be written to.
            assigned = {n: t for n, t in after.items() if t is not tensors[n]}
            return output, assigned

        mapped = vmap(run, in_dims=(0, *in_dims), randomness="different")
        output, assigned = mapped(_tensors(self.module), *args)
        _set_tensors(self.module, assigned)
        return output

    def _check_in_dims(self, in_dims, args):
        """Raise an error where the arguments are not for all copies."""
        if len(in_dims) != len(args):
            raise InputError(
                f"in_dims={in_dims}: expected one for each of {len(args)} "
                f"arguments."
            )
        for dim, arg in zip(in_dims, args):
            shape = tuple(getattr(arg, "shape", ()))
            is_integer = type(dim) is int and -len(shape) <= dim < len(shape)
            if dim is not None and (
                not is_integer or shape[dim] != self.num_copies
            ):
                raise InputError(
                    f"in_dims={in_dims}: expected None, or a dimension of "
                    f"{self.num_copies} copies, for an argument of shape "
                    f"{shape}."
                )

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
        check_number("max_norm", max_norm, 0)
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if not gradients:
            return
        norm = partial(nn.utils.get_total_norm, foreach=False)
        scale = (max_norm / (vmap(norm)(gradients) + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))

    @contextmanager
    def frozen(self, copies):
        """Leave some copies as they are, whatever an optimizer does in here.

        What the optimizer keeps of them, such as a momentum, does change.

        Arguments
        ---------
        copies : torch.Tensor
            Which ones, as booleans [N].

        Yields
        ------
        None

        Example
        -------
        >>> ensemble = Ensemble(lambda: nn.Linear(3, 2), num_copies=2)
        >>> optimizer = torch.optim.AdamW(ensemble.parameters())
        >>> before = ensemble.module.bias.clone()
        >>> ensemble(torch.ones(1, 3)).sum().backward()
        >>> with ensemble.frozen(torch.tensor([True, False])):
        ...     optimizer.step()
        >>> (ensemble.module.bias == before).all(1)
        tensor([ True, False])
        """
        copies = to_tensor("copies", copies, "booleans, one for each copy")
        if copies.dtype != torch.bool or copies.shape != (self.num_copies,):
            raise InputError(
                f"copies={copies.tolist()}: expected {self.num_copies} "
                f"booleans, one for each copy."
            )
        # Optimizers move parameters by more than gradients: by momentum, by
        # weight decay, by what they remember of earlier gradients.
        parameters = [*self.parameters()] if copies.any() else []
        kept = [p.detach().clone() for p in parameters]
        try:
            yield
        finally:
            for parameter, before in zip(parameters, kept):
                # Faster than by the index of these copies.
                now = parameter.detach()
                frozen = copies.to(now.device)
                frozen = frozen.view(-1, *[1] * (now.dim() - 1))
                torch.where(frozen, before, now, out=now)

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
        index = check_integer("index", index)
        if not -self.num_copies <= index < self.num_copies:
            raise InputError(
                f"index={index}: expected that of one of {self.num_copies} "
                f"copies, counted from 0."
            )
        module = copy.deepcopy(self.module)
        tensors = _tensors(module)
        _replace_tensors(module, lambda name: tensors[name][index].clone())
        return module


def _tensors(module):
    """All parameters and buffers by name; those that are shared, by each."""
    return dict(
        chain(
            module.named_parameters(remove_duplicate=False),
            module.named_buffers(remove_duplicate=False),
        )
    )


def _set_tensors(module, tensors):
    """Put tensors where the parameters and buffers of these names are."""
    for name, tensor in tensors.items():
        owner, _, name = name.rpartition(".")
        setattr(module.get_submodule(owner), name, tensor)


def _replace_tensors(module, make):
    """Put make(name) in the place of each parameter and buffer; what was
    shared is shared again."""
    made, tensors = {}, _tensors(module)
    for name, old in tensors.items():
        made[old] = make(name).detach()
        if isinstance(old, nn.Parameter):
            made[old] = nn.Parameter(made[old], old.requires_grad)
    _set_tensors(module, {n: made[old] for n, old in tensors.items()})


def _check_copies(copies):
    """Raise an error for modules that cannot be an ensemble."""
    first, *others = copies
    if not isinstance(first, nn.Module):
        name = type(first).__name__
        raise InputError(f"module makes a {name}: expected a torch.nn.Module.")
    if any(other is first for other in others):
        raise InputError(
            "module makes the same one again and again: expected a new one "
            "each time that it is called."
        )
    shapes, *others = [
        {name: t.shape for name, t in _tensors(c).items()} for c in copies
    ]
    if any(other != shapes for other in others):
        raise InputError(
            "module makes copies of different parameters: expected all to "
            "have the same names and shapes."
        )
    # vmap knows nothing of tensors that a module merely holds, and what a
    # copy writes there would be seen by the others.
    for path, owner in first.named_modules():
        for name, value in vars(owner).items():
            if isinstance(value, torch.Tensor):
                raise InputError(
                    f"module has a tensor {'.'.join([path, name]).strip('.')} "
                    f"that is neither a parameter nor a buffer: expected none, "
                    f"since each copy needs its own."
                )
