#!/usr/bin/env python3
"""Recipe for recognising phonemes, or words, with CTC.

The model is SpeechBrain's CRDNN: convolutions, recurrent layers of any class,
and linear layers. The units are phonemes, or pieces of words that are learnt
from the training set.

To run this recipe, do the following:
> python train.py hparams/cwrnn.yaml --data_folder /path/to/TIMIT
> python train.py hparams/cwrnn_bpe.yaml --data_folder /path/to/TIMIT

Without --data_folder, it trains on synthetic speech.

Authors
 * The speechbrain_cwrnn developers 2026
"""

if __name__ == "__main__":
    import signal

    # Until run_program is called, Ctrl-C ends it without a word, as in C.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

import gc
import logging
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path

import speechbrain as sb
import torch
from finetune import fit_layers, load_and_swap
from options import FOLDER, CTCOptions
from report import print_runs
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.distributed import if_main_process, run_on_main
from synthesize import find_data
from timit_prepare import prepare_timit, refuse_foreign

from speechbrain_cwrnn.audio import read_audio
from speechbrain_cwrnn.checkpoints import keep_epochs
from speechbrain_cwrnn.checks import check_finite
from speechbrain_cwrnn.errors import InputError, StoppedError, tried
from speechbrain_cwrnn.features import check_features
from speechbrain_cwrnn.hparams import (
    begin,
    load_hparams,
    resumes,
    save_options,
)
from speechbrain_cwrnn.lock import sole_run
from speechbrain_cwrnn.manifest import (
    name_corpus,
    read_manifest,
    without_places,
)
from speechbrain_cwrnn.pretrained import check_inference, save_pretrained
from speechbrain_cwrnn.program import run_program, stoppable
from speechbrain_cwrnn.report import whole_file, write_results
from speechbrain_cwrnn.run_options import check_run_options

logger = logging.getLogger(__name__)

# SpeechBrain's run options that must have their defaults, and why.
REFUSED = {
    **dict.fromkeys(
        ["data_parallel_backend", "data_parallel_count"],
        "torchrun is for several GPUs",
    ),
    **dict.fromkeys(
        ["jit", "jit_module_keys"],
        "TorchScript reads neither Clockwork RNNs nor SpeechBrain's LSTMs",
    ),
    "remove_vector_weight_decay": (
        "SpeechBrain would clip the gradients of vectors alone"
    ),
    "log_config": "SpeechBrain's recipes do not use it",
}


class ASRBrain(sb.Brain):
    """Trains with CTC, and decodes greedily."""

    # What it says where a loss is not finite.
    phase, to_lower = "epoch", "--lr or --max_grad_norm"

    def on_fit_start(self):
        """Goes on from the last checkpoint, if there is anything left."""
        super().on_fit_start()
        if self.max_grad_norm < 0:
            # As SpeechBrain says that it turns clipping off; it would scale the
            # gradients by the negative number, and climb.
            self.max_grad_norm = torch.inf
        counter = self.hparams.epoch_counter
        if self._optimizer_step_limit_exceeded:
            counter.limit = counter.current
        if not self.debug:
            keep_epochs(self.hparams.train_log, counter.current)

    def compute_forward(self, batch, stage):
        """Log probabilities [B, T, units] and their relative lengths [B]."""
        feats, lengths = self.compute_features(batch, stage)
        return self.modules.model(feats), lengths

    def compute_features(self, batch, stage):
        """What the model sees [B, T, F], and relative lengths [B]."""
        wavs, wav_lens = batch.sig
        wavs, wav_lens = wavs.to(self.device), wav_lens.to(self.device)
        augment = getattr(self.hparams, "wav_augment", None)
        if stage == sb.Stage.TRAIN and augment is not None:
            wavs, wav_lens = augment(wavs, wav_lens)
        feats = self.hparams.compute_features(wavs)
        # Lengths of whole frames, that no rounding makes depend on the batch.
        hop = in_samples(self.hparams.hop_length, self.hparams.sample_rate)
        frames = (wav_lens * wavs.shape[1]).round() // hop + 1
        lengths = frames / feats.shape[1]
        return self.modules.normalize(feats, lengths), lengths

    def compute_objectives(self, predictions, batch, stage):
        """The CTC loss."""
        log_probs, lengths = predictions
        units, unit_lens = batch.units
        units, unit_lens = units.to(self.device), unit_lens.to(self.device)
        augment = getattr(self.hparams, "wav_augment", None)
        if stage == sb.Stage.TRAIN and augment is not None:
            units, unit_lens = augment.replicate_multiple_labels(
                units, unit_lens
            )
        loss = self.hparams.compute_cost(log_probs, units, lengths, unit_lens)
        # SpeechBrain's CTC makes nothing of what is not finite: a loss of zero.
        loss = torch.where(log_probs.isfinite().all(), loss, torch.nan)
        if stage != sb.Stage.TRAIN:
            self.check_loss_isfinite(loss)
            decoded = sb.decoders.ctc_greedy_decode(
                log_probs, lengths, blank_id=self.hparams.blank_index
            )
            decode = self.tokenizer.decode_ids
            self.error_metrics.append(
                ids=batch.id,
                predict=[decode(sequence).split() for sequence in decoded],
                target=[text.split() for text in batch.text],
            )
        return loss

    def check_loss_isfinite(self, loss):
        """Stops where it is not, unless bad batches are to be skipped.

        SpeechBrain would make the step, and go on with weights that are not
        finite either.
        """
        if loss.isfinite():
            return
        if self.modules.training and self.skip_nonfinite_grads:
            self.nonfinite_count += 1
            if self.nonfinite_count <= self.nonfinite_patience:
                return
        dead = [
            name
            for name, parameter in self.modules.named_parameters()
            if not parameter.isfinite().all()
        ]
        cause = f"{len(dead)} of its weights, as {dead[0]}," if dead else "it"
        raise StoppedError(
            f"{self.phase} {self.hparams.epoch_counter.current}: expected a "
            f"finite output of the model, and {cause} is not (begin anew with "
            f"a lower {self.to_lower} in another --output_folder)."
        )

    def _should_save_intra_epoch_ckpt(self, *args):
        """Where no gradients are left over, which are not saved."""
        should = super()._should_save_intra_epoch_ckpt(*args)
        return should and self.step % self.grad_accumulation_factor == 0

    def _save_intra_epoch_ckpt(self):
        """With the loss of all processes: SpeechBrain saves that of one."""
        self.avg_train_loss = mean_over_processes(self.avg_train_loss)
        super()._save_intra_epoch_ckpt()

    def on_stage_start(self, stage, epoch=None):
        """Starts to count errors."""
        if stage != sb.Stage.TRAIN:
            self.error_metrics = self.hparams.error_stats()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Logs, anneals the learning rate, and saves the best model."""
        name = self.hparams.error_name
        if stage == sb.Stage.TRAIN:
            # Each process has a share of the batches.
            self.train_loss = mean_over_processes(stage_loss)
            return
        error = float(self.error_metrics.summarize("error_rate"))
        stats = {"loss": stage_loss, name: error}
        if stage == sb.Stage.VALID:
            old_lr, new_lr = self.hparams.lr_annealing(error)
            sb.nnet.schedulers.update_learning_rate(self.optimizer, new_lr)
            self.hparams.train_logger.log_stats(
                stats_meta={"epoch": epoch, "lr": old_lr},
                train_stats={"loss": self.train_loss},
                valid_stats=stats,
            )
            self.checkpointer.save_and_keep_only(
                meta={name: error}, min_keys=[name], num_to_keep=2
            )
        else:
            self.test_error = error
            self.hparams.train_logger.log_stats(
                stats_meta={"epoch loaded": self.hparams.epoch_counter.current},
                test_stats=stats,
            )
            if if_main_process() and not self.debug:
                with whole_file(self.hparams.error_file) as path:
                    with open(path, "w", encoding="utf-8") as file:
                        self.error_metrics.write_stats(file)


def in_samples(milliseconds, sample_rate):
    """As SpeechBrain does for the frames of its features."""
    return round(sample_rate / 1000 * milliseconds)


def mean_over_processes(value):
    """The mean of a number that each process has."""
    if not torch.distributed.is_initialized():
        return value
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return sum(values) / len(values)


SPLITS = ("train", "valid", "test")


def is_of_pieces(hparams):
    """Whether the units are those of a SentencePiece, which are learnt."""
    return "model_dir" in getattr(hparams["tokenizer"], "keywords", {})


def prepare(hparams, in_use):
    """Write the manifests of the data, and return what it is called, if they
    are not a user's own."""
    folder = Path(hparams["tokenizer_folder"])
    is_learnt = is_of_pieces(hparams) and not any(folder.glob("*.model"))
    # SpeechBrain hands over all options as one text. Upstream, SentencePiece
    # would have to be called with keyword arguments.
    if is_learnt and set(" ,") & set(str(folder)):
        raise InputError(
            f"tokenizer_folder={folder}: expected a path without spaces and "
            f"commas, at which SentencePiece splits it."
        )
    manifests = [hparams[f"{split}_annotation"] for split in SPLITS]
    corpus = None
    if not hparams["skip_prep"]:
        # Before speech is synthesised.
        refuse_foreign(manifests)
        data_folder, corpus = find_data(
            hparams["data_folder"],
            hparams["output_folder"],
            hparams["num_speakers"],
        )
        prepare_timit(
            data_folder,
            *manifests,
            phn_set=hparams["phn_set"],
            fold=hparams["fold"],
            in_use=in_use,
        )
        if hparams["fold"]:
            corpus += f", fold {hparams['fold']}"
    # A tokenizer that is there may have been learnt from other words. One that
    # the user brought along is elsewhere.
    own = Path(hparams["save_folder"]).resolve()
    is_own = folder.resolve().is_relative_to(own)
    if not in_use and is_own and folder.exists():
        shutil.rmtree(folder)
    return corpus


def make_tokenizer(hparams):
    """The tokenizer, which is learnt first where it is one of words."""
    folder, number = hparams["tokenizer_folder"], hparams["output_neurons"]
    is_learnt = any(Path(folder).glob(f"{number}_*.model"))
    try:
        tokenizer = hparams["tokenizer"]()
    except RuntimeError as error:
        if is_learnt:
            raise InputError(
                f"tokenizer_folder={folder}: expected a tokenizer, and what is "
                f"there is damaged ({error})."
            ) from error
        raise InputError(
            f"output_neurons={number}: expected a number "
            f"of pieces that SentencePiece can find in the words ({error})."
        ) from error
    # SpeechBrain's tokenizer has that of SentencePiece in it.
    return getattr(tokenizer, "sp", tokenizer)


def shortest(hparams):
    """The milliseconds of audio that the convolutions need at least: they pad
    with other frames, also those of faster speech."""
    _, kernel = hparams.get("cnn_kernelsize", (3, 3))
    return (kernel // 2 + 2) * hparams["hop_length"]


def read_manifests(hparams):
    """The entries for training, development and test."""
    target, manifests = hparams["target"], []
    least = shortest(hparams)
    for split in SPLITS:
        path = hparams[f"{split}_annotation"]
        entries = read_manifest(
            path,
            ["wav", target],
            data_folder=hparams["data_folder"],
            sample_rate=hparams["sample_rate"],
        )
        for name, entry in entries.items():
            text, length = entry[target], 1000 * entry["duration"]
            where = f"{path}, entry {name}"
            if not isinstance(text, str) or not text.strip():
                raise InputError(
                    f"{where}, {target}: expected a text, got {text!r}."
                )
            if length < least:
                raise InputError(
                    f"{where}: expected at least {least} ms of audio, got "
                    f"{length:g} ms."
                )
        manifests.append(entries)
    return manifests


def check_text(hparams, tokenizer, manifests):
    """Raise an error where a text has no units that the model has, and warn
    where it has more than the audio has frames."""
    target, too_short = hparams["target"], []
    hop = in_samples(hparams["hop_length"], hparams["sample_rate"])
    # Those of SpeechBrain's CRDNN, which a model of the user's own may not be.
    pooled = 2 if hparams.get("time_pooling") else 1
    for split, entries in zip(SPLITS, manifests):
        for name, entry in entries.items():
            where = f"{hparams[f'{split}_annotation']}, entry {name}, {target}"
            try:
                units = tokenizer.encode_as_ids(entry[target])
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
            if max(units, default=0) >= hparams["output_neurons"]:
                raise InputError(
                    f"{where}: expected units below output_neurons="
                    f"{hparams['output_neurons']}, got {max(units)}."
                )
            frames = ((entry["stop"] - entry["start"]) // hop + 1) // pooled
            # There is a blank between two that are the same.
            needed = len(units) + sum(a == b for a, b in pairwise(units))
            if needed > frames:
                too_short.append(f"{where}: {needed} for {frames} frames")
    if too_short:
        logger.warning(
            f"Utterances with more units than frames: {len(too_short)}, of "
            f"which CTC can learn nothing, and SpeechBrain counts a loss of "
            f"zero (the first: {too_short[0]})."
        )


def dataio_prep(hparams, tokenizer, manifests):
    """Datasets for training, development and test."""

    @sb.utils.data_pipeline.takes("id", "wav", "start", "stop")
    @sb.utils.data_pipeline.provides("sig")
    def audio_pipeline(name, wav, start, stop):
        """The signal [samples]."""
        return torch.from_numpy(read_audio(f"entry {name}", wav, start, stop))

    @sb.utils.data_pipeline.takes(hparams["target"])
    @sb.utils.data_pipeline.provides("text", "units")
    def text_pipeline(text):
        """The words or phonemes, and the numbers of their units."""
        yield text
        yield torch.LongTensor(tokenizer.encode_as_ids(text))

    return [
        DynamicItemDataset(
            entries,
            dynamic_items=[audio_pipeline, text_pipeline],
            output_keys=["id", "sig", "text", "units"],
        ).filtered_sorted(
            sort_key="duration", reverse=hparams["sorting"] == "descending"
        )
        for entries in manifests
    ]


def check(hparams, run_opts):
    """Raise an error for what is wrong with options, or with what they name,
    which is tried once, on a second of noise: before anything is written."""
    names = {"normalize", "model"}
    if is_of_pieces(hparams):
        names.add("tokenizer")
    check_inference(FOLDER / hparams["inference_file"], hparams, names)
    device = check_run_options(run_opts, hparams, REFUSED)
    rate, blank = hparams["sample_rate"], hparams["blank_index"]
    samples = max(rate, in_samples(shortest(hparams), rate))
    wavs = torch.randn(2, samples, device=device)
    lengths = torch.ones(2, device=device)
    units = torch.tensor([[int(not blank)]] * 2, device=device)
    unit_lengths = lengths
    if augment := hparams.get("wav_augment"):
        with tried("wav_augment"):
            wavs, lengths = augment(wavs, lengths)
            units, unit_lengths = augment.replicate_multiple_labels(
                units, unit_lengths
            )
    with tried("compute_features"):
        feats = hparams["compute_features"](wavs)
        _, frames, _ = feats.shape
    expected = wavs.shape[1] // in_samples(hparams["hop_length"], rate) + 1
    if frames != expected:
        raise InputError(
            f"compute_features: expected a frame every hop_length="
            f"{hparams['hop_length']} ms, {expected} in all, got {frames}."
        )
    check_features(feats)
    with tried("modules"):
        modules = torch.nn.ModuleDict(hparams["modules"]).to(device)
        model, normalize = modules["model"], modules["normalize"]
    with tried("normalize"):
        feats = normalize(feats, lengths)
        check_finite("normalize", feats)
    with tried("model"):
        log_probs = model(feats)
        batch, _, neurons = log_probs.shape
    if (batch, neurons) != (len(wavs), hparams["output_neurons"]):
        raise InputError(
            f"model: expected output_neurons={hparams['output_neurons']} for "
            f"each of {len(wavs)} signals, got {neurons} for {batch}."
        )
    with tried("compute_cost"):
        loss = hparams["compute_cost"](log_probs, units, lengths, unit_lengths)
        loss.backward()
    with tried("opt_class"):
        optimizer = hparams["opt_class"](modules.parameters())
        optimizer.step()
    with tried("lr_annealing"):
        for error in (50.0, 100.0):
            _, new_lr = hparams["lr_annealing"](error)
        sb.nnet.schedulers.update_learning_rate(optimizer, new_lr)
    if not is_of_pieces(hparams):
        with tried("tokenizer"):
            hparams["tokenizer"]().decode_ids([])
    with tried("error_stats"):
        stats = hparams["error_stats"]()
        stats.append(ids=["a"], predict=[["b"]], target=[["c"]])
        float(stats.summarize("error_rate"))


def main(hparams_file, run_opts, overrides):
    """Prepare, train, test, and write what came of it."""
    load = partial(load_hparams, hparams_file, overrides, CTCOptions)
    check(load(), run_opts)
    # Made anew, since what was tried has changed.
    hparams = load()
    sb.utils.distributed.ddp_init_group(run_opts)
    folder, checkpointer = hparams["output_folder"], hparams["checkpointer"]
    with sole_run(folder), stoppable(checkpointer):
        run(hparams_file, run_opts, overrides, hparams)


def run(hparams_file, run_opts, overrides, hparams):
    """Train in the output folder, which is no other run's."""
    swapped = load_and_swap(hparams) if hparams.get("source_folder") else None
    may_differ = ["data_folder", "batch_size", "num_workers"]
    may_differ += ["number_of_epochs", "skip_prep"]
    in_use = resumes(hparams_file, overrides, hparams, may_differ)
    corpus = run_on_main(prepare, args=[hparams, in_use])
    manifests = read_manifests(hparams)
    if hparams["skip_prep"]:
        corpus = name_corpus(hparams["train_annotation"], manifests[0])
    data = without_places(*manifests)
    run_on_main(begin, args=[hparams, run_opts, in_use, data])
    tokenizer = make_tokenizer(hparams)
    check_text(hparams, tokenizer, manifests)
    folder = hparams["output_folder"]
    run_on_main(save_options, args=[hparams_file, overrides, folder])
    sb.create_experiment_directory(folder)
    train_data, valid_data, test_data = dataio_prep(
        hparams, tokenizer, manifests
    )
    brain = ASRBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.tokenizer = tokenizer
    train_loader_kwargs = {
        **hparams["dataloader_opts"],
        "shuffle": hparams["sorting"] == "random",
        # The loader draws the seed of its workers where an epoch begins, and
        # once more where one goes on: not from everybody's numbers.
        "generator": torch.Generator(),
    }
    if swapped and not brain.checkpointer.list_checkpoints():
        loader = brain.make_dataloader(
            train_data, sb.Stage.TRAIN, **train_loader_kwargs
        )
        fit_layers(swapped, brain, run_opts, loader)
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        valid_data,
        train_loader_kwargs=train_loader_kwargs,
        valid_loader_kwargs=hparams["dataloader_opts"],
    )
    name = hparams["error_name"]
    brain.evaluate(
        test_data, min_key=name, test_loader_kwargs=hparams["dataloader_opts"]
    )
    if brain.debug:
        print("Debugging: no results are written.")
    elif if_main_process():
        write_output(brain, hparams, corpus)


def write_output(brain, hparams, corpus):
    """The errors, and a folder for `EncoderASR.from_hparams`."""
    name = hparams["error_name"]
    best = hparams["checkpointer"].find_checkpoint(min_key=name)
    size = sum(p.numel() for p in hparams["model"].parameters())
    write_results(
        hparams["output_folder"],
        {
            "model": hparams["model_name"],
            "size": size,
            "corpus": corpus,
            "error": name,
        },
        {
            "seed": [hparams["seed"]],
            "valid": [f"{best.meta[name]:.2f}"],
            "test": [f"{brain.test_error:.2f}"],
        },
    )
    print_runs([hparams["output_folder"]])
    savers = {
        "normalize": hparams["normalize"]._save,
        "model": partial(torch.save, hparams["model"].state_dict()),
    }
    if hasattr(brain.tokenizer, "serialized_model_proto"):
        proto = brain.tokenizer.serialized_model_proto()
        savers["tokenizer"] = lambda path: Path(path).write_bytes(proto)
    source = save_pretrained(
        Path(hparams["output_folder"]) / "pretrained",
        FOLDER / hparams["inference_file"],
        hparams["output_folder"],
        savers,
    )
    print(f"The model, for from_hparams of SpeechBrain: {source}")


if __name__ == "__main__":
    run_program(main)
    if torch.distributed.is_initialized():
        # Its threads, which the models hold too, must end before Python does:
        # else the process is now and then aborted, and torchrun stops all.
        gc.collect()
        torch.distributed.destroy_process_group()
