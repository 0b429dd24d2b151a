"""What the options of this recipe must be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Annotated

from pydantic import Field

from speechbrain_cwrnn.schema import (
    Count,
    NotNegative,
    OptionalFile,
    SizedOptions,
)

Seconds = Annotated[
    float, Field(ge=0, le=1e6, description="a number of seconds, up to 1e6")
]


class AudioGenOptions(SizedOptions):
    """The keys of its YAML files."""

    writes = (*SizedOptions.writes, "generated.png", "nmse.png")

    audio: OptionalFile
    targets: OptionalFile
    num_excerpts: Count
    excerpt_seconds: Seconds
    offset: Seconds
    csv_sample_rate: Count
    checkpoint_interval: Count
    max_grad_norm: float = -1
    diverged_mse: NotNegative
