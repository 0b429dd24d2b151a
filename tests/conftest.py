"""Settings of all tests."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

# The tests' tensors are tiny: more threads would only wait for each other, and
# for long on a busy machine.
torch.set_num_threads(1)

# Benchmarks import each other, as from the folder of the one that is run.
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

# The tests that need a GPU also run where hypothesis is not installed.
if importlib.util.find_spec("hypothesis"):
    from hypothesis import settings

    # The same examples every time, however slow the machine.
    settings.register_profile("tests", derandomize=True, deadline=None)
    settings.load_profile("tests")

if importlib.util.find_spec("speechbrain"):
    import speechbrain  # noqa: F401
    from speechbrain.utils.importutils import LazyModule

    # Hypothesis asks each module for its __file__. SpeechBrain's lazy ones
    # answer by importing what they stand for, which need not be installed.
    for module in list(sys.modules.values()):
        if isinstance(module, LazyModule):
            module.__file__ = None


@pytest.fixture(autouse=True)
def seed():
    """Each test draws the same random numbers, in whatever order they run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def synthetic_timit(tmp_path_factory):
    """The smallest corpus that recipes/TIMIT/synthesize.py makes."""
    from helpers import recipe_modules

    folder = tmp_path_factory.mktemp("synthetic") / "TIMIT"
    with recipe_modules("TIMIT", "synthesize") as modules:
        modules.synthesize.synthesize_timit(
            folder, modules.synthesize.MIN_SPEAKERS
        )
    return folder
