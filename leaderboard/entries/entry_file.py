"""An entry: one architecture's records of one suite, handed in together with who made them and how they were tuned.

A folder `<suite>/<name>` that holds `entry.yaml` is an entry, and every record below it is the entry's. Nothing in
`entry.yaml` is computed from: names, links and words are shown, and records say everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from leaderboard.records.bounded import parse_yaml, read_bytes
from leaderboard.records.fields import Count, Model, Name
from leaderboard.records.file_names import name_problem
from leaderboard.records.record import first_problem

ENTRY_FILE = "entry.yaml"
MAX_BYTES = 20_000


def _portable(name: str) -> str:
    if reason := name_problem(name):
        raise ValueError(reason)
    return name


Slug = Annotated[str, Field(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), AfterValidator(_portable)]
Line = Annotated[Name, Field(max_length=300)]
Link = Annotated[str, Field(strict=True, max_length=300, pattern=r"^https://[A-Za-z0-9.-]+(/[!-~]*)?$")]


class Tuning(Model):
    """The trials before the seeds that count, on other seeds than those.

    Attributes:
        trials: how many runs were looked at to choose hyperparameters; 0 if none were.
        seeds: the seeds of those runs, as on the command line, e.g. "1000-1001"; None without trials.
        note: what was varied and on which cells.
    """

    trials: Count
    seeds: Line | None = None
    note: Line


class EntryFile(Model):
    """The content of `entry.yaml`. `name` is the folder's name, `architecture` that of every record in it."""

    schema_version: Literal[1]
    name: Slug
    suite: Slug
    architecture: Line
    title: Line
    authors: Annotated[tuple[Line, ...], Field(min_length=1, max_length=50)]
    licence: Line
    paper: Link | None
    code: Link | None
    tuning: Tuning


class Verified(Model):
    """A line of `verified.yaml`: maintainers ran whole seeds of this entry themselves.

    Attributes:
        seeds: how many seeds of each cell they ran before the records were handed in, or handed in themselves.
        reruns: how many whole runs they did again, from a draw over all cells; None in lines from before there was one.
        draw: seed of that draw: `validate --rerun N --draw SEED` repeats it.
    """

    suite: Slug
    name: Slug
    by: Line
    date: Annotated[str, Field(strict=True, pattern=r"^\d{4}-\d{2}-\d{2}$")]
    seeds: Annotated[int, Field(strict=True, ge=0)] = 0
    reruns: Annotated[int, Field(strict=True, ge=1)] | None = None
    draw: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.seeds and self.reruns is None:
            raise ValueError("says neither seeds nor reruns: what was run?")
        if (self.reruns is None) != (self.draw is None):
            raise ValueError("reruns and draw belong together")
        return self

    def n_whole(self, n_cells: int) -> int:
        """Whole runs that maintainers made: seeds of all cells, and those of the draw."""
        return self.seeds * n_cells + (self.reruns or 0)


def load_yaml(path: Path) -> Any:
    """The content of a small, untrusted YAML file.

    Raises:
        ValueError: one line with the file and the reason.
    """
    content = read_bytes(path, MAX_BYTES)
    try:
        return parse_yaml(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_entry(path: str | Path) -> EntryFile:
    """The entry in a file `entry.yaml`.

    Raises:
        ValueError: one line with the file, the field and the reason.
    """
    path = Path(path)
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must hold keys and values, holds {type(content).__name__}")
    try:
        return EntryFile.model_validate(
            {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        )
    except ValidationError as error:
        raise ValueError(f"{path}: {first_problem(error)}") from error
