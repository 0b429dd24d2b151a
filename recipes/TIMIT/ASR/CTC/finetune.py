"""Clockwork layers in a model that was trained with others.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import copy
import logging
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from speechbrain.nnet.losses import mse_loss
from speechbrain.utils.epoch_loop import EpochCounter

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.hparams import OPTIONS, read_mapping
from speechbrain_cwrnn.swap import swap_rnns

logger = logging.getLogger(__name__)


def load_and_swap(hparams):
    """Load the model that is trained already, and swap its RNNs.

    Arguments
    ---------
    hparams : dict
        source_folder, pretrainer, model, layer, where and frozen, of the YAML
        file. The model becomes the new one.

    Returns
    -------
    Swapped
        The new layers beside the old ones.
    """
    source, model = Path(hparams.get("source_folder")), hparams["model"]
    if not source.is_dir():
        raise InputError(
            f"source_folder={source}: expected the folder of a model that this "
            f"recipe has trained."
        )
    check_same(source, hparams)
    pretrainer = hparams.get("pretrainer")
    pretrainer.collect_files(default_source=str(source))
    pretrainer.load_collected()
    old = copy.deepcopy(model).eval().requires_grad_(False)
    report = swap_rnns(model, hparams.get("layer"), hparams.get("where"))
    patterns = hparams.get("frozen")
    freeze(model, patterns)
    swapped = Swapped(old, model, [swap.name for swap in report])
    trained = swapped if hparams.get("number_of_fit_epochs") else model
    if not any(p.requires_grad for p in trained.parameters()):
        raise InputError(
            f"frozen={patterns}: expected some parameters to be left to train, "
            f"also of the new layers where number_of_fit_epochs is not 0."
        )
    return swapped


# What is the same in both, or else all that the model has learnt is of no use,
# also where its weights fit.
SAME = (
    *("sample_rate", "hop_length", "n_fft", "n_mels"),
    *("phn_set", "blank_index"),
)


def check_same(source, hparams):
    """Raise an error where the model that is trained already hears something
    else, or names it by other numbers."""
    path = source / OPTIONS
    if not path.is_file():
        # Of weights alone, no more is known.
        return
    tree = read_mapping(path)
    features = tree.get("compute_features")
    was = {**(features if isinstance(features, dict) else {}), **tree}
    for name in SAME:
        now = hparams.get(name)
        if name in was and now is not None and was[name] != now:
            raise InputError(
                f"{name}={now}: expected {was[name]}, as in {path}."
            )


def freeze(model, patterns):
    """Leave parameters as they are, by their names."""
    if patterns is None:
        return
    patterns = [patterns] if isinstance(patterns, str) else patterns
    names = [name for name, _ in model.named_parameters()]
    for pattern in patterns:
        frozen = [name for name in names if fnmatchcase(name, pattern)]
        if not frozen:
            raise InputError(
                f"frozen={pattern}: expected names of parameters, such as "
                f"{names[0]}, where * is any text."
            )
        for name in frozen:
            model.get_parameter(name).requires_grad_(False)


class Swapped(torch.nn.Module):
    """What the old and the new layers give for the same input.

    Arguments
    ---------
    old : torch.nn.Module
        The model with the old ones.
    new : torch.nn.Module
        The same with the new ones.
    names : list of str
        Where they are.
    """

    def __init__(self, old, new, names):
        super().__init__()
        # Not a part of it, so that it is neither trained nor sent around.
        self.old = [old]
        self.names = names
        self.layers = torch.nn.ModuleList(map(new.get_submodule, names))

    def forward(self, feats):
        """For each layer, what the new one gives and what the old one gave."""
        seen = {}
        (old,) = self.old
        old.to(feats.device)
        handles = [
            old.get_submodule(name).register_forward_hook(
                lambda _, inputs, outputs, name=name: seen.update(
                    {name: (inputs[0], outputs[0])}
                )
            )
            for name in self.names
        ]
        with torch.no_grad():
            old(feats)
        for handle in handles:
            handle.remove()
        return [
            (layer(seen[name][0])[0], seen[name][1])
            for name, layer in zip(self.names, self.layers)
        ]


def fit_layers(swapped, brain, run_opts, data):
    """Fit the new layers to what the old ones gave, by the mean square.

    Arguments
    ---------
    swapped : Swapped
        What `load_and_swap` returned.
    brain : ASRBrain
        Makes the features, and has the options.
    run_opts : speechbrain.utils.run_opts.RunOptions
        Those of the training.
    data : torch.utils.data.DataLoader
        Batches of the training; their texts are not used.
    """

    class FitBrain(type(brain)):
        """Trains the new layers alone, by the rules of the training."""

        phase, to_lower = "fit epoch", "--fit_lr"

        def compute_forward(self, batch, stage):
            """Pairs of what the new and the old layers give, and lengths."""
            feats, lengths = brain.compute_features(batch, stage)
            return self.modules.swapped(feats), lengths

        def compute_objectives(self, predictions, batch, stage):
            """The mean over all valid frames, of all layers."""
            pairs, lengths = predictions
            return sum(mse_loss(new, old, lengths) for new, old in pairs)

        def on_stage_end(self, stage, stage_loss, epoch):
            """Logs."""
            logger.info(
                f"fit epoch: {epoch} - mean square of what is apart: "
                f"{stage_loss:.2e}"
            )

    counter = EpochCounter(getattr(brain.hparams, "number_of_fit_epochs", None))
    fitting = FitBrain(
        modules={"swapped": swapped},
        opt_class=lambda parameters: torch.optim.Adam(
            parameters, lr=getattr(brain.hparams, "fit_lr", None)
        ),
        hparams={**vars(brain.hparams), "epoch_counter": counter},
        run_opts=run_opts,
    )
    # The options name modules of the training, and an LSTM is never one graph.
    fitting.compile = False
    fitting.fit(counter, data)
