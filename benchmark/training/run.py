"""A run: built from a configuration, trained, evaluated, and loaded again from its folder.

`build(config)` and `load(folder)` are the only ways to make one; the command line, the Python API, sweeps, `replay`,
`speed` and `estimate` are all built on them.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning import Callback, Trainer

from architectures import SequenceModel
from benchmark.config.errors import BenchmarkError, Damaged, line_of, said
from benchmark.config.feasible import require_feasible
from benchmark.config.identity import RunIdentity
from benchmark.config.parser import built_loggers, built_trainer_options, to_yaml
from benchmark.config.run_config import RunConfig
from benchmark.config.trainer_objects import own_callbacks
from benchmark.metrics.held_out import Evaluation
from benchmark.probes.registry import make_probes
from benchmark.training import processes
from benchmark.training.display.hparams_tab import show_outcome
from benchmark.training.display.progress_bar import bar_among, bars
from benchmark.training.evidence.initial_weights import init_hash
from benchmark.training.folder.checkpoint import CHECKPOINT, Checkpointer, Interrupted, put_aside
from benchmark.training.folder.keeping import Keeper
from benchmark.training.folder.layout import (
    CONFIG,
    RECORD,
    create_run_folder,
    finished_record,
    kept_steps,
    require_unfinished,
    seed_folder,
)  # fmt: skip
from benchmark.training.folder.lock import training_in
from benchmark.training.folder.outcome import DIVERGED, Outcome
from benchmark.training.folder.probe_log import ProbeLog
from benchmark.training.folder.recorder import Diverged, Recorder
from benchmark.training.folder.restoring import own_checkpoint, require_resumable, take_weights
from benchmark.training.folder.seed_log import SeedLog
from benchmark.training.folder.tables import read_curves, read_probes
from benchmark.training.members import Member, begun, load_weights, members_of
from benchmark.training.module import EmergenceModule
from benchmark.training.processes import check_shares, end_others, is_rank_zero, leave, plan_processes
from benchmark.training.trainer import make_trainer, quiet, random_state
from datamodules import Split, Task, TaskDataModule
from leaderboard.records.record import Record, read_record
from leaderboard.whole_files import first_of

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """E >= 1 seeds of an architecture on a task: `fit` trains and records them, `evaluate` measures them.

    Args:
        config: the configuration.
        members: its seeds.
        data: the data module.
        folder: where its files are; None before a fit.

    Attributes:
        module: the LightningModule.
        outcome: how the last fit ended.
        step: optimizer steps that the weights have seen.
    """

    def __init__(
        self, config: RunConfig, members: Sequence[Member], data: TaskDataModule, folder: Path | None = None
    ) -> None:
        self.config, self.members, self.data, self.folder = config, tuple(members), data, folder
        self.data.as_rows = True
        self.module = EmergenceModule(
            [member.model for member in members],
            [member.task for member in members],
            config.optimizer,
            config.protocol,
            seeds=[member.seed for member in members],
            batch_size=data.batch_size,
            use_cuda_graph=config.cuda_graph and config.seeds is not None,
            metrics=config.metrics or (),
            bias=None if config.intervention is None else config.intervention.attention_bias,
        )
        self.outcome: Outcome | None = None
        self.step = 0
        self._probes = {m.seed: make_probes(config.probes or (), m.model, m.task) for m in self.members}
        self._random_state = torch.get_rng_state()  # whatever an architecture draws while it trains goes on from here

    @property
    def many(self) -> bool:
        """Whether the seeds have folders of their own within the run's."""
        return self.config.seeds is not None

    @property
    def identity(self) -> RunIdentity:
        """Everything that decides the numbers of the run."""
        first = self.members[0].identity
        return replace(first, many={m.seed: m.identity.seeds for m in self.members}) if self.many else first

    @property
    def task(self) -> Task:
        """The stream that the first seed learns."""
        return self.members[0].task

    @property
    def model(self) -> SequenceModel:
        """The model of the only seed, with its current weights.

        Raises:
            ValueError: if there are many: `module.model_of(seed)` is the model of one.
        """
        if len(self.members) > 1:
            raise BenchmarkError(f"this run has {len(self.members)} seeds: take run.module.model_of(seed)")
        return self.module.model_of(self.members[0].seed)

    def seed_folder(self, seed: int) -> Path:
        """The folder of the record of a seed.

        Raises:
            ValueError: if the run has no folder yet.
        """
        if self.folder is None:
            raise BenchmarkError("this run has no folder yet: fit makes it")
        return seed_folder(self.folder, seed) if self.many else self.folder

    @property
    def records(self) -> list[Record]:
        """The records of all seeds that have one, in the order of the seeds."""
        if self.folder is None:
            return []
        paths = [self.seed_folder(member.seed) / RECORD for member in self.members]
        return [read_record(path) for path in paths if path.exists()]

    @property
    def record(self) -> Record | None:
        """The record of a run of one seed, None if it has not been written yet.

        Raises:
            ValueError: if there are many: take `records`.
        """
        if len(self.members) > 1:
            raise BenchmarkError(f"this run has {len(self.members)} seeds: take run.records")
        return next(iter(self.records), None)

    def curves(self, seed: int | None = None) -> "pd.DataFrame":
        """The learning curves of a seed, the first by default: one row per evaluation, the numbers of probes too.

        Raises:
            ValueError: if there are none.
        """
        return read_curves(self._folder_of(seed))

    def probes(self, seed: int | None = None) -> "pd.DataFrame":
        """The table of the probes at a seed, by default the first, as `benchmark.probes.table` describes it.

        Raises:
            ValueError: if there is none.
        """
        return read_probes(self._folder_of(seed))

    def _folder_of(self, seed: int | None) -> Path:
        numbers = [member.seed for member in self.members]
        if seed is not None and seed not in numbers:
            raise BenchmarkError(f"this run has no seed {seed}: its seeds are {', '.join(map(str, numbers))}")
        return self.seed_folder(numbers[0] if seed is None else seed)

    @property
    def kept_steps(self) -> list[int]:
        """The steps after which checkpoints were kept, ascending, for ``load(folder, step=...)``."""
        return [] if self.folder is None else kept_steps(self.seed_folder(self.members[0].seed))

    def trajectory(self) -> Iterator["Run"]:
        """This run at every step after which weights were kept, in order; each has a model of its own."""
        for step in self.kept_steps:
            assert self.folder is not None
            yield restored(self.config, self.folder, step)

    @quiet()
    def fit(
        self,
        *,
        resume_from: Path | None = None,
        begin_anew: bool = False,
        progress: bool = True,
        plain_progress: bool = True,
        callbacks: Sequence[Callback] = (),
    ) -> Outcome:
        """Train; a record remains at every kind of end.

        Args:
            resume_from: checkpoint to go on from; for a run that was loaded, its own if it has one.
            begin_anew: where the run's own checkpoint is damaged and there is none before it, warn and begin anew.
            progress: show a bar in a terminal or a notebook.
            plain_progress: where there is neither, print a few lines instead.
            callbacks: Lightning's, called after those of the run.

        Raises:
            ValueError: if the run cannot be made: a mistake in options of the trainer, a checkpoint of another run, a
                folder that exists already, a run that has been trained. Nothing is left behind then.
            InUse: if another process works in the run folder.
            CannotWrite: if the record cannot be written.
        """
        if self.outcome is not None:
            raise BenchmarkError(
                f"{self.folder}: this run has been trained; resume(folder) continues it if it was cut short"
            )
        damaged = False
        if resume_from is None and self.folder is not None:
            resume_from = own_checkpoint(self.folder, begin_anew)
            damaged = resume_from is None or resume_from.name != CHECKPOINT
        options = built_trainer_options(self.config.trainer)
        own_callbacks(callbacks)  # refuses some
        n_processes = plan_processes(options)
        check_shares(self.data.batch_size, n_processes, many_seeds=self.many)
        require_resumable(resume_from, self.identity, self.module, self.config.probes or ())
        is_new = self.folder is None
        if self.folder is None:
            self.folder = self._made_folder(resume_from)
            is_new = resume_from is None or self.folder != resume_from.parent
        checkpointer = Checkpointer(self.folder, self.identity, self.config.checkpoint_interval_s)
        with ExitStack() as held:
            if is_rank_zero():
                held.enter_context(training_in(self.folder))
                if is_new:
                    held.callback(self._remove_unless_begun, checkpointer)
                if damaged:
                    put_aside(self.folder)
            if all(finished_record(self.seed_folder(member.seed)) for member in self.members):
                raise BenchmarkError(f"{self.folder}: all of its seeds have ended; there is nothing to resume")
            held.enter_context(self._own_randomness())
            recorder = self._recorder()
            tokens_per_step, every = len(self.members) * self.data.tokens_per_step, self.config.protocol.eval_every
            bar = bars(self.task, tokens_per_step, every, plain_progress, options) if progress else []
            options["enable_progress_bar"] = bool(bar) or bar_among(options) is not None
            options["logger"] = built_loggers(self.config.trainer, self.folder)
            # The order matters: the checkpoint must hold what the recorder has taken in.
            own = [*bar, recorder, checkpointer]
            trainer = make_trainer(
                options, self.config.protocol, [*own, *callbacks], folder=self.folder, identity=self.identity
            )
            every_callback: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
            recorder.callbacks += own_callbacks(other for other in every_callback if other not in own)
            self.outcome = self._train(trainer, recorder, checkpointer, resume_from)
            self.step = trainer.global_step
            if is_rank_zero() and self.outcome.exit_code:
                end_others(trainer)
            elif not is_rank_zero():
                self.outcome.exit_code = leave(self.outcome.error)
            if is_rank_zero() and self.outcome.exit_code in (0, DIVERGED):
                checkpointer.forget_others()
                show_outcome(trainer.loggers, self.identity.flat(), self.outcome.records)
        if len(self.module.seeds) < len(self.members):
            self._take_back()
        return self.outcome

    def _remove_unless_begun(self, checkpointer: Checkpointer) -> None:
        """Leave no folder of a run that could not be made, or could not go on from the checkpoint that was named."""
        if self.outcome is None and not checkpointer.begun and self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def _take_back(self) -> None:
        """Restore all seeds with their final weights: the module dropped those that ended early."""
        assert self.folder is not None
        whole = restored(self.config, self.folder)
        self.members, self.module = whole.members, whole.module

    def _train(
        self, trainer: Trainer, recorder: Recorder, checkpointer: Checkpointer, resume_from: Path | None
    ) -> Outcome:
        """Fit, and write a record at every kind of end."""

        def write(status: str | None, error: str | None) -> list[Record]:
            return recorder.write(self.module, status, error) if is_rank_zero() else []

        ckpt_path = None if resume_from is None else str(resume_from)
        with checkpointer.signals():
            try:
                trainer.fit(self.module, datamodule=self.data, ckpt_path=ckpt_path, weights_only=True)
            except Interrupted as end:
                return Outcome(write("interrupted", str(end)), 128 + end.signum)
            except Diverged as end:
                return Outcome(write("diverged", str(end)), DIVERGED)
            except Exception as error:
                if not checkpointer.begun and processes.is_lightnings_refusal(error):
                    raise ValueError(" ".join(str(error).split())) from error
                if resume_from is not None and not checkpointer.begun:
                    raise Damaged(f"{resume_from}: training cannot go on from it: {said(error)}") from error
                with first_of(error):
                    return Outcome(write("error", line_of(error)), 1, error)
            records = write(None, None)
            return Outcome(records, DIVERGED if any(record.status == "diverged" for record in records) else 0)

    @quiet()
    def first_steps(self, n_steps: int, device: str = "cpu") -> SeedLog:
        """The log of the first steps of a run of one seed, made as `fit` makes them, but without a folder.

        Raises:
            Diverged: if the loss is not finite.
        """
        recorder = Recorder({self.members[0].seed: SeedLog(self.members[0].identity, self.task, Path())}, picture=False)
        options = built_trainer_options(self.config.trainer) | {
            "accelerator": "gpu" if device == "cuda" else "cpu", "devices": 1, "logger": False, "callbacks": None,
            "enable_progress_bar": False,
        }  # fmt: skip
        with self._own_randomness():
            trainer = make_trainer(options, self.config.protocol, [recorder], max_steps=n_steps)
            trainer.fit(self.module, datamodule=self.data)
        return recorder.logs[self.members[0].seed]

    @quiet()
    def evaluate(self, split: Split = "eval", *, checkpoint: Path | None = None) -> Evaluation:
        """Metrics on held-out sequences: the mean over seeds; those of each seed are in `evaluations`.

        Args:
            split: "eval", on which the run is measured while it trains, or "test", which nothing in training has seen.
            checkpoint: take the weights of this file.

        Raises:
            ValueError: if the split is another, or the checkpoint is not of this run.
        """
        if split not in ("eval", "test"):
            raise BenchmarkError(f"split must be eval or test, got {split!r}")
        if checkpoint is not None:
            self.step = take_weights(checkpoint, self.identity, self.module)
        self.module.at = self.step
        options = built_trainer_options(self.config.trainer) | {"logger": False, "enable_progress_bar": False}
        plan_processes(options)
        trainer = make_trainer(options, self.config.protocol, folder=self.folder)
        work = trainer.validate if split == "eval" else trainer.test
        with self._own_randomness():
            work(self.module, datamodule=self.data, verbose=False)
        assert self.module.evaluation is not None
        return self.module.evaluation

    @property
    def evaluations(self) -> dict[int, Evaluation]:
        """The results of the last evaluation, by seed."""
        return self.module.evaluations

    def _own_randomness(self) -> AbstractContextManager[None]:
        return random_state(self._random_state, self.members[-1].identity.seeds.init_seed)

    def _recorder(self) -> Recorder:
        config, logs = self.config, {}
        for member in self.members:
            text = to_yaml(config.of_seed(member.seed)) if self.many else None
            folder, model = self.seed_folder(member.seed), self.module.model_of(member.seed)
            probes = ProbeLog(found, member.identity.protocol) if (found := self._probes[member.seed]) else None
            logs[member.seed] = SeedLog(member.identity, member.task, folder, text, init_hash(model), probes)
        keeper = Keeper.of(config)
        return Recorder(logs, picture=config.picture, suite=config.suite, cell=config.cell, keeper=keeper)

    def _made_folder(self, resume_from: Path | None) -> Path:
        """A new folder, or that of the checkpoint, which a resumed run continues."""
        config = self.config
        if resume_from is not None and config.name is None and (resume_from.parent / CONFIG).exists():
            require_unfinished(resume_from.parent)
            return resume_from.parent
        if not is_rank_zero():  # the first process writes; the others only need a path
            return Path(config.out)
        names = self.identity.task.name, self.identity.architecture.name
        return create_run_folder(Path(config.out), *names, config.name, to_yaml(config))  # YAML repeats the whole run


def build(config: RunConfig) -> Run:
    """A run of a configuration, not started: nothing is written or printed, and no global random state changes.

    Each seed is built as it would be alone, to the last bit of its initial weights, but for those of `--init_from`.

    Raises:
        ValueError: if options do not go together, or the run is too large for this machine.
    """
    require_feasible(config)
    with torch.random.fork_rng(devices=[]):
        config, members, data = begun(config)
        return Run(config, members, data)


def restored(config: RunConfig, folder: Path, step: int | None = None) -> Run:
    """The run of a configuration with the weights in its folder: at the end, or those kept after a step.

    Raises:
        ValueError: one line, if they are not there, damaged or of another run.
    """
    at = 0
    with torch.random.fork_rng(devices=[]):
        members, data = members_of(config)
        for member in members:  # before the run stacks their weights
            at = load_weights(member, folder if config.seeds is None else seed_folder(folder, member.seed), step)
        run = Run(config, members, data, folder)
    run.step = run.module.at = at
    return run
