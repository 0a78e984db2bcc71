"""Cost of the harness per step, beside a bare PyTorch loop on the CPU: `python -m benchmark.speed.overhead`.

After every step of a real run (progress bar on a pseudo-terminal, TensorBoard, recorder, checkpointer) the bare loop
makes one step of its own: the same model, optimizer, clipping, schedule and batches. So whatever else the machine does
disturbs both alike. There is no evaluation in between. Steps are summed up in blocks, because bar and TensorBoard act
only now and then, and the median of the blocks' ratios counts. CPU time leaves out the time that other programs took.
"""

import copy
import os
import pty
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from benchmark.config.files.packaged import CONFIGS
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.parser import parse
from benchmark.metrics.held_out import next_token_loss
from benchmark.speed.seed_step import Content
from benchmark.training.module import EmergenceModule
from benchmark.training.run import Run, build

BLOCK = 50
"""Steps between two lines of TensorBoard."""

Clock = tuple[float, float]


def now() -> Clock:
    """Wall and CPU time of this process in seconds."""
    return time.perf_counter(), time.process_time()


@dataclass(frozen=True)
class MeasuredCell:
    """A configuration to measure, how many blocks, and the ratio not to be exceeded."""

    name: str
    content: Content
    blocks: int
    target: float


CELLS = (
    MeasuredCell("paper's lm", {"model": "transformer", "data": "lm"}, 4, 1.05),
    MeasuredCell("quickstart", read_yaml(CONFIGS / "quickstart.yaml"), 12, 1.15),
)


class Interleaved(Callback):
    """Makes one step of a bare loop after each step of a fit, and times both.

    Args:
        run: under training, of one seed; the bare loop starts with the same weights.

    Attributes:
        fit: (wall, CPU) seconds of every step of the fit, from the end of the bare loop's step before it.
        bare: the same of the bare loop.
    """

    def __init__(self, run: Run) -> None:
        config = run.config.optimizer
        self.model, self.task, self.batch_size = copy.deepcopy(run.model), run.task, run.data.batch_size
        self.optimizer = AdamW(
            self.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = LambdaLR(self.optimizer, config.factor(run.config.protocol.max_steps))
        self.clip_norm = config.clip_norm
        self.fit: list[Clock] = []
        self.bare: list[Clock] = []
        self._since: Clock | None = None

    def step(self, step: int) -> None:
        """A step as one would write it first."""
        tokens = self.task.batch(step, self.batch_size)
        self.optimizer.zero_grad()
        loss = next_token_loss(self.model(tokens[:, :-1]), tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.schedule.step()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """The fit has made a step, the bare loop follows."""
        start = now()
        self.step(trainer.global_step - 1)
        end = now()
        if self._since is not None:  # the first step of each warms up
            self.fit.append((start[0] - self._since[0], start[1] - self._since[1]))
            self.bare.append((end[0] - start[0], end[1] - start[1]))
        self._since = now()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Both did the same work, or the comparison means nothing."""
        assert isinstance(pl_module, EmergenceModule)
        for name, ours in pl_module.model.state_dict().items():
            assert torch.equal(ours, self.model.state_dict()[name]), f"{name} differs from the bare loop's"


@contextmanager
def terminal() -> Iterator[None]:
    """Standard output and error on a pseudo-terminal that another process reads."""
    master, slave = pty.openpty()
    saved = os.dup(1), os.dup(2)
    reader = subprocess.Popen(["cat"], stdin=master, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor in (1, 2):
        os.dup2(slave, descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, before in zip((1, 2), saved, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
        os.close(slave)
        os.close(master)
        reader.kill()
        reader.wait()


def measure(content: Content, n_blocks: int) -> Interleaved:
    """Train for so many blocks and one step more."""
    steps = n_blocks * BLOCK + 1
    with tempfile.TemporaryDirectory() as out, terminal():
        protocol = {"max_steps": steps, "eval_every": steps}
        trainer = {"devices": 1, **content.get("trainer", {}), "accelerator": "cpu"}
        run = build(parse({**content, "protocol": protocol, "trainer": trainer, "out": out}))
        interleaved = Interleaved(run)
        outcome = run.fit(callbacks=[interleaved])
    if outcome.error is not None:
        raise outcome.error
    return interleaved


def cpu_ratio(content: Content, n_blocks: int) -> float:
    """CPU time of the harness's step as a multiple of the bare loop's, the median of the blocks.

    Args:
        content: the configuration of the run.
        n_blocks: of 50 steps.
    """
    times = measure(content, n_blocks)
    return median(ours / theirs for ours, theirs in zip(blocks(times.fit, 1), blocks(times.bare, 1), strict=True))


def blocks(seconds: list[Clock], which: int) -> list[float]:
    """Wall (0) or CPU (1) seconds of each block of steps."""
    return [sum(clock[which] for clock in seconds[i : i + BLOCK]) for i in range(0, len(seconds), BLOCK)]


def main() -> None:
    """Print the table."""
    table = Table(title=f"Harness against a bare loop, {torch.get_num_threads()} thread(s)", title_justify="left")
    for column in ("cell", "clock", "bare ms a step", "harness ms a step", "ratio (range of blocks)", "target"):
        table.add_column(column)
    for cell in CELLS:
        times = measure(cell.content, cell.blocks)
        for which, clock in enumerate(("wall", "CPU")):
            fit, bare = blocks(times.fit, which), blocks(times.bare, which)
            ratios = [ours / theirs for ours, theirs in zip(fit, bare, strict=True)]
            table.add_row(
                cell.name,
                clock,
                *(f"{median(seconds) / BLOCK * 1e3:.2f}" for seconds in (bare, fit)),
                f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
                f"<= {cell.target}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
