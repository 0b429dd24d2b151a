"""Layers where SpeechBrain looks up their names.

Its dual-path blocks take the name of a layer, `rnn_type`, and look it up in
`speechbrain.nnet.RNN`. (They would have to take a class, as CRDNN does.)

Authors
 * The speechbrain_cwrnn developers 2026
"""

# Not from speechbrain.nnet, where a lazy stand-in may be found instead.
import speechbrain.nnet.RNN as speechbrain_rnn

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.ligru import ClockworkLiGRU
from speechbrain_cwrnn.rnn import ClockworkRNN
from speechbrain_cwrnn.swap import check_layer

_names = set()


def register(**layers):
    """Let SpeechBrain find layers of this package by names.

    What SpeechBrain has itself is never replaced. A name that is registered
    again stands for what was given last.

    Arguments
    ---------
    **layers : type or functools.partial
        By name, ClockworkRNN or ClockworkLiGRU, maybe with arguments of its
        own, such as periods. By default these two, by their own names.

    Example
    -------
    >>> from speechbrain.lobes.models.dual_path import SBRNNBlock
    >>> register()
    >>> net = SBRNNBlock(64, 100, num_layers=1, rnn_type="ClockworkRNN")
    >>> type(net.mdl).__name__
    'ClockworkRNN'
    >>> unregister()
    """
    layers = layers or {
        "ClockworkRNN": ClockworkRNN,
        "ClockworkLiGRU": ClockworkLiGRU,
    }
    for name, layer in layers.items():
        check_layer(name, layer)
        if hasattr(speechbrain_rnn, name) and name not in _names:
            raise InputError(
                f"{name}={layer!r}: expected a name that speechbrain.nnet.RNN "
                f"does not have itself."
            )
    for name, layer in layers.items():
        setattr(speechbrain_rnn, name, layer)
        _names.add(name)


def unregister():
    """Undo all that `register` did."""
    while _names:
        delattr(speechbrain_rnn, _names.pop())
