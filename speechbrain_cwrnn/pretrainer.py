"""Loading the files of a model that a recipe has written.

Authors
 * The speechbrain_cwrnn developers 2026
"""

from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.checkpoints import (
    DEFAULT_TRANSFER_HOOKS,
    get_default_hook,
    torch_parameter_transfer,
    torch_patched_state_dict_load,
)
from speechbrain.utils.parameter_transfer import Pretrainer

from speechbrain_cwrnn.errors import InputError, tried
from speechbrain_cwrnn.state_dicts import format_misfits, list_misfits


class WholePretrainer(Pretrainer):
    """SpeechBrain's, but a file that is missing, damaged, or of another model
    is an error that names it.

    Upstream, an error would have to name the file, and a weight or an encoder
    that is not loaded would have to be one.

    Arguments
    ---------
    *args, **kwargs
        As those of `speechbrain.utils.parameter_transfer.Pretrainer`.

    Example
    -------
    >>> import torch
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "model.ckpt").write_text("no weights")
    >>> pretrainer = WholePretrainer(loadables={"model": torch.nn.Tanh()})
    >>> _ = pretrainer.collect_files(default_source=folder)
    >>> pretrainer.load_collected()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: .../model.ckpt: expected a file as ...
    """

    def load_collected(self):
        """Loads what was collected, file by file."""
        loadables = self.loadables
        try:
            for name in loadables:
                self._load(name, loadables[name])
        finally:
            self.loadables = loadables

    def _load(self, name, loadable):
        hook = get_default_hook(loadable, DEFAULT_TRANSFER_HOOKS)
        if hook is torch_parameter_transfer:
            self.custom_hooks.setdefault(name, load_weights)
        if isinstance(loadable, CategoricalEncoder):
            # SpeechBrain would leave it empty where it cannot be loaded.
            self.custom_hooks.setdefault(name, type(loadable).load)
        self.loadables = {name: loadable}
        # What is loaded on a condition has a path on the same one.
        with tried(self.paths.get(name, name), "a file as it was written"):
            super().load_collected()


def load_weights(module, path):
    """Load all of a module, of which SpeechBrain leaves out what is missing,
    with a warning."""
    own, found = module.state_dict(), torch_patched_state_dict_load(path)
    if misfits := list_misfits(own, found):
        raise InputError(
            f"{path}: expected the weights of this model, with the same "
            f"options.\n{format_misfits(misfits, own, found)}"
        )
    try:
        module.load_state_dict(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
