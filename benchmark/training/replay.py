"""Does a run begin as its record says?

A run is a function of its record, so its first steps can be made anew from the record alone. Architecture and task are
looked up by their registered names, and every option goes to their constructors as the plain value it is: nothing that
a record says is imported or executed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmark.config.errors import said
from benchmark.config.plugins import architecture
from leaderboard.records.record import Record

# Measured on runs of all six architectures on both tasks, learning rates 3e-4 to 1e-2 after a warm-up of 100 steps:
# other vector instructions (AVX2), another backend, or float64 throughout move no loss of the first 20 steps by more
# than 3e-7. A learning rate that is 1 % off moves one by 1.4e-5 or more, 10 % by 1.3e-4, another initial seed by 5e-3.
TOLERANCE = 1e-5
"""Largest relative difference of a loss in float32 and above."""

# In bfloat16 in place of float32 the same runs moved by up to 2.4e-4. Kernels on a GPU may round as much (TF32).
COARSE_TOLERANCE = 1e-3
"""The same below float32, and for kernels that exist on a GPU only."""

FULL_PRECISIONS = {"32-true", "64-true"}
EVERYWHERE = {"numba", "sdpa", "torch"}
"""Backends that run on any device."""


class Mismatch(Exception):
    """One line: what differs, or why the run cannot be built here."""


@dataclass(frozen=True)
class Replay:
    """Result of a replay that agrees.

    Attributes:
        n_losses: how many losses were compared, that of the evaluation before the first step among them.
        difference: the largest relative difference between a loss and the record's; 0 if they are the same bits.
        tolerance: the largest that is taken for the same run.
        device: where the steps were made.
        parameters: of the model.
        flops_per_token: of a training step; None if the record has none to compare with.
    """

    n_losses: int
    difference: float
    tolerance: float
    device: str
    parameters: int
    flops_per_token: float | None


def replay(record: Record) -> Replay:
    """Build the run of a record and make its first steps, as many as the record has losses of, in one thread.

    It is made on the CPU, or on a CUDA device if the record is from one and one is here. On the machine of the record,
    with its number of threads, the losses are the same to the last bit.

    Raises:
        Mismatch: one line, if the record holds no losses, its run cannot be built here, or it begins otherwise.
    """
    import torch

    _require_losses(record)
    _require_known(record)
    device = "cuda" if record.hardware.device == "cuda" and torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _compared(record, device)
    except Mismatch:
        raise
    except Exception as error:  # an outside architecture may raise anything
        raise Mismatch(f"cannot be replayed here: {said(error)}") from error
    finally:
        torch.set_num_threads(threads)


def _require_losses(record: Record) -> None:
    from benchmark.training.folder.seed_log import N_FIRST_LOSSES

    n, expected = len(record.first_losses_nats), min(N_FIRST_LOSSES, record.steps)
    if record.status == "diverged" and expected == record.steps:
        expected -= 1  # the last loss may be the one that is no number
    if n < max(expected, 1):
        raise Mismatch(f"has {n} losses of its first steps, a run of {record.steps} steps has {max(expected, 1)}")


def _require_known(record: Record) -> None:
    """Architecture and task are registered, in the versions of the record."""
    from datamodules import TASKS

    try:
        version = architecture(record.architecture.name).version
    except ValueError as error:
        raise Mismatch(f"not registered here: {error}") from error
    if version != (theirs := record.architecture.version):
        raise Mismatch(
            f"not registered here: architecture {record.architecture.name!r} in version {theirs} (here it is {version})"
        )
    if record.task.name not in TASKS:
        raise Mismatch(f"not registered here: task {record.task.name!r}; known names are {', '.join(sorted(TASKS))}")


def _compared(record: Record, device: str) -> Replay:
    """Compare from the cheapest to the dearest."""
    from benchmark.config.parser import config_of
    from benchmark.training.environment import flops_per_token
    from benchmark.training.folder.recorder import Diverged, batch_hash
    from benchmark.training.run import build

    run = build(config_of(record))
    identity = run.members[0].identity
    _require_equal("task", identity.task, record.task)  # its version too
    _require_equal("protocol", identity.protocol, record.protocol)
    _require_equal("first_batch_hash", batch_hash(run.task, run.data.batch_size), record.first_batch_hash)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    _require_equal("parameters", parameters, record.parameters)
    flops = None if record.flops_per_token is None else flops_per_token(run.model, run.task)
    _require_equal("flops_per_token", flops, record.flops_per_token)
    try:
        log = run.first_steps(len(record.first_losses_nats), device)
    except Diverged as end:
        raise Mismatch(f"differs: {end} here") from end
    pairs = list(_pairs(record, log.curves, log.first_losses))
    coarse = record.precision not in FULL_PRECISIONS or record.architecture.backend not in EVERYWHERE
    tolerance = COARSE_TOLERANCE if coarse else TOLERANCE
    for what, ours, theirs in pairs:
        if not _difference(ours, theirs) <= tolerance:
            raise Mismatch(
                f"differs: {what} is {ours:.9g} here and {theirs:.9g} in the record: relative difference"
                f" {_difference(ours, theirs):.1e}, allowed are {tolerance:.0e}"
            )
    largest = max(_difference(ours, theirs) for _, ours, theirs in pairs)
    return Replay(len(pairs), largest, tolerance, device, parameters, flops)


def _pairs(
    record: Record, curves: list[dict[str, Any]], first_losses: list[float]
) -> Iterator[tuple[str, float, float]]:
    """Every loss by name, here and in the record."""
    if record.first_loss_nats is not None:
        yield "first_loss_nats", curves[0]["loss_nats"], record.first_loss_nats
    _require_equal("number of first losses", len(first_losses), len(record.first_losses_nats))
    for step, (ours, theirs) in enumerate(zip(first_losses, record.first_losses_nats, strict=True)):
        yield f"first_losses_nats.{step}", ours, theirs


def _require_equal(what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise Mismatch(f"differs: {what} is {ours} here and {theirs} in the record")


def _difference(ours: float, theirs: float) -> float:
    """Relative to the record's."""
    return 0.0 if ours == theirs else abs(ours - theirs) / abs(theirs) if theirs else math.inf
