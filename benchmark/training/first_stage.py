"""The weights that a run takes over from another one, its first stage: pre-pretraining (arXiv 2502.19249, 2603.10055).

Everything else of the run is that of its seeds alone: the parts that are not taken start as they would without, the
optimizer and the schedule are fresh.
"""

import hashlib
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from architectures import SequenceModel
from architectures.weight_parts import parts_of
from benchmark.config.errors import BenchmarkError, Damaged
from benchmark.config.files.yaml_text import read_yaml, to_text
from benchmark.config.identity import RunIdentity
from benchmark.config.run_config import RunConfig, first_stages_text
from benchmark.training.folder.checkpoint import check_checkpoint, newest_checkpoint
from benchmark.training.folder.layout import CONFIG, RECORD, finished_record, kept_checkpoint, kept_steps, seed_folder
from datamodules import Stream
from leaderboard.records.record import Record, RecordedFirstStage, read_record
from leaderboard.whole_files import write_whole

FREE = ("positions", "embedding_std", "backend")
"""Options of a model in which it may differ from its source: the weights mean the same all the same."""


@dataclass(frozen=True)
class Source:
    """A run at a step, whose weights another one begins with.

    Attributes:
        folder: of the run of one seed.
        record: of it.
        step: of the weights.
    """

    folder: Path
    record: Record
    step: int

    @classmethod
    def find(cls, text: str, seed: int) -> "Source":
        """The run that `--init_from` names.

        Args:
            text: FOLDER or FOLDER@STEP; without a step, at its end.
            seed: of the run that begins; where FOLDER holds the folders of many seeds, it takes from that of its own.

        Raises:
            ValueError: one line, if there is no such run, it has not ended, or no weights of the step were kept.
        """
        found = re.fullmatch(r"(.+)@(\d{1,18})", text, re.DOTALL)
        folder, step = (Path(text), None) if found is None else (Path(found[1]), int(found[2]))
        if any(path.is_dir() for path in folder.glob("seed[0-9]*")):
            folder = seed_folder(folder, seed)
        if not (folder / RECORD).is_file():
            what = f"there is no {RECORD} in it" if folder.is_dir() else "there is no such folder"
            raise BenchmarkError(f"--init_from {folder}: {what}: the first stage must have been run")
        if step is not None:
            if not kept_checkpoint(folder, step).is_file():
                there = ", ".join(map(str, kept_steps(folder))) or "none"
                raise BenchmarkError(f"--init_from {folder}: there are no weights of step {step}; kept are: {there}")
            return cls(folder, read_record(folder / RECORD), step)
        record = finished_record(folder)
        if record is None:
            raise BenchmarkError(
                f"--init_from {folder}: has not ended: name a step whose weights were kept, as {folder}@STEP"
            )
        return cls(folder, record, record.steps)

    def recorded(self, parts: tuple[str, ...], permuted: bool) -> RecordedFirstStage:
        """The entry in the record of a run that takes these parts."""
        return RecordedFirstStage(
            source=hashlib.sha256(self.record.run_id.encode()).hexdigest(),
            step=self.step,
            tokens=self.step * self.record.protocol.tokens_per_step,
            parts=parts,
            permuted=permuted,
        )

    def weights(self) -> dict[str, Tensor]:
        """The state dict of its model.

        Raises:
            ValueError: one line, if it is not there, damaged or of another run than the record.
        """
        path = kept_checkpoint(self.folder, self.step)
        if not path.is_file():
            last = newest_checkpoint(self.folder)
            if last is None:
                raise BenchmarkError(f"--init_from {self.folder}: there are no weights at its end")
            path = last
        checkpoint = check_checkpoint(path, RunIdentity.of(self.record))
        if checkpoint["global_step"] != self.step:
            raise Damaged(f"{path}: is the checkpoint of step {checkpoint['global_step']}, not of {self.step}")
        return {name.removeprefix("model."): x for name, x in checkpoint["state_dict"].items()}


def with_first_stage(config: RunConfig) -> tuple[RunConfig, dict[int, Source]]:
    """The configuration that says what is taken over, and of each seed from where; none if nothing is.

    Raises:
        ValueError: one line, if it is not there, or is not what an earlier start of the run took.
    """
    if config.init_from is None:
        if config.first_stage is not None:
            raise BenchmarkError(f"begins with {config.first_stages[0].text}, and no folder of that run is named")
        return config, {}
    sources = {seed: Source.find(config.init_from, seed) for seed in config.numbers}
    text = first_stages_text(source.recorded(config.taken, config.init_permuted) for source in sources.values())
    if config.first_stage not in (None, text):
        raise BenchmarkError(
            f"--init_from {config.init_from}: is another run, or other parts of it, than this run has begun with:"
            f" {config.first_stages[0].text}"
        )
    return replace(config, first_stage=text), sources


def take_over(model: SequenceModel, config: RunConfig, source: Source, init_seed: int) -> None:
    """Put the parts that a run takes into its fresh model, to the last bit, without a draw from torch's generator.

    Warns where the two models have other options: with another number of heads, weights of the same shapes mean
    something else.

    Args:
        model: freshly initialised.
        config: of the run.
        source: where the weights come from.
        init_seed: of the run; it draws the permutations, if they are asked for.

    Raises:
        ValueError: one line, if the two models do not fit, which names the tensor and both shapes.
    """
    where = f"--init_from {source.folder}"
    try:
        parts = parts_of(model)
    except ValueError as error:
        raise BenchmarkError(f"--init_from: {error}") from error
    if missing := [part for part in config.init_parts or () if part not in parts.values()]:
        raise BenchmarkError(f"--init_parts {missing[0]}: this {type(model).__name__} has no such weights")
    for name, value in source.record.architecture.config.items():
        here = config.model.options.get(name, value)
        if name not in FREE and (list(here) if isinstance(here, tuple) else here) != value:
            warnings.warn(f"{where}: model.{name} is {value} there and {here} here", stacklevel=2)
    theirs, ours = source.weights(), model.state_dict()
    wanted = [name for name, part in parts.items() if part in config.taken]
    in_blocks = [{name for name in x if name.startswith("blocks.")} for x in (theirs, ours)]
    if any(name.startswith("blocks.") for name in wanted) and (odd := sorted(in_blocks[0] ^ in_blocks[1])):
        side = "there, but not here" if odd[0] in theirs else "here, but not there"
        raise BenchmarkError(f"{where}: its blocks are others: {odd[0]} is {side}")
    for name in wanted:
        if name not in theirs:
            raise BenchmarkError(f"{where}: has no {name}: leave {parts[name]} out of --init_parts")
        x, own = theirs[name], ours[name]
        if x.shape != own.shape:
            raise BenchmarkError(
                f"{where}: {name} is {_shape(x)} there and {_shape(own)} here: leave {parts[name]} out of"
                " --init_parts, or make the two alike"
            )
        if torch.promote_types(x.dtype, own.dtype) != own.dtype:
            raise BenchmarkError(f"{where}: holds weights of {x.dtype}, which would be rounded to {own.dtype}")
        own.copy_(permuted(x, name, init_seed) if config.init_permuted else x)


def permuted(x: Tensor, name: str, seed: int) -> Tensor:
    """A tensor with its entries in an order that its name and a seed draw, the same on every machine.

    Zeros stay where they are: above the diagonal of a causal matrix no weight would count.
    """
    there = x != 0
    order = Stream("init_permuted", 1, name, seed).words(torch.arange(int(there.sum()))).argsort()
    moved = x.clone()
    moved[there] = x[there][order]
    return moved


def note_first_stage(folder: Path, config: RunConfig) -> None:
    """Write into the configuration in a run folder what its run takes over, where it was made without looking.

    Raises:
        CannotWrite: if it cannot be written.
    """
    content: dict[str, Any] = read_yaml(folder / CONFIG)
    if content.get("first_stage") != config.first_stage:
        write_whole(folder / CONFIG, to_text(content | {"first_stage": config.first_stage}).encode())


def _shape(x: Tensor) -> str:
    return " x ".join(map(str, x.shape))
