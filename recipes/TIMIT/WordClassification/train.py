#!/usr/bin/env python3
"""Recipe for recurrent networks that tell spoken words apart.

It is the second experiment of the Clockwork RNN paper (Koutnik et al., 2014,
arXiv:1402.3511, section 5.2), by its protocol: networks that hear 25 words of
TIMIT, with 5 examples of each to learn from.

To run this recipe, do the following:
> python train.py hparams/cwrnn.yaml --data_folder /path/to/TIMIT
> python train.py hparams/lstm.yaml --num_params 2500 --num_seeds 20

Without --data_folder, the words are cut from synthetic speech.

Authors
 * The speechbrain_cwrnn developers 2026
"""

if __name__ == "__main__":
    import signal

    # Until run_program is called, Ctrl-C ends it without a word, as in C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

from functools import partial
from pathlib import Path

import numpy as np
import speechbrain as sb
import torch
from early_stopping import EarlyStopping
from options import WordOptions
from report import write_report
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import ReproducibleRandomSampler
from synthesize import find_data
from timit_prepare import refuse_foreign
from words_prepare import group_words, prepare_words

from speechbrain_cwrnn import Ensemble
from speechbrain_cwrnn.audio import read_audio
from speechbrain_cwrnn.brain import (
    EnsembleBrain,
    check_memory,
    make_networks,
    refuse_run_options,
)
from speechbrain_cwrnn.checkpoints import keep_epochs
from speechbrain_cwrnn.checks import check_finite
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.features import check_features
from speechbrain_cwrnn.hparams import (
    begin,
    load_hparams,
    nominal_size,
    resumes,
    save_options,
)
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.manifest import (
    name_corpus,
    read_manifest,
    without_places,
)
from speechbrain_cwrnn.pretrained import save_pretrained
from speechbrain_cwrnn.program import run_program, stoppable


class WordBrain(EnsembleBrain):
    """Trains many independent networks at once.

    They hear the examples in the same order, each with noise of its own, and
    each until its own error stops to fall.
    """

    ends_early = True

    def on_fit_start(self):
        """Goes on from the last checkpoint, if there is anything left."""
        super().on_fit_start()
        self.finish_if_through()
        if not self.debug:
            keep_epochs(self.hparams.train_log, self.epoch_counter.current)

    def through(self):
        """Which networks [N] got no better for a while."""
        return self.stopping.through

    def on_stage_start(self, stage, epoch=None):
        """Seeds the noise, by the seed of each network and the epoch."""
        if stage == sb.Stage.TRAIN:
            # Only 32 bits of a seed count. The prime is far above any number of
            # networks, so that none has a seed that another has later.
            self.noises = [
                torch.Generator().manual_seed(1000003 * epoch + seed)
                for seed in self.seeds
            ]

    def compute_forward(self, batch, stage):
        """Log probabilities [networks, B, words]."""
        feats, lengths = batch.feats
        feats = feats.to(self.device)
        # One word has no padding.
        lengths = lengths.to(self.device) if len(lengths) > 1 else None
        if stage == sb.Stage.TRAIN:
            noise = [torch.randn(feats.shape, generator=g) for g in self.noises]
            noise = torch.stack(noise).to(self.device)
            feats = feats + self.hparams.noise_std * noise
            in_dims = (0, None)
        else:
            in_dims = None
        return self.modules.model(feats, lengths, in_dims=in_dims).float()

    def compute_objectives(self, predictions, batch, stage):
        """The mean cross entropy of each network [networks]."""
        words = batch.label.data.to(self.device).expand(len(predictions), -1, 1)
        losses = -predictions.gather(2, words).squeeze(2)
        if stage != sb.Stage.TRAIN:
            self.losses = losses.mean(1)
            self.predicted = predictions.argmax(2)
            self.errors = (self.predicted != words[..., 0]).float().mean(1)
        return losses.mean(1)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Stops those that got no better, shows, logs and saves the state."""
        if stage != sb.Stage.VALID:
            return
        errors = torch.where(self.losses.isfinite(), self.errors, torch.nan)
        self.stopping.update(errors, epoch)
        stats = {
            "mean error": float(self.errors.mean()),
            "in training": int((~self.stopping.through).sum()),
        }
        self.end_epoch(stats)
        self.hparams.train_logger.log_stats({"epoch": epoch}, stats)
        self.checkpointer.save_and_keep_only(meta=stats, num_to_keep=2)

    def test(self, dataset):
        """Losses, errors [networks] and answers [networks, items]."""
        self.evaluate(
            dataset,
            progressbar=False,
            test_loader_kwargs={"batch_size": len(dataset)},
        )
        return (
            tensor.cpu().numpy()
            for tensor in (self.losses, self.errors, self.predicted)
        )


def read_words(hparams):
    """The entries of the manifests, and the words, in groups."""
    train, test = (
        read_manifest(
            hparams[f"{split}_annotation"],
            ["wav", "word"],
            data_folder=hparams["data_folder"],
            sample_rate=hparams["sample_rate"],
        )
        for split in ("train", "test")
    )
    for split, entries in (("train", train), ("test", test)):
        for name, entry in entries.items():
            check_word(entry["word"], hparams[f"{split}_annotation"], name)
    words = sorted({str(entry["word"]) for entry in train.values()})
    groups = group_words(hparams["words"])
    if words != sorted(word for group in groups for word in group):
        # Those of a user's own manifest.
        groups = [words]
    if len(words) < 2:
        raise InputError(
            f"{hparams['train_annotation']}: expected at least two words, got "
            f"{words[0]} alone."
        )
    for name, entry in test.items():
        if str(entry["word"]) not in words:
            raise InputError(
                f"{hparams['test_annotation']}, entry {name}, "
                f"word={entry['word']}: expected one of those in "
                f"{hparams['train_annotation']}."
            )
    return train, test, groups


def check_word(word, manifest, name):
    """Raise an error where an entry has something else than a word."""
    text = str(word)
    is_word = isinstance(word, (str, int)) and not isinstance(word, bool)
    # The last is what SpeechBrain's encoder separates words by in its file.
    if (
        not is_word
        or not text.strip()
        or not text.isprintable()
        or " => " in text
    ):
        raise InputError(
            f"{manifest}, entry {name}, word={word!r}: expected a word."
        )


def dataio_prep(hparams, train, test, words):
    """Datasets of standardised features, kept in memory."""
    encoder = hparams["label_encoder"]
    encoder.update_from_iterable(words, sequence_input=False)
    encoder.expect_len(len(words))

    @sb.utils.data_pipeline.takes("id", "wav", "start", "stop")
    @sb.utils.data_pipeline.provides("feats")
    def audio_pipeline(name, wav, start, stop):
        """Cuts a word and computes its features [T, F]."""
        signal = torch.from_numpy(read_audio(f"entry {name}", wav, start, stop))
        return hparams["compute_features"](signal[None])[0]

    @sb.utils.data_pipeline.takes("word")
    @sb.utils.data_pipeline.provides("label")
    def label_pipeline(word):
        """The number of a word [1]."""
        return encoder.encode_label_torch(str(word))

    normalize = hparams["normalize"]
    datasets = []
    for entries in (train, test):
        dataset = DynamicItemDataset(
            entries,
            dynamic_items=[audio_pipeline, label_pipeline],
            output_keys=["id", "feats", "label"],
        )
        items = {item.pop("id"): item for item in dataset}
        if entries is train:
            frames = torch.cat([item["feats"] for item in items.values()])
            normalize.train()(frames[None])
            normalize.eval()
        for item in items.values():
            item["feats"] = normalize(item["feats"][None])[0]
        datasets.append(
            DynamicItemDataset(items, output_keys=["id", "feats", "label"])
        )
    return datasets


def prepare(hparams, in_use):
    """Write the manifests of the data, and return what to call these."""
    manifests = [hparams["train_annotation"], hparams["test_annotation"]]
    # Before speech is synthesised.
    refuse_foreign(manifests)
    data_folder, corpus = find_data(
        hparams["data_folder"],
        hparams["output_folder"],
        hparams["num_speakers"],
    )
    prepare_words(
        data_folder,
        *manifests,
        hparams["words"],
        num_train=hparams["num_train"],
        num_test=hparams["num_test"],
        seed=hparams["data_seed"],
        in_use=in_use,
    )
    return corpus


def check(hparams, run_opts):
    """Raise an error for what is wrong with options, or with what they name,
    which is tried once, on a second of noise: before anything is written."""
    device = refuse_run_options(run_opts, hparams)
    with tried("compute_features"):
        feats = hparams["compute_features"](
            torch.randn(1, hparams["sample_rate"])
        )
        _, _, features = feats.shape
    if features != hparams["input_size"]:
        raise InputError(
            f"input_size={hparams['input_size']}: expected the {features} "
            f"features of a frame."
        )
    check_features(feats)
    with tried("normalize"):
        feats = hparams["normalize"].train()(feats).to(device)
        check_finite("normalize", feats)
    make = partial(hparams["model"], num_words=2)
    with tried("model"):
        # What it does not take is a fault of the call, and that is here.
        make()
        networks = Ensemble(make, num_copies=2, seed=0).to(device)
        # As words are given that are padded, and as one that is not.
        networks(feats, torch.ones(1, device=device))
        log_probs = networks(feats, None)
    if log_probs.shape != (2, 1, 2):
        raise InputError(
            f"model: expected log probabilities [batch, num_words], got the "
            f"shape {list(log_probs.shape[1:])} for one word of two."
        )
    with tried("opt_class"):
        optimizer = hparams["opt_class"](networks.parameters())
        log_probs.sum().backward()
        optimizer.step()
    check_memory("num_seeds", hparams["num_seeds"], networks, device)


def main(hparams_file, run_opts, overrides):
    """Prepare, train, and write what came of it."""
    load = partial(load_hparams, hparams_file, overrides, WordOptions)
    check(load(), run_opts)
    # Made anew, since what was tried has changed.
    hparams = load()
    folder, checkpointer = hparams["output_folder"], hparams["checkpointer"]
    with sole_run(folder), stoppable(checkpointer):
        run(hparams_file, run_opts, overrides, hparams)


def run(hparams_file, run_opts, overrides, hparams):
    """Train in the output folder, which is no other run's."""
    may_differ = ["data_folder", "backend", "number_of_epochs", "skip_prep"]
    in_use = resumes(hparams_file, overrides, hparams, may_differ)
    if not hparams["skip_prep"]:
        corpus = prepare(hparams, in_use)
    train, test, word_groups = read_words(hparams)
    if hparams["skip_prep"]:
        corpus = name_corpus(hparams["train_annotation"], train)
    words = [word for group in word_groups for word in group]
    train_data, test_data = dataio_prep(hparams, train, test, words)
    begin(hparams, run_opts, in_use, without_places(train, test))
    save_options(hparams_file, overrides, hparams["output_folder"])
    sb.create_experiment_directory(hparams["output_folder"])
    networks = make_networks(
        partial(hparams["model"], num_words=len(words)),
        hparams["num_seeds"],
        hparams["seed"],
    )
    stopping = EarlyStopping(networks.num_copies, hparams["patience"])
    hparams["checkpointer"].add_recoverables(
        {"model": networks, "stopping": stopping}
    )
    brain = WordBrain(
        modules={"model": networks},
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.stopping = stopping.to(brain.device)
    brain.seeds = range(hparams["seed"], hparams["seed"] + networks.num_copies)
    num_params = sum(p[0].numel() for p in networks.parameters())
    print(
        f"{networks.num_copies} networks of {num_params} parameters, on "
        f"{brain.device}, {len(train_data)} words to learn from, "
        f"{len(test_data)} for the test, {corpus}"
    )
    brain.train_sampler = ReproducibleRandomSampler(
        train_data, seed=hparams["data_seed"]
    )
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        train_data,
        train_loader_kwargs={
            "batch_size": hparams["batch_size"],
            "sampler": brain.train_sampler,
        },
        valid_loader_kwargs={"batch_size": len(train_data)},
    )
    train_losses, train_errors, _ = brain.test(train_data)
    _, test_errors, predicted = brain.test(test_data)
    if brain.debug:
        print("Debugging: no results are written.")
        return
    write_report(
        hparams["output_folder"],
        {
            "model": hparams["model_name"],
            "size": nominal_size(hparams, num_params),
            "corpus": corpus,
            "words": len(words),
            # Examples of each, on average.
            "num_train": f"{len(train) / len(words):g}",
            "num_test": f"{len(test) / len(words):g}",
        },
        {
            "seed": brain.seeds,
            "epochs": stopping.last_epoch.tolist(),
            "train_loss": train_losses,
            "train_error": train_errors,
            "test_error": test_errors,
            "diverged": (~np.isfinite(train_losses)).astype(int),
        },
        word_groups,
        heard=[item["label"].item() for item in test_data],
        predicted=predicted,
    )
    if not np.isfinite(train_losses).any():
        print("All networks have diverged, and none is saved.")
        return
    best = networks.extract(
        int(np.nan_to_num(train_losses, nan=np.inf).argmin())
    )
    source = save_pretrained(
        Path(hparams["output_folder"]) / "pretrained",
        Path(__file__).parent / "hparams" / "inference.yaml",
        hparams["output_folder"],
        {
            "mean_var_norm": hparams["normalize"]._save,
            "embedding_model": partial(
                torch.save, best.embedding_model.state_dict()
            ),
            "classifier": partial(torch.save, best.classifier.state_dict()),
            "label_encoder": hparams["label_encoder"].save,
        },
        {"num_words": len(words), "hidden_size": hparams["hidden_size"]},
    )
    print(f"The network of the lowest training loss, to be loaded: {source}")


if __name__ == "__main__":
    run_program(main)
