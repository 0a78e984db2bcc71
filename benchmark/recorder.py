"""Measures a fit and writes what remains of it: curves, record, picture."""

import hashlib
import math
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from benchmark import environment
from benchmark.emergence import EmergenceTracker
from benchmark.identity import RunIdentity
from benchmark.module import EmergenceModule
from benchmark.processes import LOOK_EVERY, mean
from datamodules import TaskDataModule
from leaderboard.record import FINAL_STATUSES, Curves, Final, Hit, Record, protocol_hash, read_record, write_record

if TYPE_CHECKING:
    import pandas as pd

RECORD, CURVES, PICTURE = "record.json", "curves.parquet", "curves.png"
N_FIRST_LOSSES = 20
_COMMON = ("loss_nats", "loss_scored_nats", "accuracy", "exact_match")


class Diverged(Exception):
    """The loss is no longer a finite number."""


class RunRecorder(Callback):
    """Follows a fit: first losses, times, divergence. `write` leaves record, curves and picture in the run folder.

    Args:
        folder: run folder.
        identity: what the run is.
        tracker: the emergence tracker of the same fit.
        data: the data module, for the hash of the first batch.
        picture: draw the curves at the end, which takes a second.
    """

    def __init__(
        self, folder: Path, identity: RunIdentity, tracker: EmergenceTracker, data: TaskDataModule, picture: bool = True
    ) -> None:
        self.picture = picture
        self.folder, self.identity, self.tracker, self.data = folder, identity, tracker, data
        self.started_at = datetime.now(UTC)
        self.first_losses: list[float] = []
        self.step = 0
        self._train_s = self._eval_s = 0.0
        self._train_since: float | None = None
        self._eval_since: float | None = None
        self.flops_per_token: float | None = None
        self.compile_s, self.ensemble_size = 0.0, 1
        self.ensemble_tokens: int | None = None
        self.suite: str | None = None
        self.cell: str | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the operations of a step."""
        assert isinstance(pl_module, EmergenceModule)
        self.flops_per_token = environment.flops_per_token(pl_module.model, pl_module.task)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.step = trainer.global_step
        self.train_clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the first losses, log the loss now and then; end the run if it is not finite.

        Raises:
            Diverged: if the loss is NaN or infinite.
        """
        self.step = trainer.global_step
        loss: torch.Tensor = outputs["loss"]
        first = len(self.first_losses) < N_FIRST_LOSSES
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        logged = every > 0 and self.step % every == 0
        # Reading a loss makes a GPU wait, or processes for one another: so there it is looked at only now and then once
        # the first ones are kept.
        waits = loss.device.type != "cpu" or trainer.world_size > 1
        if waits and not (first or logged) and self.step % LOOK_EVERY:
            return
        value = mean(trainer, loss)
        if not math.isfinite(value):
            raise Diverged(f"training loss is {value} at step {self.step}")
        if first:
            self.first_losses.append(value)
        if logged:
            log_metrics(trainer, {"train/loss_nats": value})

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the training clock, start the evaluation clock."""
        self.eval_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the evaluation clock, start the training clock; end the run if the evaluation is not finite.

        Raises:
            Diverged: if the held-out loss is NaN or infinite.
        """
        assert isinstance(pl_module, EmergenceModule) and pl_module.evaluation is not None
        self.train_clock(running=not trainer.sanity_checking)
        log_metrics(trainer, {f"val/{name}": value for name, value in pl_module.evaluation.metrics.items()})
        if not math.isfinite(loss := pl_module.evaluation.metrics["loss_nats"]):
            raise Diverged(f"held-out loss is {loss} at step {trainer.global_step}")

    def train_clock(self, running: bool = True) -> None:
        """What follows is training, unless the clock is not to run yet; an evaluation that was on has ended."""
        now = time.perf_counter()
        if self._eval_since is not None:
            self._eval_s += now - self._eval_since
            self._eval_since = None
        self._train_since = now if running else None

    def eval_clock(self) -> None:
        """What follows is an evaluation."""
        self._eval_since = time.perf_counter()
        if self._train_since is not None:
            self._train_s += self._eval_since - self._train_since
            self._train_since = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to tell the whole story."""
        running = 0.0 if self._train_since is None else time.perf_counter() - self._train_since
        return {
            "started_at": self.started_at.isoformat(),
            "step": self.step,
            "first_losses": list(self.first_losses),
            "train_s": self._train_s + running,
            "eval_s": self._eval_s,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.started_at = datetime.fromisoformat(state_dict["started_at"])
        self.step = state_dict["step"]  # a run cut short after its last step trains no further
        self.first_losses = list(state_dict["first_losses"])
        self._train_s, self._eval_s = state_dict["train_s"], state_dict["eval_s"]

    def outcome(self) -> str:
        """How a run that nothing cut short has ended."""
        protocol = self.identity.protocol
        solved = self.tracker.hittings[protocol.primary].step is not None
        if solved and (self.step == protocol.max_steps or protocol.stop_when_solved):
            return "solved"
        return "censored" if self.step == protocol.max_steps else "interrupted"

    def write(self, module: EmergenceModule, status: str, error: str | None) -> Record:
        """Write the curves, then atomically the record, and then the picture, which may fail without harm.

        Raises:
            OSError: if a file cannot be written.
        """
        if self._train_since is not None:
            self._train_s += time.perf_counter() - self._train_since
            self._train_since = None
        curves = None
        if (path := self.folder / RECORD).exists() and read_record(path).status not in FINAL_STATUSES:
            path.unlink()  # it speaks of the curves that are replaced now
        if self.tracker.curves:
            table = curves_table(self.tracker.curves)
            content = table.to_parquet(None, index=False)
            (self.folder / CURVES).write_bytes(content)
            curves = Curves(file=CURVES, sha256=hashlib.sha256(content).hexdigest())
        record = self._record(module, status, error, curves)
        write_record(path, record)
        if curves is not None and self.picture:
            self._draw(record, table)
        return record

    def _draw(self, record: Record, curves: "pd.DataFrame") -> None:
        """Draw the curves of a recorded run; a failure is a warning, since the record is what counts."""
        try:
            from benchmark.plots import write_curves_plot  # here, because Altair takes long to import

            write_curves_plot(self.folder / PICTURE, record, curves)
        except Exception as error:  # of any library on the way to a PNG
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(f"{self.folder / PICTURE}: the picture was not drawn: {reason}", stacklevel=2)

    def _record(self, module: EmergenceModule, status: str, error: str | None, curves: Curves | None) -> Record:
        task, identity = module.task, self.identity
        device = module.device
        tokens = self.step * identity.protocol.tokens_per_step
        rows = [row for row in self.tracker.curves if math.isfinite(row["loss_nats"])]
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
            hits={n: Hit(step=h.step, previous_step=h.previous_step) for n, h in self.tracker.hittings.items()},
            first_loss_nats=rows[0]["loss_nats"] if rows and rows[0]["step"] == 0 else None,
            final=_final(rows[-1]) if rows else None,
            chance_loss_nats=task.chance_loss_nats,
            floor_loss_nats=task.floor_loss_nats,
            steps=self.step,
            tokens=tokens,
            parameters=sum(p.numel() for p in module.model.parameters()),
            state_bytes=module.model.state_bytes,
            flops_per_token=self.flops_per_token,
            precision=identity.precision,
            first_batch_hash=batch_hash(self.data),
            first_losses_nats=tuple(self.first_losses),
            wall_train_s=self._train_s,
            wall_eval_s=self._eval_s,
            wall_compile_s=self.compile_s,
            ensemble_size=self.ensemble_size,
            tokens_per_s=(self.ensemble_tokens or tokens) / self._train_s if self._train_s > 0 else None,
            peak_memory_bytes=environment.peak_memory_bytes(device),
            hardware=environment.hardware(device),
            versions=environment.versions(),
            git=environment.git_state(),
            started_at=self.started_at,
            ended_at=datetime.now(UTC),
            curves=curves,
        )


def log_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Pass metrics to the loggers at the number of steps made so far.

    Lightning's own `log` would number them one lower, leave out step 0, and cost small models 2 % of a step.
    """
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=trainer.global_step)


def _final(row: Mapping[str, Any]) -> Final:
    own = {k: v for k, v in row.items() if k not in {"step", "loss_by_position_nats", *_COMMON}}
    return Final(step=row["step"], **{name: row[name] for name in _COMMON}, task_metrics=own)


def curves_table(curves: list[dict[str, Any]]) -> "pd.DataFrame":
    """One row an evaluation: step, the metrics, loss_by_position_nats (a float32 list of length L)."""
    import pandas as pd

    arrays = [{**row, "loss_by_position_nats": row["loss_by_position_nats"].numpy()} for row in curves]
    return pd.DataFrame(arrays)


def batch_hash(data: TaskDataModule) -> str:
    """SHA-256 (hex) of the first training batch: (B, S*T) tokens as little-endian int32, row by row."""
    tokens = data.task.batch(0, data.batch_size).numpy()
    return hashlib.sha256(tokens.astype(np.dtype("<i4")).tobytes()).hexdigest()
