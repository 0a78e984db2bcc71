"""Experiments in two stages: runs from scratch, and runs that begin with weights of a first stage, paired by seed.

A YAML file says which::

    first: configs/pretraining/fig13_first.yaml      # suite of the first stages
    second: configs/pretraining/fig13_second.yaml    # suite of what comes after them
    seeds: 0-7
    sources:
      dyck: {cell: dyck}                       # begins with weights of the cell dyck_AFTER of the first suite
      permuted: {cell: dyck, permuted: true}   # the same, their entries permuted
    parts:
      blocks: [attention, mlp, norms]          # rows of the table: what is taken
    cells:
      copy_l2_lr1: {first: copy_l2, lacks: [positions]}    # of the second suite: AFTER, and parts that its model lacks

The arms of a cell are `scratch` and SOURCE_ROW for every source and row; a row that is another one without what the
model lacks is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from architectures.weight_parts import WEIGHT_PARTS
from benchmark.config.errors import unknown
from benchmark.config.files.packaged import config_file
from benchmark.config.files.suite import CellName, load_suite
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.seeds import parse_seeds
from benchmark.sweeps.sweep import SweepConfig
from benchmark.training.folder.layout import RECORD, seed_folder
from leaderboard.records.record import Record, read_record
from leaderboard.statistics.paired_ratio import SCRATCH

FIRST = "first"
"""Folder of the first stages among those of the arms."""

Part = Literal["attention", "mlp", "norms", "positions", "embeddings", "head"]


class _Piece(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageSource(_Piece):
    """First stages that weights are taken from."""

    cell: str
    permuted: bool = False


class SecondStage(_Piece):
    """The weights that a cell of the second suite begins with."""

    first: str
    lacks: tuple[Part, ...] = ()


class TwoStages(_Piece):
    """Content of a file."""

    first: str
    second: str
    seeds: str
    sources: Annotated[dict[CellName, StageSource], Field(min_length=1)]
    parts: Annotated[dict[CellName, Annotated[tuple[Part, ...], Field(min_length=1)]], Field(min_length=1)]
    cells: Annotated[dict[CellName, SecondStage], Field(min_length=1)]


@dataclass(frozen=True)
class StageArm:
    """Runs of a cell of the second suite that begin alike.

    Args:
        cell: of the second suite.
        name: `scratch`, or SOURCE_ROW.
        first: cell of the first suite, None from scratch.
        parts: that are taken.
        permuted: whether their entries are permuted.
    """

    cell: str
    name: str
    first: str | None = None
    parts: tuple[str, ...] = ()
    permuted: bool = False


def read_two_stages(path: str | Path) -> TwoStages:
    """The experiment in a file, one of the package's among them.

    Raises:
        ValueError: one line that names the file and what is wrong in it.
    """
    file = config_file(path)
    try:
        found = TwoStages.model_validate(read_yaml(file))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{file}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    try:
        parse_seeds(found.seeds)
        (_, first), (_, second) = load_suite(found.first), load_suite(found.second)
        for cell in found.cells:
            if cell not in second.cells:
                raise ValueError(f"cells: {unknown('cell', cell, sorted(second.cells))}")
        for arm in arms_of(found):
            if arm.first is not None and arm.first not in first.cells:
                raise ValueError(f"cells.{arm.cell}: {unknown('cell', arm.first, sorted(first.cells))}")
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return found


def arms_of(stages: TwoStages) -> list[StageArm]:
    """Every arm of every cell, in the order of the file."""
    found = []
    for cell, second in stages.cells.items():
        found.append(StageArm(cell, SCRATCH))
        for source_name, source in stages.sources.items():
            seen = set()
            for row, parts in stages.parts.items():
                left = tuple(part for part in WEIGHT_PARTS if part in parts and part not in second.lacks)
                if left and left not in seen:
                    first = f"{source.cell}_{second.first}"
                    found.append(StageArm(cell, f"{source_name}_{row}", first, left, source.permuted))
                seen.add(left)
    return found


def sweeps_of(
    stages: TwoStages, out: Path, *, seeds: str | None = None, model: str = "transformer", jobs: int | None = None
) -> Iterator[SweepConfig]:
    """The sweeps of an experiment in the order in which they can run: the first stages come first.

    Args:
        stages: the experiment.
        out: folder; the first stages lie in `first` below it, and each arm in a folder of its name.
        seeds: in the place of the file's.
        model: registered name of the architecture.
        jobs: processes at once, see `SweepConfig`.
    """
    numbers = parse_seeds(seeds or stages.seeds)
    arms = arms_of(stages)
    cells = tuple(dict.fromkeys(arm.first for arm in arms if arm.first is not None))
    yield SweepConfig(numbers, suite=stages.first, models=(model,), cells=cells, out=out / FIRST, jobs=jobs)
    for arm in arms:
        options: dict[str, object] = {}
        if arm.first is not None:
            source = _folder(out / FIRST, stages.first, arm.first, model)
            options = {"init_from": str(source), "init_parts": ",".join(arm.parts)}
            options |= {"init_permuted": True} if arm.permuted else {}
        yield SweepConfig(
            numbers, suite=stages.second, models=(model,), cells=(arm.cell,), options=options, out=out / arm.name,
            jobs=jobs,
        )  # fmt: skip


def records_in(
    stages: TwoStages, out: Path, *, seeds: str | None = None, model: str = "transformer"
) -> Mapping[str, Mapping[str, list[Record]]]:
    """The records that there are of each cell of the second stage and each of its arms, as `ratio_table` takes them.

    Args:
        stages, out, seeds, model: as for `sweeps_of`.

    Raises:
        ValueError: one line, if one is not valid.
    """
    found: dict[str, dict[str, list[Record]]] = {}
    for arm in arms_of(stages):
        folder = _folder(out / arm.name, stages.second, arm.cell, model)
        paths = [seed_folder(folder, seed) / RECORD for seed in parse_seeds(seeds or stages.seeds)]
        found.setdefault(arm.cell, {})[arm.name] = [read_record(path) for path in paths if path.is_file()]
    return found


def _folder(out: Path, suite: str, cell: str, model: str) -> Path:
    """The folder of the seeds of a cell in that of a sweep."""
    return out / load_suite(suite)[0] / cell / model
