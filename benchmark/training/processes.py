"""Training one model in several processes: Lightning starts them and averages their gradients; here they agree on
everything else, and the first of them alone writes.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher
from lightning.pytorch.utilities import rank_zero_only

from benchmark.config.trainer_objects import check_strategy
from benchmark.training.machine.launchers import on_one_device, probe

LOOK_EVERY = 20
"""Steps between two looks at what other processes, or the GPU, would have to be waited for."""

GRACE_S = 30.0
"""Time that a process that failed leaves the first one to write its record: Lightning kills that one when another ends
with an exit code other than 0."""

_COMMANDS = ("fit", "resume", "validate", "test")


def is_rank_zero() -> bool:
    """Whether this process writes: there is one such process in a run."""
    return not getattr(rank_zero_only, "rank", 0)


def ignore_interrupts_beside_the_first() -> None:
    """In another process of a run than the first, leave Ctrl-C to the first one.

    Lightning would kill that one if another ended while it starts.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _heed_interrupts_again() -> None:
    """Undo `ignore_interrupts_beside_the_first`, when this process turns out to have a run of its own."""
    is_main = threading.current_thread() is threading.main_thread()  # Python allows it nowhere else
    if os.environ.get("LOCAL_RANK", "0") != "0" and is_main and signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def lightnings_refusals() -> Iterator[None]:
    """Raise what Lightning refuses, or lacks a package for, as a ValueError of one line."""
    try:
        yield
    except (MisconfigurationException, RuntimeError, ImportError, TypeError) as error:
        raise ValueError(f"--trainer: {' '.join(str(error).split())}") from error


def is_lightnings_refusal(error: Exception) -> bool:
    """Whether Lightning or one of its callbacks does not take the trainer's options, or lacks a package for them."""
    lacks_package = isinstance(error, ModuleNotFoundError) and error.name is None  # raised, not met by an import
    return lacks_package or isinstance(error, MisconfigurationException)


def plan_processes(options: dict[str, Any]) -> int:
    """The number of processes that will work on the run, as Lightning reads its options and the environment.

    From here on `is_rank_zero` is right: before, it is what the environment's variables say, also those of a job in
    which every process has a run of its own.

    Args:
        options: of Lightning's trainer.

    Raises:
        ValueError: if Lightning refuses the options, or the processes could not be started from here.
    """
    with lightnings_refusals():
        trainer = probe(on_one_device(options))
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):  # a SLURM job may have started another number
            launcher.cluster_environment.validate_settings(launcher.num_processes, launcher.num_nodes)
    rank_zero_only.rank = trainer.global_rank  # type: ignore[attr-defined]
    if trainer.world_size == 1:
        _heed_interrupts_again()
    n_nodes = int(options.get("num_nodes") or 1)
    if n_nodes > 1 and isinstance(launcher, _SubprocessScriptLauncher) and not _knows_its_node(launcher):
        raise ValueError(
            f"--trainer.num_nodes {n_nodes}: nothing has started processes on other nodes: start the command there too"
            " by SLURM or torchrun, or with NODE_RANK, MASTER_ADDR and MASTER_PORT set"
        )
    if isinstance(launcher, _MultiProcessingLauncher):
        raise ValueError(f"--trainer.strategy {options['strategy']} brings nothing back from its processes: take ddp")
    check_strategy(trainer.strategy, options.get("precision"))
    if (
        trainer.world_size > 1
        and isinstance(launcher, _SubprocessScriptLauncher)
        and not launcher.cluster_environment.creates_processes_externally
        and not {*_COMMANDS} & {*sys.argv}
    ):
        raise ValueError(
            f"{trainer.world_size} processes would each repeat the command line, which is none of python -m benchmark"
            f" {' | '.join(_COMMANDS)}: give --trainer.devices 1"
        )
    return trainer.world_size


def _knows_its_node(launcher: _SubprocessScriptLauncher) -> bool:
    """Whether a scheduler, or the user, has said which of several nodes this is; else it would wait for the others."""
    is_told = any(name in os.environ for name in ("NODE_RANK", "GROUP_RANK"))
    return is_told or launcher.cluster_environment.creates_processes_externally


def check_shares(batch_size: int, n_processes: int, many_seeds: bool) -> None:
    """Whether the work can be divided among processes.

    Raises:
        ValueError: if a batch cannot be shared equally, or an ensemble would be trained by more than one process.
    """
    if n_processes > 1 and many_seeds:
        raise ValueError(f"--seeds trains in one process, not in {n_processes}: give --trainer.devices 1")
    if batch_size % n_processes:
        raise ValueError(f"batch_size={batch_size} does not divide among {n_processes} processes")


def largest(trainer: Trainer, *values: int) -> list[int]:
    """The largest of each value over all processes, which must all ask at the same point of the run."""
    if trainer.world_size == 1:
        return list(values)
    values_there = torch.tensor(values, device=trainer.strategy.root_device)
    return trainer.strategy.reduce(values_there, reduce_op="max").tolist()


def mean(trainer: Trainer, values: torch.Tensor) -> torch.Tensor:
    """The mean of each value over all processes, which must all ask at the same point of the run."""
    return values if trainer.world_size == 1 else trainer.strategy.reduce(values.clone(), reduce_op="mean")


def end_others(trainer: Trainer) -> None:
    """In the first process, when a run was cut short and is recorded: the others may wait for it inside a step."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        processes = launcher.procs.copy()
        launcher.procs.clear()  # Lightning watches this list, and would kill this process for the end of the others
        for process in processes:
            process.kill()
            process.wait()


def leave(error: BaseException | None) -> int:
    """In another process than the first, when the run has ended.

    Args:
        error: what ended it here, None if all processes had agreed to end it.

    Returns:
        The exit code: 0 where the first process will tell how the run ended, else 1.
    """
    if error is None:
        return 0
    traceback.print_exception(error)
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        return 0  # the first process fails too when this one is gone, and writes an error in its record
    # Others, like NCCL, would let it wait for very long, so Lightning must kill it; but if it has failed too, as is
    # likely, it ends this process when it has written its record.
    parent, until = os.getppid(), time.monotonic() + GRACE_S
    while time.monotonic() < until and os.getppid() == parent:
        time.sleep(0.1)
    return 1
