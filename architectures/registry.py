"""Names for architectures: one decorator, one dictionary."""

import sys
from collections.abc import Callable
from typing import TypeVar

from architectures.model import SequenceModel

ARCHITECTURES: dict[str, type[SequenceModel]] = {}
"""Every registered architecture by its short name."""

Architecture = TypeVar("Architecture", bound=type[SequenceModel])


def register(name: str) -> Callable[[Architecture], Architecture]:
    """Give a `SequenceModel` subclass the short name under which the command line, YAML and records know it.

    The class takes the name as its ``__name__`` too, because jsonargparse finds subclasses by ``__name__``: that alone
    makes ``--model NAME`` work. The Python name it was written under stays importable. In a notebook, where a cell is
    run again and again, a class takes the place of the one before it.

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
        setattr(sys.modules[cls.__module__], name, cls)
        ARCHITECTURES[name] = cls
        return cls

    return decorate
