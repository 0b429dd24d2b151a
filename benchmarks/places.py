#!/usr/bin/env python3
"""What periods and sizes give in three places of SpeechBrain.

A language model predicts the next letter of a sentence, a decoder says the
phonemes of a word from its letters, and a detector finds speech in noise, frame
by frame. All learn from manifests that the CTC recipe writes, as in its output
folder's save. Each layer has the hidden size of SpeechBrain's, or as many
parameters; what counts is the loss on the test after the epoch of the lowest
one in development. Rows that are in the CSV file already are not run again.

> cd recipes/TIMIT/ASR/CTC && python train.py hparams/cwrnn.yaml
> python benchmarks/places.py recipes/TIMIT/ASR/CTC/results/cwrnn/1986/save
> python benchmarks/places.py results/cwrnn/1986/save --only VAD decoder

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import contextlib
import csv
import io
import math
import sys
from functools import partial
from pathlib import Path

import torch
from arguments import count, new_file
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.RNNLM import RNNLM
from speechbrain.nnet.RNN import GRU, LSTM
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils.rnn import pad_sequence

from speechbrain_cwrnn import ClockworkLiGRU, ClockworkRNN, swap_rnns
from speechbrain_cwrnn.audio import read_audio
from speechbrain_cwrnn.decoder import AttentionalRNNDecoder
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import name_corpus, read_manifest
from speechbrain_cwrnn.phonemes import LABELS
from speechbrain_cwrnn.report import write_csv
from speechbrain_cwrnn.tables import format_table

RESULTS = Path(__file__).parent / "results" / "places.csv"
COLUMNS = [
    *("place", "layer", "periods", "size", "hidden", "parameters"),
    *("multiply_adds", "seed", "corpus", "loss"),
]
SPLITS = ("train", "valid", "test")
BATCH, LR = 16, 0.003
LAYERS = {"ClockworkRNN": ClockworkRNN, "ClockworkLiGRU": ClockworkLiGRU}
PERIODS = [(1, 2, 4), (1, 2, 4, 8, 16, 32, 64, 128)]
SILENCE = {"h#", "pau", "epi"}
UNITS = {"ClockworkRNN": "clockwork", "ClockworkLiGRU": "clockwork_ligru"}
ALPHABET = " '-.abcdefghijklmnopqrstuvwxyz"


def swap(model, layer, periods):
    """Put layers in, and return parameters and multiply-adds, each
    before and after."""
    with contextlib.redirect_stdout(io.StringIO()):
        report = swap_rnns(model, partial(LAYERS[layer], periods=periods))
    return [tuple(map(sum, zip(*(row[i] for row in report)))) for i in (2, 3)]


def number_letters(text):
    """Those of a text, from 1."""
    return [1 + max(ALPHABET.find(letter), 0) for letter in text.lower()]


class Letters:
    """Predicts the next letter, as SpeechBrain's recipes for language models
    do; the loss is in bits for each letter."""

    name, was, hidden = "language model, letters", "LSTM", 128
    epochs = 20
    swap = staticmethod(swap)

    def read(self, entries):
        """Sentences as numbers; 0 is the end, and stands before the first."""
        texts = [f"{entry['wrd']}" for entry in entries.values()]
        return [(torch.tensor([0, *number_letters(text)]),) for text in texts]

    def make(self, hidden):
        """SpeechBrain's model."""
        return RNNLM(
            output_neurons=1 + len(ALPHABET),
            embedding_dim=64,
            dropout=0.1,
            rnn_layers=1,
            rnn_neurons=hidden,
            dnn_blocks=1,
            dnn_neurons=64,
        )

    def loss(self, model, batch):
        """Sum over a batch, and how many letters that are."""
        texts = pad_sequence([text for (text,) in batch], True, -1)
        return next_loss(model(texts.clamp(min=0)), texts)


def next_loss(logits, numbers):
    """Bits that logits [B, T, N] lack of the next ones of numbers [B, T], which
    begin with 0 and end with it, and how many those are."""
    lengths = (numbers >= 0).sum(1)
    ends = nn.functional.pad(numbers[:, 1:], (0, 1), value=-1)
    ends[torch.arange(len(ends)), lengths - 1] = 0
    loss = cross_entropy(
        logits.flatten(0, 1), ends.flatten(), ignore_index=-1, reduction="sum"
    )
    return loss / math.log(2), int(lengths.sum())


class Speaker(nn.Module):
    """An encoder of letters and a decoder of phonemes, as in SpeechBrain's
    integration test of G2P."""

    def __init__(self, hidden):
        super().__init__()
        self.letters = nn.Embedding(1 + len(ALPHABET), 64)
        self.encoder = LSTM(64, input_size=64, bidirectional=True)
        self.phonemes = nn.Embedding(1 + len(LABELS), 64)
        self.decoder = self.make_decoder("gru", hidden)
        self.output = nn.Linear(hidden, 1 + len(LABELS))

    @staticmethod
    def make_decoder(rnn_type, hidden, periods=None):
        """One with units of a type."""
        return AttentionalRNNDecoder(
            rnn_type, "content", hidden, 128, 1, 128, 64, periods=periods
        )

    def forward(self, letters, lengths, phonemes):
        """Logits [B, T, N]."""
        states, _ = self.encoder(self.letters(letters), lengths=lengths)
        inputs = self.phonemes(phonemes)
        return self.output(self.decoder(inputs, states, lengths)[0])


class Decoder:
    """Says the phonemes of a word from its letters; the loss is in bits for
    each phoneme."""

    name, was, hidden = "attentional decoder, phonemes of a word", "GRU", 128
    epochs = 20
    make = Speaker

    def read(self, entries):
        """Each word once that is said alike, as numbers of its letters, and of
        its phonemes after a 0."""
        words = {}
        for entry in entries.values():
            wav = Path(entry["wav"])
            spoken = read_times(wav.with_suffix(".PHN"))
            for start, stop, word in read_times(wav.with_suffix(".WRD")):
                inside = [p for i, j, p in spoken if start <= i and j <= stop]
                words[(word, *inside)] = None
        return [
            (
                torch.tensor(number_letters(word)),
                torch.tensor([0, *(1 + LABELS.index(p) for p in phonemes)]),
            )
            for word, *phonemes in words
        ]

    def swap(self, model, layer, periods):
        """Put another decoder in, since units of a decoder are no layer."""
        hidden = model.decoder.hidden_size
        model.decoder = model.make_decoder(UNITS[layer], hidden, periods)
        # A layer of the same sizes, to be counted.
        units = nn.ModuleList([nn.GRU(64 + 128, hidden)])
        return swap(units, layer, periods)

    def loss(self, model, batch):
        """Sum over a batch, and how many phonemes that are."""
        letters, phonemes = zip(*batch)
        lengths = torch.tensor([len(word) for word in letters])
        phonemes = pad_sequence(phonemes, True, -1)
        logits = model(
            pad_sequence(letters, True),
            lengths / lengths.max(),
            phonemes.clamp(min=0),
        )
        return next_loss(logits, phonemes)


def read_times(path):
    """Start, stop and text of the lines of one of TIMIT's files."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return [(int(start), int(stop), text) for start, stop, text in lines]


class Speech(nn.Module):
    """Recurrent layers and an output, as in SpeechBrain's recipe for VAD."""

    def __init__(self, hidden):
        super().__init__()
        self.rnn = GRU(hidden, input_size=40, num_layers=2, bidirectional=True)
        self.output = nn.Linear(2 * hidden, 1)

    def forward(self, x):
        """Logits [B, T]."""
        return self.output(self.rnn(x)[0]).squeeze(2)


class Detector:
    """Finds speech in white noise that is as strong, in frames of 10 ms; the
    loss is in bits for each frame."""

    name, was, hidden = "VAD, noise of 0 dB", "GRU", 32
    epochs = 6
    make, swap = Speech, staticmethod(swap)

    def read(self, entries):
        """Features [T, F] and what is speech [T]."""
        generator = torch.Generator().manual_seed(0)
        features, utterances = Fbank(n_mels=40), []
        for name, entry in entries.items():
            part = entry["start"], entry["stop"]
            wav = torch.from_numpy(read_audio(name, entry["wav"], *part))
            noise = torch.randn(wav.shape, generator=generator)
            feats = features((wav + wav.std() * noise)[None])[0]
            feats = (feats - feats.mean(0)) / feats.std(0)
            utterances.append((feats, self.speech(entry["wav"], len(feats))))
        return utterances

    def speech(self, wav, frames):
        """Which frames are speech, by the times of the phonemes."""
        found = torch.zeros(frames)
        for start, stop, phoneme in read_times(Path(wav).with_suffix(".PHN")):
            if phoneme not in SILENCE:
                found[start // 160 : stop // 160] = 1
        return found

    def loss(self, model, batch):
        """Sum over a batch, and how many frames that are."""
        feats, speech = zip(*batch)
        target = pad_sequence(speech, True, -1)
        logits = model(pad_sequence(feats, True))
        valid = target >= 0
        loss = binary_cross_entropy_with_logits(
            logits[valid], target[valid], reduction="sum"
        )
        return loss / math.log(2), int(valid.sum())


def fitting_size(place, layer, periods):
    """The hidden size whose layers have about as many parameters."""
    target = place.swap(place.make(place.hidden), layer, periods)[0][0]
    sizes = range(place.hidden, 8 * place.hidden, 4)
    return min(
        sizes,
        key=lambda hidden: abs(
            place.swap(place.make(hidden), layer, periods)[0][1] - target
        ),
    )


def train(place, model, data):
    """The loss of the test, after the best epoch."""
    optimizer = torch.optim.Adam(model.parameters(), LR)
    best = math.inf, math.nan
    for _ in range(place.epochs):
        model.train()
        order = torch.randperm(len(data["train"])).tolist()
        for start in range(0, len(order), BATCH):
            batch = [data["train"][i] for i in order[start : start + BATCH]]
            loss, count = place.loss(model, batch)
            optimizer.zero_grad()
            (loss / count).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            losses = [place.loss(model, data[s]) for s in ("valid", "test")]
        best = min(best, tuple(float(loss) / n for loss, n in losses))
    return best[1]


def settings(place):
    """Layer, periods and size of each run."""
    yield place.was, (), "same"
    for layer in LAYERS:
        for periods in PERIODS:
            for size in ("same", "equal parameters"):
                yield layer, periods, size


def run(place, layer, periods, size, seed, data):
    """What a setting reaches, with its size."""
    hidden = place.hidden
    if size != "same":
        hidden = fitting_size(place, layer, periods)
    torch.manual_seed(seed)
    model = place.make(hidden)
    if periods:
        (_, parameters), (_, adds) = place.swap(model, layer, periods)
    else:
        # What is replaced, counted before.
        (parameters, _), (adds, _) = place.swap(
            place.make(hidden), "ClockworkRNN", (1,)
        )
    loss = train(place, model, data)
    return hidden, parameters, round(adds), f"{loss:.4f}"


def read_rows(path):
    """The rows of a CSV file, none if there is none."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def make_table(rows):
    """Markdown, with the mean over the seeds."""
    groups = {}
    for row in rows:
        key = tuple(row[name] for name in COLUMNS[:7])
        groups.setdefault(key, []).append(float(row["loss"]))
    lines = [
        [
            *(text or "-" for text in key),
            str(len(losses)),
            f"{sum(losses) / len(losses):.3f}",
            f"{min(losses):.3f} to {max(losses):.3f}",
        ]
        for key, losses in groups.items()
    ]
    columns = [name.replace("_", "-") for name in COLUMNS[:7]]
    return format_table([*columns, "runs", "loss, bits", "from, to"], lines)


def main():
    """Run what is missing in the CSV file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifests", type=Path, help="the folder of a run")
    parser.add_argument("--seeds", type=count, default=3)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT")
    parser.add_argument("--csv", type=new_file, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    entries = {
        split: read_manifest(args.manifests / f"{split}.json", ["wav", "wrd"])
        for split in SPLITS
    }
    corpus = name_corpus(args.manifests / "train.json", entries["train"])
    places = [
        place
        for place in (Letters(), Decoder(), Detector())
        if any(text in place.name for text in args.only)
    ]
    data = [
        {split: place.read(entries[split]) for split in SPLITS}
        for place in places
    ]
    for seed in range(args.seeds):
        for place, sets in zip(places, data):
            for setting in settings(place):
                layer, periods, size = setting
                text = " ".join(map(str, periods))
                key = [place.name, layer, text, size, str(seed)]
                rows = read_rows(args.csv)
                names = ("place", "layer", "periods", "size", "seed")
                if key in [[row[name] for name in names] for row in rows]:
                    continue
                print(*key, file=sys.stderr)
                *sizes, loss = run(place, *setting, seed, sets)
                done = [[row[name] for name in COLUMNS] for row in rows]
                row = [*key[:4], *sizes, seed, corpus, loss]
                write_csv(args.csv, COLUMNS, [*done, row])
    print(make_table(read_rows(args.csv)))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"Error: {error}")
