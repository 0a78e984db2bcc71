"""Summaries against survival by hand, and charts: their rows, and that they can be drawn."""

from pathlib import Path
from typing import Any

import altair as alt
import pytest

from benchmark.language.capability_charts import (
    emergence_chart,
    probability_chart,
    summaries,
    survival_chart,
    write_charts,
)
from benchmark.language.capability_record import CapabilityRecord, Look, PromptChoice

HASH = "0" * 64


def record(
    seed: int, emerged: int | None, status: str = "emerged", size: str = "14m", last: int = 1000
) -> CapabilityRecord:
    steps = sorted({0, last} | ({emerged, emerged - 100} if emerged is not None else set()))
    looks = [
        Look(step=step, probability=float(emerged is not None and step >= emerged), accuracy=0.0, weights={"a": HASH})
        for step in steps
    ]
    return CapabilityRecord(
        series="planted",
        size=size,
        seed=seed,
        repository="x",
        capability="repetition",
        prompts=PromptChoice(text="english", amount="single", n=1, seed=0, sha256=HASH),
        threshold=0.5,
        method="bisection",
        n_steps=11,
        looks=tuple(looks),
        missing=(),
        refused=(),
        status=status,  # type: ignore[arg-type]
        first_step=0,
        last_step=last,
        emergence_step=emerged,
        previous_step=None if emerged is None else emerged - 100,
        holds_next=None,
        model_type=None,
        parameters=None,
        versions={},
    )


FOUR = [record(0, 300), record(1, 500), record(2, None, "right_censored"), record(3, None, "left_censored")]


def test_a_summary_counts_and_censors() -> None:
    """Four seeds: at the first checkpoint, at 300, at 500, and never: half of them by step 300."""
    unfinished = record(4, None, "unfinished")
    (found,) = summaries([*FOUR, unfinished])
    assert (found.n, found.n_emerged, found.n_at_first, found.n_never) == (4, 2, 1, 1)
    assert (found.median_step, found.first, found.last) == (300, 300, 500)
    (never,) = summaries([record(seed, None, "right_censored") for seed in range(3)])
    assert (never.median_step, never.low, never.high, never.first) == (None, None, None, None)


def test_a_jump_lies_within_a_tenth_of_the_training() -> None:
    """Of 1,000 steps: from .1 at 200 to .5 at 300; the rise to .9 at 450 is too far away."""
    found = record(0, 300)
    values = {0: 0.0, 200: 0.1, 300: 0.5, 450: 0.9, 1000: 0.8}
    looks = tuple(Look(step=s, probability=p, accuracy=0, weights={"a": HASH}) for s, p in values.items())
    assert found.model_copy(update={"looks": looks}).jump == pytest.approx(0.4 / 0.8)
    assert found.jump == 1
    assert record(0, None, "right_censored").jump is None


def rows(chart: alt.TopLevelMixin) -> list[dict[str, Any]]:
    with alt.data_transformers.enable("default", max_rows=None):
        sets = chart.to_dict()["datasets"]
    return [row for name in sorted(sets) for row in sets[name]]


def test_the_rows_of_the_charts() -> None:
    larger = record(0, 200, size="31m")
    points = [(row["size"], row["step"], row["status"]) for row in rows(emergence_chart([*FOUR, larger]))]
    assert points == [
        ("14m", 300, "emerged"),
        ("14m", 500, "emerged"),
        ("14m", 1000, "not by the last one"),
        ("14m", 0, "there at the first checkpoint"),
        ("31m", 200, "emerged"),
        ("14m", 300, "median"),
        ("31m", 200, "median"),
    ]
    curve = [(row["step"], row["share"]) for row in rows(survival_chart(FOUR))]
    assert curve == [(0, 0), (0, 0.25), (300, 0.5), (500, 0.75), (1000, 0.75)]
    seen = {(row["seed"], row["step"], row["probability"]) for row in rows(probability_chart(FOUR[:1]))}
    assert seen == {(0, 0, 0.0), (0, 200, 0.0), (0, 300, 1.0), (0, 1000, 1.0)}


@pytest.mark.process
@pytest.mark.slow
def test_charts_are_drawn(tmp_path: Path) -> None:
    """Two sizes, one of them with a long training, whose axis is another; the band of a seed alone is undefined."""
    paths = write_charts([*FOUR, record(0, 20000, size="31m", last=143000)], tmp_path)
    names = ("probability", "emergence", "survival")
    assert [path.name for path in paths] == [f"{name}.{kind}" for name in names for kind in ("svg", "png")]
    for path in paths:
        assert path.read_bytes()[:4] == (b"\x89PNG" if path.suffix == ".png" else b"<svg")
    assert "31m" in (tmp_path / "emergence.svg").read_text()
    assert write_charts([record(0, None, "unfinished")], tmp_path) == []
