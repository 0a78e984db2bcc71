"""Does a run begin as its record says?

A run is a function of its record, so its first steps can be made anew from the record alone. Architecture and task are
looked up by their registered names, and every option goes to their constructors as the plain value it is: nothing that
a record says is imported or executed.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from architectures import SequenceModel, Transformer
from architectures.ops.backend import Accelerated
from architectures.transformer import ATTENTIONS
from benchmark.config.errors import said
from benchmark.config.parser import config_of
from benchmark.config.plugins import architecture
from benchmark.training.evidence.initial_weights import init_hashes
from benchmark.training.evidence.step_cost import require_affordable
from benchmark.training.evidence.trajectory import Trajectory, compared, relative
from benchmark.training.folder.recorder import Diverged, batch_hash
from benchmark.training.folder.seed_log import N_FIRST_LOSSES
from benchmark.training.machine.environment import flops_per_token
from benchmark.training.run import Run, build
from datamodules import TASKS
from leaderboard.records.record import Record

# Measured on runs of all six architectures on both tasks, learning rates 3e-4 to 1e-2 after a warm-up of 100 steps:
# other vector instructions (AVX2), another backend, or float64 throughout move no loss of the first 20 steps by more
# than 3e-7. A learning rate that is 1 % off moves one by 1.4e-5 or more, 10 % by 1.3e-4, another initial seed by 5e-3.
TOLERANCE = 1e-5
"""Largest relative difference of a loss in float32 and above."""

# In bfloat16 in place of float32 the same runs moved by up to 2.4e-4. Kernels on a GPU may round as much (TF32).
COARSE_TOLERANCE = 1e-3
"""The same below float32, and for kernels that exist on a GPU only and were run on one."""

FACT_TOLERANCE = 1e-6
"""Largest relative difference of losses that are computed in float64: of chance and of the floor."""

FULL_PRECISIONS = {"32-true", "64-true"}
PRECISIONS = {*FULL_PRECISIONS, "bf16-mixed", "bf16-true", "16-true"}
"""Precisions that a run may have been computed in; no other has a tolerance."""

DTYPES = {"64-true": torch.float64, "bf16-true": torch.bfloat16, "16-true": torch.float16}
"""Of the weights, where they are not float32."""

DEPTHS = ("facts", "first", "trajectory", "whole")
"""How far a run is repeated: not at all, its first losses, some more evaluations, to its end."""

MOST_S = 1800.0
"""Estimated seconds of the steps that are repeated, unless the whole run is asked for."""

TWIN_STEPS = 400
"""Most steps for which evaluations are compared one by one: by then runs have separated, or never will."""


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
        trajectory: the comparison of evaluations, if it was asked for.
    """

    n_losses: int
    difference: float
    tolerance: float
    device: str
    parameters: int
    flops_per_token: float | None
    trajectory: Trajectory | None = None


def replay(record: Record, depth: str = "first", curves: Mapping[str, Sequence[float]] | None = None) -> Replay:
    """Build the run of a record and make its first steps, in one thread.

    It is made on the CPU, or on a CUDA device if the record is from one and one is here. On the machine of the record,
    with its number of threads, the losses are the same to the last bit.

    Args:
        record: what to repeat.
        depth: one of `DEPTHS`: "facts" compares what follows from the configuration, "first" the losses that the record
            holds too, "trajectory" the evaluations of the steps after warm-up as well, "whole" the run to its end.
        curves: columns of the record's curves, for the last two.

    Raises:
        Mismatch: one line, if the record holds no losses, its run cannot be built here, or it begins otherwise.
    """
    _require_losses(record)
    _require_known(record)
    device = "cuda" if record.hardware.device == "cuda" and torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _compared(record, device, depth, curves)
    except Mismatch:
        raise
    except Exception as error:  # an outside architecture may raise anything
        raise Mismatch(f"cannot be replayed here: {said(error)}") from error
    finally:
        torch.set_num_threads(threads)


def trajectory_steps(record: Record) -> int:
    """Steps after which warm-up, rate, schedule and weight decay have shown in the evaluations."""
    warmup, every = int(record.optimizer.get("warmup_steps") or 0), record.protocol.eval_every  # type: ignore[arg-type]
    return min(record.steps, max(120, warmup + 100, 2 * every), TWIN_STEPS)


def _require_losses(record: Record) -> None:
    n, expected = len(record.first_losses_nats), min(N_FIRST_LOSSES, record.steps)
    if record.status == "diverged" and expected == record.steps:
        expected -= 1  # the last loss may be the one that is no number
    if n < max(expected, 1):
        raise Mismatch(f"has {n} losses of its first steps, a run of {record.steps} steps has {max(expected, 1)}")


def _require_known(record: Record) -> None:
    """Architecture and task are registered, in the versions of the record."""
    try:
        cls = architecture(record.architecture.name)
    except ValueError as error:
        raise Mismatch(f"not registered here: {error}") from error
    of = record.architecture
    for ours, theirs in ((cls.version, of.version), (cls.library or None, of.library)):
        if ours != theirs:
            raise Mismatch(f"not registered here: architecture {of.name!r} in version {theirs} (here it is {ours})")
    if record.task.name not in TASKS:
        raise Mismatch(f"not registered here: task {record.task.name!r}; known names are {', '.join(sorted(TASKS))}")


def _compared(record: Record, device: str, depth: str, curves: Mapping[str, Sequence[float]] | None) -> Replay:
    """Compare from the cheapest to the dearest."""
    if record.intervention is not None and record.intervention.begins_elsewhere:
        raise Mismatch(f"is {record.intervention.text}: it begins from weights that the record does not hold")
    if record.precision not in PRECISIONS:
        raise Mismatch(f"precision {record.precision!r} is not one of {', '.join(sorted(PRECISIONS))}")
    config = config_of(record)
    n_losses = len(record.first_losses_nats)
    steps = {"facts": 0, "first": n_losses, "trajectory": 2 * trajectory_steps(record)}.get(depth, n_losses)
    require_affordable(config, steps, MOST_S)
    run = build(config)
    flops = _require_facts(record, run)
    tolerance = _tolerance(record, run.model)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    if depth == "facts":
        return Replay(0, 0.0, tolerance, device, parameters, flops)
    # The first evaluation after step 0 too, where it is near: it costs little, and is of a later step than any loss.
    if depth in ("trajectory", "whole") and not curves:
        raise Mismatch("has no curves beside it that can be read, to compare evaluations with")
    every, theirs = record.protocol.eval_every, curves or {}
    near = every if curves is not None and every <= min(50, record.steps) else 0
    try:
        log = run.first_steps(max(n_losses, near), device)
    except Diverged as end:
        raise Mismatch(f"differs: {end} here") from end
    pairs = list(_pairs(record, log.curves, log.first_losses))
    known = dict(zip(theirs.get("step", ()), theirs.get("loss_nats", ()), strict=True))
    pairs += [
        (f"loss_nats at step {at}", row["loss_nats"], known[at]) for row in log.curves if (at := row["step"]) in known
    ]
    for what, mine, other in pairs:
        if not relative(mine, other) <= tolerance:
            raise Mismatch(
                f"differs: {what} is {mine:.9g} here and {other:.9g} in the record: relative difference"
                f" {relative(mine, other):.1e}, allowed are {tolerance:.0e}"
            )
    largest = max(relative(mine, other) for _, mine, other in pairs)
    trajectory = None
    if depth in ("trajectory", "whole"):
        n_steps = trajectory_steps(record) if depth == "trajectory" else record.protocol.max_steps
        if record.status == "diverged":
            n_steps = min(n_steps, record.steps - 1)  # up to the step that ended it
        try:
            trajectory = compared(record, theirs, lambda: build(config), n_steps, device, trajectory_steps(record))
        except Diverged as end:
            raise Mismatch(f"differs: {end} here") from end
        if trajectory.differs:
            raise Mismatch(f"differs: {trajectory.differs}")
    return Replay(len(pairs), largest, tolerance, device, parameters, flops, trajectory)


def _require_facts(record: Record, run: Run) -> float | None:
    """Compare what follows from the configuration; returns the operations for each token."""
    identity = run.members[0].identity
    _require_equal("task", identity.task, record.task)  # its version too
    _require_equal("protocol", identity.protocol, record.protocol)
    # What the architecture excepts from weight decay or slows down follows from it.
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in identity.optimizer.items()}
    for name in dict.fromkeys([*settings, *record.optimizer]):
        _require_equal(f"optimizer.{name}", settings.get(name), record.optimizer.get(name))
    _require_equal("first_batch_hash", batch_hash(run.task, run.data.batch_size), record.first_batch_hash)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    _require_equal("parameters", parameters, record.parameters)
    backends = _backends(record, run.model)
    if record.architecture.backend not in backends:
        here = " or ".join(sorted(backends))
        raise Mismatch(f"differs: backend is {record.architecture.backend!r} in the record, it can be {here}")
    if record.init_hash is not None and record.init_hash not in (hashes := init_hashes(run.model)):
        _require_equal("init_hash", min(hashes), record.init_hash)
    flops = None if record.flops_per_token is None else _flops_per_token(record, run)
    _require_equal("flops_per_token", flops, record.flops_per_token)
    cast = copy.deepcopy(run.model).to(DTYPES.get(record.precision, torch.float32))
    _require_equal("state_bytes", cast.state_bytes, record.state_bytes)
    for name in ("chance_loss_nats", "floor_loss_nats"):
        ours, theirs = getattr(run.task, name), getattr(record, name)
        if (ours is None) != (theirs is None) or not relative(ours or 0.0, theirs or 0.0) <= FACT_TOLERANCE:
            _require_equal(name, ours, theirs)
    return flops


def _flops_per_token(record: Record, run: Run) -> float:
    """Counted once for all seeds of a configuration."""
    key = f"{record.architecture.model_dump_json()} {record.task.model_dump_json()}"
    if key not in _FLOPS:
        _FLOPS[key] = flops_per_token(run.model, run.task)
    return _FLOPS[key]


_FLOPS: dict[str, float] = {}


def _backends(record: Record, model: SequenceModel) -> set[str]:
    """The implementations that can have run: the one that is chosen here, plain PyTorch, and on a GPU its library."""
    if isinstance(model, Transformer):
        return set(ATTENTIONS)
    accelerated = [module for module in model.modules() if isinstance(module, Accelerated)]
    if not accelerated:
        return {model.backend}
    libraries = {module.library for module in accelerated if module.library is not None}
    on_gpu = libraries if record.hardware.device == "cuda" else set()
    return {model.backend, "torch", *on_gpu}


def _tolerance(record: Record, model: SequenceModel) -> float:
    """Of losses: it follows from the precision, and from whether the kernel is one that is not here."""
    here = {model.backend, "torch", *ATTENTIONS}
    full = record.precision in FULL_PRECISIONS and record.architecture.backend in here
    return TOLERANCE if full else COARSE_TOLERANCE


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
