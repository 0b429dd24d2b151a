"""The features of the word recipe."""

import numpy as np
import pytest
import python_speech_features
import torch

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.features import MFCCEnergy, check_features


@pytest.fixture
def signal():
    """A second of a rising tone in noise, whose loudness changes."""
    rng = np.random.default_rng(0)
    t = np.arange(16000) / 16000
    noise = rng.standard_normal(16000) * (1.2 + np.sin(2 * np.pi * 3 * t))
    tone = np.sin(2 * np.pi * (300 * t + 400 * t**2))
    return 0.025 * noise + 0.075 * tone


def test_agrees_with_another_implementation(signal):
    """Up to what the definitions differ in.

    The other one emphasises the whole signal instead of each frame, and
    rounds the edges of its mel bands to bins of the Fourier transform, which
    is why it gets a fine one.
    """
    feats = MFCCEnergy()(torch.tensor(signal)[None])[0].numpy()
    other = python_speech_features.mfcc(
        2**15 * signal,
        numcep=13,
        nfft=8192,
        ceplifter=22,
        winfunc=np.hamming,
    )[: len(feats)]
    for n in range(12):
        ours, theirs = feats[:, n], other[:, n + 1]
        error = np.abs(ours - theirs).mean()
        assert error < 0.08 * theirs.std(), f"coefficient {n + 1}: {error}"
        # The distance of the two scales, by the best line through all frames.
        slope, _ = np.polyfit(theirs, ours, 1)
        assert slope == pytest.approx(1, abs=0.03), f"coefficient {n + 1}"


def test_energy(signal):
    """The log energy of each frame around its mean, of 16-bit samples."""
    feats = MFCCEnergy()(torch.tensor(signal)[None])[0].numpy()
    for n in (0, 7, len(feats) - 1):
        frame = 2**15 * signal[160 * n : 160 * n + 400]
        energy = np.square(frame - frame.mean()).sum()
        assert feats[n, -1] == pytest.approx(np.log(energy), rel=1e-6)


def test_silence():
    """Digital silence has finite features, and no energy."""
    feats = MFCCEnergy()(torch.zeros(1, 800))
    assert feats.isfinite().all()
    assert (feats[..., -1] == 0).all()


@pytest.mark.parametrize(
    "samples, frames", [(1, 1), (399, 1), (400, 1), (559, 1), (560, 2)]
)
def test_number_of_frames(samples, frames):
    """One wherever it fits in, and one for shorter signals."""
    feats = MFCCEnergy()(torch.rand(2, samples))
    assert feats.shape == (2, frames, 13)


def test_batch(signal):
    """A signal has the same features in company as alone."""
    batch = torch.tensor(np.stack([signal, 0.5 * signal[::-1]]))
    feats = MFCCEnergy()(batch)
    for n in range(2):
        assert torch.equal(feats[n], MFCCEnergy()(batch[n : n + 1])[0])


def test_options(signal):
    """Each changes what it says."""
    wav = torch.tensor(signal)[None]
    feats = MFCCEnergy(n_mfcc=5, win_length=20, hop_length=5)(wav)
    assert feats.shape == (1, 1 + (16000 - 320) // 80, 6)
    assert MFCCEnergy(sample_rate=8000)(wav).shape == (1, 198, 13)
    default = MFCCEnergy()(wav)
    for options in ({"n_mels": 23}, {"pre_emphasis": 0.9}):
        assert (MFCCEnergy(**options)(wav) - default)[..., :12].abs().min() > 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_rate": 16000.5}, "sample_rate=16000.5: expected an integer"),
        ({"n_mfcc": 26}, "n_mfcc=26: expected less than n_mels=26"),
        ({"n_mels": 3}, "n_mels=3: expected an integer, 4 or more"),
        ({"win_length": 0}, r"win_length=0: expected a number in \[0.125"),
        ({"hop_length": 0.01}, r"hop_length=0.01: .* number in \[0.0625"),
        ({"win_length": float("inf")}, r"win_length=inf: .*\[0.125, 1000\]"),
        ({"hop_length": 1e9}, r"hop_length=1000000000.0: .*\[0.0625, 1000\]"),
        ({"pre_emphasis": 2}, r"pre_emphasis=2: .* number in \[0, 1\]"),
    ],
)
def test_bad_options(options, message):
    """One sentence, before there is a signal."""
    with pytest.raises(ValueError, match=message):
        MFCCEnergy(**options)


@pytest.mark.parametrize(
    "wav, message",
    [
        (
            torch.rand(800),
            r"wav of shape \(800,\): expected \[batch, samples\]",
        ),
        (torch.rand(0, 800), r"wav of shape \(0, 800\): expected \[batch"),
        (torch.ones(2, 800).short(), "wav in torch.int16: expected float32"),
        ([[0.0] * 800], "wav of type list: expected a tensor"),
    ],
)
def test_bad_signals(wav, message):
    """Signals are floats, and come in batches."""
    with pytest.raises(ValueError, match=message):
        MFCCEnergy()(wav)


@pytest.mark.parametrize(
    "bands, value, message",
    [
        (40, 0.0, "40 of 40 do not"),
        (21, 3.0, "21 of 40 do not"),
        (1, torch.nan, "finite numbers, made of noise, got nan"),
        (1, torch.inf, "finite numbers, made of noise, got inf"),
    ],
)
def test_that_tell_nothing(bands, value, message):
    """Such ones are refused, where these are not a few."""
    feats = torch.randn(2, 9, 40)
    feats[:, :, :20] = 1.0
    check_features(feats)
    feats[:, :, :bands] = value
    with pytest.raises(InputError, match=f"^compute_features: .*{message}"):
        check_features(feats)
