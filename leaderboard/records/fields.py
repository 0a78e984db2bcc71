"""The parts of a record, and the checked types that they are built from."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from leaderboard.records.plain_text import HIDDEN


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"must be UTC, has offset {moment.utcoffset()}")
    return moment


def _one_message(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Raise one line in place of one error for every member of a union."""
    try:
        return handler(value)
    except ValidationError as error:
        allowed = "a finite number, a string, true, false, null or a list of these"
        raise ValueError(f"must be {allowed}, got {value!r}") from error


MAX_INT = 2**63 - 1  # what other programs can read, and what a float can come near
Count = Annotated[int, Field(strict=True, ge=0, le=MAX_INT)]
Positive = Annotated[int, Field(strict=True, ge=1, le=MAX_INT)]
Number = Annotated[float, Field(strict=True)]  # an int passes; a bool or a string does not
Amount = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
MESSAGE, NAME = r"^[^\r\n]+$", rf"^[^{HIDDEN}]+$"  # patterns
Message = Annotated[str, Field(strict=True, min_length=1, pattern=MESSAGE)]  # of another program, as it is
Name = Annotated[str, Field(strict=True, min_length=1, pattern=NAME)]
Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
Scalar = StrictBool | StrictInt | Number | StrictStr | None
Config = dict[Name, Annotated[Scalar | tuple[Scalar, ...], WrapValidator(_one_message)]]
Moment = Annotated[
    AwareDatetime,
    Field(strict=True),
    BeforeValidator(lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value),
    AfterValidator(_utc),
]


class Model(BaseModel):
    """Base of every part of a record: closed, immutable, finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Architecture(Model):
    name: Name
    version: Positive
    backend: Name
    config: Config
    library: Annotated[Name | None, Field(exclude_if=lambda value: value is None)] = None


class RecordedTask(Model):
    name: Name
    version: Positive
    config: Config


class RecordedTarget(Model):
    name: Name
    metric: Name
    op: Literal[">=", "<"]
    value: Number


class RecordedProtocol(Model):
    """The conditions that runs in one table share: budget, evaluation grid, tokens per step, targets."""

    max_steps: Positive
    eval_every: Positive
    tokens_per_step: Positive
    eval_sequences: Positive
    stop_when_solved: StrictBool
    primary: Name
    targets: Annotated[tuple[RecordedTarget, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names):
            raise ValueError(f"target names repeat: {', '.join(names)}")
        if self.primary not in names:
            raise ValueError(f"primary {self.primary!r} is not a target; the targets are {', '.join(names)}")
        return self


class Seeds(Model):
    task_seed: Count
    init_seed: Count
    data_seed: Count


class Hit(Model):
    """First evaluation at which a target held (and held again at the next) and the one before it; None: never."""

    step: Count | None
    previous_step: Count | None


class Final(Model):
    """Metrics of the last evaluation. `task_metrics` holds what the task adds, e.g. `rows_solved` of the linear map."""

    step: Count
    loss_nats: Number
    loss_scored_nats: Number
    accuracy: Fraction
    exact_match: Fraction
    task_metrics: dict[Name, Number]


class Hardware(Model):
    device: Annotated[str, Field(strict=True, pattern=r"^[a-z]+$")]
    name: Name
    cores: Positive
    threads: Positive
    memory_bytes: Positive | None


class Git(Model):
    commit: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{7,64}$")] | None
    dirty: StrictBool | None


class Resumed(Model):
    """A step from which a run went on under other code than before it."""

    step: Count
    git: Git
    versions: dict[Name, Name]


class RecordedBias(Model):
    """A multiple of the task's attention pattern that was added to the attention logits of every head.

    It held in the training steps, counted from 0, and in the evaluations after so many steps, that lie in
    first_step <= step < end_step; without an end, to the end of the run.
    """

    strength: Number
    first_step: Count
    end_step: Count | None

    def holds(self, step: int) -> bool:
        """Whether it is added in the training step that follows `step` others, and in an evaluation after them."""
        return self.first_step <= step and (self.end_step is None or step < self.end_step)

    @property
    def steps(self) -> str:
        """The steps as they are written on the command line."""
        return f"{self.first_step}:{'' if self.end_step is None else self.end_step}"


class RecordedFork(Model):
    """The run that this one is a copy of up to a step, by the SHA-256 of its `run_id`, and what was changed there."""

    parent: Sha256
    step: Count
    changes: tuple[Name, ...]


class RecordedFirstStage(Model):
    """The run whose weights this one began with, by the SHA-256 of its `run_id`, and the parts that were taken.

    `step` and `tokens` are what the weights had seen in that run; what it began with itself does not count.
    """

    source: Sha256
    step: Count
    tokens: Count
    parts: Annotated[tuple[Name, ...], Field(min_length=1)]
    permuted: bool

    @property
    def text(self) -> str:
        """A few words for messages."""
        how = ", their entries permuted" if self.permuted else ""
        return f"{', '.join(self.parts)} of run {self.source[:12]} at step {self.step} ({self.tokens:,} tokens){how}"


class Intervention(Model):
    """A change of a run by an experiment. Such a run is compared where it is asked for, and never part of an entry."""

    attention_bias: RecordedBias | None
    fork: RecordedFork | None
    first_stage: Annotated[RecordedFirstStage | None, Field(exclude_if=lambda value: value is None)] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.attention_bias is None and self.fork is None and self.first_stage is None:
            raise ValueError("an intervention changes something: a run as it is has none")
        return self

    @property
    def begins_elsewhere(self) -> bool:
        """Whether it begins from weights that follow from no seed, and that its record does not hold."""
        return self.fork is not None or self.first_stage is not None

    @property
    def text(self) -> str:
        """A few words for messages."""
        parts = []
        if self.attention_bias is not None:
            parts.append(f"an attention bias of {self.attention_bias.strength:g} (steps {self.attention_bias.steps})")
        if self.fork is not None:
            changes = " ".join(self.fork.changes) or "no change"
            parts.append(f"a fork of run {self.fork.parent[:12]} at step {self.fork.step} ({changes})")
        if self.first_stage is not None:
            parts.append(f"a run that begins with {self.first_stage.text}")
        return " and ".join(parts)


class CurvesFile(Model):
    """The file of the learning curves, in the record's own folder."""

    file: Annotated[str, Field(strict=True, pattern=r"^[^/\\\r\n]+$")]
    sha256: Sha256
