"""`python -m benchmark figure`: a tiny figure is run, drawn and judged; again; after a loss; and among the results."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.__main__ import main
from benchmark.figures import panels, registry, reproduction
from benchmark.figures.claims.middle_values import median_against
from benchmark.figures.figure import Claim, Deviation, Figure, Part, Scale, committed
from benchmark.figures.figure_5b import FIGURE as PLATEAU
from benchmark.figures.figure_runs import Runs, read_runs
from benchmark.figures.unchanged import remember, remembered
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.records import run_of

SUITE = """# Tiny.
cells:
  lm_s4:
    data: {class_path: lm, init_args: {state_size: 4, n_nonzero: 1, batch_size: 4, eval_sequences: 8}}
    protocol: {max_steps: 4, eval_every: 2}
    model: {d_model: 8, n_layers: 1, n_heads: 2}
architectures:
  transformer: {}
"""


def _draw(runs: Runs, published: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return panels.dots(
        panels.losses(runs, lambda run: run["state_size"], lambda run: "transformer"),
        [],
        x_title="S",
        y_title="loss (nats)",
    )


CLAIM = Claim(
    "random", "After four steps the loss is still above 0.1.", "not published",
    lambda runs: median_against([run.loss for run in runs], 0.1, claimed="more", unit="nats"),
)  # fmt: skip


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    """A figure of the name `tiny`, that the command knows."""
    folder = tmp_path / "figure_tiny"
    folder.mkdir()
    for scale in ("lite", "paper"):
        (folder / f"figure_tiny_{scale}.yaml").write_text(SUITE)
    parts = (Part(), Part(options={"attention_bias": 2.0}, name="bias=2"))
    figure = Figure(
        "tiny", "tiny", folder, {s: Scale("0-1", parts) for s in ("lite", "paper")}, _draw, (CLAIM,), PLATEAU.plant
    )
    monkeypatch.setattr(registry, "TITLES", {**registry.TITLES, "tiny": "tiny"})
    found = registry.figure_of
    monkeypatch.setattr(registry, "figure_of", lambda name: figure if name == "tiny" else found(name))
    monkeypatch.chdir(tmp_path)
    return figure


@pytest.mark.process
@pytest.mark.slow
def test_from_nothing_to_verdicts(
    tiny: Figure, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["figure", "tiny", "--jobs", "1", "--seeds", "0"]
    assert main([*words, "--dry_run"]) == 0
    assert "2 of 2 runs to do" in capsys.readouterr().out
    assert main(words) == 0
    said = capsys.readouterr().out
    out = tmp_path / "runs" / "figures" / "tiny"
    assert "not enough seeds" in said and str(Path("runs/figures/tiny/figure_tiny_lite.svg")) in said
    runs = read_runs(out)
    assert sorted((run["bias"], run.seeds[0]) for run in runs) == [(0.0, 0), (2.0, 0)]
    verdicts = json.loads((out / "figure_tiny_lite.json").read_text())
    assert [claim["verdict"] for claim in verdicts["claims"]] == ["not enough seeds"]

    # Again: nothing is run, and the picture is the same.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("record.json")}
    picture = (out / "figure_tiny_lite.svg").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.figures.figure_plan.figure_plan", _never)
        assert main(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("record.json")}
    assert picture == (out / "figure_tiny_lite.svg").read_bytes()

    # What a kill has taken is made again, and further seeds, and nothing else.
    lost = min(before)
    lost.unlink()
    capsys.readouterr()
    assert main([*words[:-1], "0-2"]) == 0
    after = {path: path.stat().st_mtime_ns for path in out.rglob("record.json")}
    assert len(after) == 6 and all(after[path] == at for path, at in before.items() if path != lost)
    assert "reproduced" in capsys.readouterr().out

    # Among the results, for the report.
    page = tmp_path / "docs" / "reproduction.md"
    page.parent.mkdir()
    monkeypatch.setattr(reproduction, "PAGE", page)
    monkeypatch.setattr(reproduction, "RESULTS", tmp_path / "results" / "figures")
    assert main([*words[:-1], "0-2", "--ship"]) == 0
    shipped = tmp_path / "results" / "figures" / "tiny"
    assert {path.name for path in shipped.rglob("*.*") if path.is_file()} == {"record.json", "curves.parquet"}
    assert len(read_runs(shipped)) == 6
    from leaderboard.validation import validate

    assert [str(problem) for problem in validate(shipped.parent).problems] == []


def _never(*args: object) -> None:
    raise AssertionError("it was planned again")


def test_what_has_changed_is_planned_again(tiny: Figure, tmp_path: Path) -> None:
    out, folders = tmp_path / "out", []
    for seed in range(2):
        folders.append(out / "figure_tiny_lite" / f"seed{seed}")
        write_record(folders[-1] / "record.json", run_of("solved", seed))
    remember(tiny, "lite", (0, 1), out, [*folders, out / "missing"])
    assert remembered(tiny, "lite", (0, 1), out) is None  # not all runs were there
    remember(tiny, "lite", (0, 1), out, folders)
    assert remembered(tiny, "lite", (0, 1), out) == folders
    assert remembered(tiny, "lite", (0, 2), out) is None
    assert remembered(tiny, "paper", (0, 1), out) is None
    assert remembered(replace(tiny, scales={"lite": Scale("0-1")}), "lite", (0, 1), out) is None
    record = (folders[0] / "record.json").read_text()
    (folders[0] / "record.json").write_text(record.replace("Some CPU", "Other CPU"))
    assert remembered(tiny, "lite", (0, 1), out) is None
    (folders[0] / "record.json").write_text(record)
    assert remembered(tiny, "lite", (0, 1), out) == folders
    tiny.suite("lite").write_text(SUITE.replace("max_steps: 4", "max_steps: 5"))
    assert remembered(tiny, "lite", (0, 1), out) is None
    for content in ("", "[]", "{}", '{"made_of": 1, "records": 2}'):
        (out / ".figure_tiny_lite.json").write_text(content)
        assert remembered(tiny, "lite", (0, 1), out) is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["figure"], "ID is missing: --list names the figures"),
        (["figure", "5z"], "unknown figure '5z': did you mean 5"),
        (["figure", "5b", "--scale", "lit"], "unknown scale 'lit' for --scale: did you mean lite?"),
        (["figure", "5b", "--seeds", ""], "seeds '': '' is neither a number nor a range"),
        (["figure", "5b", "--seeds", "3-1"], "runs backwards"),
        (["figure", "5b", "--jobs", "0"], "--jobs"),
        (["figure", "5b", "--engine", "slurm"], "--engine"),
        (["figure", "5b", "--report"], "--report is for all figures: leave ID out"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: Any = main(words)
    except SystemExit as end:
        code = end.code
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1 and line in err
    assert list(tmp_path.iterdir()) == []


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figure", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["4", "5a", "5b", "5c", "6", "7", "8", "9", "10", "11", "12", "dependency", "seeds"]
    assert [line.split()[0] for line in lines] == names


@pytest.mark.process
def test_the_commit_of_the_claims(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        return subprocess.run(["git", *names, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    folder = tmp_path / "figure_x"
    folder.mkdir()
    (folder / "cells.yaml").write_text("a: 1\n")
    assert committed(folder) == "not committed"
    git("add", "-A")
    git("commit", "-qm", "claims")
    first = git("rev-parse", "--short", "HEAD").strip()
    (tmp_path / "elsewhere").write_text("x")
    git("add", "-A")
    git("commit", "-qm", "something else")
    assert committed(folder).startswith(f"{first} of ") and "changed" not in committed(folder)
    (folder / "cells.yaml").write_text("a: 2\n")
    assert committed(folder).endswith(", changed since")


def test_deviations_are_shown(tiny: Figure, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmark.figures.verdicts import judged, print_verdicts

    (tiny.folder / "deviations.yaml").write_text("- {date: 2026-12-01, change: budget 4 to 5, reason: too short}\n")
    fresh = replace(tiny)
    assert fresh.deviations == [Deviation("2026-12-01", "budget 4 to 5", "too short")]
    print_verdicts(fresh, judged(fresh, []))
    assert "deviation of 2026-12-01: budget 4 to 5 (too short)" in capsys.readouterr().out
