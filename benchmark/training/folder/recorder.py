"""Follows a fit of E >= 1 seeds and writes what remains of each: curves, record, picture.

Shape letters: E seeds, N steps.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Callback, LightningModule, Trainer

from benchmark.config.errors import optional
from benchmark.training.emergence import part_hits_of
from benchmark.training.folder.checkpoint import CHECKPOINT, save_weights
from benchmark.training.folder.keeping import Keeper
from benchmark.training.folder.layout import CONFIG, CURVES, PICTURE, PROBES_TABLE, RECORD, finished_record
from benchmark.training.folder.seed_log import N_FIRST_LOSSES, SeedLog
from benchmark.training.machine import environment
from benchmark.training.module import EmergenceModule
from benchmark.training.processes import LOOK_EVERY, is_rank_zero, mean
from datamodules import Task
from leaderboard.records.record import (
    FINAL_STATUSES,
    CurvesFile,
    Final,
    Git,
    Record,
    Resumed,
    protocol_hash,
    read_record,
    write_record,
)
from leaderboard.whole_files import write_whole, writing

if TYPE_CHECKING:
    import pandas as pd

_LISTS = ("loss_by_position_nats", "parts_solved")
_COMMON = ("loss_nats", "loss_scored_nats", "accuracy", "exact_match")


class Diverged(Exception):
    """No seed is left, and the loss of the last one is no longer a finite number."""


class Recorder(Callback):
    """Takes the losses and evaluations of every seed, and ends a seed that is solved or has diverged.

    The record of a seed that ends before others is written at once, and the others go on without it; those of the last
    ones are written by `write` when the fit is over.

    Args:
        logs: of every seed.
        picture: draw the curves at the end of a run, which takes a second.
        suite: name of the suite that the records say, and
        cell: of its cell.
        keeper: of checkpoints along the way.

    Attributes:
        code: that the run began with, and every change of it on the way.
        callbacks: names of the user's own, now or before the run was resumed.
    """

    def __init__(
        self,
        logs: Mapping[int, SeedLog],
        *,
        picture: bool = True,
        suite: str | None = None,
        cell: str | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self.logs = dict(logs)
        self.picture, self.suite, self.cell, self.keeper = picture, suite, cell, keeper or Keeper()
        self.flops_per_token: float | None = None
        self.code = [_code_at(0)]
        self.callbacks: tuple[str, ...] = ()
        self._module: EmergenceModule | None = None
        self._one_process = True
        self._step = 0

    def _live(self, module: EmergenceModule) -> Iterable[SeedLog]:
        """Of the seeds that train."""
        return (self.logs[seed] for seed in module.seeds)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the operations of a step; leave out the seeds that had ended before the run was cut short."""
        assert isinstance(pl_module, EmergenceModule)
        self._module, self._one_process = pl_module, trainer.world_size == 1
        with optional("floating-point operations are not counted"):
            self.flops_per_token = environment.flops_per_token(pl_module.model_of(pl_module.seeds[0]), pl_module.task)
        for log in self.logs.values():
            if log.config is not None:
                log.record = finished_record(log.folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clocks; a run that was cut short after it had ended, before it could say so, must not train on."""
        assert isinstance(pl_module, EmergenceModule)
        self._step = trainer.global_step
        for log in self._live(pl_module):
            log.step = trainer.global_step
            log.train_clock()
        self._end(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, keep the first losses, log the loss now and then; end seeds whose loss is not finite.

        Raises:
            Diverged: if no other seed is left.
        """
        assert isinstance(pl_module, EmergenceModule)
        self._step = step = trainer.global_step
        for log in self._live(pl_module):
            if log.diverged is None:
                log.step = step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        logged = every > 0 and step % every == 0
        # Reading a loss makes a GPU wait, or processes for one another: so there it is looked at only now and then once
        # the first ones are kept.
        waits = pl_module.device.type != "cpu" or not self._one_process
        if waits and not (logged or step <= N_FIRST_LOSSES) and step % LOOK_EVERY:
            return
        loss = self._look(trainer, pl_module)
        if logged and loss is not None:
            many = {"train/seeds": len(pl_module.seeds)} if len(self.logs) > 1 else {}
            log_metrics(trainer, {"train/loss_nats": loss, **many})
        if any(log.diverged for log in self._live(pl_module)):
            self._end(trainer, pl_module)

    def _look(self, trainer: Trainer | None, module: EmergenceModule) -> float | None:
        """Look at the losses since the last time; the mean of the last ones, None if there was no step."""
        losses_NE = module.take_losses()
        if not len(losses_NE):
            return None
        if trainer is not None:
            losses_NE = mean(trainer, losses_NE)
        rows = losses_NE.tolist()
        first_step = self._step - len(rows) + 1
        for log, losses in zip(self._live(module), zip(*rows, strict=True), strict=True):
            log.take_losses(first_step, list(losses))
        return sum(rows[-1]) / len(rows[-1])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on it is evaluation."""
        assert isinstance(pl_module, EmergenceModule)
        for log in self._live(pl_module):
            log.eval_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take in losses and evaluations, keep weights, and end the seeds that are done.

        Raises:
            Diverged: if no seed is left, and the held-out loss of one of the last is not finite.
        """
        assert isinstance(pl_module, EmergenceModule) and pl_module.evaluation is not None
        for log in self._live(pl_module):
            log.train_clock(running=False)  # what is written below is neither training nor evaluation
        if trainer.state.fn != "fit":
            return
        step = trainer.global_step
        log_metrics(trainer, {f"val/{name}": value for name, value in pl_module.evaluation.metrics.items()})
        self._look(trainer, pl_module)
        probed: list[dict[str, float]] = []
        for seed, evaluation in pl_module.evaluations.items():
            if (log := self.logs[seed]).diverged is None:
                is_new = log.take(step, evaluation)
                if is_new and log.probes is not None and log.diverged is None and is_rank_zero():
                    probed.append(log.probes.look(step, partial(pl_module.model_of, seed)))
        if names := sorted(set().union(*probed)):
            of_name = {name: [values[name] for values in probed if name in values] for name in names}
            log_metrics(trainer, {f"probes/{name}": sum(values) / len(values) for name, values in of_name.items()})
        self.keeper.keep(trainer, pl_module, self.logs, step)
        self._end(trainer, pl_module)
        for log in self._live(pl_module):
            log.train_clock(running=not trainer.sanity_checking)

    def _end(self, trainer: Trainer, module: EmergenceModule) -> None:
        """Go on without the seeds that are done, whose records are written; end the fit if none is left."""
        left = [seed for seed in module.seeds if not self.logs[seed].has_ended]
        if left:
            for seed in module.seeds:
                if seed not in left and self.logs[seed].record is None:
                    self._write(module, seed, None, None)
            module.keep(left)
            return
        if reasons := [log.diverged for log in self._live(module) if log.diverged is not None]:
            raise Diverged(reasons[-1])
        trainer.should_stop = True

    def write(self, module: EmergenceModule, status: str | None, error: str | None) -> list[Record]:
        """Write the records of the seeds that have none yet; all records, in the order of the seeds.

        Args:
            module: the LightningModule of the run.
            status: how the seeds that still train end; None where nothing cut them short.
            error: what to say of it.

        Raises:
            CannotWrite: if a file cannot be written.
        """
        if self._one_process:  # others may not get here
            self._look(None, module)
        for seed in module.seeds:
            if self.logs[seed].record is None:
                self._write(module, seed, status, error)
        return [log.record for log in self.logs.values() if log.record is not None]

    def _write(self, module: EmergenceModule, seed: int, status: str | None, error: str | None) -> None:
        """Write the curves, then atomically the record, and then table of probes and picture, which may fail without
        harm."""
        log = self.logs[seed]
        log.train_clock(running=False)
        if log.diverged is not None:
            status, error = "diverged", log.diverged
        self.keeper.tidy(log, waiting=0 if (status or log.outcome()) in FINAL_STATUSES else 2)
        path = log.folder / RECORD
        if log.config is not None:
            with writing(path):
                log.folder.mkdir(exist_ok=True)
            write_whole(log.folder / CONFIG, log.config.encode())
            save_weights(log.folder / CHECKPOINT, module.model_of(seed), log.identity, log.step)
        with writing(path):
            log.folder.stat()  # or it would come back half
        if path.exists() and read_record(path).status not in FINAL_STATUSES:
            path.unlink()  # it speaks of the curves that are replaced now
        curves = table = None
        if log.curves:
            table = curves_table(log.curves)
            content = table.to_parquet(None, index=False)
            write_whole(log.folder / CURVES, content)
            curves = CurvesFile(file=CURVES, sha256=hashlib.sha256(content).hexdigest())
        record = self._record(module, seed, status or log.outcome(), error, curves)
        write_record(path, record)
        log.record = record
        if log.probes is not None:
            with optional(f"{log.folder / PROBES_TABLE}: the table of probes was not written"):
                write_whole(log.folder / PROBES_TABLE, log.probes.table.frame().to_parquet(None, index=False))
        if table is not None and self.picture:
            with optional(f"{log.folder / PICTURE}: the picture was not drawn"):
                from benchmark.training.display import picture

                picture.write_curves_plot(log.folder / PICTURE, record, table)

    def _record(
        self, module: EmergenceModule, seed: int, status: str, error: str | None, curves: CurvesFile | None
    ) -> Record:
        log, model, device = self.logs[seed], module.model_of(seed), module.device
        identity, per_step = log.identity, log.identity.protocol.tokens_per_step
        rows = [row for row in log.curves if math.isfinite(row["loss_nats"])]
        steps_of_all = sum(min(other.step, log.step) for other in self.logs.values())
        return Record(
            schema_version=1,
            status=status,  # type: ignore[arg-type]
            error=error,
            suite=self.suite,
            cell=self.cell,
            architecture=identity.architecture,
            task=identity.task,
            protocol=identity.protocol,
            protocol_hash=protocol_hash(identity.task, identity.protocol),
            optimizer=identity.optimizer,
            seeds=identity.seeds,
            hits=log.hits,
            part_hits=part_hits_of(log.curves),
            first_loss_nats=rows[0]["loss_nats"] if rows and rows[0]["step"] == 0 else None,
            final=_final(rows[-1]) if rows else None,
            chance_loss_nats=log.task.chance_loss_nats,
            floor_loss_nats=log.task.floor_loss_nats,
            steps=log.step,
            tokens=log.step * per_step,
            parameters=sum(p.numel() for p in model.parameters()),
            state_bytes=model.state_bytes,
            flops_per_token=self.flops_per_token,
            precision=identity.precision,
            first_batch_hash=batch_hash(log.task, module.batch_size),
            init_hash=log.init_hash,
            first_losses_nats=tuple(log.first_losses),
            wall_train_s=log.train_s,
            wall_eval_s=log.eval_s,
            wall_compile_s=0.0 if module.step is None else module.step.capture_s,
            ensemble_size=len(self.logs),
            tokens_per_s=steps_of_all * per_step / log.train_s if log.train_s > 0 else None,
            peak_memory_bytes=environment.peak_memory_bytes(device),
            hardware=environment.hardware(device),
            versions=self.code[0].versions,
            git=self.code[0].git,
            resumed=tuple(self.code[1:]),
            callbacks=tuple(dict.fromkeys(self.callbacks)),
            intervention=identity.intervention,
            started_at=log.started_at,
            ended_at=datetime.now(UTC),
            curves=curves,
        )

    def state_dict(self) -> dict[str, Any]:
        """The log of every seed, for a resumed run."""
        if self._module is not None and self._one_process:
            self._look(None, self._module)
        return {
            "diverged": {seed: log.diverged for seed, log in self.logs.items() if log.diverged is not None},
            "seeds": {seed: log.state_dict() for seed, log in self.logs.items()},
            "callbacks": list(self.callbacks),
            "code": [code.model_dump() for code in self.code],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`; the record names the code that the run began with, and its changes."""
        for seed, log in self.logs.items():
            log.load_state_dict(state_dict["seeds"][seed])
            log.diverged = state_dict["diverged"].get(seed)
        self.callbacks += tuple(state_dict.get("callbacks", ()))
        here = _code_at(max(log.step for log in self.logs.values()))
        # A checkpoint of an earlier version does not say under which code its run began.
        unknown = here.model_copy(update={"step": 0, "git": Git(commit=None, dirty=None)})
        self.code = [Resumed.model_validate(code) for code in state_dict.get("code", [unknown])]
        if (here.git, here.versions) != (self.code[-1].git, self.code[-1].versions):
            self.code.append(here)


def _code_at(step: int) -> Resumed:
    """The code that runs from a step on."""
    return Resumed(step=step, git=environment.git_state(), versions=environment.versions())


def log_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Pass metrics to the loggers at the number of steps made so far.

    Lightning's own `log` would number them one lower, leave out step 0, and cost small models 2 % of a step.
    """
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=trainer.global_step)


def _final(row: Mapping[str, Any]) -> Final:
    own = {k: v for k, v in row.items() if k not in {"step", *_LISTS, *_COMMON}}
    return Final(step=row["step"], **{name: row[name] for name in _COMMON}, task_metrics=own)


def curves_table(curves: list[dict[str, Any]]) -> "pd.DataFrame":
    """One row per evaluation: step, the metrics, loss_by_position_nats (a float32 list of length L), parts_solved."""
    import pandas as pd

    # A run of old that was resumed has evaluations that do not say which parts were solved.
    lists = [name for name in _LISTS if all(name in row for row in curves)]
    plain = [{name: value for name, value in row.items() if name not in _LISTS} for row in curves]
    return pd.DataFrame(plain).assign(**{name: [row[name].numpy() for row in curves] for name in lists})


def batch_hash(task: Task, batch_size: int) -> str:
    """SHA-256 (hex) of the first training batch: (B, L + 1) tokens as little-endian int32, row by row."""
    tokens = task.batch(0, batch_size).numpy()
    return hashlib.sha256(tokens.astype(np.dtype("<i4")).tobytes()).hexdigest()
