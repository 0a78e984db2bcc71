"""The parser of the commands beside LightningCLI's."""

from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from benchmark.config import errors


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
        raise ValueError(errors.explain(message, self.words, options))
