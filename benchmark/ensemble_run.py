"""Builds the run of an ensemble from the configuration of one seed."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jsonargparse import Namespace

from benchmark.emergence import EmergenceTracker
from benchmark.ensemble_module import EnsembleModule
from benchmark.ensemble_recorder import EnsembleRecorder, seed_folder
from benchmark.identity import SEEDS, RunIdentity, identify
from benchmark.module import EmergenceModule
from benchmark.recorder import RunRecorder
from datamodules import TaskDataModule


@dataclass(frozen=True)
class Member:
    """One seed of an ensemble, as it would be alone.

    Args:
        seed: its number.
        module: freshly initialised.
        data: its data module.
        identity: of its run.
        config: what it was built from, `--seed` in the place of `--seeds`.
        trainer: Lightning's options, its callbacks built.
    """

    seed: int
    module: EmergenceModule
    data: TaskDataModule
    identity: RunIdentity
    config: Namespace
    trainer: Namespace


def members(
    config: Namespace, seeds: tuple[int, ...], instantiate: Callable[[Namespace], Namespace]
) -> Iterator[Member]:
    """Every seed, built as it would be alone: the same initial weights to the last bit.

    Args:
        config: of the command, for all seeds; a task_seed, init_seed or data_seed in it holds for all of them.
        seeds: of the ensemble.
        instantiate: builds what a configuration describes.
    """
    precision = str(config.trainer.precision or "32-true")
    for seed in seeds:
        own = copy.deepcopy(config)
        own.seed, own.seeds = seed, None
        task_seed, init_seed, data_seed = (seed if own[name] is None else own[name] for name in SEEDS)
        own.data.init_args.task_seed, own.data.init_args.data_seed = task_seed, data_seed
        torch.manual_seed(init_seed)
        built = instantiate(own)
        module = EmergenceModule(built.model, built.data.task, built.optimizer, built.protocol)
        options = own.model.get("init_args") or {}
        options = {name: value for name, value in options.items() if name not in {"vocab_size", "seq_len"}}
        identity = identify(module.model, options, built.data, built.protocol, built.optimizer, init_seed, precision)
        yield Member(seed, module, built.data, identity, own, built.trainer)


def ensemble_module(of: list[Member], use_cuda_graph: bool) -> EnsembleModule:
    """The LightningModule of these seeds."""
    return EnsembleModule(
        [member.module for member in of], [member.seed for member in of], of[0].data.batch_size, use_cuda_graph
    )


def run_recorder(folder: Path, member: Member) -> RunRecorder:
    """The recorder of one seed, with the tracker of its targets."""
    protocol, config = member.module.protocol, member.config
    tracker = EmergenceTracker(member.module.task.targets, protocol.eval_every, protocol.stop_when_solved)
    recorder = RunRecorder(folder, member.identity, tracker, member.data, config.picture)
    recorder.suite, recorder.cell = config.suite, config.cell
    return recorder


def ensemble_recorder(folder: Path, of: list[Member], dump: Callable[[Namespace], str]) -> EnsembleRecorder:
    """The recorder of these seeds.

    Args:
        folder: run folder of the ensemble.
        of: the seeds.
        dump: turns a configuration into YAML.
    """
    recorders = {member.seed: run_recorder(seed_folder(folder, member.seed), member) for member in of}
    return EnsembleRecorder(folder, recorders, {member.seed: dump(member.config) for member in of})
