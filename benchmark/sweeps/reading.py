"""Configurations through the parser of `fit`, without a run: what is wrong is known before anything is started."""

import io
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from tempfile import NamedTemporaryFile
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from benchmark.cli.train import BenchmarkCLI
from benchmark.config import errors as messages
from benchmark.config.errors import said
from benchmark.ensemble_run import Member, members
from benchmark.parser import BenchmarkParser

OF_ONE_RUN = ("seed", "seeds", "out", "name", "ckpt_path", "suite", "cell")
"""What a sweep decides for each run."""


class Reader(BenchmarkCLI):
    """Reads configurations as ``python -m benchmark fit --config FILE`` does, and builds what they describe."""

    def __init__(self) -> None:
        super().__init__(["fit"], "")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Nothing to parse yet."""
        self.config = Namespace(subcommand="fit", fit=Namespace())

    def instantiate_classes(self) -> None:
        """Nothing to build yet."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing to run."""

    def read(self, content: Mapping[str, Any], source: str, words: Sequence[str] = ()) -> Namespace:
        """The configuration with every default filled in.

        Args:
            content: as in a YAML file for `fit`.
            source: what the user would look at to mend it.
            words: options as written on the command line, for the message.

        Raises:
            ValueError: one line that says what is wrong with it.
        """
        BenchmarkParser.words = ["fit", *words]
        printed = io.StringIO()
        with NamedTemporaryFile("w", suffix=".yaml") as file, redirect_stderr(printed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")  # which is not sys.argv
            yaml.safe_dump(dict(content), file)
            file.flush()
            try:
                super().parse_arguments(self.parser, ["fit", "--config", file.name])
            except (ValueError, SystemExit) as error:
                line = printed.getvalue().strip() if isinstance(error, SystemExit) else messages.reason(error)
                raise ValueError(f"{source}: {line.removeprefix('error: ')}") from error
        sys.stderr.write(printed.getvalue())
        return self.config["fit"]

    def plain(self, config: Namespace) -> dict[str, Any]:
        """A configuration as YAML holds it, without what belongs to one run."""
        content = yaml.safe_load(self._parser("fit").dump(config))
        return {name: value for name, value in content.items() if name not in OF_ONE_RUN}

    def build(self, config: Namespace, seed: int, source: str) -> Member:
        """Model, data and identity of the run of a seed.

        Raises:
            ValueError: one line, if the options do not go together.
        """
        try:
            return next(members(config, (seed,), self._instantiate))
        except Exception as error:  # an outside architecture may raise anything
            line = messages.reason(error) if isinstance(error, ValueError) else said(error)
            raise ValueError(f"{source}: {line}") from error
