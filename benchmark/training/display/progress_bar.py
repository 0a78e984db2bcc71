"""The progress bar: loss, what the task is about, tokens per second, time left."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

import datamodules
from benchmark.config.errors import optional
from benchmark.config.trainer_objects import listed
from benchmark.training.display.terminal import is_live
from benchmark.training.module import EmergenceModule

REFRESH_S = 0.25
PLAIN_LINES = 20


class _TokensPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        tokens_per_s = (task.speed or 0.0) * task.fields["tokens_per_step"]
        return Text(f"{tokens_per_s:,.0f} tokens/s", style="cyan")


def bars(
    task: datamodules.Task, tokens_per_step: int, eval_every: int, plain: bool, options: Mapping[str, Any] | None = None
) -> list[Callback]:
    """The bar of a run, in a list that is empty where nothing could be seen of it, or the trainer's options say so.

    Args:
        task, tokens_per_step, eval_every: of the run; the bar shows the metric of the task's primary target.
        plain: as for `EmergenceProgressBar`.
        options: of the trainer, which may switch bars off or bring another one.
    """
    options = options or {}
    if options.get("enable_progress_bar") is False or bar_among(options) is not None:
        return []
    primary = next(target.metric for target in task.targets if target.name == task.primary)
    headline = "accuracy" if primary.startswith("loss") else primary
    with optional("no progress is shown"):
        bar = EmergenceProgressBar(tokens_per_step, eval_every, headline, plain=plain)
        return [bar] if bar.is_seen else []
    return []


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """A hook of the bar whose first error is a warning, and the end of the bar."""

    @wraps(hook)
    def called(bar: "EmergenceProgressBar", *args: Any, **kwargs: Any) -> None:
        if not bar.has_failed:
            bar.has_failed = True
            with optional("no progress is shown from here on"):
                hook(bar, *args, **kwargs)
                bar.has_failed = False

    return called


def bar_among(options: Mapping[str, Any]) -> ProgressBar | None:
    """The progress bar among the callbacks of the trainer's options."""
    return next((given for given in listed(options.get("callbacks")) if isinstance(given, ProgressBar)), None)


class EmergenceProgressBar(ProgressBar):
    """A rich progress bar over optimizer steps; a few plain lines instead where the output is no terminal.

    Args:
        tokens_per_step: S * T * B.
        eval_every: steps between evaluations.
        headline: the held-out metric to show beside the loss.
        plain: print lines where there is no terminal and no notebook; one that cannot draw gets them anyway.
    """

    def __init__(self, tokens_per_step: int, eval_every: int, headline: str, plain: bool = True) -> None:
        super().__init__()
        self._wants_lines = plain
        self.tokens_per_step, self.eval_every, self.headline = tokens_per_step, eval_every, headline
        self.enabled, self.has_failed = True, False
        self._progress: Progress | None = None
        self._console = self.make_console()
        self._shown_at = 0.0
        self._plain_every = 1

    @property
    def is_live(self) -> bool:
        """Whether a bar can be shown: in a terminal, or in a notebook."""
        return is_live(self._console)

    @property
    def is_seen(self) -> bool:
        """Whether anything is shown."""
        return self.is_live or self._wants_lines or self._console.is_jupyter

    def make_console(self) -> Console:
        """The console of the bar: standard error, so that standard output can be piped."""
        return Console(stderr=True)

    def disable(self) -> None:
        """Lightning switches bars off on all ranks but the first."""
        self.enabled = False

    def enable(self) -> None:
        """The opposite of `disable`."""
        self.enabled = True

    @_harmless
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._started, self._first_step = time.perf_counter(), trainer.global_step
        evaluations = trainer.max_steps // self.eval_every
        self._plain_every = self.eval_every * max(1, evaluations // PLAIN_LINES)
        if not (self.enabled and self.is_live):
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[headline]}"),
            _TokensPerSecond(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,  # its own thread would steal time from small models
            speed_estimate_period=10.0,
        )
        self._bar = self._progress.add_task(
            "training",
            total=trainer.max_steps,
            completed=trainer.global_step,
            tokens_per_step=self.tokens_per_step,
            loss=float("nan"),
            headline=self._headline(pl_module),
        )
        self._progress.start()

    def _headline(self, pl_module: LightningModule) -> str:
        assert isinstance(pl_module, EmergenceModule)
        if pl_module.evaluation is None:
            return ""
        return f"{self.headline.replace('_', ' ')} {pl_module.evaluation.metrics[self.headline]:.2f}"

    @_harmless
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, at most a few times per second."""
        now = time.monotonic()
        if self._progress is not None and now - self._shown_at >= REFRESH_S:
            self._shown_at = now
            self._progress.update(self._bar, completed=trainer.global_step, loss=outputs["loss"].item(), refresh=True)

    @_harmless
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the new evaluation."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or not self.enabled:
            return
        if self._progress is not None:
            self._progress.update(self._bar, completed=trainer.global_step, headline=self._headline(pl_module))
        elif self.is_seen and trainer.global_step % self._plain_every == 0:
            assert isinstance(pl_module, EmergenceModule) and pl_module.evaluation is not None
            steps = trainer.global_step - self._first_step
            per_s = steps / (time.perf_counter() - self._started)
            left_s = (trainer.max_steps - trainer.global_step) / per_s
            loss = pl_module.evaluation.metrics["loss_nats"]
            print(
                f"step {trainer.global_step}/{trainer.max_steps}  loss {loss:.4f}  {self._headline(pl_module)}"
                f"  {per_s * self.tokens_per_step:,.0f} tokens/s  at most {left_s:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    @_harmless
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar at where the run ended."""
        self._close(trainer.global_step)

    @_harmless
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """The terminal must not keep a live bar."""
        self._close(trainer.global_step)

    def _close(self, step: int) -> None:
        if self._progress is not None:
            self._progress.update(self._bar, completed=step, refresh=True)
            self._progress.stop()
            self._progress = None
