"""A user's mistake in one line: what is wrong, and the nearest thing that would be right."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from leaderboard.paths import user_path


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that does not exist, with the nearest one that does, and all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown {kind} '{name}': {hint}known are {', '.join(names) or '(none)'}"


def _path(text: str) -> Path:
    try:
        return user_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path: ")) from error


class OneLineParser(argparse.ArgumentParser):
    """The parser of one command, whose mistakes are a `ValueError` of one line."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"python -m leaderboard {command}", description=description, allow_abbrev=False)
        self.register("type", Path, _path)  # whatever option is a path

    def error(self, message: str) -> NoReturn:
        """Raise one line.

        Raises:
            ValueError: always.
        """
        raise ValueError(self._explained(" ".join(message.split())))

    def _explained(self, message: str) -> str:
        if match := re.match(r"unrecognized arguments: (\S+)", message):
            word = match[1].partition("=")[0]
            if not word.startswith("-"):
                return f"there is no place for '{word}': see {self.prog} --help"
            options = [option for action in self._actions for option in action.option_strings if len(option) > 2]
            return unknown("option", word, options)
        if match := re.match(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", message):
            return unknown(f"value for {match[1]}", match[2], re.findall(r"[^\s',]+", match[3]))
        if match := re.match(r"the following arguments are required: (.*)", message):
            return f"{match[1]} {'are' if ',' in match[1] else 'is'} missing: see {self.prog} --help"
        return message.removeprefix("argument ")
