"""All that is known of the run of one seed while it trains: losses, curves, targets, times, how it has ended."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark.config.identity import RunIdentity
from benchmark.metrics.held_out import Evaluation
from benchmark.training.emergence import hits_of
from benchmark.training.folder.probe_log import ProbeLog
from datamodules import Task
from leaderboard.records.record import Hit, Record

N_FIRST_LOSSES = 20


@dataclass
class SeedLog:
    """All that is known of the run of one seed so far.

    Args:
        identity: of the run.
        task: the stream that it learns.
        folder: where its record goes.
        config: YAML from which the run can be repeated, for a folder that does not hold it yet.
        init_hash: of the weights that it began with.
        probes: that look at its model, if some do.

    Attributes:
        step: optimizer steps made.
        first_losses: in nats, of the first 20 steps.
        curves: one row per evaluation: step, every metric, loss_by_position_nats (a float32 tensor (L,)) and, of a task
            that has parts, parts_solved (a bool tensor (P,)).
        hits: of the targets, by name.
        diverged: the reason, once the loss is not finite.
        record: once it is written.
    """

    identity: RunIdentity
    task: Task
    folder: Path
    config: str | None = None
    init_hash: str | None = None
    probes: ProbeLog | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    step: int = 0
    first_losses: list[float] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    hits: dict[str, Hit] = field(default_factory=dict)
    diverged: str | None = None
    record: Record | None = None
    train_s: float = 0.0
    eval_s: float = 0.0
    _train_since: float | None = None
    _eval_since: float | None = None

    def __post_init__(self) -> None:
        self.hits = hits_of(self.task.targets, self.curves)

    def take(self, step: int, evaluation: Evaluation) -> bool:
        """Take in the evaluation at a step, if it lies on the grid and is a new one; returns whether it is."""
        is_new = step % self.identity.protocol.eval_every == 0 and not (self.curves and self.curves[-1]["step"] >= step)
        if is_new:
            by_position = evaluation.loss_L.float()
            row = {"step": step, **evaluation.metrics, "loss_by_position_nats": by_position}
            if len(evaluation.parts_P):
                row["parts_solved"] = evaluation.parts_P
            self.curves.append(row)
            self.hits = hits_of(self.task.targets, self.curves, self.hits)
        if not math.isfinite(loss := evaluation.metrics["loss_nats"]):
            self.diverged = f"held-out loss is {loss} at step {step}"
        return is_new

    def take_losses(self, first_step: int, losses: list[float]) -> None:
        """Take in the training losses of the steps from `first_step` on, counted from 1.

        Steps after one whose loss is not finite do not count.
        """
        if self.diverged is not None:
            return
        wrong = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
        if len(self.first_losses) < N_FIRST_LOSSES:
            self.first_losses += losses[:wrong][: N_FIRST_LOSSES - len(self.first_losses)]
        if wrong is not None:
            self.step = first_step + wrong
            self.diverged = f"training loss is {losses[wrong]} at step {self.step}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do: it is recorded, has diverged, or is solved and need not go on."""
        solved = self.identity.protocol.stop_when_solved and all(hit.step is not None for hit in self.hits.values())
        return solved or self.diverged is not None or self.record is not None

    def outcome(self) -> str:
        """Status of a run that nothing cut short."""
        protocol = self.identity.protocol
        solved = self.hits[protocol.primary].step is not None
        if solved and (self.step == protocol.max_steps or protocol.stop_when_solved):
            return "solved"
        return "censored" if self.step == protocol.max_steps else "interrupted"

    def train_clock(self, running: bool = True) -> None:
        """Start timing the training, unless the clock is not to run yet, and stop timing anything else."""
        now = time.perf_counter()
        self._stop_clocks(now)
        self._train_since = now if running else None

    def eval_clock(self) -> None:
        """Start timing an evaluation, and stop timing anything else."""
        now = time.perf_counter()
        self._stop_clocks(now)
        self._eval_since = now

    def _stop_clocks(self, now: float) -> None:
        self.train_s += 0.0 if self._train_since is None else now - self._train_since
        self.eval_s += 0.0 if self._eval_since is None else now - self._eval_since
        self._train_since = self._eval_since = None

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on with this log."""
        running = 0.0 if self._train_since is None else time.perf_counter() - self._train_since
        return {
            "started_at": self.started_at.isoformat(),
            "init_hash": self.init_hash,
            "step": self.step,
            "first_losses": list(self.first_losses),
            "train_s": self.train_s + running,
            "eval_s": self.eval_s,
            "curves": list(self.curves),
            **({} if self.probes is None else {"probes": self.probes.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.started_at = datetime.fromisoformat(state["started_at"])
        self.init_hash = state.get("init_hash", self.init_hash)  # older checkpoints do not hold it
        self.step = state["step"]  # a run cut short after its last step trains no further
        self.first_losses, self.curves = list(state["first_losses"]), list(state["curves"])
        self.train_s, self.eval_s = state["train_s"], state["eval_s"]
        if self.probes is not None:
            self.probes.load_state_dict(state["probes"])
        self.hits = hits_of(self.task.targets, self.curves)
