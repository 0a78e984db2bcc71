"""``python -m benchmark fit | validate | test`` on LightningCLI."""

import inspect
import os
import sys
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from architectures import ARCHITECTURES, SequenceModel
from benchmark import messages
from benchmark.checkpoint import Checkpointer, check_checkpoint
from benchmark.emergence import EmergenceTracker
from benchmark.identity import identify
from benchmark.module import EmergenceModule
from benchmark.progress import EmergenceProgressBar
from benchmark.protocol import OptimizerConfig, Protocol
from benchmark.recorder import RunRecorder
from benchmark.report import print_evaluation, print_outcome
from benchmark.run import CONFIG, Outcome, create_run_folder, finished_record, train
from datamodules import TASKS, TaskDataModule

HARNESS_OWNS = {
    "max_steps", "min_steps", "max_epochs", "min_epochs", "max_time", "val_check_interval", "check_val_every_n_epoch",
    "num_sanity_val_steps", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches",
    "fast_dev_run", "enable_checkpointing", "enable_model_summary", "default_root_dir", "barebones",
    "reload_dataloaders_every_n_epochs", "use_distributed_sampler",
}  # fmt: skip
"""Trainer arguments that the protocol decides: offering them would let two runs of one protocol differ."""

SEEDS = ("task_seed", "init_seed", "data_seed")


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


def _own_or(own: int | None, seed: int) -> int:
    return seed if own is None else own


class BenchmarkCLI(LightningCLI):
    """The command line: any registered architecture on any registered task, one record a run.

    Attributes:
        outcome: how the fit ended, None for other commands.
    """

    outcome: Outcome | None = None

    def __init__(self, args: list[str], description: str, folder: Path | None = None) -> None:
        """Parse and run.

        Args:
            args: the words after ``python -m benchmark``.
            description: what ``--help`` says first.
            folder: run folder to continue in; None for a new one.
        """
        self.folder = folder
        BenchmarkParser.words = args
        super().__init__(
            EmergenceModule,
            TaskDataModule,
            save_config_callback=None,
            seed_everything_default=False,
            parser_class=BenchmarkParser,
            parser_kwargs={"prog": "python -m benchmark", "description": description},
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without predict: these models have nothing else to say than the next token."""
        skip = {"model", "train_dataloaders", "val_dataloaders", "dataloaders", "datamodule", "verbose", "weights_only"}
        return {name: skip for name in ("fit", "validate", "test")}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Seeds and output."""
        parser.add_argument("--seed", type=NonNegativeInt, default=0, help="Sets the three seeds below at once.")
        parser.add_argument(
            "--task_seed", type=NonNegativeInt | None, default=None, help="Seed of what the run has to learn."
        )
        parser.add_argument(
            "--init_seed", type=NonNegativeInt | None, default=None, help="Seed of the initial weights."
        )
        parser.add_argument(
            "--data_seed", type=NonNegativeInt | None, default=None, help="Seed of the stream of sequences."
        )
        parser.add_argument("--out", type=str, default="runs", help="Folder of all runs.")
        parser.add_argument(
            "--name", type=str | None, default=None, help="Name of the run's folder; by default date and time."
        )
        parser.add_argument(
            "--checkpoint_interval_s", type=NonNegativeFloat, default=10.0, help="Least time between checkpoints."
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Architecture, task, optimizer, protocol, trainer."""
        parser.add_subclass_arguments(SequenceModel, "model", required=True)
        parser.add_lightning_class_args(TaskDataModule, "data", subclass_mode=True)
        parser.add_class_arguments(OptimizerConfig, "optimizer")
        parser.add_class_arguments(Protocol, "protocol")
        parser.add_class_arguments(
            Trainer, "trainer", skip=set(HARNESS_OWNS), instantiate=False, fail_untyped=False, sub_configs=True
        )
        for name in ("vocab_size", "seq_len"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")
        for name in ("task_seed", "data_seed"):
            parser.link_arguments((name, "seed"), f"data.init_args.{name}", compute_fn=_own_or)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and fill in the depth that the task's paper setting has where none was asked for."""
        super().parse_arguments(parser, args)
        command = self.config.subcommand
        # Without defaults only what was asked for remains. The seeds are named because the data's are linked to them.
        seeds = [f"--seed={self.config[command].seed}", *(f"--{name}=null" for name in SEEDS)]
        given = parser.parse_args([command, *seeds, *args[args.index(command) + 1 :]], defaults=False)[command]
        config = self.config[command]
        defaults = TASKS[config.data.class_path.rsplit(".", 1)[-1]].model_defaults
        chosen = given.get("model.init_args") or {}
        for name in ("vocab_size", "seq_len"):
            if chosen.get(name) is not None:
                raise ValueError(f"model.{name} follows from the task: leave it out")
        for name in ("task_seed", "data_seed"):
            if f"--data.{name}" in {word.partition("=")[0] for word in args}:
                raise ValueError(messages.unknown_option(f"data.{name}", ()))
        for name, value in defaults.items():
            if name in config.model.init_args and name not in chosen:
                config.model.init_args[name] = value

    def _parse_ckpt_path(self) -> None:
        """Nothing: LightningCLI would overwrite the configuration with the checkpoint's; here they must agree."""

    def _set_seed(self) -> None:
        """The initial weights are the only thing that torch's own generator decides."""
        self.init_seed = _own_or(self._get(self.config, "init_seed"), self._get(self.config, "seed"))
        torch.manual_seed(self.init_seed)

    def instantiate_classes(self) -> None:
        """Build data, model, run folder, callbacks and trainer, in this order: a mistake leaves nothing behind."""
        config = self.config_init = self.parser.instantiate(self.config)
        get = lambda key: self._get(config, key)  # noqa: E731
        self.datamodule = get("data")
        self.model = EmergenceModule(get("model"), self.datamodule.task, get("optimizer"), get("protocol"))
        precision = get("trainer").get("precision") or "32-true"
        self.identity = identify(
            self.model.model, self._model_config(), self.datamodule, get("protocol"), get("optimizer"),
            self.init_seed, str(precision),
        )  # fmt: skip
        ckpt_path = get("ckpt_path")
        if ckpt_path is not None:
            check_checkpoint(Path(ckpt_path), self.identity)
        if self.subcommand == "fit" and self.folder is None:
            self.folder = self._run_folder(ckpt_path)
        self.trainer = self.instantiate_trainer()

    def _model_config(self) -> dict[str, Any]:
        """The architecture's own options; vocabulary and length follow from the task."""
        given = self._get(self.config, "model").get("init_args") or {}
        return {name: value for name, value in given.items() if name not in {"vocab_size", "seq_len"}}

    def _run_folder(self, ckpt_path: str | None) -> Path:
        """A new folder, or that of the checkpoint, which a resumed run continues."""
        name = self._get(self.config, "name")
        if ckpt_path is not None and name is None and (Path(ckpt_path).parent / CONFIG).exists():
            folder = Path(ckpt_path).parent
            if finished := finished_record(folder):
                raise ValueError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")
            return folder
        if getattr(rank_zero_only, "rank", 0):  # the first process writes; the others only need a path
            return Path(self._get(self.config, "out"))
        root = Path(self._get(self.config, "out"))
        # What was asked for, as YAML from which the run can be repeated.
        config = self._parser(self.subcommand).dump(self.config[self.subcommand])
        return create_run_folder(root, self.identity.task.name, self.identity.architecture.name, name, config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with everything that the protocol decides."""
        config = dict(self._get(self.config_init, "trainer"))
        wants_bar = config.pop("enable_progress_bar") is not False
        protocol: Protocol = self._get(self.config_init, "protocol")
        callbacks: list[Callback] = []
        if self.folder is not None:
            self.tracker = EmergenceTracker(
                self.datamodule.task.targets, protocol.eval_every, protocol.stop_when_solved
            )
            self.recorder = RunRecorder(self.folder, self.identity, self.tracker, self.datamodule)
            interval = self._get(self.config, "checkpoint_interval_s")
            if wants_bar:
                task = self.datamodule.task
                primary = next(target.metric for target in task.targets if target.name == task.primary)
                headline = "accuracy" if primary.startswith("loss") else primary
                callbacks.append(EmergenceProgressBar(self.datamodule.tokens_per_step, protocol.eval_every, headline))
            # The order matters: the checkpoint must hold what tracker and recorder have taken in.
            self.checkpointer = Checkpointer(self.folder, self.identity, interval)
            callbacks += [self.tracker, self.recorder, self.checkpointer]
            if config["logger"] in (None, True):
                config["logger"] = TensorBoardLogger(self.folder, name="", version="")
                config["logger"].log_hyperparams(self.identity.flat())
        else:
            config["logger"] = False
        users = config.pop("callbacks") or []
        return Trainer(
            **config,
            callbacks=[*(users if isinstance(users, list) else [users]), *callbacks],
            max_steps=protocol.max_steps,
            max_epochs=-1,
            val_check_interval=protocol.eval_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=-1,  # the evaluation at step 0
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=wants_bar and self.folder is not None,
            default_root_dir=self.folder,
            **kwargs,
        )

    def fit(self, **kwargs: Any) -> None:
        """Train; a record remains at every kind of end."""
        assert self.folder is not None

        def start() -> None:
            self.trainer.fit(**kwargs, weights_only=True)

        self.outcome = train(start, self.model, self.recorder, self.checkpointer)
        print_outcome(self.outcome, self.folder)

    def validate(self, **kwargs: Any) -> None:
        """Print the metrics of the held-out evaluation set."""
        self.trainer.validate(**kwargs, verbose=False, weights_only=True)
        print_evaluation(self.model, "evaluation set")

    def test(self, **kwargs: Any) -> None:
        """Print the metrics of the test set, which nothing in training has seen."""
        self.trainer.test(**kwargs, verbose=False, weights_only=True)
        print_evaluation(self.model, "test set")
