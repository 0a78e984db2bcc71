"""What the commands beside LightningCLI's share: mistakes in one line, architectures by name or by file."""

import difflib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from architectures import ARCHITECTURES, SequenceModel
from benchmark import messages


class CommandParser(ArgumentParser):
    """The parser of one command, whose mistakes are a `ValueError` of one line that names the nearest valid option.

    Args:
        command: the word after ``python -m benchmark``.
        kwargs: of jsonargparse's parser.
    """

    def __init__(self, command: str, **kwargs: Any) -> None:
        super().__init__(prog=f"python -m benchmark {command}", allow_abbrev=False, **kwargs)
        self.words: Sequence[str] = ()

    def parse(self, words: Sequence[str], **kwargs: Any) -> Namespace:
        """The options of a command line; ``--help`` prints and exits.

        Raises:
            ValueError: one line that says what is wrong with it.
        """
        self.words = words
        return self.parse_args(list(words), **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise one line."""
        options = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        raise ValueError(messages.explain(message, self.words, options))


def architecture(name: str) -> type[SequenceModel]:
    """A registered architecture.

    Raises:
        ValueError: one line with the nearest names and all of them, if there is none of this name.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name, ARCHITECTURES, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(f"unknown architecture '{name}': {hint}known names are {', '.join(sorted(ARCHITECTURES))}")


def architectures_of_file(path: Path) -> list[type[SequenceModel]]:
    """The architectures that a Python file registers; it is imported unless it is already.

    Raises:
        ValueError: one line, if the file is not there, cannot be imported or registers nothing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not _registered_by(path):
        # A name of its own, so that a file called random.py hides no module; in sys.modules, so that pickle finds it.
        name = f"_file_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.resolve().parent))  # as for a script: it may import what lies beside it
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a stranger's file raises
            del sys.modules[name]
            raise ValueError(f"{path}: cannot be imported: {said(error)}") from error
        finally:
            sys.path.pop(0)
    if not (found := _registered_by(path)):
        raise ValueError(f'{path}: registers no architecture: put @register("name") above its class')
    return found


def _registered_by(path: Path) -> list[type[SequenceModel]]:
    files = {cls: source_file(cls) for cls in ARCHITECTURES.values()}
    return [cls for cls, file in files.items() if file is not None and file.exists() and path.samefile(file)]


def source_file(cls: type) -> Path | None:
    """The file of the module that defines a class."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return None if file is None else Path(file)


def said(error: Exception) -> str:
    """What an exception says, on one line; its type too, unless it is an AssertionError with a message."""
    text = " ".join(str(error).split())
    return text if type(error) is AssertionError and text else f"{type(error).__name__}: {text}".removesuffix(": ")
