#!/usr/bin/env python3
"""Recipe for networks without input that learn to generate waveforms.

It is the first experiment of the Clockwork RNN paper (Koutnik et al., 2014,
arXiv:1402.3511, section 5.1), by its protocol, on waveforms of your choice.

To run this recipe, do the following:
> python train.py hparams/cwrnn.yaml
> python train.py hparams/cwrnn.yaml --audio recording.flac --num_seeds 20
> python train.py hparams/lstm.yaml --targets sequences.csv --num_params 250

Authors
 * The speechbrain_cwrnn developers 2026
"""

if __name__ == "__main__":
    import signal

    # Until run_program is called, Ctrl-C ends it without a word, as in C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

from functools import partial

import numpy as np
import speechbrain as sb
import torch
from audiogen_prepare import prepare_audiogen, read_targets
from options import AudioGenOptions
from report import wave_files, write_report
from speechbrain.dataio.dataset import DynamicItemDataset
from torch import nn

from speechbrain_cwrnn import ClockworkRNN, Ensemble
from speechbrain_cwrnn.brain import (
    EnsembleBrain,
    check_memory,
    make_networks,
    refuse_run_options,
)
from speechbrain_cwrnn.checkpoints import keep_epochs
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.hparams import (
    begin,
    load_hparams,
    nominal_size,
    resumes,
    save_options,
)
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.manifest import name_corpus
from speechbrain_cwrnn.outputs import check_writes
from speechbrain_cwrnn.program import run_program, stoppable


class LowestErrors(nn.Module):
    """The lowest NMSE of each of N networks so far, kept in checkpoints."""

    def __init__(self, num_networks):
        super().__init__()
        self.register_buffer("nmse", torch.full((num_networks,), torch.inf))

    def update(self, nmse):
        """Those of an epoch [N]; what is not a number is no error."""
        self.nmse.copy_(torch.fmin(self.nmse, nmse))


class GeneratorBrain(EnsembleBrain):
    """Trains many independent networks at once, one copy per row.

    Row n of the ensemble learns target n % num_targets.
    """

    def on_fit_start(self):
        """Goes on from the last checkpoint, if there is anything left."""
        super().on_fit_start()
        newest = self.checkpointer.find_checkpoint()
        all_networks = self.modules.model.num_copies
        if newest and newest.meta["diverged"] == all_networks:
            self.epoch_counter.limit = self.epoch_counter.current
        if not self.debug:
            keep_epochs(self.hparams.train_log, self.epoch_counter.current)

    def compute_forward(self, batch, stage):
        """The waveforms [N, T] that the networks generate."""
        T = batch.target.data.shape[1]
        no_input = torch.empty(1, T, 0, device=self.device)
        return self.modules.model(no_input).squeeze(1).float()

    def compute_objectives(self, predictions, batch, stage):
        """Half the summed squared error of each network [N]."""
        target = batch.target.data.to(self.device)
        copies = len(predictions) // len(target)
        self.target = target.repeat(copies, 1)
        self.predictions = predictions.detach()
        return (predictions - self.target).square().sum(1) / 2

    def errors(self):
        """NMSE as the paper defines it, and mean squared error, [N] each."""
        error = (self.predictions - self.target).square()
        centred = self.target - self.target.mean(1, keepdim=True)
        nmse = error.sum(1) / centred.square().sum(1) / 2
        return nmse, error.mean(1)

    def through(self):
        """Which networks [N] are far off, or not even finite."""
        _, mse = self.errors()
        return ~(mse <= self.hparams.diverged_mse)

    def on_stage_end(self, stage, stage_loss, epoch):
        """Shows and logs the error, and saves a checkpoint now and then."""
        nmse, _ = self.errors()
        self.lowest.update(nmse)
        if stage == sb.Stage.TEST:
            return
        alive = ~self.through()
        stats = {
            "median NMSE": float(nmse[alive].median()) if alive.any() else None,
            "diverged": int((~alive).sum()),
        }
        self.end_epoch(stats)
        last = epoch == self.epoch_counter.limit
        if last or epoch % self.hparams.checkpoint_interval == 0:
            self.hparams.train_logger.log_stats({"epoch": epoch}, stats)
            self.checkpointer.save_and_keep_only(meta=stats, num_to_keep=2)


def dataio_prep(targets):
    """A dataset of the targets, each scaled to [-1, 1] as in the paper."""
    items = {}
    for name, item in targets.items():
        signal = torch.from_numpy(item["samples"])
        low, high = signal.aminmax()
        items[name] = {"target": 2 * (signal - low) / (high - low) - 1}
    return DynamicItemDataset(items, output_keys=["id", "target"])


def find_engine(network, num_networks, steps):
    """What computes the steps of the networks."""
    engines = {
        module.engine(1, steps, num_networks)
        for module in network.modules()
        if isinstance(module, ClockworkRNN)
    }
    return ", ".join(engines) or "PyTorch"


def check(hparams, run_opts):
    """Raise an error for what is wrong with options, or with what they name,
    which is tried once: before anything is written."""
    device = refuse_run_options(run_opts, hparams)
    with tried("model"):
        # What it does not take is a fault of the call, and that is here.
        hparams["model"]()
        networks = Ensemble(hparams["model"], num_copies=2, seed=0).to(device)
        waves = networks(torch.empty(1, 3, 0, device=device))
    if waves.shape != (2, 1, 3):
        raise InputError(
            f"model: expected waveforms [batch, time] for an input [batch, "
            f"time, 0], got the shape {list(waves.shape[1:])} for [1, 3, 0]."
        )
    with tried("opt_class"):
        optimizer = hparams["opt_class"](networks.parameters())
        waves.sum().backward()
        optimizer.step()
    check_memory("num_seeds", hparams["num_seeds"], networks, device)


def prepare(hparams, in_use=False):
    """Write the targets, and return what to call them."""
    return prepare_audiogen(
        hparams["train_annotation"],
        hparams["save_folder"],
        audio=hparams["audio"],
        targets=hparams["targets"],
        num_excerpts=hparams["num_excerpts"],
        excerpt_seconds=hparams["excerpt_seconds"],
        offset=hparams["offset"],
        csv_sample_rate=hparams["csv_sample_rate"],
        in_use=in_use,
    )


def main(hparams_file, run_opts, overrides):
    """Prepare, train, and write what came of it."""
    load = partial(load_hparams, hparams_file, overrides, AudioGenOptions)
    check(load(), run_opts)
    # Made anew, since what was tried has changed.
    hparams = load()
    folder, checkpointer = hparams["output_folder"], hparams["checkpointer"]
    with sole_run(folder), stoppable(checkpointer):
        run(hparams_file, run_opts, overrides, hparams)


def run(hparams_file, run_opts, overrides, hparams):
    """Train in the output folder, which is no other run's."""
    may_differ = ["audio", "targets", "backend", "number_of_epochs"]
    may_differ += ["checkpoint_interval", "skip_prep"]
    in_use = resumes(hparams_file, overrides, hparams, may_differ)
    if not hparams["skip_prep"]:
        corpus = prepare(hparams, in_use)
    targets = read_targets(hparams["train_annotation"])
    check_writes(hparams["output_folder"], wave_files(targets))
    if hparams["skip_prep"]:
        corpus = name_corpus(hparams["train_annotation"], targets)
    dataset = dataio_prep(targets)
    waves = [item["target"].numpy().tobytes() for item in dataset]
    begin(hparams, run_opts, in_use, b"".join(waves))
    save_options(hparams_file, overrides, hparams["output_folder"])
    sb.create_experiment_directory(hparams["output_folder"])
    number = hparams["num_seeds"] * len(dataset)
    ensemble = make_networks(hparams["model"], number, hparams["seed"])
    hparams["checkpointer"].add_recoverable("model", ensemble)
    brain = GeneratorBrain(
        modules={"model": ensemble},
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.lowest = LowestErrors(ensemble.num_copies).to(brain.device)
    hparams["checkpointer"].add_recoverable("lowest", brain.lowest)
    num_params = sum(p[0].numel() for p in ensemble.parameters())
    steps = max(len(item["samples"]) for item in targets.values())
    engine = find_engine(ensemble, ensemble.num_copies, steps)
    print(
        f"{ensemble.num_copies} networks of {num_params} parameters, on "
        f"{brain.device}, engine: {engine}"
    )
    loader_kwargs = {"batch_size": len(dataset)}
    brain.fit(
        hparams["epoch_counter"],
        dataset,
        train_loader_kwargs=loader_kwargs,
    )
    brain.evaluate(dataset, progressbar=False, test_loader_kwargs=loader_kwargs)
    if brain.debug:
        print("Debugging: no results are written.")
        return
    nmse, mse = brain.errors()
    write_report(
        hparams["output_folder"],
        {
            "model": hparams["model_name"],
            "size": nominal_size(hparams, num_params),
            "corpus": corpus,
        },
        targets,
        {
            "seed": range(hparams["seed"], hparams["seed"] + len(nmse)),
            "target": np.resize(list(targets), len(nmse)),
            "nmse": nmse.cpu().numpy(),
            "best_nmse": brain.lowest.nmse.cpu().numpy(),
            "mse": mse.cpu().numpy(),
            "diverged": brain.through().int().cpu().numpy(),
        },
        targets=brain.target.cpu().numpy(),
        outputs=brain.predictions.cpu().numpy(),
    )


if __name__ == "__main__":
    run_program(main)
