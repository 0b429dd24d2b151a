"""A tiny model for the CTC recipe."""

from helpers import RECIPES

RECIPE = RECIPES / "TIMIT" / "ASR" / "CTC"
SMALL = {
    "cnn_channels": "(8, 16)",
    "rnn_layers": 1,
    "rnn_neurons": 48,
    "dnn_blocks": 1,
    "dnn_neurons": 48,
    "dropout": 0,
    "batch_size": 1,
    "wav_augment": "null",
    "lr": 0.005,
    "annealing_factor": 1,
}


def flags(few, folder, **options):
    """Options for a small model."""
    options = {
        "data_folder": few,
        "output_folder": folder,
        **SMALL,
        **options,
    }
    return [
        str(x) for pair in options.items() for x in (f"--{pair[0]}", pair[1])
    ]
