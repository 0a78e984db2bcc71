"""The report as it is written: what stands in it, its size, its mistakes in one line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.__main__ import main
from benchmark.report import report_files
from benchmark.report.page_data import run_data, run_part
from benchmark.report.report_page import PROBE_HINT
from benchmark.report.run_folder import reported_runs
from leaderboard.records.record import read_record, write_record
from tests.helpers.planted_runs import CHANCE, planted_run

LEARNED = {0: 200, 1: 400, 2: 600}
HEADS = {0: (1, 200), 1: (2, 400), 2: (1, 600)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run in which three of four rows are learned, by two heads."""
    planted_run(tmp_path / "run", LEARNED, HEADS)
    return tmp_path / "run"


def page_of(*folders: Path, out: Path) -> tuple[str, Any]:
    """The page without pictures, and the data in it."""
    assert main(["report", *map(str, folders), "--no_pictures", "--out", str(out)]) == 0
    text = out.read_text()
    (data,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', text)
    return text, json.loads(data)


def rows_of(text: str, caption: str) -> list[list[str]]:
    """The cells of the table whose caption begins so."""
    (table,) = re.findall(rf"<caption>{caption}.*?<tbody>(.*?)</tbody>", text, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [
        [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows
    ]


def test_the_table_names_the_heads_and_steps_that_were_planted(folder: Path, tmp_path: Path) -> None:
    text, data = page_of(folder, out=tmp_path / "a.html")
    rows = rows_of(text, "Steps of the first evaluation after each jump")
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert [row[1].split()[:2] for row in rows[:3]] == [["head", "1"], ["head", "2"], ["head", "1"]]
    assert [row[2:6] for row in rows[:3]] == [[str(step)] * 3 + ["yes"] for step in LEARNED.values()]
    assert rows[3][1].startswith("none; most: head") and rows[3][2] == "&ndash;"
    assert [row[-1] for row in rows[:3]] == ["1.00"] * 3
    dependent = rows_of(text, "A token matters")
    assert [row[1:4] for row in dependent[:3]] == [[str(step)] * 3 for step in LEARNED.values()]
    assert [row[-1] for row in dependent] == ["the pattern"] * 3 + ["none"]
    (run,) = data["runs"]
    assert run["row_heads"] == [0, 1, 0, None], "colours by the order of learning"
    assert run["moments"] == {"start": 0, "before": 150, "after": 200, "end": 1000}
    assert run["part_hits"] == [{"part": row, "step": step} for row, step in LEARNED.items()]
    assert run["emergence"] is None and run["levels"]["chance"] == pytest.approx(CHANCE)
    assert "Censored after 1,000 steps" in text and "between steps 150 and 200" in text


def test_maps_are_those_of_the_table_at_every_look(folder: Path, tmp_path: Path) -> None:
    _, data = page_of(folder, out=tmp_path / "a.html")
    attention, dependency = data["runs"][0]["maps"]
    assert attention["steps"] == dependency["steps"] == list(range(0, 1001, 50))
    assert [panel["title"] for panel in attention["panels"]] == ["Each row from its head", "head 0", "head 1", "head 2"]
    (run,) = reported_runs([folder])
    part = run_part(run)
    assert part.attention is not None and part.dependency is not None and part.grid.truth_RC is not None
    needed = part.grid.truth_RC
    for row, (head, at) in HEADS.items():
        for look, step in enumerate(part.attention.looks):
            on = part.attention.maps[look][head, row][needed[row]]
            assert np.allclose(on, 0.5) == (step >= at)
    assert np.array_equal(np.nan_to_num(part.dependency.maps[-1])[:3], needed[:3])


def test_without_probes_one_line_says_how_to_get_them(tmp_path: Path) -> None:
    planted_run(tmp_path / "run", LEARNED)
    text, data = page_of(tmp_path / "run", out=tmp_path / "a.html")
    assert text.count(PROBE_HINT) == 1
    assert data["runs"][0]["maps"] == [] and "Which head" not in text and "<h3>Maps" not in text


def test_by_default_it_lies_in_the_run_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--no_pictures"]) == 0
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"
    assert (folder / "report.html").is_file()


def test_the_same_runs_make_the_same_page(folder: Path, tmp_path: Path) -> None:
    page_of(folder, out=tmp_path / "a.html")
    page_of(folder, out=tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.slow
@pytest.mark.process
def test_pictures_lie_beside_it(folder: Path, tmp_path: Path) -> None:
    planted_run(tmp_path / "other", LEARNED, seed=1)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["report", str(folder), str(tmp_path / "other"), "--out", str(out / "two.html")]) == 0
    names = ["two-1-attention.png", "two-1-dependency.png", "two-1-staircase.png", "two-2-staircase.png", "two.html"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))


def test_a_folder_of_many_seeds_stands_for_each(tmp_path: Path) -> None:
    for seed in (2, 10, 0):
        planted_run(
            tmp_path / "many" / f"seed{seed}", dict.fromkeys(range(4), 100 * (seed + 1)), seed=seed, n_steps=1500
        )
    text, data = page_of(tmp_path / "many", out=tmp_path / "a.html")
    labels = [f"transformer, seed {seed}" for seed in (0, 2, 10)]
    assert [run["label"] for run in data["runs"]] == labels
    assert [run["emergence"] for run in data["runs"]] == [100, 300, 1100]
    assert [row[:3] for row in rows_of(text, "The runs in numbers")][2] == [labels[2], "solved", "1,100"]
    assert text.count(" checked disabled>") == 2, "panels of two runs at first"


def test_runs_that_are_alike_have_labels_of_their_own(tmp_path: Path) -> None:
    for name in ("a/x", "a/y", "b/x"):
        planted_run(tmp_path / name, LEARNED)
    labels = [run.label for run in reported_runs([tmp_path / name for name in ("a/x", "a/y", "b/x")])]
    assert len(set(labels)) == 3 and labels[1] == "transformer, seed 0, y"


def test_a_run_of_one_evaluation_has_a_page(tmp_path: Path) -> None:
    planted_run(tmp_path / "run", {}, {}, n_steps=10, every=50, status="interrupted", steps=3)
    text, data = page_of(tmp_path / "run", out=tmp_path / "a.html")
    assert "The loss has no jump" in text and data["runs"][0]["moments"] == {"start": 0, "end": 0}
    assert "The loss jumped in 0 of 4 cells. No head has more than .50" in text


def test_queries_that_are_never_scored_have_no_line(folder: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(folder / "probes.parquet")
    for values, quantity in zip(table["values"], table["quantity"], strict=True):
        if quantity == "mass":
            values.reshape(-1, 7)[:, 4] = np.nan  # the query of cell 1
        elif quantity == "average_precision":
            values[4] = np.nan
    table.to_parquet(folder / "probes.parquet", index=False)
    text, _ = page_of(folder, out=tmp_path / "a.html")
    assert [row[0] for row in rows_of(text, "Steps of the first evaluation after each jump")] == ["0", "2", "3"]
    assert [row[0] for row in rows_of(text, "A token matters")] == ["0", "2", "3"]
    assert re.findall(r'data-row="(\d)"', text) == ["0", "2", "3"]


HOSTILE = '</script><img src=x onerror="alert(1)">&{{ 7*7 }}'


def test_untrusted_text_is_text(tmp_path: Path) -> None:
    planted_run(tmp_path / "run", LEARNED, HEADS)
    path = tmp_path / "run" / "record.json"
    content = json.loads(path.read_text())
    content["architecture"]["name"] = HOSTILE
    content["architecture"]["config"] = {"k": HOSTILE}
    path.write_text(json.dumps(content))
    text, data = page_of(tmp_path / "run", out=tmp_path / "a.html")
    assert data["runs"][0]["label"].startswith(HOSTILE)
    assert "<img" not in text and "{{ 7*7 }}" in text
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    assert "unsafe" not in policy and "default-src &#39;none&#39;" in policy


def test_a_task_that_is_not_registered_has_no_true_pattern(folder: Path, tmp_path: Path) -> None:
    record = read_record(folder / "record.json")
    task = record.task.model_copy(update={"version": 99})
    (folder / "record.json").unlink()
    from leaderboard.records.record import protocol_hash

    update = {"task": task, "protocol_hash": protocol_hash(task, record.protocol)}
    write_record(folder / "record.json", record.model_copy(update=update))
    text, data = page_of(folder, out=tmp_path / "a.html")
    assert "is not registered here" in text
    assert data["runs"][0]["noun"] == "position"
    assert all(panel["truth"] is None for group in data["runs"][0]["maps"] for panel in group["panels"])


def broken(folder: Path, how: str) -> list[str]:
    """Spoil a run folder, or name something else; the words of the command."""
    words = [str(folder)]
    if how == "missing":
        return []
    if how == "no folder":
        return [str(folder / "no")]
    if how == "no record":
        (folder / "record.json").unlink()
    elif how == "record":
        (folder / "record.json").write_text("{")
    elif how == "no curves":
        (folder / "curves.parquet").unlink()
    elif how == "curves":
        (folder / "curves.parquet").write_bytes(b"PAR1")
    elif how == "probes":
        (folder / "probes.parquet").write_bytes(b"PAR1")
    elif how == "columns":
        pd.DataFrame({"step": [1]}).to_parquet(folder / "probes.parquet")
    elif how == "shape":
        table = pd.read_parquet(folder / "probes.parquet")
        table["shape"] = [np.array([9], dtype=np.int32)] * len(table)
        table.to_parquet(folder / "probes.parquet")
    elif how == "twice":
        words *= 2
    elif how == "out":
        words += ["--out", str(folder)]
    elif how == "out folder":
        words += ["--out", str(folder / "no" / "a.html")]
    return words


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", "RUN is missing"),
        ("no folder", "no such folder"),
        ("no record", "has no record.json"),
        ("record", "record.json"),
        ("no curves", "curves.parquet: no such file"),
        ("curves", "curves.parquet: is not the file"),
        ("probes", "probes.parquet: cannot be read"),
        ("columns", "probes.parquet: has no column probe"),
        ("shape", "probes.parquet: row 0"),
        ("twice", "named twice"),
        ("out", "not the name of an HTML file"),
        ("out folder", "is not a folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    folder: Path, how: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = broken(folder, how)
    before = sorted(folder.rglob("*"))
    assert main(["report", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith("error: ") and named in err, err
    assert sorted(folder.rglob("*")) == before


def test_a_picture_that_cannot_be_drawn_costs_no_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> dict[str, bytes]:
        raise RuntimeError("no memory")

    monkeypatch.setattr(report_files, "pictures_of", fails)
    before = set(folder.iterdir())
    with pytest.warns(UserWarning, match="transformer, seed 0: the pictures were not drawn: .*no memory"):
        path = report_files.write_report([folder])
    assert set(folder.iterdir()) - before == {path}


@pytest.mark.slow
def test_a_large_table_makes_no_large_page(tmp_path: Path) -> None:
    """A table of 60 MB: 401 looks at 16 heads over 48 positions; and that of eight seeds."""
    learned = {row: 1000 + 10 * row for row in range(24)}
    heads = {row: (row % 16, step) for row, step in learned.items()}
    planted_run(tmp_path / "seed0", learned, heads, size=24, n_steps=4000, every=10, n_heads=16)
    assert pd.read_parquet(tmp_path / "seed0" / "probes.parquet", columns=["values"])["values"].map(len).sum() > 14e6
    (run,) = reported_runs([tmp_path / "seed0"])
    part = run_part(run)
    alone, among = (len(json.dumps(run_data(part, n)).encode()) for n in (1, 8))
    assert alone < 4.5e6 and among < 1e6
    steps = run_data(part)["maps"][0]["steps"]
    assert 50 < len(steps) <= 100 and {0, 990, 1000, 1230, 4000} <= set(steps)
    shutil.rmtree(tmp_path / "seed0")
