"""What the options of this recipe must be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Annotated

from pydantic import AfterValidator, Field
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.processing.features import InputNormalization
from words_prepare import group_words

from speechbrain_cwrnn.schema import (
    Count,
    FileName,
    Made,
    NotNegative,
    OptionalFile,
    SampleRate,
    Seed,
    SizedOptions,
    Width,
    makes,
)


class WordOptions(SizedOptions):
    """The keys of its YAML files."""

    writes = (
        *SizedOptions.writes,
        "confusions.csv",
        "confusions.png",
        "errors.png",
        "pretrained/hyperparams.yaml",
        "pretrained/mean_var_norm.ckpt",
        "pretrained/embedding_model.ckpt",
        "pretrained/classifier.ckpt",
        "pretrained/label_encoder.ckpt",
    )

    data_folder: OptionalFile
    num_speakers: Count
    words: Annotated[
        object,
        AfterValidator(group_words),
        Field(description="words, lists of words, or sa"),
    ]
    num_train: Count
    num_test: Count
    data_seed: Seed
    test_annotation: FileName
    patience: Count
    batch_size: Count
    noise_std: NotNegative
    sample_rate: SampleRate
    input_size: Width
    compute_features: Made
    normalize: makes(InputNormalization)
    label_encoder: makes(CategoricalEncoder)
