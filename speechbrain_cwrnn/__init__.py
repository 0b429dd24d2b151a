"""Clockwork RNNs for SpeechBrain.

Index
-----
rnn : ClockworkRNN, with the interface of `speechbrain.nnet.RNN.LSTM`
ligru : ClockworkLiGRU, gated, with that of `speechbrain.nnet.RNN.LiGRU`
functional : clockwork_rnn and clockwork_ligru, one layer and direction of each
transducer : RNN and LiGRU, the layers for a transducer's prediction network
streaming : networks and features for StreamingASR, chunk by chunk
onnx : export of layers and streaming networks
decoder : AttentionalRNNDecoder, SpeechBrain's with clockwork units, and its
    ClockworkCell
swap : swap_rnns, which puts them in the place of a model's RNNs
registry : register, by which SpeechBrain finds them by their names
transfer : transfer_rest, which loads what fits of a file of weights
ensemble : Ensemble, many independent copies of a module, trained at once
reference : the equations of both as loops, to compare with

How the layer computes, from the bottom to the top:

errors : InputError, of whoever gave something else than was expected, or named
    what does not work
transforms : which transforms of PyTorch are active
checks : what an argument must be
tables : tables in Markdown
state_dicts : what of a state dict fits a module
lengths : padded batches, how long each sequence is and where it ends
cells : what a unit does when it ticks; Cell
clock : periods, group sizes and ticks; Groups
linear : the tensors of a layer, and products with its weights; Layer
inputs : what each group sees of the input, at its ticks
norm : how that is normalised, at the ticks alone
sweep : one way through time, group by group, slow to fast; the equations
    holding : what is held, read at other times
    eager, cpu, gpu : its engines
    cpu_kernels, gpu_vectors, gpu_matrices, gpu_cells : their kernels
stepwise : the other way, all groups at once, where there is little to compute
    cpu, cpu_kernels : its engine
vectors, threads : what both compiled engines need
backend : which way, and which engine
op : both steps as one operation of PyTorch, with its gradient
apart : the same as two operations, with room between them
plain : the layer in plain PyTorch: single steps, and any derivative

What recipes and their pretrained models use:

features : the features of speech that the paper uses
last_state : the last output of a recurrent layer, as an embedding
peephole : the LSTM that the paper compares with
peephole_cpu : its loops, compiled
unrolled_gru : a GRU that networks trained at once can have
phonemes : those of TIMIT, and a tokenizer for them
brain : a SpeechBrain Brain that trains an Ensemble
checkpoints : checkpoints that are whole or not there; WholeCheckpointer
lock : one run in an output folder at a time
outputs : whether what a run writes can be written, before it begins
study : many runs on the cores of a machine, as studies have them
calls : what a YAML file names, read without making it
schema : what the options of a recipe must be, and the sentences if not
hparams : the options of a recipe
run_options : SpeechBrain's own
program : what a train.py does when it is run
manifest : the data of a recipe, maybe of a user's own
audio : parts of recordings, and what is wrong with them
report : what recipes write: whole files, results, tables, figures
paired : how errors differ where what is compared had the same data
pretrained : writes what SpeechBrain's `from_hparams` loads
pretrainer : loads its files, or says which one is damaged; WholePretrainer
hub : makes a folder of that for the Hugging Face hub

Authors
 * The speechbrain_cwrnn developers 2026
"""

from importlib import import_module

from speechbrain_cwrnn.ensemble import Ensemble
from speechbrain_cwrnn.functional import clockwork_ligru, clockwork_rnn
from speechbrain_cwrnn.ligru import ClockworkLiGRU
from speechbrain_cwrnn.rnn import ClockworkRNN

__version__ = "0.2.0.dev0"

__all__ = [
    "ClockworkLiGRU",
    "ClockworkRNN",
    "Ensemble",
    "clockwork_ligru",
    "clockwork_rnn",
    "register",
    "swap_rnns",
    "transfer_rest",
    "unregister",
]

# What needs SpeechBrain, which the layers do not.
_MODULES = {
    "register": "registry",
    "swap_rnns": "swap",
    "transfer_rest": "transfer",
    "unregister": "registry",
}


def __getattr__(name):
    """Imports what needs SpeechBrain when it is asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)
