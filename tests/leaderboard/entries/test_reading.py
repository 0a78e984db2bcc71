"""Reading a tree of results: what belongs to which entry, and what is wrong with it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboard.entries.entry_file import read_entry
from leaderboard.entries.reading import entries_of, read_results, read_verified
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.records import run_of

ENTRY: dict[str, Any] = {
    "schema_version": 1,
    "name": "transformer",
    "suite": "lite",
    "architecture": "transformer",
    "title": "Transformer",
    "authors": ["Ada Lovelace"],
    "licence": "Apache-2.0",
    "paper": "https://arxiv.org/abs/1706.03762",
    "code": None,
    "tuning": {"trials": 6, "seeds": "1000-1001", "note": "three rates on one cell"},
}


def write_entry(root: Path, seeds: int = 3, cell: str = "lm-easy", **changes: Any) -> Path:
    """An entry with solved records in one cell; returns its folder."""
    content = {**ENTRY, **changes}
    folder = root / content["suite"] / content["name"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entry.yaml").write_text(yaml.safe_dump(content))
    for seed in range(seeds):
        record = run_of("solved", seed, **{"cell": cell, "architecture.name": content["architecture"]})
        write_record(folder / cell / f"seed{seed}" / "record.json", record)
    return folder


def test_entries_and_other_records(tmp_path: Path) -> None:
    write_entry(tmp_path, name="b_model", architecture="b")
    write_entry(tmp_path)
    write_record(tmp_path / "figures" / "seed0" / "record.json", run_of("solved", suite=None, cell=None))
    results = read_results(tmp_path, verified=None)
    assert [(entry.suite, entry.name, entry.verified) for entry in results.entries] == [
        ("lite", "b_model", False),
        ("lite", "transformer", False),
    ]
    runs = results.entries[1].cells["lm-easy"]
    assert [run.record.seeds.data_seed for run in runs] == [0, 1, 2]
    assert runs[2].folder == tmp_path / "lite" / "transformer" / "lm-easy" / "seed2"
    assert [run.folder.name for run in results.others] == ["seed0"] and results.problems == ()


def test_seeds_are_ordered_as_numbers(tmp_path: Path) -> None:
    write_entry(tmp_path, seeds=12)
    runs = read_results(tmp_path, verified=None).entries[0].cells["lm-easy"]
    assert [run.record.seeds.data_seed for run in runs] == list(range(12))


def test_verified_entries(tmp_path: Path) -> None:
    """Seeds count for every cell, of which there is one here; reruns as they are."""
    write_entry(tmp_path / "results")
    write_entry(tmp_path / "results", name="other", architecture="other")
    path = tmp_path / "verified.yaml"
    path.write_text("- {suite: lite, name: transformer, by: maintainers, date: '2026-11-22', seeds: 3}\n")
    entries = read_results(tmp_path / "results", verified=path).entries
    assert {entry.name: entry.verified for entry in entries} == {"transformer": True, "other": False}
    assert {entry.name: entry.verified_seeds for entry in entries} == {"transformer": 3, "other": 0}
    path.write_text("- {suite: lite, name: other, by: us, date: '2026-11-27', reruns: 4, draw: 123}\n")
    entries = read_results(tmp_path / "results", verified=path).entries
    assert {entry.name: entry.verified_seeds for entry in entries} == {"transformer": 0, "other": 4}
    assert read_verified(tmp_path / "none.yaml") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1", "must hold a list, holds dict"),
        ("- {suite: lite, name: x, by: y, date: yesterday, seeds: 1}", "date: String should match pattern"),
        ("- {suite: lite, name: x, by: y, date: '2026-11-27'}", "says neither seeds nor reruns"),
        ("- {suite: lite, name: x, by: y, date: '2026-11-27', reruns: 4}", "reruns and draw belong together"),
        ("- {suite: lite, name: x, by: y, date: '2026-11-27', reruns: 0, draw: 1}", "reruns: Input should be greater"),
    ],
)
def test_a_broken_list_of_verified_entries(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "verified.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"verified\.yaml: ") as caught:
        read_verified(tmp_path / "verified.yaml")
    assert reason in str(caught.value)


def test_problems_are_lines_and_take_nothing_else_along(tmp_path: Path) -> None:
    folder = write_entry(tmp_path)
    (folder / "lm-easy" / "seed1" / "record.json").write_text("{")
    other = run_of("solved", 7, **{"cell": "lm-easy", "architecture.name": "mamba"})
    write_record(folder / "lm-easy" / "seed7" / "record.json", other)
    write_record(folder / "none" / "seed0" / "record.json", run_of("solved", cell=None))
    different = run_of("solved", 3, **{"cell": "lm-easy", "optimizer.lr": 3e-3})
    write_record(folder / "lm-easy" / "seed3" / "record.json", different)
    results = read_results(tmp_path, verified=None)
    reasons = [problem.removeprefix(f"{folder}/") for problem in results.problems]
    assert reasons[0].startswith("lm-easy/seed1/record.json: ")
    assert "is mamba in suite lite, but entry.yaml says transformer in suite lite" in reasons[1]
    assert reasons[2] == "none/seed0/record.json: cell: is null, but an entry's records belong to cells"
    assert "lm-easy/seed3: optimizer.lr: is 0.003, that of " in reasons[3]
    assert len(reasons) == 4
    assert [run.record.seeds.data_seed for run in results.entries[0].cells["lm-easy"]] == [0, 2, 3]


def test_one_name_twice(tmp_path: Path) -> None:
    write_entry(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    problems = read_results(tmp_path, verified=None).problems
    assert [problem.partition(": ")[2] for problem in problems] == ["name: a second entry transformer in suite lite"]


def test_a_sweeps_folder_reads_as_entries(tmp_path: Path) -> None:
    """Its records carry suite, cell and architecture; there is no entry.yaml."""
    for name in ("mamba", "rwkv"):
        for seed in range(2):
            record = run_of("solved", seed, **{"cell": "lm-easy", "architecture.name": name})
            write_record(tmp_path / "lite" / "lm-easy" / name / f"seed{seed}" / "record.json", record)
    write_record(tmp_path / "single" / "record.json", run_of("solved", suite=None))
    entries = entries_of(read_results(tmp_path, verified=None))
    assert [(entry.suite, entry.name, entry.file) for entry in entries] == [
        ("lite", "mamba", None),
        ("lite", "rwkv", None),
    ]
    assert [len(records) for records in entries[0].records().values()] == [2]


def test_two_configurations_in_a_sweeps_folder_are_refused(tmp_path: Path) -> None:
    for seed, rate in enumerate((1e-3, 3e-3)):
        write_record(tmp_path / f"seed{seed}" / "record.json", run_of("solved", seed, **{"optimizer.lr": rate}))
    with pytest.raises(
        ValueError, match=r"seed1: optimizer\.lr: is 0\.003, that of .*seed0 is 0\.001, both transformer in lite/"
    ):
        entries_of(read_results(tmp_path, verified=None))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "../up"}, "name: String should match pattern"),
        ({"paper": "javascript:alert(1)"}, "paper: String should match pattern"),
        ({"paper": "http://example.org"}, "paper: String should match pattern"),
        ({"authors": []}, "authors: Tuple should have at least 1 item"),
        ({"title": "two\nlines"}, "title: holds a control character"),
        ({"tuning": {"trials": -1, "note": "x"}}, "tuning.trials: Input should be greater than or equal to 0"),
        ({"tuning": {"trials": 1}}, "tuning.note: Field required"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
    ],
)
def test_a_broken_entry_file(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / "entry.yaml"
    path.write_text(yaml.safe_dump({**ENTRY, **change}))
    with pytest.raises(ValueError, match="entry.yaml: ") as caught:
        read_entry(path)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: 1\na: 2", "key 'a' stands there twice"),
        ("- 1", "must hold keys and values, holds list"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a: [", "expected the node content"),
        ("a: " + "[" * 5000, ""),
        ("a: " + "x" * 30_000, "30,003 bytes, at most 20,000 are allowed"),
        ("? [1, 2]\n: 3", ""),
        ("a: !!bool x", ""),
        ("a: !!timestamp x", ""),
        ("a: !!int ''", ""),
        ("\x00", "special characters are not allowed"),
    ],
)
def test_hostile_yaml(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "entry.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="entry.yaml: ") as caught:
        read_entry(path)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "entry.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="entry.yaml: 'utf-8' codec can't decode"):
        read_entry(tmp_path / "entry.yaml")
    with pytest.raises(ValueError, match="entry.yaml: cannot be read: No such file"):
        read_entry(tmp_path / "none" / "entry.yaml")
