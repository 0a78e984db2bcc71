"""The parser behind ``python -m benchmark fit | validate | test``."""

import inspect
import os
import sys
from typing import ClassVar, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from architectures import ARCHITECTURES
from benchmark.config import errors as messages
from benchmark.identity import SEEDS
from datamodules import TASKS


class BenchmarkParser(LightningArgumentParser):
    """Says what is wrong in one line, with the nearest valid names."""

    words: ClassVar[list[str]] = []
    """The command line under parsing; of the class, because every command has a parser of its own."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with code 2."""
        if os.environ.get("JSONARGPARSE_DEBUG") == "true":
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        options = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
        for prefix, classes in (("model", ARCHITECTURES), ("data", TASKS)):
            options += [f"{prefix}.{name}" for cls in classes.values() for name in _parameters(cls)]
        sys.stderr.write(f"error: {messages.explain(message, self.words, options)}\n")
        sys.exit(2)


def _parameters(cls: type) -> list[str]:
    """The options of a class that a user may set."""
    return [name for name in inspect.signature(cls).parameters if name not in {"vocab_size", "seq_len", *SEEDS}]
