"""The seeds of a run, each built as it would be alone."""

from dataclasses import dataclass
from pathlib import Path

import torch

from architectures import SequenceModel
from benchmark.config.errors import BenchmarkError, Damaged
from benchmark.config.identity import RunIdentity, identify
from benchmark.config.run_config import RunConfig
from benchmark.training.biasing import require_biasable
from benchmark.training.first_stage import take_over, with_first_stage
from benchmark.training.folder.checkpoint import CHECKPOINT, check_checkpoint, newest_checkpoint
from benchmark.training.folder.layout import RECORD, kept_checkpoint, kept_steps
from datamodules import Task, TaskDataModule
from leaderboard.records.record import read_record


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
        changed = config.of_seed(seed).intervention
        identity = identify(
            model, config.model.options, data, config.protocol, config.optimizer, seeds.init_seed, config.precision,
            changed,
        )  # fmt: skip
        if changed is not None and changed.attention_bias is not None:
            require_biasable(model, data.task)
        members.append(Member(seed, model, data.task, identity))
        sources.append(data)
    return members, sources[0]


def begun(config: RunConfig) -> tuple[RunConfig, list[Member], TaskDataModule]:
    """As `members_of`, each with the weights that it takes over from another run, if it does, and the configuration
    that says what those are.

    Raises:
        ValueError: one line, if they are not there or do not fit.
    """
    config, sources = with_first_stage(config)
    members, data = members_of(config)
    for member in members if sources else ():
        take_over(member.model, config, sources[member.seed], member.identity.seeds.init_seed)
    return config, members, data


def load_weights(member: Member, folder: Path, step: int | None) -> int:
    """Put the weights of a seed, at its end or kept after a step, into its model; returns the steps they have seen.

    Raises:
        ValueError: one line, if the weights are not there, damaged or of another run.
    """
    path = newest_checkpoint(folder) if step is None else kept_checkpoint(folder, step)
    if path is None or not path.exists():
        raise BenchmarkError(_no_weights(folder, step))
    checkpoint = check_checkpoint(path, member.identity)
    if step is not None and checkpoint["global_step"] != step:
        raise Damaged(f"{path}: is the checkpoint of step {checkpoint['global_step']} under another name")
    try:
        weights = {name.removeprefix("model."): x for name, x in checkpoint["state_dict"].items()}
        dtypes = {x.dtype for x in weights.values() if x.is_floating_point()}
        if len(dtypes) == 1:  # those of precisions like 64-true are not float32
            member.model.to(dtypes.pop())
        member.model.load_state_dict(weights)
    except Exception as error:  # whatever parts that are missing or of another kind lead to
        raise Damaged(f"{path}: does not fit this model: {' '.join(str(error).split())}") from error
    return int(checkpoint["global_step"])


def _no_weights(folder: Path, step: int | None) -> str:
    kept = kept_steps(folder)
    known = f"kept are those after steps {', '.join(map(str, kept))}" if kept else "none were kept along the way"
    if step is not None:
        return f"{folder}: there are no weights of step {step}: {known} (keep_every, keep_checkpoints)"
    path = folder / RECORD
    status = (
        f"; its record says {read_record(path).status} after {read_record(path).steps} steps" if path.exists() else ""
    )
    return (
        f"{folder}: there are no weights at its end ({CHECKPOINT} is missing{status}; {known}):"
        " load(folder, weights=False) gives the run with its initial ones"
    )
