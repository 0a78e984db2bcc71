"""`python -m leaderboard build`: what it writes, that it writes the same bytes again, and what it refuses."""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from leaderboard.board.standings import Board
from leaderboard.commands import build as command
from leaderboard.commands.build import BEGIN, END, build
from leaderboard.records.record import write_record
from leaderboard.render import site
from tests.helpers.leaderboard.boards import CELLS, entry_file, suite_records, write_curves
from tests.helpers.leaderboard.records import make_record, run_of

pytestmark = pytest.mark.process

README = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"
ENTRIES = {"transformer": 1.0, "mamba": 1.7, "rwkv": 0.8}


def plant(results: Path, entries: dict[str, float] = ENTRIES, n_seeds: int = 3, suite: str = "lite") -> None:
    """Entries in two cells with curves, by slowness; and a record that belongs to nobody."""
    for name, slowness in entries.items():
        rng = np.random.default_rng(len(name))
        for record in suite_records(name, CELLS[:2], range(n_seeds), rng, slowness=slowness, suite=suite):
            folder = results / suite / name / str(record.cell) / f"seed{record.seeds.init_seed}"
            write_record(folder / "record.json", write_curves(folder, record))
        about = entry_file(suite, name).model_dump(mode="json")
        (results / suite / name / "entry.yaml").write_text(yaml.safe_dump(about))
    write_record(results / "figures" / "one" / "record.json", make_record())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted") / "results"
    plant(root)
    return root


@pytest.fixture
def results(planted: Path, tmp_path: Path) -> Path:
    shutil.copytree(planted, tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def quick_site(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The site takes seconds and is tested by itself: one file in its place; the list says where it was written."""
    written: list[Path] = []

    def write_site(board: Board, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(str(len(board.suites)))
        written.append(folder)

    monkeypatch.setattr(site, "write_site", write_site)
    return written


def elsewhere(results: Path, copy: Path, out: Path) -> None:
    """Build from a copy made in another order, with other times, in a process with another hash seed and locale."""
    files = sorted(path for path in results.rglob("*") if path.is_file())
    random.Random(1).shuffle(files)
    for place, path in enumerate(files):
        target = copy / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (place, 10_000 - place))
    code = (
        "import sys; from pathlib import Path; from leaderboard.commands.build import build;"
        "sys.exit(build(*map(Path, sys.argv[1:])))"
    )
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "UTC5", "LC_ALL": "C"}
    run = [sys.executable, "-c", code, str(copy), str(out)]
    subprocess.run(run, env=environment, cwd=Path(__file__).parents[3], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_writes_everything_and_the_same_bytes_again(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the real site, which the tests below leave out."""
    out = tmp_path / "out"
    assert build(results, out) == 0
    assert "19 records of 3 entries" in capsys.readouterr().out
    files = tree(out)
    assert {"LEADERBOARD.md", "leaderboard.csv", "figures/kaplan_meier_lite.svg", "site/index.html"} <= files.keys()
    assert not [name for name in files if name.split("/")[-1].startswith(".")]
    text = files["LEADERBOARD.md"].decode()
    for name in ENTRIES:
        assert f"`{name}`" in text
        assert f"\nlite,{name}," in files["leaderboard.csv"].decode()
    assert text.count("## Other records") == 1
    links = re.findall(r"\]\((?!https:)([^)]+)\)", text)
    assert links
    assert [link for link in links if not (out / link).is_file()] == []

    elsewhere(results, tmp_path / "deeper" / "other name", tmp_path / "again")
    again = tree(tmp_path / "again")
    assert again.keys() == files.keys()
    assert [name for name in files if files[name] != again[name] and not name.endswith(".pdf")] == []

    (out / "site" / "index.html").write_text("older")
    (out / "site" / "left.html").write_text("over")
    (out / "site" / "assets" / "site.css").unlink()
    capsys.readouterr()
    assert build(results, out, check=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{out / 'site' / 'assets' / 'site.css'}: missing, run python -m leaderboard build",
        f"{out / 'site' / 'index.html'}: out of date, run python -m leaderboard build",
        f"{out / 'site' / 'left.html'}: left over, run python -m leaderboard build",
    ]


def test_a_broken_record_stops_everything(
    results: Path, tmp_path: Path, quick_site: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, readme = tmp_path / "out", tmp_path / "README.md"
    readme.write_text(README)
    assert build(results, out, readme=readme) == 0
    before = tree(tmp_path / "out") | {"README": readme.read_bytes()}
    broken = [
        results / "lite" / "mamba" / CELLS[0].name / "seed0" / "record.json",
        results / "lite" / "rwkv" / "entry.yaml",
    ]
    broken[0].write_text("{")
    broken[1].write_text("name: [")
    capsys.readouterr()
    for check in (False, True):
        assert build(results, out, readme=readme, check=check) == 1
        lines = capsys.readouterr().err.splitlines()
        assert sorted(line.split(": ")[1] for line in lines[:-1]) == sorted(map(str, broken))
        assert lines[-1].startswith(f"error: 2 broken under {results}")
    assert tree(tmp_path / "out") | {"README": readme.read_bytes()} == before
    assert len(quick_site) == 1


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with pytest.raises(ValueError, match=rf"^no record found in {tmp_path / 'results'}$"):
        build(tmp_path / "results", tmp_path / "out")
    with pytest.raises(ValueError, match=r"gone: no such file or folder$"):
        build(tmp_path / "gone", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_records_without_an_entry(tmp_path: Path, quick_site: list[Path]) -> None:
    plant(tmp_path / "results", {})
    readme = tmp_path / "README.md"
    readme.write_text(README)
    assert build(tmp_path / "results", tmp_path / "out", readme=readme) == 0
    assert sorted(tree(tmp_path / "out")) == ["LEADERBOARD.md", "leaderboard.csv", "site/index.html"]
    assert readme.read_text() == f"# Title\n\nbefore\n\n{BEGIN}\n\nNo entry yet.\n\n{END}\n\nafter\n"


def test_readme_keeps_what_is_around_the_marks(results: Path, tmp_path: Path, quick_site: list[Path]) -> None:
    readme = tmp_path / "docs" / "README.md"
    readme.parent.mkdir()
    readme.write_text(README)
    assert build(results, tmp_path / "out", readme=readme) == 0
    first = readme.read_text()
    head, body, foot = re.split(f"{BEGIN}|{END}", first)
    assert (head, foot) == ("# Title\n\nbefore\n\n", "\n\nafter\n")
    assert "](../out/figures/kaplan_meier_lite.svg)" in body
    assert [line for line in body.splitlines() if "`mamba`" in line]
    assert "old" not in body
    assert build(results, tmp_path / "out", readme=readme) == 0
    assert readme.read_text() == first


def test_readme_shows_lite_first(tmp_path: Path, quick_site: list[Path]) -> None:
    readme = tmp_path / "README.md"
    shown = []
    for suites in (["lite", "a_suite"], ["paper", "quick"]):
        root = tmp_path / suites[0]
        for suite in suites:
            plant(root, {"transformer": 1.0}, 1, suite)
        readme.write_text(README)
        assert build(root, tmp_path / "out", readme=readme) == 0
        shown += re.findall(r"kaplan_meier_(\w+)\.svg", readme.read_text())
    assert shown == ["lite", "paper"]


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}", f"{BEGIN} {END} {END}"])
def test_readme_without_its_marks(text: str, results: Path, tmp_path: Path, quick_site: list[Path]) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match=f"needs the lines {BEGIN} and {END}, once each and in this order"):
        build(results, tmp_path / "out", readme=readme)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"gone.md: cannot be read: No such file"):
        build(results, tmp_path / "out", readme=tmp_path / "gone.md")


def test_check(results: Path, tmp_path: Path, quick_site: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One line for every file that is out of date, and nothing is written."""
    out, readme = tmp_path / "out", tmp_path / "README.md"
    readme.write_text(README)
    assert build(results, out, check=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        f"{out / name}: missing" for name in ("figures/kaplan_meier_lite.svg", "leaderboard.csv", "LEADERBOARD.md")
    ]
    assert not out.exists()
    assert build(results, out, readme=readme) == 0
    shutil.rmtree(out / "site")  # not committed: not asked for
    capsys.readouterr()
    assert build(results, out, readme=readme, check=True) == 0
    assert capsys.readouterr().out == ""
    (out / "figures" / "kaplan_meier_gone.svg").write_text("")
    readme.write_text(README)
    before = tree(tmp_path)
    shutil.rmtree(results / "lite" / "rwkv")
    assert build(results, out, readme=readme, check=True) == 1
    said = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    names = ["figures/kaplan_meier_lite.svg", "leaderboard.csv", "LEADERBOARD.md"]
    assert said == [*(str(out / name) for name in names), str(readme), str(out / "figures" / "kaplan_meier_gone.svg")]
    assert {name: text for name, text in before.items() if "rwkv" not in name} == tree(tmp_path)


def test_figures_of_a_suite_that_is_gone_go(results: Path, tmp_path: Path, quick_site: list[Path]) -> None:
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "kaplan_meier_gone.svg").write_text("")
    (out / "figures" / "mine.svg").write_text("kept")
    assert build(results, out) == 0
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["kaplan_meier_lite.svg", "mine.svg"]


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (os, "replace")])
def test_a_write_that_fails_leaves_the_files(
    owner: Any, name: str, results: Path, tmp_path: Path, quick_site: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one line names the file, though the system often does not, and says how much room there is."""
    out = tmp_path / "out"
    assert build(results, out) == 0
    before = tree(out)
    shutil.rmtree(results / "lite" / "rwkv")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        line = (
            f"^{out / 'figures' / 'kaplan_meier_lite.svg'}: cannot be written: No space left on device .[0-9,]+ bytes"
        )
        with pytest.raises(ValueError, match=line):
            build(results, out)
    assert tree(out) == before


def test_verified_stands_beside_the_results(results: Path, tmp_path: Path, quick_site: list[Path]) -> None:
    line = {"suite": "lite", "name": "mamba", "by": "A. Maintainer", "date": "2026-11-20", "seeds": 3}
    (tmp_path / "verified.yaml").write_text(yaml.safe_dump([line]))
    assert build(results, tmp_path / "out") == 0
    rows = (tmp_path / "out" / "leaderboard.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows if row.split(",")[3] == "verified"} == {"mamba"}


def test_a_suite_whose_name_is_no_file_name(tmp_path: Path) -> None:
    from leaderboard.board.standings import SuiteBoard

    with pytest.raises(ValueError, match=r"suite '\.\./x': a name is of a-z"):
        command._texts(Board((SuiteBoard("../x", (), ()),), ()), tmp_path)


def test_arguments(results: Path, tmp_path: Path, quick_site: list[Path]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)

    def run(arguments: Sequence[str]) -> int:
        return command.run(parser.parse_args(arguments))

    out, readme = str(tmp_path / "out"), tmp_path / "README.md"
    readme.write_text(README)
    assert run([str(results), "--out", out, "--check"]) == 1
    assert run([str(results), "--out", out, "--readme", str(readme)]) == 0
    shutil.rmtree(tmp_path / "out" / "site")
    assert run([str(results), "--out", out, "--readme", str(readme), "--check"]) == 0
    assert readme.read_text() != README
    defaults = parser.parse_args([])
    here = Path(command.__file__).parents[1]
    assert (defaults.root, defaults.out, defaults.readme, defaults.check) == (here / "results", here, None, False)


def test_runs_that_an_experiment_changed_are_left_out_and_named(
    results: Path, tmp_path: Path, quick_site: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert build(results, out) == 0
    before = (out / "LEADERBOARD.md").read_text()
    bias = {"attention_bias": {"strength": 3.0, "first_step": 0, "end_step": None}, "fork": None}
    biased = run_of("solved", suite=None, cell=None, intervention=bias)
    write_record(results / "figures" / "seed0" / "record.json", biased)
    capsys.readouterr()
    assert build(results, out) == 0
    assert capsys.readouterr().err.startswith(f"left out: {results / 'figures' / 'seed0'}: is an attention bias of 3")
    assert (out / "LEADERBOARD.md").read_text() == before
    [entry] = sorted(path.parent for path in results.glob("*/*/entry.yaml"))[:1]
    said = yaml.safe_load((entry / "entry.yaml").read_text())
    inside = {"suite": said["suite"], "architecture.name": said["architecture"], "intervention": bias}
    write_record(entry / "lm-a" / "seed9" / "record.json", run_of("solved", 9, cell="lm-a", **inside))
    assert build(results, out) == 1
    assert "such a run is never part of an entry" in capsys.readouterr().err
