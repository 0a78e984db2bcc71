"""One run: a record that can be read, agrees with itself, and has the curves that it says it has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from leaderboard.records.bounded import read_bytes
from leaderboard.records.record import Record, Resumed, parse_record
from leaderboard.validation.curves import CurvesReader, curve_problems
from leaderboard.validation.entry_folder import CURVES, MAX_SIZES, RECORD, RunFolder
from leaderboard.validation.forgery.plausibility import implausible
from leaderboard.validation.learning_curves import Curves
from leaderboard.validation.report import Problem
from leaderboard.validation.strict_json import json_problems

N_FIRST_LOSSES = 20  # as many as a run keeps
MAX_FIRST_LOSS_NATS = 100.0  # the loss of untrained weights; chance is below 10 for any vocabulary
CLOCKS_APART = timedelta(days=1)
OUTCOMES = ("solved", "censored", "diverged")
_AT_ONCE = 200


@dataclass(frozen=True)
class CheckedRun:
    """A record that could be read, where, its curves, and what is wrong with it and them."""

    folder: RunFolder
    record: Record
    problems: tuple[Problem, ...]
    curves: Curves | None = None

    @property
    def file(self) -> str:
        """Path of the record."""
        return str(self.folder.path / RECORD)


def read_runs(folders: Iterable[RunFolder], reader: CurvesReader) -> Iterator[CheckedRun | list[Problem]]:
    """Every run, in order; of a record that cannot be read the problems."""
    waiting: list[RunFolder] = []
    for folder in folders:
        waiting.append(folder)
        if len(waiting) == _AT_ONCE:
            yield from _read(waiting, reader)
            waiting = []
    yield from _read(waiting, reader)


def _read(folders: list[RunFolder], reader: CurvesReader) -> Iterator[CheckedRun | list[Problem]]:
    found = [_record(folder) for folder in folders if RECORD in folder.files]
    digests: dict[int, str | Problem] = {}
    for number, (folder, record) in enumerate(found):
        if isinstance(record, Record) and (digest := _digest(folder, record)) is not None:
            digests[number] = digest
    readable = {number: digest for number, digest in digests.items() if isinstance(digest, str)}
    requests = []
    for number, digest in readable.items():
        folder, record = found[number]
        assert isinstance(record, Record)
        requests.append((folder.path / CURVES, digest, record))
    answers = dict(zip(readable, reader.read(requests), strict=True))
    for number, (folder, record) in enumerate(found):
        if not isinstance(record, Record):
            yield record
            continue
        digest = digests.get(number)
        problems = [digest] if isinstance(digest, Problem) else []
        if number in answers:
            problems += _curve_problems(folder, record, answers[number])
        curves = answers.get(number)
        yield CheckedRun(folder, record, tuple(problems), curves if isinstance(curves, Curves) else None)


def _record(folder: RunFolder) -> tuple[RunFolder, Record | list[Problem]]:
    path = folder.path / RECORD
    try:
        content = read_bytes(path, MAX_SIZES[RECORD], links=False)
    except ValueError as error:
        return folder, [problem_of(str(path), error)]
    if wrong := [Problem(str(path), field, reason) for field, reason in json_problems(content)]:
        return folder, wrong
    try:
        return folder, parse_record(content)
    except ValueError as error:
        return folder, [problem_of(str(path), error)]


def problem_of(file: str, error: ValueError) -> Problem:
    """The problem in an error that reads "FILE: FIELD: REASON"."""
    text = str(error).removeprefix(f"{file}: ")
    field, _, reason = text.partition(": ")
    return Problem(file, field, reason) if reason and " " not in field else Problem(file, "file", text)


def _digest(folder: RunFolder, record: Record) -> str | Problem | None:
    """Hash of the curves where it agrees with the record's; None where there are no curves, and should be none."""
    file = str(folder.path / RECORD)
    if record.curves is None:
        return Problem(file, "curves", "is null, but a run has curves") if CURVES in folder.files else None
    if record.curves.file != CURVES:
        return Problem(file, "curves.file", f"is {record.curves.file!r}, must be {CURVES!r}")
    if CURVES not in folder.files:
        return Problem(str(folder.path / CURVES), "file", "is missing, or not what it should be, but the record has it")
    try:
        content = read_bytes(folder.path / CURVES, MAX_SIZES[CURVES], links=False)
    except ValueError as error:
        return problem_of(str(folder.path / CURVES), error)
    digest = hashlib.sha256(content).hexdigest()
    if digest != record.curves.sha256:
        return Problem(file, "curves.sha256", f"is {record.curves.sha256}, {CURVES} has {digest}")
    return digest


def _curve_problems(folder: RunFolder, record: Record, answer: Curves | tuple[str, str]) -> list[Problem]:
    if isinstance(answer, Curves):
        return [Problem(str(folder.path / RECORD), *problem) for problem in curve_problems(record, answer)]
    return [Problem(str(folder.path / CURVES), *answer)]


def record_problems(record: Record, now: datetime | None = None) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) for what a record of an entry must not say, though it is a valid record."""
    now = now or datetime.now(UTC)
    if record.status not in OUTCOMES:
        yield "status", f"is {record.status!r}: only runs with an outcome count ({', '.join(OUTCOMES)})"
    if record.git.commit is None:
        yield "git.commit", "is null: which code was run? Run it from a checkout of the repository"
    if record.git.dirty is not False:
        yield "git.dirty", "must be false: commit the code before it is run"
    if record.callbacks:
        yield "callbacks", f"are {', '.join(record.callbacks)}: an entry's runs have none, since they may do anything"
    if record.intervention is not None:
        yield "intervention", f"is {record.intervention.text}: such a run is never part of an entry"
    for i, other in enumerate(record.resumed):
        yield f"resumed.{i}", f"from step {other.step} on other code was run: {_code(other)}"
    if record.curves is None:
        yield "curves", "is null: an entry's runs have curves"
    if record.parameters == 0:
        yield "parameters", "is 0"
    if record.steps == 0:
        yield "steps", "is 0: nothing was trained"
    if record.ended_at <= record.started_at:
        yield "ended_at", f"{record.ended_at} is not after started_at {record.started_at}"
    if record.ended_at > now + CLOCKS_APART:
        yield "ended_at", f"{record.ended_at} lies in the future"
    yield from _loss_problems(record)
    yield from implausible(record)


def _code(of: Resumed) -> str:
    """Commit and versions in a few words."""
    changed = " with changes" if of.git.dirty else ""
    return f"commit {of.git.commit}{changed}, {', '.join(f'{name} {v}' for name, v in sorted(of.versions.items()))}"


def _loss_problems(record: Record) -> Iterator[tuple[str, str]]:
    losses = record.first_losses_nats
    if record.first_loss_nats is not None and not 0 <= record.first_loss_nats < MAX_FIRST_LOSS_NATS:
        yield "first_loss_nats", f"is {record.first_loss_nats}, must be in 0..{MAX_FIRST_LOSS_NATS:g}"
    if losses and min(losses) < 0:
        yield "first_losses_nats", f"hold {min(losses)}: a loss is not negative"
    due = {min(N_FIRST_LOSSES, record.steps)}
    if record.status == "diverged" and record.steps <= N_FIRST_LOSSES:
        due.add(record.steps - 1)  # the last one was not finite, and was not kept
    if len(losses) not in due:
        yield "first_losses_nats", f"are {len(losses)}, must be {max(due)}"
