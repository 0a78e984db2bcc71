"""Short names of architectures (`--model mamba`), and documentation of the options that they share."""

import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from docstring_parser import DocstringStyle, ParseError, parse

from architectures.model import SequenceModel

Family = Callable[[str], Any]
FAMILIES: dict[str, Family] = {}
"""Functions that give the architecture of a name by the prefix before its colon."""


class UnknownInFamily(ValueError):
    """A family has no architecture of a name: one line that names the nearest."""


class Registry(dict[str, type[SequenceModel]]):
    """Architectures by name. Those of a family, of which there may be hundreds, are there when they are asked for, as
    `hf:llama` or by the name of the class, `hf_llama`, but not counted or listed."""

    def __missing__(self, name: str) -> type[SequenceModel]:
        """The architecture of a family.

        Raises:
            KeyError: if there is none of this name.
            ValueError: one line, if what it needs is not installed, or `PREFIX:NAME` does not exist.
        """
        if (found := _of_family(name)) is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        """Whether there is an architecture of this name; raises a ValueError as the look-up does."""
        return super().__contains__(name) or (isinstance(name, str) and _of_family(name) is not None)


def _of_family(name: str) -> type[SequenceModel] | None:
    """The architecture of `PREFIX:NAME` or `PREFIX_NAME`."""
    for prefix, lookup in FAMILIES.items():
        if name.startswith(f"{prefix}:"):
            return lookup(name[len(prefix) + 1 :])
        if name.startswith(f"{prefix}_"):
            with suppress(UnknownInFamily):  # anybody may name an architecture so
                return lookup(name[len(prefix) + 1 :])
    return None


def family(prefix: str) -> Callable[[Family], Family]:
    """Register a function as what gives the architectures `PREFIX:NAME`; their classes are named `PREFIX_NAME`."""

    def decorate(lookup: Family) -> Family:
        FAMILIES[prefix] = lookup
        return lookup

    return decorate


def is_registered(cls: type) -> bool:
    """Whether a class is what its name stands for."""
    return cls.__name__ in ARCHITECTURES and ARCHITECTURES[cls.__name__] is cls


ARCHITECTURES = Registry()
"""Every registered architecture by its short name."""

OPTIONS = {
    "n_layers": "number of blocks.",
    "d_state": "state size N.",
    "d_conv": "filter width W of the short convolution in positions.",
    "expand": "inner width as a multiple of d_model.",
    "mlp_ratio": "hidden width of the MLP as a multiple of d_model.",
    "backend": '"auto" (the fastest available), "torch" (plain PyTorch) or "fused" (the CUDA kernels of a library: '
    "mamba-ssm for Mamba-1, fla for the others).",
}
"""Documentation of options by name, for every architecture that has them and does not document them itself."""

Architecture = TypeVar("Architecture", bound=type[SequenceModel])


def register(name: str) -> Callable[[Architecture], Architecture]:
    """Give a `SequenceModel` subclass the short name under which the command line, YAML and records know it.

    The class takes the name as its ``__name__`` too, because jsonargparse finds subclasses by ``__name__``: that alone
    makes ``--model NAME`` work. The Python name it was written under stays importable. The ``Args`` of its docstring
    are completed by those of its bases and by `OPTIONS`. In a notebook, where a cell is run again and again, a class
    replaces the one before it.

    Raises:
        TypeError: if what is decorated is not a `SequenceModel` subclass.
        ValueError: if the name is taken.
    """

    def decorate(cls: Architecture) -> Architecture:
        if not (isinstance(cls, type) and issubclass(cls, SequenceModel)):
            raise TypeError(f"@register({name!r}) decorates {cls!r}, which is not a subclass of SequenceModel")
        if name in ARCHITECTURES and not cls.__module__ == ARCHITECTURES[name].__module__ == "__main__":
            taken = ARCHITECTURES[name].__module__
            raise ValueError(f"architecture name {name!r} of {cls.__module__} is already taken by {taken}")
        cls.__name__ = cls.__qualname__ = name
        documented(cls)
        setattr(sys.modules[cls.__module__], name, cls)
        ARCHITECTURES[name] = cls
        return cls

    return decorate


def documented(cls: Architecture) -> Architecture:
    """Complete the ``Args`` of a class's docstring by those of its bases and `OPTIONS`; the class."""
    cls.__doc__ = _docstring(cls)
    return cls


def _docstring(cls: type[SequenceModel]) -> str | None:
    """The docstring of an architecture, with every option that it, a base or `OPTIONS` documents among its Args.

    None and what cannot be parsed stay as they are.
    """
    if cls.__doc__ is None:
        return None
    try:
        documented = [
            parse(base.__doc__ or "", DocstringStyle.GOOGLE)
            for base in reversed(cls.__mro__)
            if issubclass(base, SequenceModel)
        ]
    except ParseError:
        return cls.__doc__
    texts = OPTIONS | {param.arg_name: param.description or "" for doc in documented for param in doc.params}
    own = documented[-1]
    paragraphs = [own.short_description, own.long_description]
    options = [
        f"    {option}: {_line(texts[option])}" for option in inspect.signature(cls).parameters if option in texts
    ]
    raises = [f"    {error.type_name}: {_line(error.description or '')}" for error in own.raises]
    paragraphs += ["\n".join([title, *lines]) for title, lines in (("Args:", options), ("Raises:", raises)) if lines]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _line(text: str) -> str:
    return " ".join(text.split())
