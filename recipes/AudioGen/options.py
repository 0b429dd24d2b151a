"""What the options of this recipe must be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.schema import (
    Count,
    NotNegative,
    OptionalFile,
    Positive,
    SizedOptions,
)


class AudioGenOptions(SizedOptions):
    """The keys of its YAML files."""

    audio: OptionalFile
    targets: OptionalFile
    num_excerpts: Count
    excerpt_seconds: Positive
    offset: NotNegative
    csv_sample_rate: Count
    checkpoint_interval: Count
    diverged_mse: NotNegative
