"""Launchers and schedulers that may have started this process: a run on one device has no business with them."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning import Trainer
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import SingleDeviceStrategy

_PLACES = ("accelerator", "strategy", "devices", "num_nodes", "precision", "plugins")


@contextmanager
def without_lightning_variables() -> Iterator[None]:
    """Hide variables like PL_TRAINER_ACCUMULATE_GRAD_BATCHES.

    Lightning takes them for defaults of its trainer: the run would be another one than its record says.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PL_TRAINER_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def on_one_device(options: dict[str, Any]) -> dict[str, Any]:
    """Lightning's options with its own environment where one device does all of the work, as they are elsewhere.

    Lightning would ask a scheduler whose variables it finds (SLURM, LSF, MPI, torchrun), also where a job holds several
    runs of one device each, and would refuse or misread what is not its own.

    Args:
        options: of Lightning's trainer.
    """
    plugins = options.get("plugins") or []
    plugins = list(plugins) if isinstance(plugins, list | tuple) else [plugins]
    if any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        return options
    alone = options | {"plugins": [*plugins, LightningEnvironment()]}
    try:
        is_alone = isinstance(probe(alone).strategy, SingleDeviceStrategy)
    except Exception:  # of these options: whoever uses them says what is wrong with them
        return options
    return alone if is_alone else options


def probe(options: dict[str, Any]) -> Trainer:
    """A trainer of the same devices, strategy and precision, which does nothing."""
    # A copy: a strategy that is an object keeps what a trainer gives it, and a second trainer would refuse it.
    places = copy.deepcopy({name: options[name] for name in _PLACES if name in options})
    with without_lightning_variables():
        return Trainer(**places, logger=False, barebones=True)
