"""Loading what fits of a file of weights, where that is meant.

SpeechBrain's Pretrainer loads what has the same names, and warns of each name
that is missing, with the whole model printed each time. A layer of this package
raises an error instead of staying random; this is for those who mean it.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain.utils.checkpoints import torch_patched_state_dict_load
from speechbrain.utils.logger import get_logger

from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.rnn import ClockworkRNN
from speechbrain_cwrnn.state_dicts import format_misfits, list_misfits

logger = get_logger(__name__)


def transfer_rest(module, path):
    """Load what fits of a file of weights; say in one table what does not.

    A layer of this package is loaded as a whole, or left as it is. It is a hook
    for SpeechBrain's Pretrainer, in a YAML file

        custom_hooks:
            model: !name:speechbrain_cwrnn.transfer_rest

    Arguments
    ---------
    module : torch.nn.Module
        What is loaded.
    path : str or pathlib.Path
        File of a state dict.

    Example
    -------
    >>> import torch
    >>> from torch import nn
    >>> path = getfixture("tmp_path") / "model.ckpt"
    >>> lstm = nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2))
    >>> torch.save(lstm.state_dict(), path)
    >>> net = nn.Sequential(ClockworkRNN(4, input_size=3), nn.Linear(4, 2))
    >>> transfer_rest(net, path)
    >>> torch.equal(net[1].weight, lstm[1].weight)
    True
    """
    own = module.state_dict()
    with tried(path, "a file of weights, as it was written"):
        found = torch_patched_state_dict_load(path)
        left = dict.fromkeys(list_misfits(own, found))
    for name, layer in module.named_modules():
        if isinstance(layer, ClockworkRNN):
            prefix = f"{name}." if name else ""
            keys = [f"{prefix}{key}" for key in layer.state_dict()]
            extra = f"{prefix}_extra_state"
            if any(key in left for key in keys):
                left.update(dict.fromkeys(keys))
            elif extra in found:
                # An error for other periods, before a weight is overwritten.
                layer.set_extra_state(found[extra])
            else:
                # It warns, where the file does not say its periods.
                del own[extra]
    # Of a layer that is not here, there is an extra state, too.
    fits = {
        name: found[name] for name in found if name in own and name not in left
    }
    if not fits:
        raise InputError(
            f"{path}: expected weights of the {type(module).__name__}, and "
            f"there are none."
        )
    module.load_state_dict({**own, **fits})
    if left:
        names = [name for name in left if not name.endswith("_extra_state")]
        logger.warning(
            f"Of {path}, all was loaded but\n"
            f"{format_misfits(names, own, found)}"
        )
