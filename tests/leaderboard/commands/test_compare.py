"""`python -m leaderboard compare`: the committed entries counted again with SciPy, formats, mistakes."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from leaderboard.__main__ import main
from leaderboard.entries.places import RESULTS
from leaderboard.records.record import Record, read_record, write_record
from leaderboard.render.latex import latex_text
from leaderboard.statistics.head_to_head import head_to_head
from tests.helpers.leaderboard.boards import CELLS, suite_records

FIRST_EDITION = RESULTS
NAMES = sorted(folder.name for folder in (RESULTS / "lite").iterdir())


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["compare", *words]) == 0
    return capsys.readouterr().out


def records_of(name: str, cell: str) -> list[Record]:
    return [read_record(path) for path in sorted((RESULTS / "lite" / name / cell).glob("*/record.json"))]


def places(records: list[Record]) -> list[float]:
    """One number for each run, smaller is better: the middle of its hit, or behind the budget by what it has not."""
    found = []
    for record in records:
        hit, final = record.hits[record.protocol.primary], record.final
        assert final is not None
        if record.part_hits is not None and any(part.step is not None for part in record.part_hits):
            middles = [
                (part.step + (part.previous_step or 0)) / 2 for part in record.part_hits if part.step is not None
            ]
            rest = len(record.part_hits) - len(middles)
            found.append((sum(middles) + rest * record.protocol.max_steps) / len(record.part_hits))
        elif hit.step is not None:
            found.append((hit.step + (hit.previous_step or 0)) / 2)
        elif record.task.name == "lm":
            found.append(1e6 - final.task_metrics["rows_solved"])
        else:
            found.append(1e6 - np.floor((final.task_metrics["accuracy_second_half"] - 0.25) / 0.05 + 1e-9))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), list(zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True)))
def test_win_rates_of_committed_entries_are_mann_and_whitneys(
    first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capsys, first, second, "--format", "json"))
    by_task: dict[str, list[float]] = {}
    for cell in found["cells"]:
        ours, theirs = (places(records_of(name, cell["cell"])) for name in (first, second))
        expected = mannwhitneyu(theirs, ours).statistic / (len(ours) * len(theirs))
        assert cell["win_rate"] == pytest.approx(expected)
        assert cell["low"] <= expected <= cell["high"]
        assert cell["n"] == [len(ours), len(theirs)]
        solved = [
            sum(record.primary_step is not None for record in records_of(name, cell["cell"]))
            for name in (first, second)
        ]
        assert cell["solved"] == solved
        assert (cell["ratio"] is None) == any(2 * k < n for k, n in zip(solved, cell["n"], strict=True))
        by_task.setdefault(cell["task"], []).append(expected)
    means = {task: np.mean(rates) for task, rates in by_task.items()}
    assert {task: about["win_rate"] for task, about in found["tasks"].items()} == pytest.approx(means)
    assert found["overall"] == pytest.approx(np.mean(list(means.values())))


@pytest.mark.slow
def test_exchanged_entries_mirror(capsys: pytest.CaptureFixture[str]) -> None:
    here, there = (
        json.loads(printed(capsys, *names, "--format", "json"))
        for names in (("mamba", "transformer"), ("transformer", "mamba"))
    )
    verdicts = {"better": "worse", "worse": "better", "needs-seeds": "needs-seeds"}
    for cell, mirrored in zip(here["cells"], there["cells"], strict=True):
        assert cell["win_rate"] == pytest.approx(1 - mirrored["win_rate"])
        assert cell["low"] == pytest.approx(1 - mirrored["high"])
        assert cell["p"] == mirrored["p"]
        assert cell["verdict"] == verdicts[mirrored["verdict"]]


@pytest.mark.slow
def test_the_text_says_tasks_apart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "mamba", "transformer", "--results", str(FIRST_EDITION)).splitlines()
    assert lines[0] == "lite: mamba against transformer"
    assert [line.split(":")[0] for line in lines[1:4]] == ["ca", "lm", "mean of the tasks"]
    assert lines[1].startswith("ca: better: win rate 100 % (")
    assert lines[2].startswith("lm: worse: win rate 1")
    (row,) = [line for line in lines if "lm_s16_n2" in line]
    assert "o=====....|.........." in row
    assert " 0/10 " in row and " 20/20 " in row


@pytest.mark.slow
def test_the_chart_has_both_in_every_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers solved stand in its description; of two entries of one name the second is said to be that."""
    svg, pdf = tmp_path / "pair.svg", tmp_path / "charts" / "pair.pdf"
    ours, theirs = FIRST_EDITION / "lite" / "mamba", FIRST_EDITION / "lite" / "transformer"
    printed(capsys, str(ours), str(theirs), "--chart", str(svg))
    said = re.search(r"<desc>(.*)</desc>", svg.read_text())
    assert said is not None and said[1].count("transformer 20/20") == 1 and said[1].count("mamba 10/10") == 1
    assert said[1].count("; ") == 3  # four cells
    rng = np.random.default_rng(0)
    for name, seeds in (("one", range(5)), ("other", range(5, 10))):
        write(tmp_path / name, suite_records("a", CELLS[:1], seeds, rng))
    printed(capsys, str(tmp_path / "one"), str(tmp_path / "other"), "--chart", str(pdf))
    assert pdf.read_bytes().startswith(b"%PDF-")


@pytest.mark.slow
def test_csv_and_latex(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_csv(io.StringIO(printed(capsys, "gated_deltanet", "rwkv", "--format", "csv")))
    found = json.loads(printed(capsys, "gated_deltanet", "rwkv", "--format", "json"))
    assert table["win_rate"].tolist() == [cell["win_rate"] for cell in found["cells"]]
    assert table["ratio"].isna().tolist() == [cell["ratio"] is None for cell in found["cells"]]
    lines = printed(capsys, "gated_deltanet", "rwkv", "--format", "latex").splitlines()
    rows = [line for line in lines if line.endswith(r" \\")]
    assert [lines[0][:15], lines[1], lines[3], lines[-2], lines[-1]] == [
        r"\begin{tabular}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"
    ]  # fmt: skip
    n_columns = len(lines[0].split("{")[-1].rstrip("}"))
    assert {row.replace(r"\&", "").count("&") for row in rows} == {n_columns - 1}
    assert r"lm\_s10\_n3" in rows[2] and "_" not in rows[2].replace(r"\_", "")
    assert "### lite: gated\\_deltanet against rwkv" in printed(
        capsys, "gated_deltanet", "rwkv", "--format", "markdown"
    )


def test_latex_sets_any_text_as_it_stands() -> None:
    assert latex_text("50 % of a_b & {c} ~ ^ \\ <#$>\n") == (
        r"50 \% of a\_b \& \{c\} \textasciitilde{} \textasciicircum{} \textbackslash{} \textless{}\#\$\textgreater{}"
    )


@pytest.mark.slow
def test_show_as_csv_and_latex(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(RESULTS / "lite")
    texts = {}
    for form in ("csv", "latex", "json"):
        assert main(["show", folder, "--format", form]) == 0
        texts[form] = capsys.readouterr().out
    read, objects = list(csv.DictReader(io.StringIO(texts["csv"]))), json.loads(texts["json"])
    assert [float(row["restricted_mean_step"]) for row in read] == [row["restricted_mean_step"] for row in objects]
    assert [row["tokens_per_s_cpu"] for row in read] == [repr(row["tokens_per_s"]["cpu"]) for row in objects]
    assert [int(row["statuses_solved"] or 0) for row in read] == [row["statuses"].get("solved", 0) for row in objects]
    assert texts["latex"].count(r" \\") == 1 + len(objects)


def write(folder: Path, records: list[Record]) -> Path:
    for record in records:
        name = f"{record.cell}/{record.architecture.name}/seed{record.seeds.task_seed}"
        write_record(folder / name / "record.json", record)
    return folder


def test_the_suite_in_which_they_meet_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        for suite, cells in (("large", CELLS), ("small", CELLS[:2])):
            write(tmp_path / suite, suite_records(name, cells, range(5), rng, suite=suite))
    assert printed(capsys, "a", "b", "--results", str(tmp_path)).startswith("large: a against b\n")
    assert printed(capsys, "a", "b", "--results", str(tmp_path), "--suite", "small").startswith("small: a against b\n")
    write(tmp_path / "third", suite_records("a", CELLS, range(5), rng, suite="third"))
    write(tmp_path / "third", suite_records("b", CELLS, range(5), rng, suite="third"))
    assert main(["compare", "a", "b", "--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("meet in 3 suites (large, small, third): choose one with --suite\n")


@pytest.mark.slow
def test_folders_of_a_sweep_and_cells_that_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    fast = write(tmp_path / "fast", suite_records("a", CELLS[:2], range(10), rng, suite="mine"))
    slow = write(tmp_path / "slow", suite_records("b", CELLS, range(10), rng, slowness=3.0, suite="mine"))
    text = printed(capsys, str(fast), str(slow))
    assert text.startswith("mine: a against b\n")
    assert "better: win rate" in text
    assert f"{CELLS[2].name} is left out: only the second has runs in it" in text
    assert main(["compare", "a", "b", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == text


def test_records_of_another_protocol_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = (suite_records(name, CELLS[:2], range(5), rng) for name in "ab")
    first, second = (
        {cell.name: [r for r in side if r.cell == cell.name] for cell in CELLS[:2]} for side in (ours, theirs)
    )
    changed: dict[str, Any] = {"protocol.eval_sequences": 7}
    other = suite_records("b", CELLS[:1], range(5), rng, **changed)
    found = head_to_head(first, second | {CELLS[0].name: other})
    assert list(found.left_out) == [CELLS[0].name]
    assert "eval_sequences is" in found.left_out[CELLS[0].name]
    with pytest.raises(ValueError, match="no cell in which the two can be compared"):
        head_to_head({CELLS[0].name: first[CELLS[0].name]}, {CELLS[0].name: other})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["mamba", "transfomer"], "unknown entry 'transfomer': did you mean transformer?"),
        (["mamba", "mamba"], "mamba and mamba hold the same runs: there is nothing to compare"),
        (["mamba", "rwkv", "--suite", "lit"], "unknown suite 'lit': did you mean lite?"),
        ([str(FIRST_EDITION / "lite"), "mamba"], "holds entries of 6 names (gated_deltanet, mamba, "),
        (["mamba"], "B"),
        (["mamba", "rwkv", "--format", "pdf"], "--format"),
        (["mamba", "rwkv", "--chart", "pair.png"], "--chart pair.png: must end in .svg or .pdf"),
        (["mamba", "rwkv", "--chart", "/dev/null/pair.svg"], "/dev/null"),
    ],
)
def test_mistakes_are_one_line(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["compare", *words])
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert line in err and err.count("\n") == 1
