"""The record: one JSON file per trained seed, and the only thing the leaderboard knows about a run.

A record is written once, when the run ends, whatever way it ends. Everything is checked on the way in and out: no
unknown field, no NaN or Infinity, no number in place of a string, no hit off the evaluation grid. Units are in names:
`_nats`, `_s` (seconds), `_bytes`; steps are optimizer steps, tokens are tokens read in training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from leaderboard.records.bounded import MAX_RECORD_BYTES, read_bytes
from leaderboard.records.fields import (
    MESSAGE,
    NAME,
    Amount,
    Architecture,
    Config,
    Count,
    CurvesFile,
    Final,
    Git,
    Hardware,
    Hit,
    Intervention,
    Message,
    Model,
    Moment,
    Name,
    Number,
    Positive,
    RecordedBias,
    RecordedFirstStage,
    RecordedFork,
    RecordedProtocol,
    RecordedTarget,
    RecordedTask,
    Resumed,
    Seeds,
    Sha256,
)
from leaderboard.records.plain_text import shown
from leaderboard.records.upgrade import CURRENT, parse, upgrade
from leaderboard.whole_files import write_whole

__all__ = [
    "Architecture",
    "CurvesFile",
    "Final",
    "Git",
    "Hardware",
    "Hit",
    "Intervention",
    "RecordedBias",
    "RecordedFirstStage",
    "RecordedFork",
    "RecordedProtocol",
    "Record",
    "Seeds",
    "RecordedTarget",
    "RecordedTask",
    "Resumed",
    "json_schema",
    "protocol_hash",
    "read_record",
    "write_record",
]

MAX_PARTS = 65_536
MAX_SHOWN = 300  # characters of a wrong value, which may be as long as its file
FINAL_STATUSES = frozenset({"solved", "censored", "diverged"})  # an outcome of the experiment: never replaced


def protocol_hash(task: RecordedTask, protocol: RecordedProtocol) -> str:
    """SHA-256 (hex) of the canonical JSON (sorted keys, no spaces) of task name, version, config and protocol."""
    return _hash_of(task.model_dump_json(), protocol.model_dump_json())


@lru_cache(maxsize=1024)  # a board's records share few protocols
def _hash_of(task: str, protocol: str) -> str:
    content = {**json.loads(task), "protocol": json.loads(protocol)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Record(Model):
    """One run of one seed. Two records are comparable when their `protocol_hash` is equal."""

    schema_version: Literal[1]
    status: Literal["solved", "censored", "diverged", "error", "interrupted"]
    error: Message | None
    suite: Name | None
    cell: Name | None
    architecture: Architecture
    task: RecordedTask
    protocol: RecordedProtocol
    protocol_hash: Sha256
    optimizer: Config
    seeds: Seeds
    hits: dict[Name, Hit]
    # Of every part of the task that is learned by itself, such as the rows of a linear map; older records have none.
    part_hits: Annotated[
        tuple[Hit, ...] | None, Field(min_length=1, max_length=MAX_PARTS, exclude_if=lambda value: value is None)
    ] = None
    first_loss_nats: Number | None
    final: Final | None
    chance_loss_nats: Amount
    floor_loss_nats: Amount | None
    steps: Count
    tokens: Count
    parameters: Count
    state_bytes: Count | None
    flops_per_token: Amount | None
    precision: Name
    first_batch_hash: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{16,128}$")]
    # Of the initial weights (benchmark/training/evidence/initial_weights.py); older records have none.
    init_hash: Annotated[Sha256 | None, Field(exclude_if=lambda value: value is None)] = None
    first_losses_nats: Annotated[tuple[Number, ...], Field(max_length=20)]
    wall_train_s: Amount
    wall_eval_s: Amount
    wall_compile_s: Amount
    # Seeds that the process trained at once: times, memory and tokens_per_s are those of the whole process.
    ensemble_size: Positive = 1
    tokens_per_s: Amount | None
    peak_memory_bytes: Count | None
    hardware: Hardware
    # Of the code that the run began with, and every change of it on the way.
    versions: dict[Name, Name]
    git: Git
    resumed: Annotated[tuple[Resumed, ...], Field(exclude_if=lambda value: not value)] = ()
    # Of the user's own, which may have done anything.
    callbacks: Annotated[tuple[Name, ...], Field(exclude_if=lambda value: not value)] = ()
    # An experiment's change of the run, which is never part of an entry then; other records do not have the field.
    intervention: Annotated[Intervention | None, Field(exclude_if=lambda value: value is None)] = None
    started_at: Moment
    ended_at: Moment
    curves: CurvesFile | None

    @property
    def primary_step(self) -> int | None:
        """Step at which the primary target was hit, None if it never was."""
        return self.hits[self.protocol.primary].step

    @property
    def run_id(self) -> str:
        """The identity of the run as JSON. A repetition of a seed starts at another time, so it is another run."""
        fields = {"architecture", "protocol_hash", "optimizer", "seeds", "precision", "intervention", "started_at"}
        return json.dumps(self.model_dump(mode="json", include=fields), sort_keys=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        protocol, status, steps = self.protocol, self.status, self.steps
        if self.protocol_hash != (expected := protocol_hash(self.task, protocol)):
            yield f"protocol_hash is {self.protocol_hash}, but task and protocol give {expected}"
        if steps > protocol.max_steps:
            yield f"steps {steps} exceeds protocol.max_steps {protocol.max_steps}"
        if self.tokens != steps * protocol.tokens_per_step:
            yield f"tokens {self.tokens} is not steps {steps} x tokens_per_step {protocol.tokens_per_step}"
        if self.final is not None and self.final.step > steps:
            yield f"final.step {self.final.step} exceeds steps {steps}"
        if set(self.hits) != (names := {target.name for target in protocol.targets}):
            yield f"hits names {sorted(self.hits)}, but the protocol's targets are {sorted(names)}"
            return
        yield from self._hit_problems()
        if status == "solved" and self.primary_step is None:
            yield f"status solved, but the primary target {protocol.primary!r} has no hit"
        if status == "solved" and steps < protocol.max_steps and not protocol.stop_when_solved:
            yield f"status solved at {steps} of {protocol.max_steps} steps, but protocol.stop_when_solved is false"
        if status == "censored" and self.primary_step is not None:
            yield f"status censored, but the primary target {protocol.primary!r} was hit at step {self.primary_step}"
        if status == "censored" and steps != protocol.max_steps:
            yield f"status censored needs the full budget of {protocol.max_steps} steps, the run has {steps}"
        if status in {"error", "diverged"} and self.error is None:
            yield f"status {status} needs an error message"
        if status in {"solved", "censored"} and self.error is not None:
            yield f"status {status} must have error null, it has {self.error!r}"

    def _hit_problems(self) -> Iterator[str]:
        every = self.protocol.eval_every
        named = {f"hits.{name}": hit for name, hit in self.hits.items()}
        named |= {f"part_hits.{i}": hit for i, hit in enumerate(self.part_hits or ())}
        for name, hit in named.items():
            step, previous = hit.step, hit.previous_step
            if step is None:
                if previous is not None:
                    yield f"{name} has previous_step {previous} without a step"
                continue
            if step % every or step > self.steps:
                yield f"{name}.step {step} is not a multiple of eval_every {every} within {self.steps} steps"
            # Whether there is an evaluation at step 0 is the harness's choice, so the first one may be at 0 or `every`.
            if previous != step - every and not (previous is None and step <= every):
                yield f"{name}.previous_step {previous} is not the evaluation before step {step}"


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record: types and ranges; the rules between fields are `Record`'s own."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Record.model_json_schema()}


def read_record(path: str | Path) -> Record:
    """The record in a file, see `parse_record`; an ordinary file, though a link may lead to it.

    Raises:
        ValueError: one line with the file, the field and the reason, when it cannot be read or is not a valid record.
    """
    content = read_bytes(path, MAX_RECORD_BYTES)
    try:
        return parse_record(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_record(content: bytes) -> Record:
    """The record in a text, of any version of the schema; JSON is read strictly (see `leaderboard.records.upgrade`).

    Raises:
        ValueError: one line with the field and the reason, when it is not a valid record.
    """
    if (record := _as_written(content)) is not None:
        return record
    fields = parse(content)
    version = fields.get("schema_version")
    try:
        if type(version) is not int or version != CURRENT:  # True and 1.0 equal 1
            content = json.dumps(upgrade(fields)).encode()
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def _as_written(text: bytes) -> Record | None:
    """The record, if the text is what `write_record` makes of it; None for any other text, broken or not.

    A text that is told by its record hides no key that stands there twice, and needs not be parsed again to find that.
    """
    try:
        record = Record.model_validate_json(text)
    except ValidationError:
        return None
    return record if _text(record, exclude_unset=True) == text else None  # older texts lack what was added later


def _text(record: Record, exclude_unset: bool = False) -> bytes:
    return f"{record.model_dump_json(indent=2, exclude_unset=exclude_unset)}\n".encode()


def first_problem(error: ValidationError) -> str:
    """One line, "field: reason", for the first thing that is wrong, and how many more there are."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(map(str, first["loc"])) or "record"
    reason = first["msg"].removeprefix("Value error, ")
    if first.get("ctx", {}).get("pattern") in (MESSAGE, NAME) and isinstance(text := first["input"], str) and text:
        reason = f"holds a control character: {text!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{shown(field, MAX_SHOWN)}: {shown(reason, MAX_SHOWN)}{more}"


def write_record(path: str | Path, record: Record) -> None:
    """Write a record so that a kill at any moment leaves the old file, no file, or the whole new one.

    Raises:
        ValueError: the file holds the outcome of another run (outcomes are never replaced), or is no valid record.
        CannotWrite: the file cannot be written.
    """
    path = Path(path)
    if path.exists():
        old = read_record(path)
        if old.status in FINAL_STATUSES and old.run_id != record.run_id:
            raise ValueError(f"{path}: holds the {old.status} record of another run, which is never replaced")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, _text(record))
