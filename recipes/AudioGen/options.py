"""What the options of this recipe must be.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from typing import Annotated, Literal

from pydantic import Field

from speechbrain_cwrnn.calls import Call
from speechbrain_cwrnn.schema import (
    Count,
    NotNegative,
    OptionalFile,
    SizedOptions,
    fits,
)

Seconds = Annotated[
    float, Field(ge=0, le=1e6, description="a number of seconds, up to 1e6")
]
Norms = Annotated[
    dict[str, float], Field(description="a norm for each protocol")
]
# It is looked up, if it is not given.
Norm = Annotated[
    object,
    fits(lambda n: isinstance(n, Call) or type(n) in (int, float)),
    Field(description="a number"),
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
    protocol: Literal["clipped", "paper"] = "clipped"
    max_grad_norms: Norms = None
    max_grad_norm: Norm = -1
    diverged_mse: NotNegative
