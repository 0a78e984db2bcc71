"""Forks: a run from one of its steps on, the same but for one cause.

A fork is a run folder of its own: the configuration, which says of what it is a fork, and the parent's whole checkpoint
of the step, changed where asked. From there on it is resumed like any run that was cut short, so that a fork without a
change is the parent to the last bit.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from architectures.transformer import attentions_of
from benchmark.config.errors import BenchmarkError
from benchmark.config.identity import difference
from benchmark.config.parser import to_yaml
from benchmark.config.run_config import RunConfig, fork_text
from benchmark.interventions.subject import Head, head_text, parse_head
from benchmark.training.folder.checkpoint import CHECKPOINT, check_checkpoint, newest_checkpoint, read_checkpoint
from benchmark.training.folder.layout import RECORD, create_run_folder, finished_record, kept_checkpoint, kept_steps
from benchmark.training.folder.sealed import write_sealed
from benchmark.training.loading import config_in
from benchmark.training.run import Run, build
from benchmark.training.step import parameter_groups
from leaderboard.records.record import Record, RecordedFork, read_record


@dataclass(frozen=True)
class Change:
    """The causes that differ in a fork; by default none.

    Args:
        data_seed: of the sequences from the step on, and of the held-out ones.
        fresh_optimizer: forget the moments of AdamW; the learning rate goes on along its schedule.
        reset_heads: give these heads their initial weights again, and no moments.
    """

    data_seed: int | None = None
    fresh_optimizer: bool = False
    reset_heads: tuple[Head, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The causes as the record names them; the data seed is among its seeds."""
        named = [("data_seed", self.data_seed is not None), ("fresh_optimizer", self.fresh_optimizer)]
        resets = [f"reset_head={head_text(head)}" for head in self.reset_heads]
        return (*(name for name, there in named if there), *resets)

    @property
    def suffix(self) -> str:
        """The causes in the name of a folder."""
        parts = [] if self.data_seed is None else [f"data{self.data_seed}"]
        parts += ["fresh"] if self.fresh_optimizer else []
        return "".join(f"-{part}" for part in [*parts, *(f"reset{layer}.{head}" for layer, head in self.reset_heads)])


class Parent:
    """A run that is forked at a step.

    Args:
        folder: run folder, of a run of one seed that kept whole checkpoints.
        step: where.
        trust: as for `load`.

    Raises:
        ValueError: one line, if the folder holds no such run, or no whole checkpoint of the step.
    """

    def __init__(self, folder: Path, step: int, *, trust: bool = False) -> None:
        self.folder, self.step, self.trust = folder, step, trust
        self.config = config_in(folder, trust=trust)
        if self.config.seeds is not None:
            raise BenchmarkError(f"{folder}: holds many seeds: a run of one seed can be forked")
        if not (folder / RECORD).is_file():
            raise BenchmarkError(
                f"{folder}: has no {RECORD} yet: only a run that has ended, or was cut short, is forked"
            )
        self.record: Record = read_record(folder / RECORD)
        self.run = build(self.config)
        self.path = self._path()
        if "optimizer_states" not in check_checkpoint(self.path, self.run.identity):
            raise BenchmarkError(f"{self.path}: holds weights only; a run made with --keep_resumable can be forked")

    def _path(self) -> Path:
        path = kept_checkpoint(self.folder, self.step)
        if path.exists():
            return path
        last = newest_checkpoint(self.folder)
        at = None if last is None else read_checkpoint(last)["global_step"]
        if last is not None and at == self.step:
            return last
        there = ", ".join(map(str, sorted({*kept_steps(self.folder), *([] if at is None else [at])}))) or "none"
        raise BenchmarkError(f"{self.folder}: there is no checkpoint of step {self.step}; there are those of: {there}")

    def parsed_heads(self, texts: list[str]) -> tuple[Head, ...]:
        """The heads that texts name, each once.

        Raises:
            ValueError: one line, if there is no such head.
        """
        model = self.run.model
        attentions = attentions_of(model) if hasattr(model, "blocks") else {}
        known = [(layer, head) for layer, a in attentions.items() for head in range(a.n_heads)]
        return tuple(parse_head(text, "--reset_head", known, type(model).__name__) for text in dict.fromkeys(texts))

    def config_of(self, change: Change, out: str) -> RunConfig:
        """The configuration of a fork; its folder is called after the parent's, the step and the change."""
        parent = hashlib.sha256(self.record.run_id.encode()).hexdigest()
        fork = RecordedFork(parent=parent, step=self.step, changes=change.words)
        return replace(
            self.config,
            forked=fork_text(fork),
            data_seed=self.config.data_seed if change.data_seed is None else change.data_seed,
            out=out,
            name=f"{self.folder.resolve().name}-{parent[:8]}-at{self.step}{change.suffix}",
        )

    def folder_of(self, change: Change, out: str) -> Path:
        """The folder of a fork, made if it is not there; whatever interrupted its making, it can be resumed then.

        Raises:
            ValueError: one line, if another run is in its place, or the fork cannot be made.
        """
        config = self.config_of(change, out)
        run = build(config)
        identity = run.identity
        names = identity.task.name, identity.architecture.name
        folder = Path(config.out, *names, str(config.name))
        if not folder.exists():
            folder = create_run_folder(Path(config.out), *names, config.name, to_yaml(config))
        elif found := difference(build(config_in(folder, trust=self.trust)).identity.flat(), identity.flat()):
            name, there, here = found
            raise BenchmarkError(f"{folder}: is another run ({name} = {there} there, {here} here): take another --out")
        if newest_checkpoint(folder) is None and finished_record(folder) is None:
            checkpoint = read_checkpoint(self.path)
            self._change(checkpoint, change, run)
            write_sealed(folder / CHECKPOINT, checkpoint)
        return folder

    def _change(self, checkpoint: dict[str, Any], change: Change, run: Run) -> None:
        """Make the parent's checkpoint the fork's, in place.

        Args:
            checkpoint: as it was read.
            change: what differs.
            run: the fork, with its initial weights, which are the parent's.
        """
        checkpoint["identity"] = run.identity.flat()
        moments = checkpoint["optimizer_states"][0]["state"]
        if change.fresh_optimizer:
            moments.clear()
        initial, places = run.model.state_dict(), _places(run)
        for layer, head in change.reset_heads:
            attention = attentions_of(run.model)[layer]
            prefix = next(name for name, module in run.model.named_modules() if module is attention)
            for name, index in attention.of_head(head).items():
                key = f"{prefix}.{name}"
                checkpoint["state_dict"][f"model.{key}"][index] = initial[key][index]
                for moment, x in moments.get(places[key], {}).items():
                    if moment != "step":
                        x[index] = 0


def _places(run: Run) -> Mapping[str, int]:
    """The number of every parameter in the state of the optimizer, by its name."""
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    grouped = [x for group in parameter_groups(run.model, run.config.optimizer) for x in group["params"]]
    return {names[id(parameter)]: place for place, parameter in enumerate(grouped)}


def parse_twins(text: str, parents: int) -> tuple[int, ...]:
    """The data seeds of twins.

    Args:
        text: how many, like ``5``: the seeds after the parent's; or the seeds themselves, like ``11-15`` or ``3,7``.
        parents: data seed of the parent.

    Raises:
        ValueError: one line, if it is neither, or the parent's own seed is among them.
    """
    from benchmark.config.seeds import parse_seeds

    if re.fullmatch(r"\d{1,4}", text) and int(text) > 0:
        return tuple(range(parents + 1, parents + 1 + int(text)))
    if not re.search(r"[-,]", text):
        raise BenchmarkError(f"--twins must be a number of twins, or their data seeds like 11-15 or 3,7; got {text!r}")
    seeds = parse_seeds(text)
    if parents in seeds:
        raise BenchmarkError(f"--twins {text}: {parents} is the data seed of the run itself")
    return seeds
