"""`python -m leaderboard submit`: an entry appears whole, and only grows."""

import argparse
import os
from pathlib import Path

import pytest
import yaml

from leaderboard.commands import submit as command
from leaderboard.commands.submit import submit
from leaderboard.entries.entry_file import EntryFile, Tuning, read_entry
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.records import run_of
from tests.helpers.leaderboard.sweeps import contents, entry, files, two_cells, write_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two cells with two seeds each; this repository's own results are out of sight."""
    monkeypatch.setattr(command, "RESULTS", tmp_path / "none")
    return two_cells(tmp_path / "runs")


def test_an_entry_as_agreed(runs: Path) -> None:
    done = entry(runs, paper="https://arxiv.org/abs/1", code="https://x.org/y")
    folder = runs.parent / "results" / "lite" / "mine"
    assert done.folder == folder
    places = [f"{cell}/seed{seed}" for cell in ("lm-easy", "lm-hard") for seed in (0, 1)]
    assert done.added == tuple(places)
    assert files(runs.parent / "results") == {
        "lite/mine/entry.yaml",
        *(f"lite/mine/{place}/{name}" for place in places for name in ("record.json", "curves.parquet")),
    }
    for place in places:
        cell, seed = place.split("/")
        for name in ("record.json", "curves.parquet"):
            assert (folder / place / name).read_bytes() == (
                runs / "lite" / cell / "my_model" / seed / name
            ).read_bytes()
    assert read_entry(folder / "entry.yaml") == EntryFile(
        schema_version=1,
        name="mine",
        suite="lite",
        architecture="my_model",
        title="My model",
        authors=("A", "Ö. B"),
        licence="MIT",
        paper="https://arxiv.org/abs/1",
        code="https://x.org/y",
        tuning=Tuning(trials=0, seeds=None, note="nothing was tuned"),
    )
    assert "Ö. B" in (folder / "entry.yaml").read_text(encoding="utf-8")


def test_what_is_missing_by_the_reference(runs: Path) -> None:
    reference = runs.parent / "results" / "lite" / "transformer"
    for cell in ("ca-easy", "lm-easy", "lm-hard"):
        write_run(runs.parent / "other", cell, 0, **{"architecture.name": "transformer"})
        (reference / cell).mkdir(parents=True)
        os.rename(runs.parent / "other" / "lite" / cell / "transformer" / "seed0", reference / cell / "seed0")
    for seed in (2, 3, 4):
        write_run(runs, "lm-hard", seed)
    write_run(runs, "lm-easy", 5)
    assert entry(runs).missing == (
        "cell ca-easy has no record: an entry without it is not ranked",
        "cell lm-easy lacks seeds 2, 3, 4: seeds run from 0 upwards without gaps",
    )


def test_what_is_missing_without_a_reference(runs: Path) -> None:
    assert entry(runs).missing == tuple(
        f"cell {cell} has 2 of the 5 seeds that a verdict needs" for cell in ("lm-easy", "lm-hard")
    )


def test_what_is_left_out_is_said(runs: Path) -> None:
    stopped = write_run(runs, "lm-easy", 3, "interrupted")
    single = write_run(runs, "lm-easy", 4, seeds={"task_seed": 4, "init_seed": 0, "data_seed": 4})
    loose = write_run(runs, "lm-easy", 6)
    write_record(loose / "another.json", run_of("solved", 7, **{"architecture.name": "my_model"}, suite=None))
    (loose / "record.json").write_text("{")
    failed = write_run(runs, "lm-easy", 5, "error")
    diverged = write_run(runs, "lm-easy", 2, "diverged")
    done = entry(runs)
    assert f"lm-easy/{diverged.name}" in done.added
    assert len(done.left_out) == 5
    assert any(line.startswith(f"{failed}/record.json: status error is no outcome") for line in done.left_out)
    assert any(line.startswith(f"{stopped}/record.json: status interrupted is no outcome") for line in done.left_out)
    assert any(line.startswith(f"{single}/record.json: its three seeds differ") for line in done.left_out)
    assert any(line.startswith(f"{loose}/record.json: record: Invalid JSON") for line in done.left_out)
    assert any(line.startswith(f"{loose}/another.json: belongs to no cell") for line in done.left_out)
    assert done.cells == {"lm-easy": (0, 1, 2), "lm-hard": (0, 1)}


def test_seeds_are_appended_and_nothing_else_changes(runs: Path) -> None:
    folder = entry(runs).folder
    before = contents(folder)
    write_run(runs, "lm-easy", 2)
    write_run(runs, "ca-easy", 0)
    done = submit(runs, name="mine", out=runs.parent / "results")  # what was said need not be said again
    assert done.added == ("ca-easy/seed0", "lm-easy/seed2")
    assert done.cells == {"ca-easy": (0,), "lm-easy": (0, 1, 2), "lm-hard": (0, 1)}
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert files(folder) - before.keys() == {
        f"{place}/{name}" for place in done.added for name in ("record.json", "curves.parquet")
    }
    assert entry(runs).added == ()  # and saying it again changes nothing either
    assert contents(folder) == after


def test_seeds_from_another_folder_are_appended(runs: Path) -> None:
    entry(runs)
    write_run(runs.parent / "more", "lm-easy", 2)
    assert entry(runs.parent / "more").added == ("lm-easy/seed2",)


@pytest.mark.parametrize("call", range(1, 7))
def test_a_failure_at_any_moment_leaves_all_as_it_was(call: int, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new entry, then more seeds: the disk is full, or Ctrl-C comes, at the n-th file, folder or rename."""
    real_write, real_rename = Path.write_bytes, os.rename

    def attempt(error: BaseException) -> bool:
        """Whether it failed."""
        left, before = [call], contents(runs.parent)

        def fails() -> None:
            left[0] -= 1
            if not left[0]:
                raise error

        def write(path: Path, content: bytes) -> int:
            fails()
            return real_write(path, content)

        def rename(source: Path, target: Path) -> None:
            fails()
            real_rename(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", write)
            patch.setattr(os, "rename", rename)
            try:
                entry(runs)
                return False
            except ValueError as refused:
                assert ": cannot be written: No space left on device (" in str(refused)
            except KeyboardInterrupt:
                pass
        assert contents(runs.parent) == before
        return True

    full = OSError(28, "No space left on device")
    assert attempt(full) and attempt(KeyboardInterrupt())
    entry(runs)
    write_run(runs, "lm-easy", 2)
    write_run(runs, "ca-easy", 0)
    assert attempt(full) and attempt(KeyboardInterrupt())
    assert entry(runs).added == ("ca-easy/seed0", "lm-easy/seed2")


def test_the_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = runs.parent / "results"
    stopped = write_run(runs, "lm-hard", 2, "interrupted")
    words = [str(runs), "--name=mine", "--title=My model", "--authors=A, Ö. B", "--licence=MIT", f"--out={out}"]
    words += ["--tuning_trials=6", "--tuning_seeds=1000-1001", "--tuning_note=lr from {3e-4, 1e-3, 3e-3}"]
    assert command.run(parser.parse_args(words)) == 0
    folder = out / "lite" / "mine"
    assert capsys.readouterr().out.splitlines() == [
        f"left out  {stopped}/record.json: status interrupted is no outcome: the same sweep goes on with it",
        f"entry     {folder}: 4 runs added, 4 in all",
        "missing   cell lm-easy has 2 of the 5 seeds that a verdict needs",
        "missing   cell lm-hard has 2 of the 5 seeds that a verdict needs",
        f"next      python -m leaderboard validate {folder}",
        f"next      python -m leaderboard check {folder}",
    ]
    said = yaml.safe_load((folder / "entry.yaml").read_text(encoding="utf-8"))
    assert said["authors"] == ["A", "Ö. B"]
    assert said["tuning"] == {"trials": 6, "seeds": "1000-1001", "note": "lr from {3e-4, 1e-3, 3e-3}"}
