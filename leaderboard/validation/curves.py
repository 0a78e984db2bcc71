"""Untrusted learning curves, read in a separate process and compared with the record beside them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leaderboard.interruption import run_child
from leaderboard.records.hits import hitting_step, holds
from leaderboard.records.record import Record
from leaderboard.validation import curves_reader
from leaderboard.validation.forgery.consistency import inconsistencies, states_of
from leaderboard.validation.learning_curves import Curves

COMMON = ("loss_nats", "loss_scored_nats", "accuracy", "exact_match")
MAX_ROWS = 20_000
MAX_DEATHS = 3
_START_S, _FILE_S = 120, 5  # what reading may take at most; it takes 2 s and 10 ms

# The harness averages the losses by position in float64 and stores them in float32, which rounds to 6e-8 of a value.
MEAN_TOLERANCE = 1e-5

# No model beats the floor but by luck on the held-out set, or because the floor was itself estimated on a sample. The
# best predictor's loss of a sequence of L positions varies from sequence to sequence by at most 0.72 chance / sqrt(L)
# (measured: cellular automata of 64 states under fresh rules; pools of rules and linear maps vary not at all), so the
# mean over n sequences by 0.72 chance / sqrt(n L). This many chance / sqrt(n L) are over five standard deviations.
FLOOR_TOLERANCE = 4.0


Found = Curves | tuple[str, str]  # curves, or field and reason
Request = tuple[Path, int, tuple[int, int] | None]  # a file, most rows, cells and states


class CurvesReader:
    """Reads files of curves in a process of its own, which may die over a few of them and no more."""

    def __init__(self) -> None:
        self._deaths = 0

    def read(self, requests: Sequence[tuple[Path, str, Record]]) -> list[Found]:
        """The curves of each (path, SHA-256 in hex, record), in their order."""
        protocols = [record.protocol for _, _, record in requests]
        rows = [min(protocol.max_steps // protocol.eval_every + 1, MAX_ROWS) for protocol in protocols]
        asked = [(path, n, states_of(record)) for (path, _, record), n in zip(requests, rows, strict=True)]
        return [_found(line) for line in self._ask(asked)]

    def _ask(self, requests: list[Request]) -> list[str | None]:
        """A line of the reading process for each file; None where the process ended over it."""
        answers: list[str | None] = []
        while len(answers) < len(requests):
            if self._deaths >= MAX_DEATHS:  # someone means it: hours could go by
                return answers + [None] * (len(requests) - len(answers))
            left = [(os.fspath(path.absolute()), rows, states) for path, rows, states in requests[len(answers) :]]
            environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "ARROW_IO_THREADS": "1"}
            try:
                done = run_child(
                    [sys.executable, "-P", curves_reader.__file__],
                    json.dumps(left).encode(),
                    timeout=_START_S + _FILE_S * len(left),
                    stderr=subprocess.DEVNULL,
                    env=environment,
                )
                output = done.stdout
            except subprocess.TimeoutExpired as error:
                output = error.stdout or b""
            lines = output.decode().split("\n")[:-1]  # what has no line end was cut off
            answers += lines
            if len(answers) < len(requests):
                answers.append(None)
                self._deaths += 1
        return answers


def _found(line: str | None) -> Found:
    if line is None:
        return "curves", "broke the reader, or took too much time or memory to read"
    answer = json.loads(line)
    if "problem" in answer:
        field, reason = answer["problem"]
        return field, reason
    columns = answer["columns"]
    of_states: list[list[Any]] = [answer.get(name, []) for name in ("scored_means", "late_means", "low_cells", "parts")]
    rest = answer["n_positions"], answer["position_means"], answer["digests"]
    return Curves(columns.pop("step"), columns, *rest, *of_states)


def curve_problems(record: Record, curves: Curves) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) for what is wrong in the curves, or in the record by the curves."""
    if problem := _column_problem(record, curves) or _step_problem(record, curves.steps):
        yield problem
        return
    last = len(curves.steps) - 1
    for row, step in enumerate(curves.steps):
        if not curves.finite(row):
            # A held-out loss that is not finite ends a run; only such a run has one, at its end.
            if row == last and record.status == "diverged" and not math.isfinite(curves.metrics["loss_nats"][row]):
                continue
            yield "curves", f"hold a value at step {step} that is not finite"
            return
    last -= not curves.finite(last)
    yield from _value_problems(record, curves, last)
    yield from _final_problems(record, curves, last)
    yield from _hit_problems(record, curves)
    yield from inconsistencies(record, curves, last)


def _column_problem(record: Record, curves: Curves) -> tuple[str, str] | None:
    wanted = {*COMMON, *(target.metric for target in record.protocol.targets)}
    if missing := sorted(wanted - curves.metrics.keys()):
        return "curves", f"have no column {missing[0]}"
    own = curves.metrics.keys() - set(COMMON)
    if record.final is not None and own != record.final.task_metrics.keys():
        return "final.task_metrics", f"are {sorted(record.final.task_metrics)}, those of the curves {sorted(own)}"
    return None


def _step_problem(record: Record, steps: list[int]) -> tuple[str, str] | None:
    every = record.protocol.eval_every
    first = steps[0] if steps[0] in (0, every) else 0
    if steps != list(range(first, first + every * len(steps), every)):
        wrong = next(step for step, right in zip(steps, range(first, 2**63 - 1, every), strict=False) if step != right)
        return "curves", f"step {wrong} is not the evaluation that comes next: there is one every {every} steps"
    ends = {record.steps // every * every}
    if record.status not in {"solved", "censored"} and record.steps % every == 0:
        ends.add(record.steps - every)  # it ended in the step before the evaluation
    if steps[-1] not in ends:
        return "curves", f"end at step {steps[-1]}, but steps is {record.steps}: the last one is {max(ends)}"
    return None


def _value_problems(record: Record, curves: Curves, last: int) -> Iterator[tuple[str, str]]:
    floor = record.floor_loss_nats
    deviation = record.chance_loss_nats / math.sqrt(record.protocol.eval_sequences * curves.n_positions)
    for row in range(last + 1):
        step, loss = curves.steps[row], curves.metrics["loss_nats"][row]
        if floor is not None and loss < floor - FLOOR_TOLERANCE * deviation:
            below = f"is below floor_loss_nats {floor} by more than luck, {FLOOR_TOLERANCE * deviation:.3g} at the most"
            yield "curves", f"loss_nats {loss} at step {step} {below}"
            return
        if abs(loss - curves.position_means[row]) > MEAN_TOLERANCE * max(1.0, abs(loss)):
            mean = curves.position_means[row]
            yield "curves", f"loss_nats {loss} at step {step} is not the mean of loss_by_position_nats, {mean}"
            return
        for name in COMMON:
            value, most = curves.metrics[name][row], math.inf if name.startswith("loss") else 1.0
            if not 0.0 <= value <= most:
                yield "curves", f"{name} {value} at step {step} is not between 0 and {most}"
                return


def _final_problems(record: Record, curves: Curves, last: int) -> Iterator[tuple[str, str]]:
    first = curves.metrics["loss_nats"][0] if curves.steps[0] == 0 and last >= 0 else None
    if record.first_loss_nats != first:
        yield "first_loss_nats", f"is {record.first_loss_nats}, the loss of the curves at step 0 is {first}"
    if record.final is None or last < 0:
        if (record.final is None) != (last < 0):
            yield "final", "must be the last evaluation of the curves whose loss is finite"
        return
    if record.final.step != curves.steps[last]:
        yield "final.step", f"is {record.final.step}, the last evaluation of the curves is at {curves.steps[last]}"
        return
    said = {name: getattr(record.final, name) for name in COMMON}
    said |= {f"task_metrics.{name}": value for name, value in record.final.task_metrics.items()}
    for name, value in said.items():
        found = curves.metrics[name.removeprefix("task_metrics.")][last]
        if value != found:  # both are written with every digit
            yield f"final.{name}", f"is {value}, the last evaluation of the curves has {found}"


def _hit_problems(record: Record, curves: Curves) -> Iterator[tuple[str, str]]:
    protocol = record.protocol
    for target in protocol.targets:
        held = [holds(target, value) for value in curves.metrics[target.metric]]
        hit, found = record.hits[target.name], hitting_step(curves.steps, held)
        if (hit.step, hit.previous_step) != found:
            said = f"is {hit.step} after {hit.previous_step}"
            yield f"hits.{target.name}", f"{said}, the curves give {found[0]} after {found[1]}"
            return
    yield from _part_problems(record, curves)
    steps = [hit.step for hit in record.hits.values()]
    if record.status == "solved":
        # The evaluation that confirms the last target ends the run; with a target missing it has its whole budget.
        known = [step for step in steps if step is not None]
        early = protocol.stop_when_solved and len(known) == len(steps)
        end = max(known) + protocol.eval_every if early else protocol.max_steps
        if record.steps != end:
            reason = "every target holds" if early else "not every target holds, so the run goes on"
            yield "steps", f"is {record.steps}, but the protocol ends this run at {end}: {reason}"


def _part_problems(record: Record, curves: Curves) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) where hitting steps of parts differ from the curves; records of old have neither."""
    said = record.part_hits or ()
    if len(said) != len(curves.parts[0] if curves.parts else ""):
        n_parts = len(curves.parts[0]) if curves.parts else 0
        yield "part_hits", f"are {len(said)}, but the curves tell of {n_parts} parts in parts_solved"
        return
    for part, hit in enumerate(said):
        found = hitting_step(curves.steps, [row[part] == "1" for row in curves.parts])
        if (hit.step, hit.previous_step) != found:
            claimed = f"is {hit.step} after {hit.previous_step}"
            yield f"part_hits.{part}", f"{claimed}, the curves give {found[0]} after {found[1]}"
            return
    for row, step in enumerate(curves.steps if said and "rows_solved" in curves.metrics else ()):
        share, rows = curves.parts[row].count("1") / len(said), curves.metrics["rows_solved"][row]
        if not math.isclose(share, rows, abs_tol=1e-12):
            yield (
                "curves",
                f"rows_solved {rows} at step {step} is not the share of solved rows in parts_solved, {share}",
            )
            return
