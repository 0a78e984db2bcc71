"""Runs done again by the harness, `python -m benchmark replay --batch`, in a process of its own.

Only architectures that are installed here are built, by their registered names: nothing in a record is executed.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from leaderboard.interruption import run_child
from leaderboard.records.plain_text import shown
from leaderboard.validation.report import MAX_SHOWN, Problem
from leaderboard.validation.run_rules import CheckedRun

START_S = 300.0  # to import the harness on a busy machine, which takes 5 s on an idle one
RUN_S = 60.0  # of a run's first steps, on average; it takes 1 s
MOST_S = 1200.0  # in all, but for the start
N_TRAJECTORIES = 2  # runs of a new entry of which evaluations after the first ones are compared
ROOT = Path(__file__).resolve().parents[2]  # where `benchmark` is found: beside this package, not beside the record

_UNKNOWN = "not registered here: "  # how the harness begins what it says of a name or version that it does not know


def can_replay() -> bool:
    """Whether torch is installed and the harness is there."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "benchmark"))


@dataclass(frozen=True)
class Request:
    """A run to be repeated: `depth` is "facts", "first", "trajectory" or "whole"."""

    entry: str
    run: CheckedRun
    depth: str


def requests_of(entry: str, runs: Sequence[CheckedRun], accepted: set[str], random: Random) -> list[Request]:
    """The runs of an entry to repeat, in order: facts of every new one, losses of all of them as they are drawn.

    Of an entry without new runs it is one that is drawn.

    Args:
        entry: its name, for messages.
        runs: its records.
        accepted: files of those that stand in the results already.
        random: draws.
    """
    new = [run for run in runs if run.file not in accepted]
    if not new:
        return [Request(entry, random.choice(list(runs)), "first")]
    drawn = random.sample(new, len(new))
    cells: dict[str, CheckedRun] = {}
    for run in drawn:
        cells.setdefault(run.folder.path.parent.name, run)
    far = {run.file for run in [*cells.values()][:N_TRAJECTORIES]}
    depths = {run.file: "trajectory" if run.file in far else "first" for run in drawn}
    drawn.sort(key=lambda run: run.file not in far)
    return [Request(entry, run, "facts") for run in new] + [Request(entry, run, depths[run.file]) for run in drawn]


def replays(requests: Sequence[Request]) -> Iterator[Problem | str]:
    """Repeat runs, and yield a problem for each that differs, and a note on each entry whose runs agree."""
    time_s = START_S + min(MOST_S, RUN_S * len(requests))
    answers, end = ask(requests, time_s)
    for entry in dict.fromkeys(request.entry for request in requests):
        pairs = [(r, a) for r, a in zip(requests, answers, strict=True) if r.entry == entry]
        yield from _of_entry(entry, pairs, end)


def _of_entry(entry: str, pairs: list[tuple[Request, dict[str, Any] | None]], end: str) -> Iterator[Problem | str]:
    wrong: set[str] = set()
    unknown = None
    is_new = any(request.depth == "facts" for request, _ in pairs)
    for request, answer in pairs:
        if answer is None or answer["agrees"] or request.run.file in wrong:
            continue
        said = str(answer["said"])
        of_version = said.startswith(f"{_UNKNOWN}architecture {request.run.record.architecture.name!r} in version ")
        if said.startswith(_UNKNOWN) and not (of_version and is_new):
            # A new architecture, or an accepted entry of an earlier version: the code is not part of this checkout.
            unknown = said
            continue
        wrong.add(request.run.file)
        field = "architecture.version" if of_version else said.removeprefix("differs: ").split(" ")[0].split(".")[0]
        known = of_version or (field in type(request.run.record).model_fields and said.startswith("differs: "))
        yield Problem(request.run.file, field if known else "first_losses_nats", f"does not replay: {said}")
    if unknown is not None:
        if not wrong:
            yield f"{entry}: not replayed: {shown(unknown, MAX_SHOWN)}"
        return
    missing = [request for request, answer in pairs if answer is None]
    done = [(request, answer) for request, answer in pairs if answer is not None and answer["agrees"]]
    n_new = sum(request.depth == "facts" for request, _ in pairs)
    trained = [(request, answer) for request, answer in done if request.depth != "facts"]
    if missing and (not trained or any(request.depth == "facts" for request in missing)) and not wrong:
        yield Problem(missing[0].run.file, "first_losses_nats", f"could not be replayed {end}")
    elif not wrong and n_new == 0:
        request, answer = trained[0]
        yield f"{request.run.file}: replayed: {shown(str(answer['said']), MAX_SHOWN)}"
    elif not wrong:
        further = [f"{_short(r)} to step {a['until']}" for r, a in trained if r.depth == "trajectory"]
        yield (
            f"{entry}: replayed: the facts of all {n_new} new runs, the first losses of {len(trained)}"
            f"{f' (time was up for {len(missing)})' if missing else ''}, evaluations of {', '.join(further) or 'none'}"
        )


def _short(request: Request) -> str:
    folder = request.run.folder.path
    return f"{folder.parent.name}/{folder.name}"


def ask(requests: Sequence[Request], time_s: float | None) -> tuple[list[dict[str, Any] | None], str]:
    """The harness's answers, None from where it ended or time was up on; and a few words on how it ended."""
    lines = [{"record": str(Path(r.run.file).absolute()), "depth": r.depth} for r in requests]
    command = [sys.executable, "-m", "benchmark", "replay", "--batch"]
    text = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    try:
        done = run_child(command, text, timeout=time_s, cwd=ROOT, stderr=subprocess.PIPE)
        output, errors = done.stdout, done.stderr.decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(errors) if line.strip()), "")
        end = f"(exit code {done.returncode}): {last}"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"within {time_s:.0f} seconds"
    answers: list[dict[str, Any] | None] = []
    for line in output.decode(errors="replace").split("\n")[:-1]:  # what has no line end was cut off
        try:
            answer = json.loads(line)
        except ValueError:
            continue  # printed by something that the harness loaded
        if isinstance(answer, dict) and answer.get("record") == lines[min(len(answers), len(lines) - 1)]["record"]:
            answers.append(answer)
    answers = answers[: len(requests)]
    return answers + [None] * (len(requests) - len(answers)), end
