"""Clockwork RNNs for SpeechBrain.

Index
-----
ClockworkRNN : the layer, with the interface of `speechbrain.nnet.RNN.LSTM`
clockwork_rnn : the same for one layer and direction, as a function
Ensemble : many independent copies of a module, trained at once
peephole : the LSTM that the paper compares with
reference : the equations of the paper as a loop, to compare with
features : the features of speech that the paper uses
last_state : the last output of a recurrent layer, as an embedding
phonemes : those of TIMIT, and a tokenizer for them
pretrained : writes what SpeechBrain's `from_hparams` loads
hparams : the options of a recipe
report : what recipes write: whole files, tables, figures

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain_cwrnn.ensemble import Ensemble
from speechbrain_cwrnn.functional import clockwork_rnn
from speechbrain_cwrnn.rnn import ClockworkRNN

__all__ = ["ClockworkRNN", "Ensemble", "clockwork_rnn"]
