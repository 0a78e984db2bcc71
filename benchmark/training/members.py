"""The seeds of a run, each built as it would be alone."""

from dataclasses import dataclass

import torch

from architectures import SequenceModel
from benchmark.config.identity import RunIdentity, identify
from benchmark.config.run_config import RunConfig
from datamodules import Task, TaskDataModule


@dataclass(frozen=True)
class Member:
    """One seed of a run, as it would be alone.

    Args:
        seed: its number.
        model: freshly initialised.
        task: the stream that it learns.
        identity: of its run.
    """

    seed: int
    model: SequenceModel
    task: Task
    identity: RunIdentity


def members_of(config: RunConfig) -> tuple[list[Member], TaskDataModule]:
    """Every seed, and the data module of the first one; torch's generator is left where the last model left it."""
    members, sources = [], []
    for seed in config.numbers:
        seeds = config.three_seeds(seed)
        data: TaskDataModule = config.data.build(task_seed=seeds.task_seed, data_seed=seeds.data_seed)
        torch.default_generator.manual_seed(seeds.init_seed)
        model: SequenceModel = config.model.build(data.vocab_size, data.seq_len)
        identity = identify(
            model, config.model.options, data, config.protocol, config.optimizer, seeds.init_seed, config.precision
        )
        members.append(Member(seed, model, data.task, identity))
        sources.append(data)
    return members, sources[0]
