"""The schema: what a record may say, and that anything else is refused in one line."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from leaderboard.__main__ import main
from leaderboard.commands.schema import SCHEMA_FILE
from leaderboard.records.record import Record, RecordedProtocol, RecordedTask, protocol_hash, read_record
from tests.helpers.leaderboard.records import make_record, record_fields, run_of

NO_HIT = {"step": None, "previous_step": None}


@pytest.mark.parametrize("status", ["solved", "censored", "diverged", "error", "interrupted"])
def test_round_trip_through_json(status: str) -> None:
    record = run_of(status)
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_round_trip_keeps_types_and_digits() -> None:
    """1, 1.0 and true are three different settings, and a float comes back to the last bit."""
    config = {"a": 1, "b": 1.0, "c": True, "d": "1", "e": None, "f": [1, 2.0, None], "g": 0.1 + 0.2}
    record = make_record(**{"architecture.config": config, "first_losses_nats": [1 / 3]})
    back = Record.model_validate_json(record.model_dump_json())
    assert [type(value) for value in back.architecture.config.values()][:5] == [int, float, bool, str, type(None)]
    assert back.architecture.config["g"] == 0.1 + 0.2
    assert back.first_losses_nats == (1 / 3,)


def test_record_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_record().steps = 3


def test_protocol_hash_is_the_documented_one() -> None:
    """Written out by hand; if this changes, every published record loses its comparability: only with a new schema."""
    text = (
        '{"config":{"n_nonzero":3,"n_states":2,"state_size":16},"name":"lm","protocol":{"eval_every":50,'
        '"eval_sequences":512,"max_steps":1000,"primary":"rows_100","stop_when_solved":true,"targets":['
        '{"metric":"rows_solved","name":"rows_50","op":">=","value":0.5},'
        '{"metric":"rows_solved","name":"rows_100","op":">=","value":1.0}],"tokens_per_step":8192},"version":1}'
    )
    assert make_record().protocol_hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("task", {"version": 2}),
        ("task", {"name": "ca"}),
        ("task", {"config": {"state_size": 17, "n_nonzero": 3, "n_states": 2}}),
        ("protocol", {"max_steps": 1050}),
        ("protocol", {"stop_when_solved": False}),
        ("protocol", {"primary": "rows_50"}),
    ],
)
def test_protocol_hash_sees_every_part(part: str, change: dict[str, Any]) -> None:
    fields = record_fields()
    before = protocol_hash(RecordedTask(**fields["task"]), RecordedProtocol(**fields["protocol"]))
    fields[part] = {**fields[part], **change}
    assert protocol_hash(RecordedTask(**fields["task"]), RecordedProtocol(**fields["protocol"])) != before


def test_protocol_hash_ignores_the_order_of_knobs() -> None:
    knobs = record_fields()["task"]["config"]
    shuffled = dict(reversed(knobs.items()))
    assert make_record(**{"task.config": shuffled}).protocol_hash == make_record().protocol_hash


# (changes to a valid record, words of the one message)
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"protocol_hash": "0" * 64}, "protocol_hash is 0000"),
    ({"steps": 1050}, "steps 1050 exceeds protocol.max_steps 1000"),
    ({"tokens": 8192}, "tokens 8192 is not steps 650 x tokens_per_step 8192"),
    ({"final.step": 700}, "final.step 700 exceeds steps 650"),
    ({"hits": {"rows_100": {"step": 600, "previous_step": 550}}}, "hits names ['rows_100']"),
    ({"hits.rows_99": NO_HIT}, "hits names ['rows_100', 'rows_50', 'rows_99']"),
    ({"hits.rows_50": {"step": None, "previous_step": 50}}, "previous_step 50 without a step"),
    ({"part_hits": []}, "Tuple should have at least 1 item"),
    ({"part_hits": [{"step": 310, "previous_step": 260}]}, "part_hits.0.step 310 is not a multiple of eval_every 50"),
    ({"hits.rows_50": {"step": 310, "previous_step": 260}}, "310 is not a multiple of eval_every 50"),
    ({"hits.rows_50": {"step": 700, "previous_step": 650}}, "700 is not a multiple of eval_every 50 within 650 steps"),
    ({"hits.rows_50": {"step": 300, "previous_step": 200}}, "previous_step 200 is not the evaluation before step 300"),
    ({"hits.rows_50": {"step": 300, "previous_step": None}}, "previous_step None is not the evaluation before"),
    ({"hits.rows_50": {"step": 0, "previous_step": 0}}, "previous_step 0 is not the evaluation before step 0"),
    ({"hits.rows_100": NO_HIT}, "status solved, but the primary target 'rows_100' has no hit"),
    ({"protocol.stop_when_solved": False}, "solved at 650 of 1000 steps, but protocol.stop_when_solved is false"),
    ({"status": "censored", "steps": 1000}, "status censored, but the primary target 'rows_100' was hit at step 600"),
    ({"status": "censored", "hits.rows_100": NO_HIT}, "needs the full budget of 1000 steps, the run has 650"),
    ({"status": "error"}, "status error needs an error message"),
    ({"status": "diverged"}, "status diverged needs an error message"),
    ({"error": "boom"}, "status solved must have error null"),
    ({"status": "stopped"}, "Input should be 'solved', 'censored', 'diverged', 'error' or 'interrupted'"),
    ({"error": "two\nlines", "status": "error"}, "should match pattern"),
    ({"schema_version": 2}, "schema_version"),
    ({"surprise": 1}, "Extra inputs are not permitted"),
    ({"final.loss": 0.1}, "Extra inputs are not permitted"),
    ({"steps": 650.0, "tokens": 650 * 8192}, "valid integer"),
    ({"steps": "650", "tokens": 650 * 8192}, "valid integer"),
    ({"parameters": True}, "valid integer"),
    ({"parameters": -1}, "greater than or equal to 0"),
    ({"wall_train_s": -0.5}, "greater than or equal to 0"),
    ({"wall_train_s": "1.5"}, "valid number"),
    ({"final.accuracy": 1.01}, "less than or equal to 1"),
    ({"seeds.init_seed": -1}, "greater than or equal to 0"),
    ({"first_losses_nats": [0.5] * 21}, "at most 20"),
    ({"first_batch_hash": "not hex"}, "should match pattern"),
    ({"git.commit": "main"}, "should match pattern"),
    ({"curves.file": "../curves.parquet"}, "should match pattern"),
    ({"hardware.device": "cuda:0"}, "should match pattern"),
    ({"started_at": "2026-11-01T12:00:00"}, "timezone"),
    ({"started_at": "2026-11-01T12:00:00+01:00"}, "must be UTC, has offset 1:00:00"),
    ({"started_at": 1_790_000_000}, "valid datetime"),
    ({"optimizer.betas": {"a": 1}}, "must be a finite number, a string, true, false, null or a list of these"),
]


@pytest.mark.parametrize(("changes", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_broken_record_is_refused_once(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_record(**changes)
    messages = [problem["msg"] for problem in caught.value.errors()]
    where = [".".join(map(str, problem["loc"])) for problem in caught.value.errors()]
    assert len(messages) == 1
    assert words in messages[0] or words in where[0]
    assert "\n" not in messages[0]


@pytest.mark.parametrize("missing", sorted(record_fields()))
def test_every_field_is_required(missing: str) -> None:
    fields = record_fields()
    del fields[missing]
    with pytest.raises(ValidationError, match="Field required"):
        Record(**fields)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"primary": "rows_12"}, "primary 'rows_12' is not a target; the targets are rows_50, rows_100"),
        ({"targets": []}, "at least 1 item"),
        ({"targets": [{"name": "rows_100", "metric": "m", "op": "<", "value": 1}] * 2}, "target names repeat"),
        ({"targets": [{"name": "rows_100", "metric": "m", "op": ">", "value": 1}]}, "Input should be '>=' or '<'"),
        ({"eval_every": 0}, "greater than or equal to 1"),
    ],
)
def test_broken_protocol_is_refused(protocol: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RecordedProtocol(**{**record_fields()["protocol"], **protocol})
    assert words in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "field",
    [
        "first_loss_nats",
        "final.loss_nats",
        "tokens_per_s",
        "optimizer.lr",
        "architecture.config.gain",
        "floor_loss_nats",
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_only_finite_numbers(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        make_record(**{field: value})


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_only_finite_numbers_in_json(tmp_path: Path, literal: str) -> None:
    """Python's own JSON writer would have put these words there."""
    text = make_record().model_dump_json()
    assert text.count(":0.71,") == 1
    path = tmp_path / "record.json"
    path.write_text(text.replace(":0.71,", f":{literal},"))
    with pytest.raises(ValueError, match=r"record\.json: first_loss_nats: .*finite"):
        read_record(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"hits.rows_50": {"step": 0, "previous_step": None}},
        {"hits.rows_50": {"step": 50, "previous_step": None}},
        {"hits.rows_50": {"step": 50, "previous_step": 0}},
        {"protocol.stop_when_solved": False, "steps": 1000},
        {"status": "diverged", "error": "loss is not finite"},  # after the hit
        {"status": "interrupted", "steps": 0, "final": None, "hits": {"rows_50": NO_HIT, "rows_100": NO_HIT}},
        {"git": {"commit": None, "dirty": None}, "curves": None, "floor_loss_nats": None, "suite": None, "cell": None},
        {"started_at": "2026-11-01T12:00:00Z"},
        {"first_losses_nats": []},
    ],
)
def test_unusual_record_is_accepted(changes: dict[str, Any]) -> None:
    record = make_record(**changes)
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_exported_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert SCHEMA_FILE.read_text() == capsys.readouterr().out, "run: python -m leaderboard schema --write"


def test_exported_schema_is_closed_everywhere() -> None:
    exported = json.loads(SCHEMA_FILE.read_text())
    for part in [exported, *exported["$defs"].values()]:
        assert part["additionalProperties"] is False
        later = {
            "ensemble_size",
            "init_hash",
            "resumed",
            "callbacks",
            "library",
            "part_hits",
            "intervention",
            "first_stage",
        }  # older records lack them
        assert sorted(part["required"]) == sorted(part["properties"].keys() - later)


NAMES = [
    *("suite", "cell", "precision", "architecture.name", "architecture.backend", "task.name", "hardware.name"),
    "versions.torch",
]


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize(
    "character", ["\x00", "\t", "\n", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u2067", "\u200f"]
)
def test_names_are_plain(field: str, character: str) -> None:
    """Names hold no characters that a terminal obeys or that turn the text around them; other scripts are allowed."""
    with pytest.raises(ValidationError):
        make_record(**{field: f"a{character}b"})
    make_record(**{field: "Größe <b> 中文 😀"})


def test_key_of_a_configuration_is_a_name_and_an_error_is_as_it_came() -> None:
    with pytest.raises(ValidationError):
        make_record(**{"architecture.config": {"a\x1bb": 1}})
    assert run_of("error", error="library said \x1b[31mno\x1b[0m").error == "library said \x1b[31mno\x1b[0m"


def test_record_without_a_field_that_was_added_later_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not parsed a second time to look for keys that stand there twice."""
    from leaderboard.records import record

    monkeypatch.setattr(record, "parse", None)
    old = make_record().model_dump_json(indent=2, exclude={"ensemble_size"}) + "\n"
    assert record.parse_record(old.encode()) == make_record()
    assert record.parse_record((make_record().model_dump_json(indent=2) + "\n").encode()) == make_record()
    assert (
        record.parse_record((make_record(ensemble_size=1).model_dump_json(indent=2) + "\n").encode()) == make_record()
    )
    with pytest.raises(TypeError):  # any other layout is
        record.parse_record(old.replace("  ", " ").encode())
