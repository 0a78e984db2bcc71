"""The record of a capability in one model of a series: what was looked at, and when the capability emerged.

One JSON file per seed and capability, written whole after every checkpoint; what it holds is not looked at again.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from benchmark.config.errors import BenchmarkError
from benchmark.language.emergence_search import Method, Outcome
from benchmark.language.prompts import Amount, Capability, Text
from leaderboard.records.bounded import MAX_RECORD_BYTES, parse_json, read_bytes
from leaderboard.records.fields import Count, Fraction, Model, Name, Positive, Sha256
from leaderboard.records.record import first_problem
from leaderboard.whole_files import write_whole, writing


class PromptChoice(Model):
    """The prompts: kind of text, many or a single one, how many, the seed that drew them, and their SHA-256."""

    text: Text
    amount: Amount
    n: Positive
    seed: Count
    sha256: Sha256


class Look(Model):
    """A checkpoint that was looked at: mean probability of the targets, share of them predicted, hashes of weights."""

    step: Count
    probability: Fraction
    accuracy: Fraction
    weights: dict[Name, Sha256]


class Refused(Model):
    """A checkpoint whose weights (some file of them) are those of others: which steps they belong to is unknown."""

    step: Count
    equal_to: Annotated[tuple[Count, ...], Field(min_length=1)]
    weights: dict[Name, Sha256]


class CapabilityRecord(Model):
    """Everything known of a capability in one model.

    Attributes:
        series: name of the series.
        size: of the model.
        seed: of the model.
        repository: of its checkpoints; name of the folder for a local one.
        capability: which.
        prompts: that ask for it.
        threshold: accuracy from which on the capability counts as there.
        method: bisection, or every checkpoint.
        n_steps: checkpoints of the series.
        looks: what was looked at, by step.
        missing: steps without a checkpoint, as far as they were asked for.
        refused: steps whose weights are equal.
        status: emerged, censored on the left or on the right, or unfinished.
        first_step: first checkpoint that can be used.
        last_step: the last one: a right-censored seed was watched up to there.
        emergence_step: None unless it emerged.
        previous_step: the checkpoint before, without the capability.
        holds_next: whether it is still there at the checkpoint after; None where there is none.
        model_type: of the transformers library.
        parameters: of the model.
        versions: of the libraries that measured.
    """

    schema_version: Literal[1] = 1
    kind: Literal["capability"] = "capability"
    series: Name
    size: Name
    seed: Count
    repository: Name
    capability: Capability
    prompts: PromptChoice
    threshold: Fraction
    method: Method
    n_steps: Positive
    looks: tuple[Look, ...]
    missing: tuple[Count, ...]
    refused: tuple[Refused, ...]
    status: Outcome
    first_step: Count
    last_step: Count
    emergence_step: Count | None
    previous_step: Count | None
    holds_next: bool | None
    model_type: Name | None
    parameters: Positive | None
    versions: dict[Name, Name]

    @model_validator(mode="after")
    def _check(self) -> Self:
        emerged = self.status == "emerged"
        if emerged != (self.emergence_step is not None) or emerged != (self.previous_step is not None):
            raise ValueError(f"status {self.status} and emergence_step {self.emergence_step} contradict each other")
        steps = [look.step for look in self.looks]
        if sorted(set(steps)) != steps:
            raise ValueError("looks: steps must ascend")
        if emerged and not {self.emergence_step, self.previous_step} <= set(steps):
            raise ValueError(f"emergence_step {self.emergence_step} is none that was looked at")
        return self

    @property
    def observation(self) -> tuple[int, bool]:
        """Step and whether the capability was there by then, for `leaderboard.statistics.survival`.

        A capability that was there at the first checkpoint counts as one that emerged there: it is an upper bound.
        """
        if self.status == "left_censored":
            return self.first_step, True
        return (self.last_step, False) if self.emergence_step is None else (self.emergence_step, True)

    @property
    def jump(self) -> float | None:
        """Largest rise of the probability within a tenth of the training, as a share of the last checkpoint's.

        Only checkpoints that were looked at count: a bisection may see less of it than a scan of all. None unless it
        emerged.
        """
        if self.status != "emerged" or not self.looks[-1].probability:
            return None
        most = self.last_step / 10
        pairs = ((a, b) for i, a in enumerate(self.looks) for b in self.looks[i + 1 :] if b.step - a.step <= most)
        rises = (b.probability - a.probability for a, b in pairs)
        return max([0.0, *rises]) / self.looks[-1].probability

    def look(self, step: int) -> Look | None:
        """The result at a step; None if it was not looked at."""
        return next((look for look in self.looks if look.step == step), None)


def record_path(out: Path, size: str, seed: int, capability: Capability) -> Path:
    """The place of a record below the folder of a series' results."""
    return out / size / f"seed{seed}" / f"{capability}.json"


def read_capability_record(path: Path) -> CapabilityRecord:
    """The record in a file.

    Raises:
        ValueError: one line with the file and the reason, if it holds none.
    """
    content = read_bytes(path, MAX_RECORD_BYTES)
    try:
        parse_json(content)  # refuses a key that stands there twice
        return CapabilityRecord.model_validate_json(content)
    except ValidationError as error:
        raise BenchmarkError(f"{path}: {first_problem(error)}") from error
    except ValueError as error:
        raise BenchmarkError(f"{path}: {error}") from error


def write_capability_record(path: Path, record: CapabilityRecord) -> None:
    """Write a record as a whole, and the folders above it.

    Raises:
        CannotWrite: if it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{record.model_dump_json(indent=2)}\n".encode())
