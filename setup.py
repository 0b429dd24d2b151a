"""What pip installs, and what else that needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

long_description = Path("README.md").read_text(encoding="utf-8")
init = Path("speechbrain_cwrnn/__init__.py").read_text(encoding="utf-8")

setup(
    name="speechbrain_cwrnn",
    version=re.search('__version__ = "(.+)"', init)[1],
    description="Clockwork RNNs for SpeechBrain: exact and fast",
    long_description=long_description,
    long_description_content_type="text/markdown",
    author="The speechbrain_cwrnn developers",
    keywords=[
        "clockwork RNN",
        "recurrent neural networks",
        "speech recognition",
        "SpeechBrain",
        "PyTorch",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["speechbrain_cwrnn*"]),
    python_requires=">=3.10",
    # The lower bounds are tested; constraints-oldest.txt repeats them.
    install_requires=[
        "speechbrain>=1.1.2",
        # Newer torch and the last torchaudio are built for different versions
        # of CUDA, and do not import together.
        "torch>=2.7.1,<2.15",
        "torchaudio>=2.7.1",
        "hyperpyyaml>=1.2.3",
        "sentencepiece",
        "soundfile>=0.12.1",
        "filelock>=3.30.0",
        "numpy>=1.26.4",
        "scipy",
        "numba>=0.58.1",
        "pydantic>=2.8.2",
        "matplotlib",
        "tqdm",
    ],
    extras_require={
        # The library of espeak-ng, for synthetic speech.
        "synth": ["espeakng-loader"],
        # What torch.onnx.export writes with, and what runs it.
        "onnx": ["onnxscript", "onnxruntime"],
        "test": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff==0.17.6",
            "espeakng-loader",
            "python_speech_features",
            "yamllint",
            "nbclient",
            "ipykernel",
            "onnxscript",
            "onnxruntime",
        ],
    },
)
