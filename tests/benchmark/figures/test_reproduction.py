"""`docs/reproduction.md` is what the committed records say."""

import json
from pathlib import Path

import pytest

from benchmark.figures.figure import SCALES
from benchmark.figures.figure_runs import read_runs
from benchmark.figures.registry import TITLES, figure_of
from benchmark.figures.reproduction import ASSETS, PAGE, RESULTS, report_text
from benchmark.figures.verdicts import judged
from tests.helpers.planted_runs import planted_run


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == report_text(), "python -m benchmark figure --report renews it"


@pytest.mark.parametrize("name", TITLES)
def test_shipped_verdicts_are_those_of_the_records(name: str) -> None:
    figure = figure_of(name)
    for scale in SCALES:
        stem = figure.suite(scale).stem
        runs = read_runs(RESULTS / name / stem, figure.reads)
        path = PAGE.parent / ASSETS / f"{stem}.json"
        assert path.exists() == bool(runs), f"python -m benchmark figure {name} --scale {scale} --ship"
        if runs:
            said = {claim["name"]: claim["verdict"] for claim in json.loads(path.read_text())["claims"]}
            assert said == {one.claim.name: one.finding.kind for one in judged(figure, runs)}


def test_planted_records(tmp_path: Path) -> None:
    """A staircase in eight of eight runs is reproduced; a figure without records says so."""
    assert "No records yet. `python -m benchmark figure 5b` makes them." in report_text(tmp_path)
    for seed in range(8):
        learned = {row: 200 + 150 * row + 50 * (seed % 2) for row in range(4)}
        planted_run(tmp_path / "4" / "figure_4_lite" / "lm" / "transformer" / f"seed{seed}", learned, seed=seed)
    text = report_text(tmp_path)
    section = text.partition("## Figure 4:")[2].partition("## Figure 5a:")[0]
    assert "`python -m benchmark figure 4 --scale lite`: 8 runs, 8 seeds," in section
    rows = [
        line for line in section.splitlines() if line.startswith("| A bit falls") or line.startswith("| When a bit")
    ]
    assert [row.split(" | ")[1] for row in rows] == ["reproduced", "reproduced"]
    assert "about 500 steps, after 450 (first bit) to 4,500 (last bit)" in rows[0]
    overview = [line for line in text.splitlines() if line.startswith("| 4 | A bit falls")]
    assert overview[0].endswith("| reproduced | no records yet |")
