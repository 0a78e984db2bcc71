"""A record alone: dates, times, speeds and names that a run can have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from leaderboard.records.record import Record

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
"""No run is older than the suite."""

PRECISIONS = ("32-true", "64-true", "bf16-mixed", "bf16-true", "16-true")
"""Lightning's full names of those that a run can be computed in; any other text would say nothing of its rounding."""

BACKENDS = ("torch", "sdpa", "numba", "fla", "mamba_ssm")
"""Implementations that architectures can have (architectures/ops/backend.py)."""

MAX_STEPS_PER_S = 20_000.0
"""Of one seed; an empty training step takes 100 microseconds."""

MAX_FLOPS_PER_S = {"cpu": 1e13, "cuda": 5e15}
"""Of a device, on whatever it runs; 6e10 is the most of the committed records."""

CLOCK_S = 2.0
"""Most that the clocks of a run may disagree by: one is the date, the others count."""

_EXACT = 1e-6


def implausible(record: Record) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) for what no run of the harness says."""
    if record.precision not in PRECISIONS:
        yield "precision", f"is {record.precision!r}, must be one of {', '.join(PRECISIONS)}"
    if record.architecture.backend not in BACKENDS:
        yield "architecture.backend", f"is {record.architecture.backend!r}, must be one of {', '.join(BACKENDS)}"
    if record.git.commit is not None and len(record.git.commit) not in (40, 64):
        yield "git.commit", f"is {record.git.commit}, must be the whole hash of a commit, 40 or 64 digits"
    if record.started_at < BEGAN:
        yield "started_at", f"is {record.started_at}, before there was a suite ({BEGAN.date()})"
    yield from _times(record)


def _times(record: Record) -> Iterator[tuple[str, str]]:
    span, train = (record.ended_at - record.started_at) / timedelta(seconds=1), record.wall_train_s
    for name in ("wall_eval_s", "wall_train_s"):
        if getattr(record, name) == 0 and record.steps:
            yield name, "is 0, but something was trained and evaluated"
    if (both := train + record.wall_eval_s) > span + CLOCK_S:
        yield "wall_train_s", f"and wall_eval_s are {both:,.1f} s together, the run took {span:,.1f} s"
    if record.wall_compile_s > train + CLOCK_S:
        yield "wall_compile_s", f"is {record.wall_compile_s}, longer than wall_train_s, of which it is a part"
    if not train:
        return
    if record.steps / train > MAX_STEPS_PER_S * record.ensemble_size:
        yield "wall_train_s", f"is {train}: {record.steps / train:,.0f} steps a second are not possible"
    # An ensemble counts the tokens of all its seeds, of which some may have ended before this one.
    least, most = record.tokens / train, record.ensemble_size * record.tokens / train
    said = record.tokens_per_s
    if said is None or not least * (1 - _EXACT) <= said <= most * (1 + _EXACT):
        expected = f"{least:.0f}" if record.ensemble_size == 1 else f"{least:.0f} to {most:.0f}"
        yield "tokens_per_s", f"is {said}, tokens / wall_train_s is {expected}"
        return
    flops = said * (record.flops_per_token or 0.0)
    if flops > (limit := MAX_FLOPS_PER_S.get(record.hardware.device, 1e18)):
        yield "tokens_per_s", f"x flops_per_token is {flops:.1e} a second, no such device does {limit:.0e}"
