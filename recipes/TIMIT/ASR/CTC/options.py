"""What the options of this recipe must be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import pydoc
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, model_validator
from speechbrain.processing.features import InputNormalization
from speechbrain.tokenizers.SentencePiece import SentencePiece
from speechbrain.utils.metric_stats import MetricStats
from torch.utils.data import DataLoader

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.phonemes import PhonemeTokenizer
from speechbrain_cwrnn.pretrainer import WholePretrainer
from speechbrain_cwrnn.schema import (
    MOST_WEIGHTS,
    Checked,
    Count,
    Depth,
    Few,
    FileName,
    Flag,
    Folder,
    Made,
    Modules,
    Name,
    Natural,
    NewFile,
    OptionalFile,
    OptionalMade,
    Options,
    Positive,
    SampleRate,
    Share,
    Text,
    Width,
    Widths,
    fits,
    makes,
)

FOLDER = Path(__file__).parent / "hparams"


Odd = Annotated[int, Field(gt=0, lt=100), fits(lambda size: size % 2)]


def _are_names(value):
    """Whether this is none, a name, or a list of names."""
    names = value if isinstance(value, list) else [value]
    return value is None or all(isinstance(name, str) for name in names)


class LoaderOptions(Checked):
    """Arguments of PyTorch's DataLoader."""

    model_config = ConfigDict(extra="allow")

    batch_size: Count = None
    num_workers: Few = None

    @model_validator(mode="after")
    def check_arguments(self):
        """It is made after the data are prepared."""
        try:
            loader = DataLoader([0], **self.model_dump(exclude_unset=True))
            if not loader.num_workers:
                # It looks at some of them only now.
                iter(loader)
        except (AssertionError, TypeError, ValueError) as error:
            raise InputError(
                f"dataloader_opts: expected arguments that PyTorch's "
                f"DataLoader takes ({error})."
            ) from error
        return self


class CTCOptions(Options):
    """The keys of its YAML files."""

    writes = (
        *Options.writes,
        "pretrained/hyperparams.yaml",
        "pretrained/normalize.ckpt",
        "pretrained/model.ckpt",
        "pretrained/tokenizer.ckpt",
    )

    data_folder: OptionalFile
    num_speakers: Count
    phn_set: Literal[60, 48, 39]
    fold: Literal[0, 1, 2, 3]
    target: Text
    error_name: Name
    valid_annotation: FileName
    test_annotation: FileName
    tokenizer_folder: Folder
    error_file: NewFile
    inference_file: Annotated[
        str,
        fits(lambda name: (FOLDER / name).is_file()),
        Field(description=f"a file in {FOLDER}"),
    ]
    batch_size: Count = None
    annealing_factor: Share = None
    max_grad_norm: float = None
    sorting: Literal["ascending", "descending", "random"]
    num_workers: Few = None
    dataloader_opts: LoaderOptions
    sample_rate: SampleRate
    hop_length: Annotated[
        float, Field(gt=0, le=1000, description="a time in ms, up to 1000")
    ]
    n_fft: Width = None
    n_mels: Depth = None
    activation: Made = None
    dropout: Share = None
    cnn_blocks: Annotated[
        # SpeechBrain's CRDNN has no pooling for more.
        int, Field(ge=0, le=2, description="0, 1 or 2")
    ] = None
    cnn_channels: Widths = None
    cnn_kernelsize: Annotated[
        tuple[Odd, Odd],
        Strict(False),
        Field(description="two odd numbers below 100, as (3, 3)"),
    ] = None
    time_pooling: Flag = None
    rnn_layers: Depth = None
    rnn_neurons: Width = None
    rnn_bidirectional: Flag = None
    dnn_blocks: Few = None
    dnn_neurons: Width = None
    blank_index: Natural
    output_neurons: Width
    tokenizer: makes(PhonemeTokenizer, SentencePiece)
    wav_augment: OptionalMade = None
    compute_features: Made
    normalize: makes(InputNormalization)
    lr_annealing: Made
    modules: Modules
    compute_cost: Made
    error_stats: makes(MetricStats)
    source_folder: Text = None
    pretrainer: makes(WholePretrainer) = None
    layer: Made = None
    where: object = None
    frozen: Annotated[
        object,
        fits(_are_names),
        Field(description="names of parameters, as text or a list, or null"),
    ] = None
    number_of_fit_epochs: Few = None
    fit_lr: Positive = None

    @model_validator(mode="after")
    def check_fold(self):
        """It is one of NLTK's sample, which has to be given."""
        if self.fold and (self.skip_prep or self.data_folder is None):
            raise InputError(
                f"fold={self.fold}: expected 0, unless --data_folder is NLTK's "
                f"sample of TIMIT, and prepared (no --skip_prep)."
            )
        return self

    @model_validator(mode="after")
    def check_units(self):
        """The loss trusts their numbers, the blank's among them."""
        if self.blank_index >= self.output_neurons:
            raise InputError(
                f"blank_index={self.blank_index}: expected one of "
                f"output_neurons={self.output_neurons}, from 0 on."
            )
        if pydoc.locate(self.tokenizer.name) is PhonemeTokenizer:
            if self.output_neurons != self.phn_set + 1:
                raise InputError(
                    f"output_neurons={self.output_neurons}: expected "
                    f"{self.phn_set + 1}, for phn_set={self.phn_set} and the "
                    f"blank."
                )
            if self.blank_index != 0:
                raise InputError(
                    f"blank_index={self.blank_index}: expected 0, since this "
                    f"is the number of a phoneme."
                )
        return self

    @model_validator(mode="after")
    def check_weights(self):
        """Each part of SpeechBrain's CRDNN has about as many, at least."""
        channels = max(self.cnn_channels or [0])
        height, width = self.cnn_kernelsize or (0, 0)
        for number, part in (
            (
                (self.cnn_blocks or 0) * channels**2 * height * width,
                "cnn_channels^2 of cnn_kernelsize",
            ),
            (
                (self.rnn_layers or 0) * (self.rnn_neurons or 0) ** 2,
                "rnn_layers of rnn_neurons^2",
            ),
            (
                (self.dnn_blocks or 0) * (self.dnn_neurons or 0) ** 2,
                "dnn_blocks of dnn_neurons^2",
            ),
        ):
            if number > MOST_WEIGHTS:
                raise InputError(
                    f"{part}: expected {MOST_WEIGHTS} weights at most, got "
                    f"{number}."
                )
        return self

    @model_validator(mode="after")
    def check_tokenizer_folder(self):
        """It is emptied before another tokenizer is learnt."""
        own = Path(self.tokenizer_folder).resolve()
        for name in ("save_folder", "output_folder"):
            if Path(getattr(self, name)).resolve().is_relative_to(own):
                raise InputError(
                    f"tokenizer_folder={self.tokenizer_folder}: expected a "
                    f"folder that has nothing else in it, such as {name}."
                )
        return self

    @model_validator(mode="after")
    def check_frames(self):
        """Each has samples of its own, and fits in its Fourier transform."""
        hop = self.hop_length * self.sample_rate / 1000
        if hop < 1:
            raise InputError(
                f"hop_length={self.hop_length}: expected a sample at least, "
                f"in ms, at sample_rate={self.sample_rate}."
            )
        win_length = self.compute_features.kwargs.get("win_length", 25)
        is_number = type(win_length) in (int, float)
        if not is_number or win_length * self.sample_rate < 1000:
            raise InputError(
                f"win_length={win_length}: expected a sample at least, in ms, "
                f"at sample_rate={self.sample_rate}."
            )
        samples = round(win_length * self.sample_rate / 1000)
        if self.n_fft is not None and self.n_fft < samples:
            raise InputError(
                f"n_fft={self.n_fft}: expected {samples} at least, the samples "
                f"of a frame of {win_length} ms."
            )
        return self

    @model_validator(mode="after")
    def check_blocks(self):
        """Each block of convolutions has its number of channels, and bands to
        pad with, of which the block before leaves half.

        SpeechBrain's kernels are over frequency and time, in this order.
        """
        channels, blocks = self.cnn_channels, self.cnn_blocks
        if channels and blocks and len(channels) < blocks:
            raise InputError(
                f"cnn_channels={channels}: expected a number for each of "
                f"cnn_blocks={blocks}."
            )
        if self.n_mels and blocks and self.cnn_kernelsize:
            least = (self.cnn_kernelsize[0] // 2 + 1) * 2 ** (blocks - 1)
            if self.n_mels < least:
                raise InputError(
                    f"n_mels={self.n_mels}: expected {least} at least, for "
                    f"cnn_kernelsize={self.cnn_kernelsize} in "
                    f"cnn_blocks={blocks}."
                )
        return self
