"""Features: cepstral coefficients and energy; and what any have to be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import torch
from torch import nn
from torchaudio.compliance import kaldi

from speechbrain_cwrnn.checks import (
    check_finite,
    check_integer,
    check_number,
)
from speechbrain_cwrnn.errors import InputError


class MFCCEnergy(nn.Module):
    """Mel-frequency cepstral coefficients 1 to n, and the log energy.

    The features of the Clockwork RNN paper's second experiment (section 5.2),
    without deltas and context, computed by torchaudio with the conventions of
    Kaldi and HTK: the mean of each frame is subtracted, the energy taken, then
    pre-emphasis and a Hamming window applied; the energy takes the place of
    coefficient 0, and coefficient n is multiplied by 1 + 11 sin(pi n / 22).
    The signal, in [-1, 1], counts as one of 16 bits, which adds a constant to
    the energy alone, floored at 0.

    Arguments
    ---------
    sample_rate : int
        Of the signal, in Hz.
    n_mfcc : int
        Number of cepstral coefficients.
    n_mels : int
        Number of mel bands that they are computed from.
    win_length : float
        Length of a frame, in ms.
    hop_length : float
        Distance of frames, in ms.
    pre_emphasis : float
        Its coefficient.

    Example
    -------
    >>> compute_features = MFCCEnergy()
    >>> compute_features(torch.rand(10, 16000) - 0.5).shape
    torch.Size([10, 98, 13])
    """

    def __init__(
        self,
        sample_rate=16000,
        n_mfcc=12,
        n_mels=26,
        win_length=25,
        hop_length=10,
        pre_emphasis=0.97,
    ):
        super().__init__()
        sample_rate = check_integer("sample_rate", sample_rate, least=1)
        n_mels = check_integer("n_mels", n_mels, least=4)
        n_mfcc = check_integer("n_mfcc", n_mfcc, least=0)
        if n_mfcc >= n_mels:
            raise InputError(
                f"n_mfcc={n_mfcc}: expected less than n_mels={n_mels}."
            )
        sample = 1000 / sample_rate
        # A second is far more than any feature is computed of.
        win_length = check_number("win_length", win_length, 2 * sample, 1000)
        hop_length = check_number("hop_length", hop_length, sample, 1000)
        pre_emphasis = check_number("pre_emphasis", pre_emphasis, 0, 1)
        self.samples = round(sample_rate * win_length / 1000)
        self.options = {
            "sample_frequency": sample_rate,
            "num_ceps": n_mfcc + 1,
            "num_mel_bins": n_mels,
            "frame_length": win_length,
            "frame_shift": hop_length,
            "preemphasis_coefficient": pre_emphasis,
            "window_type": "hamming",
            "low_freq": 0,
            "use_energy": True,
            "htk_compat": True,
        }

    def forward(self, wav):
        """Features of a batch of signals.

        Arguments
        ---------
        wav : torch.Tensor
            Signals [B, samples], in [-1, 1].

        Returns
        -------
        torch.Tensor
            Features [B, T, n_mfcc + 1], the energy last: a frame wherever a
            whole one fits in, but one frame at least, for which a shorter
            signal is filled up with zeros.
        """
        if not isinstance(wav, torch.Tensor):
            raise InputError(
                f"wav of type {type(wav).__name__}: expected a tensor."
            )
        if wav.dim() != 2 or len(wav) < 1:
            raise InputError(
                f"wav of shape {tuple(wav.shape)}: expected [batch, samples]."
            )
        if wav.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"wav in {wav.dtype}: expected float32 or float64, in [-1, 1]."
            )
        missing = max(0, self.samples - wav.shape[1])
        wav = nn.functional.pad(wav, (0, missing)) * 2**15
        features = [kaldi.mfcc(one[None], **self.options) for one in wav]
        return torch.stack(features)


def check_features(feats):
    """Raise an error for features of noise of which most tell nothing.

    SpeechBrain's Fbank only logs that it requires f_min < f_max. Upstream, it
    would have to raise an error.

    Arguments
    ---------
    feats : torch.Tensor
        Features [B, T, F].

    Example
    -------
    >>> check_features(torch.zeros(1, 5, 40))
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: compute_features: expected features \
that change from frame to frame of noise, and 40 of 40 do not.
    """
    check_finite("compute_features", feats)
    *_, number = feats.shape
    constant = int((feats == feats[:, :1]).all(1).all(0).sum())
    if 2 * constant > number:
        raise InputError(
            f"compute_features: expected features that change from frame to "
            f"frame of noise, and {constant} of {number} do not."
        )
