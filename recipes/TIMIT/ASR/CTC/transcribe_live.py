#!/usr/bin/env python3
"""Recognise phonemes in a recording as if it came in from a microphone.

It shows what is heard so far, chunk by chunk; then how long each chunk took,
on one thread. The models are those that train.py has written for
hparams/streaming.yaml:

> python transcribe_live.py sentence.wav results/streaming/1986/pretrained

Several models, such as one with LSTMs, are compared in one table.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from speechbrain.inference.ASR import StreamingASR
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_cwrnn.audio import Recording, read_audio
from speechbrain_cwrnn.checks import check_integer
from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.hparams import OPTIONS, read_mapping
from speechbrain_cwrnn.report import print_table
from speechbrain_cwrnn.schema import MOST

# How often the recording is transcribed again to measure how long it takes.
TIMES = 10


def load_model(folder):
    """What train.py has written to a folder."""
    path = Path(folder) / OPTIONS
    read_mapping(path)
    expected = "a model of hparams/streaming.yaml"
    try:
        with tried(path, expected):
            model = StreamingASR.from_hparams(folder, savedir=folder)
            # What is used later, and not looked for before.
            callable(model.mods.enc.forward_streaming)
            callable(model.hparams.tokenizer.decode_ids)
    except InputError as error:
        if str(folder) in str(error):
            raise
        raise InputError(f"{path}: expected {expected} ({error})") from error
    return model


def read_signal(path, sample_rate):
    """The samples of a recording [1, T]."""
    with Recording(path, path) as recording:
        if recording.samplerate != sample_rate:
            raise InputError(
                f"{path} at {recording.samplerate} Hz: expected {sample_rate}, "
                f"as of the model."
            )
        frames = recording.frames
    return torch.from_numpy(read_audio(path, path, 0, frames))[None]


def transcribe(model, signal, num_frames):
    """Yield the text that each chunk of so many frames adds, and the seconds
    that it took."""
    config = DynChunkTrainConfig(num_frames)
    size = model.get_chunk_size_frames(config)
    features = model.hparams.fea_streaming_extractor
    zeros = size * features.get_recommended_final_chunk_count(size)
    context = model.make_streaming_context(config)
    for chunk in torch.nn.functional.pad(signal, (0, zeros)).split(size, 1):
        start = time.perf_counter()
        (text,) = model.transcribe_chunk(context, chunk)
        yield text, time.perf_counter() - start


@torch.no_grad()
def time_encoder(model, num_frames, count):
    """The seconds that the network alone takes for each of some chunks."""
    encoder, seconds = model.mods.enc, []
    context = encoder.make_streaming_context()
    for x in torch.randn(count, 1, num_frames, encoder.input_shape[2]):
        start = time.perf_counter()
        encoder.forward_streaming(x, context)
        seconds.append(time.perf_counter() - start)
    return seconds


def show(model, signal, num_frames, sample_rate):
    """Print what is heard, with the time at which it is known."""
    heard, size = (
        "",
        model.get_chunk_size_frames(DynChunkTrainConfig(num_frames)),
    )
    for n, (text, _) in enumerate(transcribe(model, signal, num_frames), 1):
        heard += text
        if text:
            print(f"{n * size / sample_rate:6.2f} s  {heard}", flush=True)


def measure(name, model, signal, num_frames, sample_rate):
    """A row of the table."""
    seconds = [
        seconds
        for _ in range(TIMES)
        for _, seconds in transcribe(model, signal, num_frames)
    ]
    factor = sum(seconds) / TIMES / (signal.shape[1] / sample_rate)
    encoder = time_encoder(model, num_frames, len(seconds))
    quantiles = [
        f"{1000 * np.quantile(values, q):.2f}"
        for values in (seconds, encoder)
        for q in (0.5, 0.99)
    ]
    return [name, f"{factor:.3f}", *quantiles]


def main():
    """Transcribe, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", help="audio file at the model's rate")
    parser.add_argument("models", nargs="+", help="folders of train.py")
    parser.add_argument(
        "--num_frames", default=4, type=int, help="in a chunk, of 10 ms each"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    num_frames = check_integer("num_frames", args.num_frames, 2, MOST)
    models = {folder: load_model(folder) for folder in args.models}
    rows = []
    for folder, model in models.items():
        sample_rate = model.audio_normalizer.sample_rate
        signal = read_signal(args.recording, sample_rate)
        print(f"{folder}:")
        show(model, signal, num_frames, sample_rate)
        rows.append(measure(folder, model, signal, num_frames, sample_rate))
    print("Milliseconds for each chunk, all in all and of the network alone:")
    columns = ["model", "real-time factor", "p50", "p99"]
    print_table([*columns, "network p50", "p99"], rows)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"Error: {error}")
