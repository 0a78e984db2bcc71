"""Which objects Lightning's trainer may be given: those that leave training as the protocol says.

Objects that only observe are allowed, those known to train something else are refused, and the user's own are allowed
and named in the record, which then cannot be part of an entry.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.config.errors import BenchmarkError

OBSERVING = (
    "DeviceStatsMonitor",
    "LearningRateMonitor",
    "ModelSummary",
    "RichModelSummary",
    "RichProgressBar",
    "TQDMProgressBar",
    "ThroughputMonitor",
)
"""Lightning's callbacks that a run may have."""

_AVERAGES = "it evaluates other weights than those that are trained"
CHANGING = {
    "BackboneFinetuning": "it freezes a part of the model",
    "BaseFinetuning": "it freezes a part of the model",
    "BatchSizeFinder": "it sets the batch size: here it is --data.batch_size",
    "EMAWeightAveraging": _AVERAGES,
    "EarlyStopping": "it ends a run before its budget: here only --protocol.stop_when_solved does",
    "GradientAccumulationScheduler": "it makes a step of several batches: here the step is --data.batch_size sequences",
    "LearningRateFinder": "it sets the learning rate: here it is --optimizer.lr",
    "ModelPruning": "it removes weights",
    "SpikeDetection": "it leaves out batches",
    "StochasticWeightAveraging": _AVERAGES,
    "Timer": "it ends a run before its budget: here only --protocol.stop_when_solved does",
    "WeightAveraging": _AVERAGES,
    "BasePredictionWriter": "nothing is predicted here",
    "Checkpoint": "a run keeps its own checkpoint; --keep_every N keeps weights along the way",
}
"""Lightning's callbacks that a run may not have, with the reason; with them, classes derived from them."""


def own_callbacks(callbacks: Iterable[Any]) -> tuple[str, ...]:
    """Names of the callbacks that are not Lightning's, which may do anything; each once, by module and class.

    Raises:
        ValueError: one line, for a callback that trains something else than the protocol says.
    """
    from lightning.pytorch import callbacks as known

    names = []
    for callback in callbacks:
        _refuse(kind := type(callback))
        if kind in {getattr(known, name) for name in OBSERVING}:
            continue
        if kind.__module__.startswith(("lightning.", "pytorch_lightning.")) and kind is not known.LambdaCallback:
            raise BenchmarkError(f"--trainer.callbacks {kind.__name__}: is not known to only observe a run")
        names.append(f"{kind.__module__}.{kind.__qualname__}")
    return tuple(dict.fromkeys(names))


def refuse_by_name(words: Sequence[str]) -> None:
    """Raise a ValueError of one line for a refused callback or plugin, before the parser asks for its arguments.

    Args:
        words: of a command line.
    """
    from lightning.pytorch import callbacks, plugins

    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        library = {"callbacks": callbacks, "plugins": plugins}.get(option.removeprefix("--trainer.").removesuffix("+"))
        for name in re.findall(r"\w+", value if equals else "".join(words[i + 1 : i + 2])) if library else ():
            kind = getattr(library, name, None)
            if isinstance(kind, type):
                (_refuse if library is callbacks else _refuse_plugin)(kind)


def _refuse(kind: type) -> None:
    from lightning.pytorch import callbacks as known

    for name, why in CHANGING.items():
        if issubclass(kind, getattr(known, name)):
            raise BenchmarkError(f"--trainer.callbacks {kind.__name__}: is not for a benchmark's run: {why}")


def check_objects(options: Mapping[str, Any]) -> None:
    """Raise a ValueError of one line if the trainer's options hold something that trains otherwise.

    Args:
        options: of Lightning's trainer, their objects built.
    """
    own_callbacks(listed(options.get("callbacks")))
    for plugin in listed(options.get("plugins")):
        _refuse_plugin(type(plugin))
    if not isinstance(strategy := options.get("strategy"), str | None):  # of names the trainer makes an object first
        check_strategy(strategy, options.get("precision"))
    if options.get("sync_batchnorm"):
        raise BenchmarkError("--trainer.sync_batchnorm: is not for a benchmark's run: it replaces layers of the model")
    if options.get("profiler") == "xla":
        raise BenchmarkError(
            "--trainer.profiler xla: runs are trained on CPUs or GPUs: take simple, advanced or pytorch"
        )


def _refuse_plugin(kind: type) -> None:
    from lightning.fabric.plugins import ClusterEnvironment
    from lightning.pytorch.plugins import CheckpointIO, Precision

    name = f"--trainer.plugins {kind.__name__}"
    if issubclass(kind, Precision):
        raise BenchmarkError(f"{name}: the record would not say so: give --trainer.precision")
    if issubclass(kind, CheckpointIO):
        raise BenchmarkError(f"{name}: a run writes its checkpoints itself")
    if not issubclass(kind, ClusterEnvironment):
        raise BenchmarkError(f"{name}: trains something else: only environments of clusters are taken")


def check_strategy(strategy: Any, precision: Any) -> None:
    """Raise a ValueError of one line if a strategy trains otherwise than one device does.

    Args:
        strategy: an object of Lightning's.
        precision: as the trainer's options, and the record, name it.
    """
    from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

    name = f"--trainer.strategy {type(strategy).__name__}"
    if type(strategy) not in (DDPStrategy, SingleDeviceStrategy):
        raise BenchmarkError(f"{name}: a run is trained on one device, or by ddp")
    # Hooks compress gradients; with averaging, the processes' weights differ for a while.
    for part in ("ddp_comm_state", "ddp_comm_hook", "ddp_comm_wrapper", "model_averaging_period"):
        if getattr(strategy, f"_{part}", None) is not None:
            raise BenchmarkError(f"{name}: with {part} it trains something else: leave it out")
    backend = getattr(strategy, "_process_group_backend", None)
    if backend not in (None, *_BACKENDS):
        raise BenchmarkError(f"{name}: process_group_backend must be one of {', '.join(_BACKENDS)}, got {backend!r}")
    asked, plugin = str(precision or "32"), strategy._precision_plugin
    if plugin is not None and plugin.precision != _PRECISIONS.get(asked, asked):
        raise BenchmarkError(f"{name}: computes in {plugin.precision}, but --trainer.precision says {asked}")


_BACKENDS = ("gloo", "mpi", "nccl", "ucc")
"""Libraries by which processes talk to one another."""

_PRECISIONS = {"16": "16-mixed", "32": "32-true", "64": "64-true", "bf16": "bf16-mixed"}
"""Lightning's other names of precisions."""


def listed(given: Any) -> list[Any]:
    """One, several or no objects as a list."""
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
