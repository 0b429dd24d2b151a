"""What a YAML file names to be made or called, read without doing so.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import inspect
import pydoc
import re
from dataclasses import dataclass

import ruamel.yaml

from speechbrain_cwrnn.errors import InputError, tried


@dataclass(frozen=True)
class Call:
    """A class or function that a YAML file names, with its arguments.

    Arguments
    ---------
    kind : str
        The tag of HyperPyYAML: new, name, apply or module.
    name : str
        What it names.
    args : list
        Arguments by position.
    kwargs : dict
        Arguments by name.
    """

    kind: str
    name: str
    args: list
    kwargs: dict

    def __str__(self):
        """As it stands in the file, without its arguments."""
        return f"!{self.kind}:{self.name}"

    def check(self, key):
        """Raise an error where there is no such thing, or it takes no such
        arguments; it is not called for that."""
        with tried(f"{key}={self}"):
            # Which imports the module that it is in.
            thing = pydoc.locate(self.name)
        is_wanted, what = {
            "new": (inspect.isclass, "a class"),
            "apply": (inspect.isroutine, "a function"),
            "module": (inspect.ismodule, "a module"),
            "name": (lambda thing: thing is not None, "a class or function"),
        }[self.kind]
        if not is_wanted(thing):
            raise InputError(
                f"{key}={self}: expected {what} that Python finds there."
            )
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            return
        try:
            signature = inspect.signature(thing)
        except ValueError:
            # Some of those that are written in C have none.
            return
        partial = self.kind == "name"
        try:
            bound = (signature.bind_partial if partial else signature.bind)(
                *self.args, **self.kwargs
            )
        except TypeError as error:
            raise InputError(
                f"{key}={self}: expected the arguments of {thing.__name__} "
                f"({error})."
            ) from error
        for name, value in bound.arguments.items():
            # To Python any text is true, and to YAML "no" is text.
            default = signature.parameters[name].default
            if isinstance(default, bool) and isinstance(value, str):
                raise InputError(
                    f"{key}={self}: expected True or False for {name}, got "
                    f"{value!r}."
                )


class _Constructor(ruamel.yaml.SafeConstructor):
    """Reads what HyperPyYAML would make, without making it."""


class _Resolver(ruamel.yaml.resolver.VersionedResolver):
    """Takes what is in parentheses for a tuple, as HyperPyYAML does."""


def _read_call(kind):
    """What reads the tag of one kind."""

    def read(loader, name, node):
        args, kwargs = [], {}
        if isinstance(node, ruamel.yaml.MappingNode):
            kwargs = loader.construct_mapping(node, deep=True)
        elif isinstance(node, ruamel.yaml.SequenceNode):
            args = loader.construct_sequence(node, deep=True)
        return Call(kind, name, args, kwargs)

    return read


def _read_tuple(loader, node):
    return tuple(ruamel.yaml.YAML(typ="safe").load(f"[{node.value[1:-1]}]"))


for _kind in ("new", "name", "apply", "module"):
    _Constructor.add_multi_constructor(f"!{_kind}:", _read_call(_kind))
_Constructor.add_constructor("!tuple", _read_tuple)
_Resolver.add_implicit_resolver("!tuple", re.compile(r"^\(.*\)$"), ["("])


def read_calls(text):
    """What a YAML file says, where all references are resolved.

    Arguments
    ---------
    text : str
        Its text.

    Returns
    -------
    dict
        Plain values, and a `Call` for each thing that is to be made.

    Example
    -------
    >>> values = read_calls("opt_class: !name:torch.optim.SGD {lr: 1}")
    >>> values["opt_class"]
    Call(kind='name', name='torch.optim.SGD', args=[], kwargs={'lr': 1})
    """
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.Resolver = _Resolver
    return yaml.load(text)


def find_calls(value):
    """All that is to be made, in a value of whatever depth."""
    if isinstance(value, Call):
        yield value
        value = [*value.args, *value.kwargs.values()]
    elif isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from find_calls(item)
