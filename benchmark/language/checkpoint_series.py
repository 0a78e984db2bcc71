"""Series of checkpoints: models of several seeds and sizes, each at many steps of its training.

A series is a YAML file that names repositories of the Hugging Face hub and their revisions (`SeriesFile`), one of those
in `configs/language/` by its name, or a folder `SERIES/seed0/step125/` (or `SERIES/SIZE/seed0/step125/`) of checkpoints
in Hugging Face's format. A folder may hold a `series.yaml` with `text`, the kind of prompts that its models understand.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.config.errors import BenchmarkError, unknown
from benchmark.config.files.packaged import CONFIGS, YAML, config_file
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.seeds import parse_seeds
from benchmark.language.hub_files import hub_checkpoint, hub_tokenizer, local_checkpoint
from benchmark.language.prompts import Text
from benchmark.language.yaml_problems import problem_of
from leaderboard.paths import user_path

OF_A_FOLDER = "series.yaml"
"""In a local series: what is to be known about it."""

_SEED, _STEP = re.compile(r"seed(0|[1-9][0-9]*)"), re.compile(r"step(0|[1-9][0-9]*)")
_FOLDERS = (".", "/", "~")
"""Beginnings of a repository that is a local folder; the revisions are folders in it."""


class SeriesFile(BaseModel):
    """Content of a YAML file that describes a series on the hub.

    Attributes:
        repository: of a seed, with {size} and {seed} in their places. One that begins with "." or "/" is a folder, seen
            from the YAML file, which holds a folder for each revision.
        also: repositories of further seeds, by seed.
        sizes: names of sizes, from the smallest to the largest.
        seeds: like "1-9".
        revision: of a step, with {step} in its place.
        steps: like "0,1,2,4,1000-143000/1000", ascending.
        tokenizer: repository of the tokenizer, with {size} in its place; without one it is that of each checkpoint.
        text: kind of prompts that the models understand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    sizes: list[str] = Field(min_length=1)
    seeds: str
    steps: str
    also: dict[int, str] = {}
    revision: str = "step{step}"
    tokenizer: str | None = None
    text: Text = "english"


class _FolderFile(BaseModel):
    """Content of `series.yaml` in a local series."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Text = "english"


@dataclass(frozen=True)
class SeriesMember:
    """One model of a series: a size and a seed, with the repository (or the folder) of its checkpoints."""

    size: str
    seed: int
    repository: str

    @property
    def label(self) -> str:
        """A few words for messages."""
        return f"{self.size} seed {self.seed}"

    @property
    def is_local(self) -> bool:
        """Whether its checkpoints are in a folder, and not on the hub."""
        return self.repository.startswith(_FOLDERS)

    @property
    def name(self) -> str:
        """The repository, or the last part of the folder's path: records hold no paths of a machine."""
        return Path(self.repository).name if self.is_local else self.repository


@dataclass(frozen=True)
class CheckpointSeries:
    """Models at the steps of their training.

    Attributes:
        name: of the YAML file or the folder.
        members: by size in the order of the series, then by seed.
        steps: of each member, ascending; some of them may turn out to be missing.
        text: kind of prompts that the models understand.
        revision: of a step, with {step} in its place.
        tokenizer: repository of the tokenizer, with {size} in its place; None where each checkpoint holds its own.
    """

    name: str
    members: tuple[SeriesMember, ...]
    steps: dict[SeriesMember, tuple[int, ...]]
    text: Text
    revision: str = "step{step}"
    tokenizer: str | None = None

    @property
    def sizes(self) -> tuple[str, ...]:
        """Names of the sizes, in order."""
        return tuple(dict.fromkeys(member.size for member in self.members))

    def chosen(self, sizes: str | None, seeds: str | None) -> list[SeriesMember]:
        """The members of these sizes ("14m,70m") and seeds ("0-4,7"); all where None.

        Raises:
            ValueError: one line, if there is no such size or seed.
        """
        wanted_sizes = self.sizes if sizes is None else tuple(word.strip() for word in sizes.split(","))
        for size in wanted_sizes:
            if size not in self.sizes:
                raise BenchmarkError(unknown("size", size, self.sizes, f" in the series {self.name}"))
        there = sorted({member.seed for member in self.members})
        wanted = there if seeds is None else parse_seeds(seeds)
        if absent := [seed for seed in wanted if seed not in there]:
            raise BenchmarkError(
                f"--seeds {seeds}: the series {self.name} has no seed {absent[0]}: it has {_listed(there)}"
            )
        return [member for member in self.members if member.size in wanted_sizes and member.seed in wanted]

    def folder(self, member: SeriesMember, step: int) -> Path:
        """The folder of a checkpoint, fetched from the hub if need be.

        Raises:
            Missing: one line, if there is none.
            ValueError: one line, if the hub cannot be reached, or has no such repository.
        """
        revision = self.revision.format(step=step)
        if member.is_local:
            return local_checkpoint(Path(member.repository) / revision)
        return hub_checkpoint(member.repository, revision)

    def tokenizer_folder(self, member: SeriesMember, checkpoint: Path) -> Path:
        """The folder that holds the tokenizer of a member, one of whose checkpoints is given; raises as `folder`."""
        return checkpoint if self.tokenizer is None else hub_tokenizer(self.tokenizer.format(size=member.size))

    def known_step(self, member: SeriesMember, step: int, option: str) -> int:
        """The step, if the series has it.

        Raises:
            ValueError: one line that names the nearest ones, if it does not.
        """
        steps = self.steps[member]
        if step in steps:
            return step
        near = sorted(sorted(steps, key=lambda other: (abs(other - step), other))[:2])
        hint = f"the nearest are {' and '.join(map(str, near))}" if near else "it has none"
        raise BenchmarkError(f"{option} {step}: {member.label} of {self.name} has no such step: {hint}")


def parse_steps(text: str) -> tuple[int, ...]:
    """The steps of a list of numbers and ranges with a stride, like "0,1,2,4,1000-143000/1000".

    Raises:
        ValueError: one line, if an item is neither, or they do not ascend.
    """
    steps: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,12})(?:-([0-9]{1,12})/([0-9]{1,12}))?\s*", item)
        if match is None or match[3] == "0":
            raise BenchmarkError(f"steps: {item.strip()!r} is neither a number nor a range like 1000-143000/1000")
        first, last, stride = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        steps += range(first, last + 1, stride)
    if not steps or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
        raise BenchmarkError(f"steps: must ascend, got {text!r}")
    return tuple(steps)


def load_series(text: str) -> CheckpointSeries:
    """The series in a folder, in a YAML file, or of the name of one in `configs/language`.

    Raises:
        ValueError: one line, if there is none, or it is not as described above.
    """
    path = user_path(text, "SERIES")
    if path.is_dir():
        return _of_a_folder(path)
    path = config_file(path)
    shipped = CONFIGS / "language"
    if path.suffix not in YAML:
        path = shipped / f"{text}.yaml"
        if not path.is_file():
            names = sorted(file.stem for file in shipped.glob("*.yaml") if "repository:" in file.read_text("utf-8"))
            raise BenchmarkError(unknown("series", text, names) + " (or give a folder of checkpoints, or a YAML file)")
    content = read_yaml(path)
    if "max_steps" in content:
        raise BenchmarkError(
            f"{path}: says how a series is trained: python -m benchmark language_series {text} --out FOLDER"
            " trains it, and FOLDER is the series then"
        )
    try:
        return _of_a_file(path, SeriesFile.model_validate(content))
    except ValidationError as error:
        raise BenchmarkError(f"{path}: {problem_of(error, SeriesFile)}") from error
    except (KeyError, IndexError) as error:
        raise BenchmarkError(f"{path}: only {{size}}, {{seed}} and {{step}} have values, not {error}") from error


def _of_a_file(path: Path, file: SeriesFile) -> CheckpointSeries:
    steps = parse_steps(file.steps)
    file.revision.format(step=0)
    repositories = {**{seed: file.repository for seed in parse_seeds(file.seeds)}, **file.also}
    members = tuple(
        SeriesMember(size, seed, _place(path, repositories[seed].format(size=size, seed=seed)))
        for size in file.sizes
        for seed in sorted(repositories)
    )
    all_steps = dict.fromkeys(members, steps)
    return CheckpointSeries(path.stem, members, all_steps, file.text, file.revision, file.tokenizer)


def _place(file: Path, repository: str) -> str:
    """The repository, or the absolute path of the folder that it is."""
    if not repository.startswith(_FOLDERS):
        return repository
    return str((file.parent / user_path(repository, f"{file}: repository")).absolute())


def _of_a_folder(folder: Path) -> CheckpointSeries:
    sizes = {folder.resolve().name: folder} if _inside(folder, _SEED) else {}
    if not sizes:
        sizes = {
            inside.name: inside for inside in sorted(folder.iterdir()) if inside.is_dir() and _inside(inside, _SEED)
        }
    if not sizes:
        raise BenchmarkError(f"{folder}: is no series of checkpoints: it holds no folder like seed0/step125")
    steps: dict[SeriesMember, tuple[int, ...]] = {}
    for size, place in sizes.items():
        for seed, path in _inside(place, _SEED).items():
            member = SeriesMember(size, seed, str(path.absolute()))
            steps[member] = tuple(_inside(path, _STEP))
            if not steps[member]:
                raise BenchmarkError(f"{path}: holds no checkpoints: no folder like step125")
    text: Text = "english"
    if (file := folder / OF_A_FOLDER).is_file():
        try:
            text = _FolderFile.model_validate(read_yaml(file)).text
        except ValidationError as error:
            raise BenchmarkError(f"{file}: {problem_of(error, _FolderFile)}") from error
    return CheckpointSeries(folder.resolve().name, tuple(steps), steps, text)


def _inside(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The folders within one whose names are a word and a number, by the number."""
    found = [(match, path) for path in folder.iterdir() if (match := pattern.fullmatch(path.name)) and path.is_dir()]
    return {int(match[1]): path for match, path in sorted(found, key=lambda pair: int(pair[0][1]))}


def _listed(numbers: Sequence[int]) -> str:
    """Numbers in order as ranges: "0-7, 1234"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
