"""What pip installs, and what else that needs."""

from setuptools import find_packages, setup

with open("README.md", encoding="utf-8") as readme:
    long_description = readme.read()

setup(
    name="speechbrain_cwrnn",
    version="0.1.0",
    description="Clockwork RNNs for SpeechBrain: exact and fast",
    long_description=long_description,
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["speechbrain_cwrnn*"]),
    python_requires=">=3.10",
    install_requires=[
        "speechbrain>=1.1.2",
        # Newer torch and the last torchaudio are built for different versions
        # of CUDA, and do not import together.
        "torch>=2.7.1,<2.15",
        "torchaudio>=2.7.1",
        "hyperpyyaml>=1.2.2",
        "sentencepiece",
        "soundfile>=0.12.1",
        "numpy",
        "numba",
        "matplotlib",
        "tqdm",
    ],
    extras_require={
        # The library of espeak-ng, for synthetic speech.
        "synth": ["espeakng-loader"],
        "test": [
            "pytest",
            "hypothesis",
            "ruff==0.17.6",
            "espeakng-loader",
            "python_speech_features",
            "yamllint",
        ],
    },
)
