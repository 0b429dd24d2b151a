"""Checkpoints that are whole or not there, and random numbers that go on.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import hashlib
import logging
import os
import random
import re
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    METAFNAME,
    PARAMFILE_EXT,
    Checkpoint,
    Checkpointer,
    ckpt_recency,
    logger,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from speechbrain.utils.distributed import (
    ddp_barrier,
    get_rank,
    if_main_process,
    is_distributed_initialized,
    main_process_only,
)

from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.report import check_room, whole_file

# The digests of the other files of a checkpoint, as `sha256sum --check` reads
# them.
SUMS = "SHA256SUMS"
# What begins the name of a folder that is not yet a checkpoint, or no more.
PARTIAL = ".partial-"


class WholeCheckpointer(Checkpointer):
    """A Checkpointer whose checkpoints are whole, or not there.

    SpeechBrain's writes CKPT.yaml first, then the rest, where it is to stay.
    After a kill or with a full disk, what is there counts as the newest
    checkpoint, and cannot be loaded. Here, a checkpoint is written under
    another name, with the digests of its files, and renamed when complete; one
    to be deleted is renamed first. Those whose files are not what was saved are
    not listed, hence neither loaded nor deleted.

    The random numbers belong to each checkpoint: see `RandomState`.

    Arguments
    ---------
    checkpoints_dir : str or pathlib.Path
        Where the checkpoints are. It is made for the first one.
    recoverables : dict
        What they have, by names.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> layer = torch.nn.Linear(3, 2)
    >>> checkpointer = WholeCheckpointer(folder, {"layer": layer})
    >>> for _ in range(3):
    ...     checkpointer.save_and_keep_only(num_to_keep=2)
    >>> older, newest = sorted(folder.iterdir())
    >>> sorted(path.name for path in newest.iterdir())
    ['CKPT.yaml', 'SHA256SUMS', 'layer.ckpt', 'random.ckpt']
    >>> _ = (newest / "layer.ckpt").write_text("damaged")
    >>> WholeCheckpointer(folder).find_checkpoint().path == older
    True
    """

    def __init__(self, checkpoints_dir, recoverables=None):
        # SpeechBrain's makes the folder at once, also for a run that is
        # refused; the one that is given here is there.
        super().__init__(os.curdir, recoverables)
        self.checkpoints_dir = Path(checkpoints_dir)
        # In which a Brain puts them that debugs, until the program ends.
        self.tempdir = None
        # Those of SpeechBrain's do not have it.
        self.add_recoverable("random", RandomState(), optional_load=True)
        self._faults = {}

    def open(self):
        """Remove what a kill has left, and say which checkpoints are damaged.

        To be called before a run. Raises an error where all are damaged, since
        to begin anew would be to lose the run.
        """
        _remove_leftovers(self.checkpoints_dir)
        newest = self.find_checkpoint()
        for folder in self._folders():
            if fault := self._fault(folder):
                if newest is None:
                    raise InputError(
                        f"{folder}: expected a whole checkpoint, and {fault}, "
                        f"nor is there another one (bring the file back from a "
                        f"copy, or begin in another --output_folder)."
                    )
                logger.warning(
                    f"{folder} is left out, since {fault}. The newest whole "
                    f"checkpoint is {newest.path.name}."
                )

    def kept(self):
        """What a run keeps if it is stopped now, and what comes of that."""
        if self.tempdir is not None:
            return "debugging keeps nothing, and the same command begins anew"
        newest = self.find_checkpoint()
        if newest is None:
            return "nothing is saved yet, and the same command begins anew"
        return f"{newest.path} is kept, and the same command goes on"

    def save_checkpoint(
        self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO
    ):
        """As SpeechBrain's, but it is there only when it is complete."""
        meta = dict(meta or {})
        if name is not None:
            path = super()._custom_checkpoint_dirpath(name)
            if path.exists():
                raise InputError(
                    f"name={name}: expected one that no checkpoint has, and "
                    f"{path} is there."
                )
        if newest := self.find_checkpoint():
            # Whatever a clock says that was set back, or another machine's.
            after = newest.meta["unixtime"] + 0.001
            meta = {"unixtime": max(time.time(), after), **meta}
        try:
            checkpoint = super().save_checkpoint(
                meta, end_of_epoch, name, logging.DEBUG
            )
        except RuntimeError:
            check_room(self.checkpoints_dir)
            raise
        if if_main_process():
            checkpoint = self._complete(checkpoint)
            logger.log(verbosity, f"Saved a checkpoint in {checkpoint.path}")
        ddp_barrier()
        return checkpoint

    def save_and_keep_only(self, *args, importance_keys=(), **kwargs):
        """As SpeechBrain's, whose own default grows with each call."""
        super().save_and_keep_only(
            *args, importance_keys=list(importance_keys), **kwargs
        )

    def delete_checkpoints(
        self,
        *,
        num_to_keep=1,
        min_keys=None,
        max_keys=None,
        importance_keys=(ckpt_recency,),
        ckpt_predicate=None,
        verbosity=logging.INFO,
    ):
        """As SpeechBrain's, but what is half deleted is no checkpoint.

        There, a subclass cannot say how one is deleted: it would have to be a
        method that is called on self.
        """
        keys = [{"min_key": key} for key in min_keys or ()]
        keys += [{"max_key": key} for key in max_keys or ()]
        keys += [{"importance_key": key} for key in importance_keys]
        ranked = [
            self.find_checkpoints(ckpt_predicate=ckpt_predicate, **key)
            for key in keys
        ]
        kept = {c.path for order in ranked for c in order[:num_to_keep]}
        # Other processes may still look for checkpoints.
        ddp_barrier()
        if if_main_process():
            for path in {c.path for order in ranked for c in order} - kept:
                shutil.rmtree(path.rename(_partial(path)))
                logger.log(verbosity, f"Deleted checkpoint in {path}")
        ddp_barrier()

    def _new_checkpoint_dirpath(self):
        return _partial(super()._new_checkpoint_dirpath())

    def _custom_checkpoint_dirpath(self, name):
        return _partial(super()._custom_checkpoint_dirpath(name))

    def _complete(self, checkpoint):
        """The checkpoint [Checkpoint] in its place, with its digests."""
        partial = checkpoint.path
        if not partial.name.startswith(PARTIAL):
            # Two methods that name them are overridden, which upstream would
            # have to be public for that.
            raise RuntimeError(
                f"{partial}: expected a name that begins with {PARTIAL}, which "
                f"this version of SpeechBrain has not asked for."
            )
        sums = "".join(
            f"{_digest(path)}  {path.name}\n"
            for path in sorted(partial.iterdir())
        )
        (partial / SUMS).write_text(sums)
        for path in partial.iterdir():
            _sync(path)
        _sync(partial)
        path = partial.with_name(partial.name.removeprefix(PARTIAL))
        partial.rename(path)
        _sync(path.parent)
        self._faults[path] = None
        files = {
            name: path / file.name
            for name, file in checkpoint.paramfiles.items()
        }
        return Checkpoint(path, checkpoint.meta, files)

    def _folders(self):
        """All that have the name of a checkpoint."""
        folders = sorted(self.checkpoints_dir.glob(f"{CKPT_PREFIX}+*"))
        return [folder for folder in folders if folder.is_dir()]

    def _fault(self, folder):
        """What is wrong with a checkpoint, which is looked at once."""
        if folder not in self._faults:
            self._faults[folder] = find_fault(folder)
        return self._faults[folder]

    def _list_checkpoint_dirs(self):
        return [f for f in self._folders() if self._fault(f) is None]


def find_fault(folder):
    """What is wrong with the files of a checkpoint.

    Arguments
    ---------
    folder : pathlib.Path
        The checkpoint.

    Returns
    -------
    str
        Half a sentence, or None. Where nothing is known of the files, since
        SpeechBrain's Checkpointer wrote them, they are believed.

    Example
    -------
    >>> find_fault(getfixture("tmp_path"))
    'CKPT.yaml is missing'
    """
    if not (folder / METAFNAME).is_file():
        return f"{METAFNAME} is missing"
    if not (folder / SUMS).is_file():
        return None
    lines = (folder / SUMS).read_text(errors="replace")
    known = re.findall(r"^([0-9a-f]{64})  (.+)$", lines, re.MULTILINE)
    digests = {name: digest for digest, name in known}
    found = {path.name for path in folder.glob(f"*{PARAMFILE_EXT}")}
    for name in sorted({METAFNAME, *found, *digests}):
        if name not in digests:
            return f"{SUMS} does not have {name}"
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _digest(folder / name) != digests[name]:
            return f"{name} is not what was saved"
    return None


class RandomState:
    """The state of random numbers, to be saved with a checkpoint.

    Of PyTorch, also on the GPU in use, of NumPy and of Python, in each process.
    So what a run draws after an interruption, for dropout and the like, is what
    it would have drawn without.

    Example
    -------
    >>> path = getfixture("tmp_path") / "random.ckpt"
    >>> state = RandomState()
    >>> state.save(path)
    >>> before = torch.rand(1), np.random.rand(), random.random()
    >>> state.load(path)
    >>> (torch.rand(1), np.random.rand(), random.random()) == before
    True
    """

    @mark_as_saver
    def save(self, path):
        """Writes the state of all processes."""
        kind, keys, *rest = np.random.get_state()
        state = {
            "python": random.getstate(),
            # PyTorch does not load NumPy's arrays unless told to trust them.
            "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
            "torch": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        states = [state]
        if is_distributed_initialized():
            states *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, state)
        if if_main_process():
            torch.save(states, path)

    @mark_as_loader
    def load(self, path, end_of_epoch=True):
        """Goes on with the state that this process had."""
        states = torch.load(path)
        # The number of processes is that of before: see `hparams.begin`.
        state = states[get_rank() if is_distributed_initialized() else 0]
        random.setstate(state["python"])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])


# Each process has a state of its own.
register_checkpoint_hooks(RandomState, save_on_main_only=False)


@main_process_only
def keep_epochs(log, last):
    """Take back the lines of a log that no checkpoint knows.

    An epoch that was logged, but not saved any more, is trained and logged
    again; so is the test, which comes last.

    Arguments
    ---------
    log : str or pathlib.Path
        What SpeechBrain's FileTrainLogger writes.
    last : int
        The last epoch that is kept.

    Example
    -------
    >>> log = getfixture("tmp_path") / "train_log.txt"
    >>> _ = log.write_text("epoch: 1, loss: 2\\nepoch: 2, loss: 1\\n")
    >>> keep_epochs(log, last=1)
    >>> log.read_text()
    'epoch: 1, loss: 2\\n'
    """
    log = Path(log)
    if not log.exists():
        return
    kept = {}
    for line in re.findall(r"^epoch: .*\n", log.read_text(), re.MULTILINE):
        epoch = int(re.search(r"\d+", line)[0])
        if epoch <= last:
            # Debugging may have logged it once more.
            kept.setdefault(epoch, line)
    with whole_file(log) as path:
        Path(path).write_text("".join(kept.values()))


@main_process_only
def _remove_leftovers(folder):
    """Remove what was being saved or deleted when a run was killed."""
    leftovers = list(folder.glob(f"{PARTIAL}{CKPT_PREFIX}*"))
    for leftover in leftovers:
        shutil.rmtree(leftover)
    if leftovers:
        logger.warning(
            f"Removed what an interrupted run had not finished to save, or to "
            f"delete: {', '.join(str(leftover) for leftover in leftovers)}"
        )


def _partial(path):
    """Where a checkpoint is while it is not one."""
    return path.with_name(PARTIAL + path.name)


def _digest(path):
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        # A model need not fit in memory twice.
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path):
    """Wait until a file or folder is on the disk."""
    # Only where a folder can be opened, which is not so on Windows.
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
