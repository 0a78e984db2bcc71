"""An entry: one architecture's records of one suite, handed in together with who made them and how they were tuned.

A folder `<suite>/<name>` that holds `entry.yaml` is an entry, and every record below it is the entry's. Nothing in
`entry.yaml` is computed from: names, links and words are shown, and records say everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, StrictInt, ValidationError

from leaderboard.records.fields import Count, Model, Name
from leaderboard.records.record import first_problem

ENTRY_FILE = "entry.yaml"
MAX_BYTES = 20_000

Slug = Annotated[str, Field(strict=True, pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
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
    """A line of `verified.yaml`: maintainers ran or replayed these records themselves."""

    suite: Slug
    name: Slug
    by: Line
    date: Annotated[str, Field(strict=True, pattern=r"^\d{4}-\d{2}-\d{2}$")]
    seeds: StrictInt


class _Unique(yaml.SafeLoader):
    """Safe YAML without repeated keys, anchors or aliases: what is read is what stands there."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise ValueError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for position, key in enumerate(keys) if key in keys[:position]]
        if repeated:
            raise ValueError(f"key {repeated[0]!r} stands there twice")
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """The content of a small, untrusted YAML file.

    Raises:
        ValueError: one line with the file and the reason.
    """
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ValueError(f"{len(content):,} bytes, at most {MAX_BYTES:,} are allowed")
        return yaml.load(content.decode("utf-8"), Loader=_Unique)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
        yaml.YAMLError,
    ) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())[:300]}") from error


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
