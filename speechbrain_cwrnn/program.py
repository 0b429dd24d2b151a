"""What a recipe's train.py does when it is run as a program.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import errno
import io
import logging
import re
import signal
import sys
from collections import Counter
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, replace

import speechbrain as sb
from speechbrain.utils.run_opts import RunOptions

from speechbrain_cwrnn.errors import InputError, StoppedError

# SpeechBrain writes all that is logged to log.txt, and these log a lot.
CHATTY = ("numba", "matplotlib", "PIL", "fsspec", "filelock")

# What a file system answers that has no room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

PATH_OPTION = re.compile(r"--(audio|targets|\w+_(annotation|file|folder|log))")


def run_program(main):
    """Run a recipe with the arguments of the command line.

    What is wrong with these, or with the data, ends it with one sentence, and
    so does a full disk; a fault of the recipe's own still shows its traceback.

    Arguments
    ---------
    main : callable
        Gets the YAML file, the run options, and what overrides the YAML file,
        as `speechbrain.parse_arguments` returns them.
    """
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        # A train.py has left it to the system while modules were loaded.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*parse_arguments(sys.argv[1:]))
    except (InputError, StoppedError) as error:
        # A data loader's worker sends its traceback along, before the sentence.
        sentence = str(error).rpartition("InputError: ")[2].strip()
        sys.exit(f"Error: {sentence}")
    except KeyboardInterrupt as interrupt:
        kept = f": {interrupt}" if interrupt.args else ""
        print(f"Interrupted{kept}.", file=sys.stderr)
        # As shells do, by convention.
        sys.exit(130)


@contextmanager
def stoppable(checkpointer):
    """Say what a run keeps if it is stopped, by the user or by a full disk.

    Arguments
    ---------
    checkpointer : speechbrain_cwrnn.checkpoints.WholeCheckpointer
        That of the run, whose folder is cleaned first.

    Example
    -------
    >>> from speechbrain_cwrnn.checkpoints import WholeCheckpointer
    >>> with stoppable(WholeCheckpointer(getfixture("tmp_path") / "save")):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.StoppedError: ...: expected room for what a run ...
    """
    checkpointer.open()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(checkpointer.kept()) from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoppedError(
            f"{error.filename or checkpointer.checkpoints_dir}: expected room "
            f"for what a run writes ({error.strerror}); {checkpointer.kept()}."
        ) from error


def parse_arguments(arguments):
    """What SpeechBrain's does, but that paths are taken as they stand, and
    that no option is ignored.

    SpeechBrain pastes all values into a YAML text, where `take #2.wav` is
    `take`, and `a=b` is split. Upstream, the values would have to be quoted.

    Arguments
    ---------
    arguments : list of str
        Those of the command line.

    Returns
    -------
    param_file : str
        The YAML file.
    run_opts : speechbrain.utils.run_opts.RunOptions
        The run options.
    overrides : str
        What overrides the YAML file, as YAML.

    Example
    -------
    >>> _, _, overrides = parse_arguments(["a.yaml", "--audio", "take #2.wav"])
    >>> overrides
    'audio: "take\\\\U00000020\\\\U000000232.wav"'
    """
    quoted, option = [], None
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option is not None:
            quoted.append(quote_path(option, argument))
            option = None
        elif not PATH_OPTION.fullmatch(name):
            quoted.append(argument)
        elif equals:
            quoted += [name, quote_path(name, value)]
        else:
            quoted.append(option := name)
    check_names(a[2:].split("=")[0] for a in quoted if a.startswith("--"))
    with redirect_stderr(io.StringIO()) as shown:
        try:
            hparams_file, run_opts, overrides = sb.parse_arguments(quoted)
        except SystemExit as stop:
            if not stop.code:
                raise
            # The usage stands before it. Upstream, argparse would have to be
            # told exit_on_error=False.
            _, _, error = shown.getvalue().rpartition("error: ")
            raise InputError(f"{error.strip()}.") from stop
    # SpeechBrain leaves it text, since its default, None, has no other type.
    limit = run_opts.optimizer_step_limit
    if limit is not None and limit.isdecimal():
        run_opts = replace(run_opts, optimizer_step_limit=int(limit))
    return hparams_file, run_opts, overrides


def check_names(names):
    """Raise an error for options that are given twice, or in part."""
    known = [field.name for field in fields(RunOptions)]
    for name, times in Counter(names).items():
        if not name:
            raise InputError("--: expected the name of an option.")
        if times > 1:
            raise InputError(f"--{name}: expected once.")
        # SpeechBrain takes an abbreviation, but does not count it as given.
        # Upstream, argparse would have to be told allow_abbrev=False.
        whole = [option for option in known if option.startswith(name)]
        if whole and name not in known:
            raise InputError(f"--{name}: expected --{' or --'.join(whole)}.")


def quote_path(option, path):
    """A path of the command line as YAML; null is none, as everywhere."""
    if path == "null":
        return path
    if re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]|<[^>]*>", path):
        raise InputError(
            f"{option}={path!r}: expected a path in UTF-8 without control "
            f"characters, and without <...>, which is a reference in YAML."
        )
    # Escapes, since SpeechBrain splits at "=", and argparse at a leading "-".
    escaped = re.sub(
        r"[^\w./-]", lambda m: f"\\U{ord(m[0]):08x}", path, flags=re.ASCII
    )
    return f'"{escaped}"'
