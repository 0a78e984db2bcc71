"""``python -m benchmark fit | validate | test`` on LightningCLI: it parses, calls `build` and hands over to the run."""

import io
import os
import sys
from contextlib import redirect_stdout
from typing import Any, ClassVar, NoReturn

from jsonargparse import Namespace
from lightning import LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from benchmark.config import errors
from benchmark.config.files.packaged import with_config_files
from benchmark.config.files.yaml_text import from_text, use_in_parsers
from benchmark.config.loggers import fill_in_folders
from benchmark.config.parser import add_run_arguments, add_trainer_arguments, from_namespace, known_options
from benchmark.config.plugins import load_plugins
from benchmark.config.run_config import SEEDS, RunConfig
from benchmark.config.trainer_objects import refuse_by_name
from benchmark.training.display.summary import print_evaluation, print_outcome
from benchmark.training.processes import ignore_interrupts_beside_the_first, is_rank_zero
from benchmark.training.run import Run, build
from benchmark.training.trainer import quiet
from datamodules import TaskDataModule
from leaderboard.paths import user_path

DESCRIPTION = "How fast, and how reliably over seeds, does an architecture learn a sparse attention pattern?"
PRINT = "--print_config"

use_in_parsers()


def run(words: list[str]) -> int:
    """Run a command; the exit code says how the fit ended.

    Args:
        words: the command and its options.
    """
    ignore_interrupts_beside_the_first()
    if not {"-h", "--help"} & set(words):
        load_plugins()
    refuse_by_name(words)
    outcome = BenchmarkCLI(with_config_files(words)).run.outcome
    return 0 if outcome is None else outcome.exit_code


class BenchmarkParser(LightningArgumentParser):
    """Says what is wrong in one line, with the nearest valid names."""

    words: ClassVar[list[str]] = []
    """The command line under parsing; of the class, because every command has a parser of its own."""

    def validate(self, namespace: Namespace, *args: Any, **kwargs: Any) -> None:
        """Check values, those that follow from the run filled in."""
        fill_in_folders(namespace)
        super().validate(namespace, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with code 2."""
        if os.environ.get("JSONARGPARSE_DEBUG") == "true":
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        sys.stderr.write(f"error: {errors.explain(message, self.words, known_options(parser))}\n")
        sys.exit(2)


class BenchmarkCLI(LightningCLI):
    """The command line: any registered architecture on any registered task, one record per seed.

    Attributes:
        run: what was built and carried out.
    """

    run: Run

    def __init__(self, args: list[str]) -> None:
        """Parse and run.

        Args:
            args: the words after ``python -m benchmark``.
        """
        BenchmarkParser.words = args
        with quiet():
            super().__init__(
                LightningModule,
                TaskDataModule,
                save_config_callback=None,
                seed_everything_default=False,
                parser_class=BenchmarkParser,
                parser_kwargs={"prog": "python -m benchmark", "description": DESCRIPTION},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                args=args,
            )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that takes no abbreviations: another command might read them otherwise."""
        return super().init_parser(allow_abbrev=False, **kwargs)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without predict: these models have nothing else to say than the next token."""
        skip = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule", "verbose", "weights_only"}
        return {name: skip for name in ("fit", "validate", "test")}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Nothing: Lightning would add a seed of its own."""

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Seeds and output, architecture, task, optimizer, protocol, trainer."""
        add_run_arguments(parser)
        add_trainer_arguments(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; ``--print_config`` prints the outcome, the task's defaults filled in: what is printed is what runs."""
        printing = [word for word in args if word.partition("=")[0] == PRINT]
        if printing:
            self._print_incomplete(parser, args)
        args = [word for word in args if word not in printing]
        super().parse_arguments(parser, args)
        command = self.config.subcommand
        self.run_config = self._run_config(parser, command, args)
        if printing:
            flags = {flag for word in printing for flag in word.partition("=")[2].split(",")}
            skips = {name: name in flags for name in ("skip_default", "skip_unset")}
            for name, value in self.run_config.model.options.items():
                self.config[command].model.init_args[name] = value
            sys.stdout.write(self._parser(command).dump(self.config[command], **skips))
            parser.exit()

    def _print_incomplete(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Let the parser print, and exit, if no model or no task is named: nothing could run."""
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                super().parse_arguments(parser, args)
        except SystemExit as end:
            content = from_text(printed.getvalue()) or {}
            if end.code or not (content.get("model") and content.get("data")):
                sys.stdout.write(printed.getvalue())
                raise

    def _run_config(self, parser: LightningArgumentParser, command: str, args: list[str]) -> RunConfig:
        """The configuration of the run."""
        parsed: Namespace = self.config[command]
        # Without defaults only what was asked for remains. The seeds are named because the data's are linked to them.
        seeds = [f"--seed={parsed.seed}", *(f"--{name}=null" for name in SEEDS)]
        words = [command, *seeds, *args[args.index(command) + 1 :]]
        given = dict(vars(parser.parse_args(words, defaults=False)[command]))
        for name in ("task_seed", "data_seed"):
            if f"--data.{name}" in {word.partition("=")[0] for word in args}:
                raise ValueError(errors.unknown_option(f"data.{name}", ()))
        given["data"] = None  # its seeds are linked to those of the run
        return from_namespace(parsed, given, parsed.trainer)

    def _parse_ckpt_path(self) -> None:
        """Nothing: LightningCLI would overwrite the configuration with the checkpoint's; here they must agree."""

    def _set_seed(self) -> None:
        """Nothing: torch's own generator decides the initial weights only, and is seeded where they are drawn."""

    def instantiate_classes(self) -> None:
        """Build the run; a mistake leaves nothing behind."""
        self.run = build(self.run_config)

    def _run_subcommand(self, subcommand: str) -> None:
        """Carry out the command, and say how it ended."""
        try:
            self._carry_out(subcommand)
        except errors.Damaged as error:  # the caller has named the file
            raise ValueError(str(error)) from error

    def _carry_out(self, subcommand: str) -> None:
        path = self._get(self.config, "ckpt_path")
        checkpoint = None if path is None else user_path(path, "--ckpt_path")
        if subcommand == "fit":
            outcome = self.run.fit(resume_from=checkpoint)
            if is_rank_zero():
                print_outcome(outcome, self.run.folder)
            return
        if self.run.many:
            raise ValueError(f"--seeds is for fit: {subcommand} the checkpoint of one seed with --seed")
        self.run.evaluate("eval" if subcommand == "validate" else "test", checkpoint=checkpoint)
        if is_rank_zero():
            print_evaluation(self.run.module, "evaluation set" if subcommand == "validate" else "test set")
