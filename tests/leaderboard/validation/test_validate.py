"""`python -m leaderboard validate`: every rule refuses what it should, by file, field and reason, and nothing else."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboard.validation import validator
from tests.helpers.leaderboard.entries import checked, edit, problem_lines, write_entry, write_run
from tests.helpers.leaderboard.records import START


def test_valid_at_every_level(results: Path) -> None:
    for path, entries, n_records in (
        (results / "tiny" / "my_model", ("tiny/my_model",), 6),
        (results / "tiny", ("tiny/my_model", "tiny/transformer"), 8),
        (results, ("tiny/my_model", "tiny/transformer"), 8),
    ):
        report = checked(path)
        assert (report.problems, report.entries, report.n_records) == ((), entries, n_records)


def test_relative_path(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results / "tiny" / "my_model")
    assert checked(".").entries == ("tiny/my_model",)
    assert checked(".").problems == ()


NOW = datetime.now(UTC)
RECORD_RULES: list[tuple[dict[str, Any], str]] = [
    ({"status": "error", "error": "killed"}, "status: is 'error': only runs with an outcome count"),
    ({"status": "interrupted"}, "status: is 'interrupted': only runs with an outcome count"),
    ({"git.dirty": True}, "git.dirty: must be false"),
    ({"git.dirty": None}, "git.dirty: must be false"),
    ({"git.commit": None}, "git.commit: is null"),
    ({"callbacks": ["my.Callback"]}, "callbacks: are my.Callback"),
    (
        {"intervention": {"attention_bias": {"strength": 3.0, "first_step": 0, "end_step": 9}, "fork": None}},
        "intervention: is an attention bias of 3 (steps 0:9): such a run is never part of an entry",
    ),
    (
        {
            "intervention": {
                "attention_bias": None,
                "fork": None,
                "first_stage": {
                    "source": "cd" * 32,
                    "step": 50,
                    "tokens": 4000,
                    "parts": ["attention"],
                    "permuted": True,
                },
            }
        },
        "intervention: is a run that begins with attention of run cdcdcdcdcdcd at step 50 (4,000 tokens), their entries"
        " permuted: such a run is never part of an entry",
    ),
    (
        {
            "intervention": {
                "attention_bias": None,
                "fork": {"parent": "ab" * 32, "step": 50, "changes": ["fresh_optimizer"]},
            }
        },
        "intervention: is a fork of run abababababab at step 50 (fresh_optimizer): such a run is never part of an",
    ),
    (
        {"resumed": [{"step": 5, "git": {"commit": "a" * 40, "dirty": True}, "versions": {}}]},
        "resumed.0: from step 5 on",
    ),
    ({"ended_at": "2026-11-01T12:00:00Z"}, "ended_at: 2026-11-01 12:00:00+00:00 is not after started_at"),
    ({"ended_at": (NOW + timedelta(hours=25)).isoformat()}, "ended_at: 2"),
    ({"ended_at": (NOW + timedelta(hours=23)).isoformat()}, ""),
    ({"tokens_per_s": (1 + 1e-7) * 650 * 8192 / 81.5}, ""),
    ({"tokens_per_s": 1.001 * 650 * 8192 / 81.5}, "tokens_per_s: is 65400"),
    ({"tokens_per_s": 0.999 * 650 * 8192 / 81.5}, "tokens_per_s: is 65269"),
    ({"tokens_per_s": None}, "tokens_per_s: is None, tokens / wall_train_s is 65335"),
    ({"tokens_per_s": 7.9 * 650 * 8192 / 81.5, "ensemble_size": 8}, ""),
    ({"tokens_per_s": 8.1 * 650 * 8192 / 81.5, "ensemble_size": 8}, "tokens_per_s: is 529"),
    ({"init_hash": None}, "init_hash: is missing"),
    ({"precision": "32"}, "precision: is '32', must be one of 32-true"),
    ({"git.commit": "0123456"}, "git.commit: is 0123456, must be the whole hash"),
    ({"started_at": "2026-10-31T23:59:59Z"}, "started_at: is 2026-10-31 23:59:59+00:00, before there was a suite"),
    ({"wall_eval_s": 11.0}, "wall_train_s: and wall_eval_s are 92.5 s together, the run took 90.0 s"),
    ({"wall_eval_s": 0.0}, "wall_eval_s: is 0"),
    ({"wall_compile_s": 84.0}, "wall_compile_s: is 84.0, longer than wall_train_s"),
    ({"wall_train_s": 0.01, "tokens_per_s": 650 * 8192 / 0.01}, "wall_train_s: is 0.01: 65,000 steps a second"),
    ({"wall_train_s": 0.5, "tokens_per_s": 650 * 8192 / 0.5}, "tokens_per_s: x flops_per_token is 1.3e+13"),
    ({"first_losses_nats": [0.7] * 19}, "first_losses_nats: are 19, must be 20"),
    ({"first_losses_nats": [0.7] * 19 + [-0.1]}, "first_losses_nats: hold -0.1: a loss is not negative"),
    ({"curves": None}, "curves: is null"),
    ({"curves.file": "../seed1/curves.parquet"}, "curves.file: String should match pattern"),
    ({"curves.file": ".."}, "curves.file: is '..', must be 'curves.parquet'"),
    ({"curves.sha256": "0" * 64}, "curves.sha256: is 0000"),
    ({"suite": "lite"}, "suite: is 'lite', but the folder is of suite 'tiny'"),
    ({"cell": "lm-b"}, "cell: is 'lm-b', but the folder is of cell 'lm-a'"),
    ({"seeds.init_seed": 1}, "seeds.init_seed: is 1, but the folder is seed0"),
    ({"architecture.name": "other"}, "architecture.name: is 'other', entry.yaml says 'my_model'"),
    ({"hardware.name": "<script>alert(1)</script> \u00e9\u4e2d"}, ""),
    ({"hardware.name": "a\x1b[2Jb"}, "hardware.name: holds a control character: 'a\\x1b[2Jb'"),
    ({"hardware.name": "a\u202eb"}, "hardware.name: holds a control character"),
    ({"versions": {"torch\x07": "1"}}, "versions.torch\\x07: is a name with a control character"),
    ({"first_loss_nats": 101.0}, "first_loss_nats: is 101.0, must be in 0..100"),
    ({"final": None}, "final: must be the last evaluation"),
    ({"hits.rows_100": {"step": 550, "previous_step": 500}}, "hits.rows_100: is 550 after 500, the curves give 600"),
]


@pytest.mark.parametrize(("changes", "expected"), RECORD_RULES, ids=[str(list(c)) + e[:20] for c, e in RECORD_RULES])
def test_record_rules(results: Path, seed0: Path, changes: dict[str, Any], expected: str) -> None:
    edit(seed0, **changes)
    found = problem_lines(results)
    if not expected:
        assert found == []
    else:
        assert any(line.startswith(f"tiny/my_model/lm-a/seed0/record.json: {expected}") for line in found), found


def test_steps_and_parameters_are_not_zero(results: Path, seed0: Path) -> None:
    for seed in range(3):
        edit(seed0.parent / f"seed{seed}", parameters=0)
    edit(seed0.parent / "seed2", steps=0, tokens=0, tokens_per_s=0.0, **{"final.step": 0})
    found = problem_lines(results)
    assert "tiny/my_model/lm-a/seed0/record.json: parameters: is 0" in found
    assert "tiny/my_model/lm-a/seed2/record.json: steps: is 0: nothing was trained" in found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer.lr": 3e-3}, "optimizer.lr: is 0.003, that of seed0 is 0.001"),
        ({"architecture.config.n_heads": 4}, "architecture.config.n_heads: is 4, that of seed0 is 8"),
        ({"architecture.version": 2}, "architecture.version: is 2, that of seed0 is 1"),
        ({"architecture.backend": "fused"}, "architecture.backend: is 'fused', that of seed0 is 'sdpa'"),
        ({"architecture.config.more": None}, "architecture.config.more: is None, that of seed0 is None"),
        ({"precision": "bf16-mixed"}, "precision: is 'bf16-mixed', that of seed0 is '32-true'"),
        ({"parameters": 202753}, "parameters: is 202753, that of seed0 is 202754"),
        ({"chance_loss_nats": 0.7}, "chance_loss_nats: is 0.7, that of seed0 is 0.69"),
        ({"protocol.eval_sequences": 1024}, "protocol_hash: is "),
    ],
)
def test_one_configuration_a_cell(results: Path, changes: dict[str, Any], expected: str) -> None:
    edit(results / "tiny" / "my_model" / "lm-a" / "seed1", **changes)
    found = problem_lines(results)
    assert any(line.startswith(f"tiny/my_model/lm-a/seed1/record.json: {expected}") for line in found), found
    assert all("seed1/" in line for line in found)


def test_cells_may_differ_in_configuration(results: Path) -> None:
    for seed in range(3):
        edit(
            results / "tiny" / "my_model" / "lm-b" / f"seed{seed}", **{"architecture.backend": "torch", "parameters": 7}
        )
    assert problem_lines(results) == []


def test_protocol_of_the_reference(results: Path) -> None:
    """All seeds of a cell agree with one another, and not with the suite's transformer."""
    for seed in range(3):
        edit(results / "tiny" / "my_model" / "lm-a" / f"seed{seed}", **{"protocol.eval_sequences": 1024})
    line = "record.json: protocol.eval_sequences: is 1024, that of the suite's transformer is 512"
    assert problem_lines(results) == [f"tiny/my_model/lm-a/seed{seed}/{line}" for seed in range(3)]
    for seed in range(3):
        edit(results / "tiny" / "my_model" / "lm-a" / f"seed{seed}", **{"task.config.n_nonzero": 2})
    assert problem_lines(results)[0].startswith(
        "tiny/my_model/lm-a/seed0/record.json: task.config.n_nonzero: is 2, that of"
    )


def test_reference_of_the_repository(
    tmp_path: Path, results: Path, seed0: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that lies somewhere else is compared with the reference that is committed here."""
    away = write_entry(tmp_path / "away" / "results")
    for seed in range(3):
        edit(away / "lm-a" / f"seed{seed}", **{"protocol.eval_sequences": 1024})
    assert checked(away).problems == ()
    shutil.rmtree(results / "tiny" / "my_model")  # of which it is a copy
    monkeypatch.setattr(validator, "RESULTS", results)
    assert [problem.field for problem in checked(away).problems] == ["protocol.eval_sequences"] * 3


def test_same_seed_reads_the_same_sequences(results: Path, seed0: Path) -> None:
    edit(seed0, first_batch_hash="12" * 32)
    line = "first_batch_hash: is not that of the suite's transformer: the same seed reads the same sequences"
    assert problem_lines(results) == [f"tiny/my_model/lm-a/seed0/record.json: {line}"]


def test_cell_without_reference_is_a_note(results: Path) -> None:
    for seed in range(2):
        write_run(results / "tiny" / "my_model", "lm-c", seed, started_at=START + timedelta(seconds=1))
    report = checked(results)
    assert report.problems == ()
    assert [note for note in report.notes if note.endswith("its protocol was not compared")] == [
        f"{results}/tiny/my_model/lm-c: the suite's transformer has no such cell: its protocol was not compared"
    ]


def test_copied_seed(results: Path, seed0: Path) -> None:
    """Seed 0 handed in once more as seed 3, with its number changed."""
    copy_run(seed0, seed0.parent / "seed3", **{f"seeds.{name}_seed": 3 for name in ("task", "init", "data")})
    where = "tiny/my_model/lm-a/seed3/record.json"
    assert problem_lines(results) == [
        f"{where}: first_losses_nats: equal those of seed0: one run twice",
        f"{where}: first_batch_hash: equal those of seed0: one run twice",
        f"{where}: init_hash: equal those of seed0: one run twice",
        f"{where}: curves.sha256: is that of {seed0 / 'record.json'}: the same run in two places",
        f"{where}: curves: 13 evaluations have the loss_nats of {seed0 / 'record.json'}: the same run in two places",
    ]


def test_copied_from_another_entry(results: Path, seed0: Path) -> None:
    """The same run under another entry's name: the reference's curves, and the very same record in two entries."""
    copy_run(results / "tiny" / "transformer" / "lm-a" / "seed0", seed0, **{"architecture.name": "my_model"})
    assert any("curves.sha256: is that of" in line for line in problem_lines(results))


def copy_run(source: Path, target: Path, /, **changes: Any) -> None:
    target.mkdir(exist_ok=True)
    for name in ("record.json", "curves.parquet"):
        (target / name).write_bytes((source / name).read_bytes())
    edit(target, **changes)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("name", "other", "name: is 'other', but the folder is tiny/my_model"),
        ("suite", "lite", "suite: is 'lite', but the folder is tiny/my_model"),
        ("architecture", "other", ""),
        ("colour", "red", "colour: Extra inputs are not permitted"),
        ("paper", "javascript:alert(1)", "paper: String should match pattern"),
        ("title", "x" * 301, "title: String should have at most 300 characters"),
        ("title", "a\x1b[2J", "title: holds a control character: 'a\\x1b[2J'"),
        ("authors", ["A", "B\u202eC"], "authors.1: holds a control character"),
        ("tuning", {"trials": 1, "note": "a\u2028b"}, "tuning.note: holds a control character"),
    ],
)
def test_entry_file(results: Path, key: str, value: Any, expected: str) -> None:
    path = results / "tiny" / "my_model" / "entry.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {key: value}))
    found = problem_lines(results)
    if expected:
        assert any(line.startswith(f"tiny/my_model/entry.yaml: {expected}") for line in found), found
    else:
        assert len([line for line in found if "architecture.name: is 'my_model', entry.yaml says 'other'" in line]) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "name: my_model\nname: my_model",
        "- a",
        "!!bool x",
        "!!timestamp x",
        "!!int ''",
        "a: &a [*a]",
        "\x00",
        "!!python/object/apply:os.system [ls]",
        "[" * 5000,
        "{a: 1" + "0" * 5000 + "}",
        "a: 1e999",
        "? [a]\n: b",
        "a: !!binary x",
        b"\xff",
    ],
)
def test_broken_entry_file(results: Path, text: str | bytes) -> None:
    path = results / "tiny" / "my_model" / "entry.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    [line] = problem_lines(results)
    assert line.startswith("tiny/my_model/entry.yaml: ")
    assert "\n" not in line
