"""Checkpoints from which a run goes on exactly, and orderly ends on Ctrl-C, SIGTERM and a closed terminal."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning import __version__ as lightning_version
from lightning.pytorch.plugins import CheckpointIO

from architectures import SequenceModel
from benchmark.config.errors import Damaged
from benchmark.config.identity import RunIdentity, difference
from benchmark.config.signals import begin, too_late
from benchmark.training.folder.sealed import read_sealed, write_sealed
from benchmark.training.processes import LOOK_EVERY, is_rank_zero, largest

CHECKPOINT, PREVIOUS, DAMAGED = "last.ckpt", "previous.ckpt", "damaged.ckpt"
"""Files of the run folder; the last two are there only while a run has not come to its end."""


class Interrupted(BaseException):
    """The run was asked to end. Not an Exception: whatever code it passes through must not swallow it.

    Args:
        signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signum).name}")
        self.signum = signum


class SealedCheckpoints(CheckpointIO):
    """Lets Lightning write and read checkpoints that check themselves, in place of files that pass through TMPDIR."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, see `write_sealed`."""
        write_sealed(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """A checkpoint of this suite on the CPU, see `read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpointer(Callback):
    """Keeps the last checkpoint and the one before, and turns the first Ctrl-C, SIGTERM or SIGHUP into an orderly end.

    A checkpoint is taken after an evaluation, or, on a signal, after the current step: never inside a step, so that the
    run goes on from it bit for bit. A second signal ends the run at once, back at its last checkpoint. A signal that
    comes when training is over changes nothing: what is left to write takes a moment.

    "At once" is inside a forward or backward pass, which may be long, or else before the next one: an exception in the
    middle of a logger's locks could leave it waiting for ever.

    Several processes agree on this now and then, because a signal may reach any of them, and their clocks differ.

    Args:
        folder: run folder; the file is ``last.ckpt``.
        identity: stored in the checkpoint, and compared on resume.
        interval_s: least time between two checkpoints.

    Attributes:
        signum: the signal that asked to end, None so far.
        begun: whether training has begun: everything is restored that a resumed run goes on from.
    """

    def __init__(self, folder: Path, identity: RunIdentity, interval_s: float) -> None:
        self.path, self.identity, self.interval_s = folder / CHECKPOINT, identity, interval_s
        self.signum: int | None = None
        self._heard = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # of a terminal that is closed
            self._heard.append(signal.SIGHUP)
        self.begun = False
        self._urgent = self._in_pass = self._obeyed = False
        self._saved_at = time.monotonic()

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Listen to Ctrl-C, SIGTERM and (unless `nohup` told to ignore it) SIGHUP, from before the fit until its record
        is written."""
        before = {signum: signal.getsignal(signum) for signum in self._heard}
        self._listen()
        begin("the run has ended")
        try:
            yield
        finally:
            if self.signum is not None and not self._obeyed:
                too_late(self.signum)
            if _in_main_thread():
                for signum, handler in before.items():
                    signal.signal(signum, handler)

    def _listen(self) -> None:
        if _in_main_thread():  # Python allows it nowhere else
            for signum in self._heard:
                signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._urgent = self.signum is not None
        self.signum = signum
        if self._urgent and self._in_pass:
            raise Interrupted(signum)

    def _enter_pass(self) -> None:
        self._in_pass = True
        if self._urgent and self.signum is not None:
            raise Interrupted(self.signum)

    def on_train_batch_start(self, *args: Any) -> None:
        """A second signal may end the run from here."""
        self._enter_pass()

    def on_before_optimizer_step(self, *args: Any) -> None:
        """A second signal waits from here."""
        self._in_pass = False

    def on_validation_batch_start(self, *args: Any) -> None:
        """A second signal may end the run from here."""
        self._enter_pass()

    def on_validation_batch_end(self, *args: Any) -> None:
        """A second signal waits from here."""
        self._in_pass = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, which would leave without a record."""
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning; end if one has come already."""
        self.begun = True
        self._listen()
        if self._asked(trainer):
            raise Interrupted(self.signum or 0)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Training is over."""
        self._in_pass = False
        self._obeyed = isinstance(exception, Interrupted)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """End here if asked to, unless an evaluation is due first: resuming must not skip it."""
        if trainer.world_size > 1 and trainer.global_step % LOOK_EVERY:
            return
        if trainer.global_step % self.identity.protocol.eval_every and self._asked(trainer):
            self._end(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if it is time, end if asked to."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if self._asked(trainer):
            self._end(trainer)
        if any(largest(trainer, time.monotonic() - self._saved_at >= self.interval_s)):
            self.save(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the final weights."""
        self.save(trainer)

    def _asked(self, trainer: Trainer) -> bool:
        """Whether a signal has come, to any process."""
        (signum,) = largest(trainer, self.signum or 0)
        if signum:  # or one that comes at this moment would be forgotten
            self.signum = signum
        return signum > 0

    def _end(self, trainer: Trainer) -> None:
        assert self.signum is not None
        self.save(trainer)
        raise Interrupted(self.signum)

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint so that a kill at any moment leaves the old one or the new one; the old one is kept."""
        if trainer.is_global_zero:
            self._keep_previous()
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _keep_previous(self) -> None:
        """Give the checkpoint that is about to be replaced a second name, where the file system can."""
        spare = self.path.with_name(f".{PREVIOUS}.tmp")
        with suppress(OSError):  # there is none yet
            spare.unlink(missing_ok=True)
            os.link(self.path, spare)
            os.replace(spare, self.path.with_name(PREVIOUS))
        with suppress(OSError):  # renaming one name of a file to another name of it does nothing
            spare.unlink(missing_ok=True)

    def forget_others(self) -> None:
        """When the run is over and recorded, remove the checkpoints that nothing goes on from any more."""
        for name in (PREVIOUS, DAMAGED):
            with suppress(OSError):
                self.path.with_name(name).unlink(missing_ok=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint which run it belongs to."""
        checkpoint["identity"] = self.identity.flat()


def save_weights(path: Path, model: SequenceModel, identity: RunIdentity, step: int) -> None:
    """Write the weights of one seed so that a kill at any moment leaves the old file, none, or the whole new one.

    Args:
        path: file to write, in a folder that exists.
        model: of the seed.
        identity: of its run.
        step: optimizer steps made.

    Raises:
        OSError: if it cannot be written.
    """
    weights = {f"model.{name}": x for name, x in model.state_dict().items()}
    content = {"state_dict": weights, "identity": identity.flat(), "global_step": step}
    write_sealed(path, content | {"pytorch-lightning_version": lightning_version})


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def check_checkpoint(path: Path, identity: RunIdentity) -> dict[str, Any]:
    """Load a checkpoint, on the CPU, and make sure that it belongs to a run of this identity.

    Raises:
        ValueError: if it cannot be read, is none of this suite's, or was made under another configuration; the line
            names the first value that differs.
    """
    checkpoint = read_checkpoint(path)
    if found := difference(checkpoint["identity"], identity.flat()):
        name, there, here = found
        raise ValueError(
            f"{path}: was made with {name} = {there}, this run has {here}: resume with the config.yaml beside it"
        )
    return checkpoint


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint of this suite onto the CPU.

    Raises:
        Damaged: one line, if it cannot be read, is damaged or is none of this suite's.
    """
    checkpoint = read_sealed(path)
    parts = {"identity": dict, "state_dict": dict, "global_step": int}
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(k), kind) for k, kind in parts.items()):
        raise Damaged(f"{path}: is not a checkpoint of this suite (it does not say which run it belongs to)")
    return checkpoint


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint in a run folder: the last one or, with a warning, the one before it if that is damaged.

    Returns:
        Its path, None if there is none.

    Raises:
        Damaged: one line, if the last one is damaged and there is no whole one before it.
    """
    last, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not os.path.lexists(last) and not os.path.lexists(previous):
        return None
    try:
        read_checkpoint(last)
        return last
    except Damaged as damage:
        try:
            step = read_checkpoint(previous)["global_step"]
        except Damaged:
            raise damage from None
        if is_rank_zero():
            warnings.warn(f"{damage}: taking the checkpoint before it, {PREVIOUS}, of step {step}", stacklevel=2)
        return previous


def put_aside(folder: Path) -> None:
    """Rename the last checkpoint, which is damaged, so that it does not become the previous one.

    Raises:
        OSError: if it cannot be renamed.
    """
    with suppress(FileNotFoundError):
        os.replace(folder / CHECKPOINT, folder / DAMAGED)
