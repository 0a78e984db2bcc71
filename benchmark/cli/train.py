"""``python -m benchmark fit | validate | test`` on LightningCLI."""

import io
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt
from lightning import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

from architectures import SequenceModel
from benchmark.checkpoint import Checkpointer, check_checkpoint
from benchmark.config import errors as messages
from benchmark.ensemble_module import EnsembleData, EnsembleModule
from benchmark.ensemble_recorder import seed_folder
from benchmark.ensemble_run import ensemble_module, ensemble_recorder, members, run_recorder
from benchmark.identity import SEEDS, EnsembleIdentity, Identity
from benchmark.lock import training_in
from benchmark.module import EmergenceModule
from benchmark.parser import BenchmarkParser
from benchmark.processes import check_shares, end_others, is_first, leave, plan_processes
from benchmark.progress import EmergenceProgressBar
from benchmark.protocol import OptimizerConfig, Protocol
from benchmark.report import print_evaluation, print_outcome
from benchmark.run import CONFIG, Outcome, create_run_folder, finished_record, train
from benchmark.sweeps.seeds import parse_seeds
from datamodules import TASKS, TaskDataModule

HARNESS_OWNS = {
    "max_steps", "min_steps", "max_epochs", "min_epochs", "max_time", "val_check_interval", "check_val_every_n_epoch",
    "num_sanity_val_steps", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches",
    "limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches",
    "fast_dev_run", "enable_checkpointing", "enable_model_summary", "default_root_dir", "barebones",
    "reload_dataloaders_every_n_epochs", "use_distributed_sampler",
}  # fmt: skip
"""Trainer arguments that the protocol decides: offering them would let two runs of one protocol differ."""

PRINT = "--print_config"


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
        with ExitStack() as self.held:  # all work is done in here
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
            "--seeds", type=str | None, default=None, help="Many seeds in one process, like 0-31 or 0-4,7."
        )
        parser.add_argument(
            "--cuda_graph", type=bool, default=True, help="With --seeds on a GPU: launch a whole step at once."
        )
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
        parser.add_argument("--picture", type=bool, default=True, help="Draw the curves when the run ends.")
        parser.add_argument(
            "--checkpoint_interval_s", type=NonNegativeFloat, default=10.0, help="Least time between checkpoints."
        )
        parser.add_argument("--suite", type=str | None, default=None, help="Suite that the record names.")
        parser.add_argument("--cell", type=str | None, default=None, help="Cell of a suite that the record names.")

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
        """Parse, and fill in the depth that the task's paper setting has where none was asked for.

        ``--print_config`` prints the outcome, so that what is printed is what runs.
        """
        printing = [word for word in args if word.partition("=")[0] == PRINT]
        if printing:
            self._print_incomplete(parser, args)
        args = [word for word in args if word not in printing]
        self._parse(parser, args)
        if printing:
            flags = {flag for word in printing for flag in word.partition("=")[2].split(",")}
            skips = {name: name in flags for name in ("skip_default", "skip_unset")}
            sys.stdout.write(self._parser(self.config.subcommand).dump(self.config[self.config.subcommand], **skips))
            parser.exit()

    def _print_incomplete(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Let the parser print, and exit, if no model or no task is named: nothing could run."""
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                super().parse_arguments(parser, args)
        except SystemExit as end:
            content = yaml.safe_load(printed.getvalue()) or {}
            if end.code or not (content.get("model") and content.get("data")):
                sys.stdout.write(printed.getvalue())
                raise

    def _parse(self, parser: LightningArgumentParser, args: list[str]) -> None:
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
        """Nothing: torch's own generator decides the initial weights only, and is seeded where they are drawn."""

    def instantiate_classes(self) -> None:
        """Build data, model, run folder, callbacks and trainer, in this order: a mistake leaves nothing behind."""
        self.config_init = self.config  # where LightningCLI looks for the arguments of the command
        seeds = self._get(self.config, "seeds")
        numbers = (self._get(self.config, "seed"),) if seeds is None else self._many(seeds)
        self.members = list(members(self.config[self.subcommand], numbers, self._instantiate))
        self.data, self.model = self.members[0].data, self.members[0].module
        self.identity: Identity = self.members[0].identity
        self.datamodule = self.data
        if seeds is not None:
            self.identity = EnsembleIdentity({member.seed: member.identity for member in self.members})
            self.model = ensemble_module(self.members, self._get(self.config, "cuda_graph"))
            self.datamodule = EnsembleData(self.data)
        n_processes = plan_processes(dict(self.members[0].trainer))
        if self.subcommand == "fit":
            check_shares(self.data.batch_size, n_processes, many_seeds=seeds is not None)
        ckpt_path = self._get(self.config, "ckpt_path")
        if ckpt_path is not None:
            check_checkpoint(Path(ckpt_path), self.identity)
        if self.subcommand == "fit" and self.folder is None:
            self.folder = self._run_folder(ckpt_path)
        folder = self.folder
        if folder is not None and is_first():
            self.held.enter_context(training_in(folder))
        if folder is not None and all(finished_record(seed_folder(folder, member.seed)) for member in self.members):
            raise ValueError(f"{folder}: all of its seeds have ended; there is nothing to resume")
        self.trainer = self.instantiate_trainer()

    def _instantiate(self, config: Namespace) -> Namespace:
        """What a configuration of the command describes, built."""
        whole = self.config.clone()
        whole[self.subcommand] = config
        return self.parser.instantiate(whole)[self.subcommand]

    def _many(self, text: str) -> tuple[int, ...]:
        """The seeds of an ensemble."""
        if self.subcommand != "fit":
            raise ValueError(f"--seeds is for fit: {self.subcommand} the checkpoint of one seed with --seed")
        if self._get(self.config, "seed"):
            raise ValueError("--seed and --seeds exclude each other")
        precision = str(self._get(self.config, "trainer").precision)
        if precision.startswith("16"):
            raise ValueError(
                f"--trainer.precision {precision} scales the loss of all seeds alike: with --seeds take bf16-mixed"
                " or 32-true"
            )
        return parse_seeds(text)

    def _run_folder(self, ckpt_path: str | None) -> Path:
        """A new folder, or that of the checkpoint, which a resumed run continues."""
        name = self._get(self.config, "name")
        if ckpt_path is not None and name is None and (Path(ckpt_path).parent / CONFIG).exists():
            folder = Path(ckpt_path).parent
            if finished := finished_record(folder):
                raise ValueError(f"{folder}: this run has ended ({finished.status}); there is nothing to resume")
            return folder
        if not is_first():  # the first process writes; the others only need a path
            return Path(self._get(self.config, "out"))
        root = Path(self._get(self.config, "out"))
        # What was asked for, as YAML from which the run can be repeated.
        config = self._parser(self.subcommand).dump(self.config[self.subcommand])
        return create_run_folder(root, self.identity.task.name, self.identity.architecture.name, name, config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with everything that the protocol decides."""
        config = dict(self.members[0].trainer)
        wants_bar = config.pop("enable_progress_bar") is not False
        protocol = self.model.protocol
        callbacks: list[Callback] = []
        if self.folder is not None:
            interval = self._get(self.config, "checkpoint_interval_s")
            if wants_bar:
                task = self.data.task
                primary = next(target.metric for target in task.targets if target.name == task.primary)
                headline = "accuracy" if primary.startswith("loss") else primary
                tokens_per_step = len(self.members) * self.data.tokens_per_step
                callbacks.append(EmergenceProgressBar(tokens_per_step, protocol.eval_every, headline))
            # The order matters: the checkpoint must hold what tracker and recorder have taken in.
            self.checkpointer = Checkpointer(self.folder, self.identity, interval)
            callbacks += [*self._recorders(), self.checkpointer]
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

    def _recorders(self) -> list[Callback]:
        """What follows the fit; `self.write` makes it write records."""
        assert self.folder is not None
        if isinstance(self.model, EnsembleModule):
            ensemble = self.model
            dump = self._parser(self.subcommand).dump
            of_all = ensemble_recorder(self.folder, self.members, dump)
            self.write = lambda status, error: of_all.write(ensemble, status, error)
            return [of_all]
        recorder = run_recorder(self.folder, self.members[0])
        self.write = lambda status, error: [recorder.write(self.model, status or recorder.outcome(), error)]
        return [recorder.tracker, recorder]

    def fit(self, **kwargs: Any) -> None:
        """Train; a record remains at every kind of end."""
        assert self.folder is not None

        def start() -> None:
            self.trainer.fit(**kwargs, weights_only=True)

        self.outcome = train(start, self.write if is_first() else lambda status, error: [], self.checkpointer)
        if not is_first():
            self.outcome.exit_code = leave(self.outcome.error)
            return
        print_outcome(self.outcome, self.folder)
        if self.outcome.exit_code:
            end_others(self.trainer)

    def validate(self, **kwargs: Any) -> None:
        """Print the metrics of the held-out evaluation set."""
        self.trainer.validate(**kwargs, verbose=False, weights_only=True)
        if is_first():
            print_evaluation(self.model, "evaluation set")

    def test(self, **kwargs: Any) -> None:
        """Print the metrics of the test set, which nothing in training has seen."""
        self.trainer.test(**kwargs, verbose=False, weights_only=True)
        if is_first():
            print_evaluation(self.model, "test set")
