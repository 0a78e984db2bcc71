"""Short names of architectures (`--model mamba`), and documentation of the options that they share."""

import inspect
import sys
from collections.abc import Callable
from typing import TypeVar

from docstring_parser import DocstringStyle, ParseError, parse

from architectures.model import SequenceModel

ARCHITECTURES: dict[str, type[SequenceModel]] = {}
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
        cls.__doc__ = _docstring(cls)
        setattr(sys.modules[cls.__module__], name, cls)
        ARCHITECTURES[name] = cls
        return cls

    return decorate


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
