"""The Lightning trainer of a run: what the protocol decides, and no advice."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor

from benchmark.config.identity import RunIdentity
from benchmark.config.limits import threads_within_limits
from benchmark.config.protocol import Protocol
from benchmark.config.trainer_objects import listed
from benchmark.training.display.harmless import harmless, quiet_writers
from benchmark.training.folder.checkpoint import SealedCheckpoints
from benchmark.training.machine.launchers import on_one_device, without_lightning_variables
from benchmark.training.processes import lightnings_refusals


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice, and with no more threads than usable cores.

    What Lightning says of devices and workers does not apply, or is in the record.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with quiet_writers(), warnings.catch_warnings(), threads_within_limits():
        warnings.filterwarnings("ignore", module=r"lightning\.|torch\.utils\.tensorboard|tensorboard")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def random_state(state: Tensor, cuda_seed: int) -> Iterator[None]:
    """A run's own random state inside the block, with a seed for all CUDA devices; the caller's is restored."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        if devices:
            torch.cuda.manual_seed_all(cuda_seed)
        torch.set_rng_state(state)
        yield


def make_trainer(
    options: dict[str, Any],
    protocol: Protocol,
    callbacks: Sequence[Callback] = (),
    *,
    folder: Path | None = None,
    identity: RunIdentity | None = None,
    max_steps: int | None = None,
) -> Trainer:
    """The trainer of a run.

    Args:
        options: Lightning's, callbacks and loggers built.
        protocol: budget and evaluation grid.
        callbacks: called after those in the options.
        folder: of the run.
        identity: of the run, for TensorBoard.
        max_steps: in the place of the budget.

    Raises:
        ValueError: one line, if Lightning refuses the options.
    """
    if options.get("logger") in (None, True):
        options = options | {"logger": _tensorboard(folder, identity)}
    options = on_one_device(options)
    with without_lightning_variables(), lightnings_refusals():
        trainer = Trainer(
            **{name: value for name, value in options.items() if name not in {"callbacks", "plugins"}},
            plugins=[*listed(options.get("plugins")), SealedCheckpoints()],
            callbacks=[*listed(options.get("callbacks")), *callbacks],
            max_steps=max_steps or protocol.max_steps,
            max_epochs=-1,
            val_check_interval=protocol.eval_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=-1,  # the evaluation at step 0
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
    for logger in trainer.loggers:
        harmless(logger, folder)
    return trainer


def _tensorboard(folder: Path | None, identity: RunIdentity | None) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    assert folder is not None and identity is not None
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    harmless(logger, folder)
    logger.log_hyperparams(identity.flat())  # for hparams.yaml; the tab follows when the run has ended
    return logger
