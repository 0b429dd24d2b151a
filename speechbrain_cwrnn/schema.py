"""What the options of a recipe must be, and the sentence where one is not.

A recipe lists its keys once, as the fields of a class on top of `Options`.
They are checked by pydantic before HyperPyYAML makes anything: what a YAML
file names to be made or called is a `Call` here (see `calls`).

Authors
 * The speechbrain_cwrnn developers 2026
"""

import inspect
import os
import pydoc
import re
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    Strict,
    ValidationError,
    model_validator,
)
from speechbrain.utils.epoch_loop import EpochCounter
from speechbrain.utils.train_logger import TrainLogger

from speechbrain_cwrnn.calls import Call, find_calls
from speechbrain_cwrnn.checkpoints import WholeCheckpointer
from speechbrain_cwrnn.errors import InputError
from speechbrain_cwrnn.manifest import PLAIN, is_file_name
from speechbrain_cwrnn.outputs import (
    can_be_called,
    check_writes,
    is_log,
    is_room,
    is_writable,
)
from speechbrain_cwrnn.report import RESULTS


def fits(condition):
    """A condition on a field, whose description says what is expected."""

    def check(value):
        if not condition(value):
            raise ValueError
        return value

    return AfterValidator(check)


def _integer(low, high):
    text = f"an integer from {low} to {high}"
    return Annotated[int, Field(ge=low, le=high, description=text)]


def makes(*kinds):
    """A `Call` of a class of some kinds, or of a function."""

    def is_one(call):
        thing = pydoc.locate(call.name)
        return not inspect.isclass(thing) or issubclass(thing, kinds)

    names = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in kinds)
    text = f"a {names}, after !new: or !name:"
    return Annotated[InstanceOf[Call], fits(is_one), Field(description=text)]


Count = _integer(1, 2**31 - 1)
Natural = _integer(0, 2**31 - 1)
# What memory grows with, by itself; the weights of a part of a model; and what
# that grows with, by its square. Larger ones take minutes to make.
MOST = 2**14
MOST_WEIGHTS = 2**24
MOST_UNITS = 2**12
Width = _integer(1, MOST)
Depth = _integer(1, 1000)
Few = _integer(0, 1000)
Size = Annotated[
    object,
    fits(
        lambda n: isinstance(n, Call) or type(n) is int and 0 < n <= MOST_UNITS
    ),
    Field(description=f"an integer from 1 to {MOST_UNITS}"),
]
SampleRate = _integer(1000, 10**6)
Seed = _integer(0, 2**32 - 1)
Flag = Annotated[bool, Field(description="True or False")]
Positive = Annotated[float, Field(gt=0, description="a positive number")]
NotNegative = Annotated[float, Field(ge=0, description="a number from 0 on")]
Share = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Momentum = Annotated[
    float, Field(gt=0, lt=1, description="a number between 0 and 1")
]
Widths = Annotated[
    tuple[Width, ...],
    Strict(False),
    Field(description=f"integers from 1 to {MOST}, as (1, 2)"),
]
Sizes = Annotated[
    dict[Count, Width],
    Field(min_length=1, description="a size for each number of parameters"),
]
Name = Annotated[
    str,
    Field(description=f"a name that a file can have on any system ({PLAIN})"),
    fits(is_file_name),
]
Text = Annotated[str, Field(min_length=1, description="text")]
FileName = Annotated[
    str,
    Field(min_length=1, description="the name of a file, as text"),
    fits(lambda path: can_be_called(path) and not os.path.isdir(path)),
]
OptionalFile = Annotated[
    str | None,
    Field(min_length=1, description="the name of a file or folder, or null"),
    fits(lambda path: path is None or can_be_called(path)),
]
Folder = Annotated[
    str,
    Field(
        min_length=1,
        description="a folder that can be written, or made where it is not",
    ),
    fits(is_room),
]
NewFile = Annotated[
    str,
    Field(min_length=1, description="a file that can be written"),
    fits(is_writable),
]
Log = Annotated[
    str,
    Field(
        min_length=1,
        description="a file that can be written, and has nothing but a log of "
        "epochs in it",
    ),
    fits(is_log),
]
Made = Annotated[
    InstanceOf[Call],
    Field(description="a class or function, after !new: or !name:"),
]
Modules = Annotated[
    dict[str, InstanceOf[Call]],
    Field(description="modules, each a !new: or a reference to one"),
]
OptionalMade = Annotated[
    InstanceOf[Call] | None,
    Field(description="a class or function, after !new: or !name:, or null"),
]


class Checked(BaseModel):
    """Fields of the types that they say, with nothing converted, and no number
    that is not finite. Other keys are the user's own."""

    model_config = ConfigDict(
        strict=True,
        extra="ignore",
        allow_inf_nan=False,
        protected_namespaces=(),
    )


class Options(Checked):
    """The keys of all recipes; those without a default are needed by train.py,
    whatever else a user's YAML file has."""

    # What is written in the output folder; a recipe adds its own.
    writes: ClassVar = (RESULTS, "hyperparams.yaml", "log.txt", "env.log")

    seed: Seed
    skip_prep: Flag
    model_name: Name
    output_folder: Folder
    save_folder: Folder
    train_annotation: FileName
    train_log: Log
    number_of_epochs: Count = None
    lr: Positive = None
    rnn_class: Made = None
    model: Made
    opt_class: makes(torch.optim.Optimizer)
    epoch_counter: makes(EpochCounter)
    checkpointer: makes(WholeCheckpointer)
    train_logger: makes(TrainLogger)

    @model_validator(mode="after")
    def check_folder(self):
        """SpeechBrain copies the script to the output folder."""
        recipe = Path(inspect.getfile(type(self))).parent
        if Path(self.output_folder).resolve() == recipe.resolve():
            raise InputError(
                f"output_folder={self.output_folder}: expected another folder "
                f"than the recipe's own."
            )
        return self

    @model_validator(mode="after")
    def check_output(self):
        """What is written late, after the training, can be."""
        check_writes(self.output_folder, self.writes)
        check_writes(self.save_folder, ["begun_with.json"])
        return self

    @model_validator(mode="after")
    def check_files(self):
        """None is another, nor the manifest of another split."""
        ends = ("_annotation", "_log", "error_file")
        names = [n for n in type(self).model_fields if n.endswith(ends)]
        paths = [Path(getattr(self, name)).resolve() for name in names]
        for name, path in zip(names, paths):
            if paths.count(path) > 1:
                raise InputError(
                    f"{name}={getattr(self, name)}: expected different files "
                    f"for {', '.join(names)}."
                )
        return self


class SizedOptions(Options):
    """The keys of recipes for many networks, in the sizes of the paper."""

    num_params: Count
    hidden_sizes: Sizes
    hidden_size: Size
    num_seeds: Width
    backend: Text = None
    init_std: NotNegative = None
    momentum: Momentum = None

    @model_validator(mode="after")
    def check_size(self):
        """It is looked up, if it is not given."""
        known = self.num_params in self.hidden_sizes
        if isinstance(self.hidden_size, Call) and not known:
            raise InputError(
                f"num_params={self.num_params}: expected one of "
                f"{sorted(self.hidden_sizes)} (or give --hidden_size)."
            )
        return self


def check_options(options, values):
    """Raise an error for the first value that is not what it must be.

    Arguments
    ---------
    options : class
        A `Checked`, whose fields say what they must be.
    values : dict
        What `read_calls` returned, or other plain values.

    Example
    -------
    >>> class Few(Checked):
    ...     hidden_size: Count
    >>> check_options(Few, {"hidden_size": "x"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    speechbrain_cwrnn.errors.InputError: hidden_size=x: expected an integer ...
    """
    try:
        options.model_validate(values)
    except ValidationError as error:
        raise InputError(_sentence(options, error.errors()[0])) from error
    for key, value in values.items():
        for call in find_calls(value):
            call.check(key)


def _sentence(options, error):
    """What pydantic has found, in our words."""
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and message:
        # A check of several fields, or a long one, says it itself.
        return message
    key, *places = error["loc"]
    description = options.model_fields[key].description
    if error["type"] == "missing":
        return f"{key}: expected in the YAML file ({description})."
    places = "".join(f"[{p}]" for p in places if p != "[key]")
    value = error["input"]
    # Text that might be taken for something else is quoted.
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z/][ -~]*", value):
        value = str(value)
    else:
        value = repr(value)
    if len(value) > 60:
        value = f"{value[:60]}..."
    if description is None:
        description = message.removeprefix("Input should be ")
    return f"{key}{places}={value}: expected {description}."
