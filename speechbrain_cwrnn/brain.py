"""A SpeechBrain `Brain` that trains many independent networks at once.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import logging
import os
from contextlib import contextmanager

import speechbrain as sb
import torch
from tqdm import tqdm

from speechbrain_cwrnn.ensemble import Ensemble
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.run_options import check_run_options, given_options

FP16 = "its scale of the loss is one for all networks"
# SpeechBrain's run options that must have their defaults, and why.
REFUSED = {
    **dict.fromkeys(
        [
            "data_parallel_backend",
            "data_parallel_count",
            "distributed_backend",
            "distributed_launch",
            "find_unused_parameters",
        ],
        "the networks are trained in one process",
    ),
    **dict.fromkeys(
        [
            "jit",
            "jit_module_keys",
            "compile",
            "compile_module_keys",
            "compile_mode",
            "compile_using_fullgraph",
            "compile_using_dynamic_shape_tracing",
        ],
        "the networks run as one computation already",
    ),
    "auto_mix_prec": FP16,
    **dict.fromkeys(
        ["skip_nonfinite_grads", "nonfinite_patience"],
        "networks that diverge are frozen, one by one",
    ),
    **dict.fromkeys(
        ["ckpt_interval_minutes", "ckpt_interval_steps"],
        "checkpoints are saved at the end of an epoch",
    ),
    **dict.fromkeys(
        ["grad_accumulation_factor", "optimizer_step_limit"],
        "the YAML file says how long, and in which batches",
    ),
    "remove_vector_weight_decay": "a bias of many networks is no vector",
    "log_config": "SpeechBrain's recipes do not use it",
}


def refuse_run_options(run_opts, hparams):
    """Raise an error for run options that an `EnsembleBrain` cannot honour.

    Arguments
    ---------
    run_opts : dict or speechbrain.utils.run_opts.RunOptions
        Those of the command line, or None.
    hparams : dict
        What the YAML file has, among others run options, or None.

    Returns
    -------
    torch.device
        That of the run.

    Example
    -------
    >>> refuse_run_options({"jit": True}, {})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: jit=True: expected False (...
    """
    device = check_run_options(run_opts, hparams, REFUSED)
    if given_options(run_opts, hparams).get("precision") == "fp16":
        raise InputError(f"precision=fp16: expected fp32 or bf16 ({FP16}).")
    return device


def check_memory(key, number, networks, device):
    """Raise an error where so many networks do not fit in the memory.

    Arguments
    ---------
    key : str
        The option that has their number.
    number : int
        The number.
    networks : Ensemble
        A few of them.
    device : torch.device
        Where they are to be.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_cwrnn import Ensemble
    >>> few = Ensemble(partial(torch.nn.Linear, 1000, 1000), 2)
    >>> check_memory("num_seeds", 65536, few, torch.device("cpu"))
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: num_seeds=65536: expected as many ...
    """
    each = sum(p[0].nbytes for p in networks.parameters())
    # Each has a gradient, too, and what the optimizer remembers of it.
    needed = 3 * number * each
    if device.type == "cuda":
        _, memory = torch.cuda.mem_get_info(device)
    elif hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        # Windows, which lets it grow.
        return
    if needed > memory:
        raise InputError(
            f"{key}={number}: expected as many networks as fit in "
            f"{memory / 1e9:.1f} GB of memory, and {needed / 1e9:.1f} GB are "
            f"needed."
        )


def make_networks(make, number, seed):
    """An ensemble, with a bar where it takes a while to make its networks.

    Arguments
    ---------
    make : callable
        Makes a network.
    number : int
        How many.
    seed : int
        As for `Ensemble`.

    Returns
    -------
    Ensemble

    Example
    -------
    >>> make_networks(lambda: torch.nn.Linear(3, 1), 5, seed=0).num_copies
    5
    """
    with tqdm(total=number, desc="making", unit="network", delay=2) as bar:

        def make_one():
            bar.update()
            return make()

        return Ensemble(make_one, number, seed)


@contextmanager
def _quiet():
    """Without SpeechBrain's lines for each epoch and checkpoint, of which there
    may be thousands beside one bar."""
    names = ("epoch_loop", "train_logger", "checkpoints")
    loggers = [logging.getLogger(f"speechbrain.utils.{name}") for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


class EnsembleBrain(sb.Brain):
    """Trains many independent networks at once.

    Its modules are one `Ensemble`, named "model". `compute_objectives` returns
    the losses [N] of the networks, of which none may depend on another one's,
    and `on_stage_end` calls `end_epoch` once an epoch, for the bar that shows
    the progress over all of them.

    Where --max_grad_norm is given, the gradient of each network is clipped by
    its own norm; by default, none is. All other run options of SpeechBrain are
    honoured, or refused by an error.

    Arguments
    ---------
    modules, opt_class, hparams, run_opts, checkpointer
        As those of `speechbrain.Brain`.

    Example
    -------
    >>> from functools import partial
    >>> from speechbrain_cwrnn import Ensemble
    >>> class Brain(EnsembleBrain):
    ...     def compute_forward(self, batch, stage):
    ...         return self.modules.model(batch)
    ...
    ...     def compute_objectives(self, predictions, batch, stage):
    ...         return predictions.square().mean((1, 2))
    >>> networks = Ensemble(partial(torch.nn.Linear, 3, 1), 5, seed=0)
    >>> brain = Brain({"model": networks}, partial(torch.optim.SGD, lr=0.1))
    >>> brain.init_optimizers()
    >>> brain.fit_batch(torch.rand(2, 3)).shape
    torch.Size([5])
    """

    # Whether training is expected to end before the last epoch.
    ends_early = False

    def __init__(
        self,
        modules=None,
        opt_class=None,
        hparams=None,
        run_opts=None,
        checkpointer=None,
    ):
        refuse_run_options(run_opts, hparams)
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        # SpeechBrain's default is to clip.
        given = given_options(run_opts, hparams)
        self.max_grad_norm = given.get("max_grad_norm", -1)

    def through(self):
        """Which networks [N] are trained no more, to be overridden.

        It is asked between the backward pass and the step of the optimizer,
        and by `end_epoch`.
        """
        model = self.modules.model
        return torch.zeros(model.num_copies, dtype=torch.bool)

    def fit(
        self,
        epoch_counter,
        train_set,
        valid_set=None,
        progressbar=True,
        **kwargs,
    ):
        """Trains, with a bar for all epochs in the place of one for each."""
        self.epoch_counter = epoch_counter
        with (
            _quiet(),
            tqdm(
                total=None if self.ends_early else epoch_counter.limit,
                unit="epoch",
                dynamic_ncols=True,
                disable=self.noprogressbar or self.test_only or not progressbar,
                colour=self.tqdm_barcolor["train"],
            ) as self.progress,
        ):
            super().fit(
                epoch_counter, train_set, valid_set, progressbar=False, **kwargs
            )

    def on_fit_start(self):
        """Goes on from the last checkpoint."""
        super().on_fit_start()
        # They may have been saved before SpeechBrain sets them back at the end
        # of an epoch.
        self.step, self.avg_train_loss = 0, 0.0
        self.progress.initial = self.progress.n = self.epoch_counter.current
        self.progress.refresh()

    def end_epoch(self, stats):
        """Shows what came of an epoch, the last one if all are through."""
        self.finish_if_through()
        self.progress.set_postfix(stats, refresh=False)
        self.progress.update()

    def finish_if_through(self):
        """Makes this epoch the last one if no network is left to train."""
        if self.through().all():
            self.epoch_counter.limit = self.epoch_counter.current

    def fit_batch(self, batch):
        """One step of each network, none of which can disturb another."""
        self.on_fit_batch_start(batch, should_step=True)
        with self.training_ctx:
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
            losses = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        losses.sum().backward()
        self.optimizers_step()
        losses = losses.detach().cpu()
        self.on_fit_batch_end(batch, predictions, losses, should_step=True)
        return losses

    def optimizers_step(self):
        """Clips the gradients if asked to, and moves what is not through."""
        model = self.modules.model
        if self.max_grad_norm >= 0:
            model.clip_gradients(self.max_grad_norm)
        with model.frozen(self.through()):
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.optimizer_step += 1

    def update_average(self, loss, avg_loss):
        """Each network has a loss of its own, and none is averaged."""
        return float(loss.sum())
