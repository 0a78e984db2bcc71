"""Records on disk: never half a file, never an outcome replaced, one clear line for what is broken."""

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from leaderboard.records.record import Record, read_record, write_record
from leaderboard.records.record_files import find_records
from tests.helpers.leaderboard.records import START, make_record, run_of

WRITER = """
import sys
from leaderboard.records.record import write_record
from tests.helpers.leaderboard.records import make_record
record = make_record(versions={f"library{i}": "1" * 100 for i in range(3000)})  # large enough to be caught half-way
print("ready", flush=True)
while True:
    write_record(sys.argv[1], record)
    print(flush=True)
"""


def test_write_then_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "record.json"
    write_record(path, make_record())
    assert read_record(path) == make_record()
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


@pytest.mark.process
def test_kill_leaves_no_file_or_a_whole_one(tmp_path: Path, repository: Path) -> None:
    """SIGKILL at many moments of a first write and of rewrites."""
    seen = {"absent": 0, "whole": 0}
    for attempt in range(8):
        path = tmp_path / str(attempt) / "record.json"
        command = [sys.executable, "-c", WRITER, str(path)]
        with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            if attempt >= 4:  # rewrites; before that the first write
                assert writer.stdout.readline() == b"\n"
            time.sleep(0.0015 * (attempt % 4))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        if path.exists():
            assert len(read_record(path).versions) == 3000
        assert all(isinstance(found, Record) for _, found in find_records(tmp_path))  # a left-over is not taken for one
        seen["whole" if path.exists() else "absent"] += 1
    assert seen["whole"] >= 4


@pytest.mark.process
@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_death_in_mid_write_leaves_the_old_record(tmp_path: Path, repository: Path, size: int) -> None:
    """The kernel ends the writer at the moment that any file of its grows past `size` bytes."""
    path = tmp_path / "record.json"
    write_record(path, make_record())
    limit = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    )
    command = [sys.executable, "-c", WRITER.replace("print(", f"exec({limit!r}); print(", 1), str(path)]
    done = subprocess.run(command, cwd=repository, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGXFSZ
    assert read_record(path) == make_record()


def test_reader_of_the_old_record_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, make_record(curves=None))
    text = path.read_text()
    with open(path) as reader:
        write_record(path, make_record())
        assert reader.read() == text


def test_failed_write_leaves_the_old_record_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_record(path, run_of("interrupted"))

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_record(path, make_record())
    assert read_record(path) == run_of("interrupted")
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    """A file from `tempfile` would be private to its owner, and a shared results folder unreadable."""
    write_record(tmp_path / "record.json", make_record())
    (tmp_path / "plain").touch()
    assert (tmp_path / "record.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("status", ["solved", "censored", "diverged"])
def test_outcome_of_another_run_is_never_replaced(tmp_path: Path, status: str) -> None:
    path = tmp_path / "record.json"
    write_record(path, run_of(status))
    for other in (run_of("solved", 1), run_of("solved", started_at=START + timedelta(hours=1))):
        with pytest.raises(ValueError, match=f"record.json: holds the {status} record of another run"):
            write_record(path, other)
    assert read_record(path) == run_of(status)


def test_same_run_may_write_again(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(path, make_record(curves=None))
    write_record(path, make_record())
    assert read_record(path).curves is not None


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_run_without_outcome_may_be_repeated(tmp_path: Path, status: str) -> None:
    path = tmp_path / "record.json"
    write_record(path, run_of(status))
    write_record(path, run_of("solved", started_at=START + timedelta(hours=1)))
    assert read_record(path).status == "solved"


def test_what_is_no_record_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("notes")
    with pytest.raises(ValueError, match=r"record\.json: record: Invalid JSON"):
        write_record(path, make_record())
    assert path.read_text() == "notes"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('"loss_nats":0.3354', '"loss_nats":"low"', "final.loss_nats: Input should be a valid number"),
        ('"status":"solved"', '"status":"done"', "status: Input should be 'solved', 'censored'"),
        ('"tokens":5324800', '"tokens":5324801', "record: tokens 5324801 is not steps 650 x tokens_per_step 8192"),
        ('"d_model":128', '"d_model":{}', "architecture.config.d_model: must be a finite number"),
        ('"precision":"float32",', "", "precision: Field required"),
    ],
)
def test_read_names_file_field_and_reason(tmp_path: Path, old: str, new: str, line: str) -> None:
    path = tmp_path / "record.json"
    text = make_record().model_dump_json()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError) as caught:
        read_record(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_read_counts_further_problems(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"schema_version": 1}')
    with pytest.raises(ValueError, match=r"Field required \(and \d+ more\)$"):
        read_record(tmp_path / "record.json")


def test_read_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.json: cannot be read: No such file"):
        read_record(tmp_path / "gone.json")


def test_find_records(tmp_path: Path) -> None:
    for name in ("b/record.json", "a/1/record.json", "a/seed0.json"):
        write_record(tmp_path / name, make_record())
    (tmp_path / "a" / "cut.json").write_text(make_record().model_dump_json()[:-5])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "record.json").write_text("{}")
    (tmp_path / "c" / "old.json").write_text('{"protocol_hash": "x"}')
    # None of these is a record:
    (tmp_path / "settings.json").write_text('{"colour": "red"}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "schema.json").write_text('{"title": "Record", "properties": {"status": {}, "protocol_hash": {}}}')
    (tmp_path / ".cache").mkdir()
    write_record(tmp_path / ".cache" / "record.json", make_record())
    found = {str(path.relative_to(tmp_path)): result for path, result in find_records(tmp_path)}
    assert list(found) == [
        "a/1/record.json",
        "a/cut.json",
        "a/seed0.json",
        "b/record.json",
        "c/old.json",
        "c/record.json",
    ]
    broken = [name for name, result in found.items() if isinstance(result, ValueError)]
    assert broken == ["a/cut.json", "c/old.json", "c/record.json"]


def test_find_takes_a_named_file_at_its_word(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"colour": "red"}')
    [(path, found)] = find_records(tmp_path / "settings.json")
    assert path == tmp_path / "settings.json"
    assert isinstance(found, ValueError)


def test_find_below_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone: no such file or folder"):
        list(find_records(tmp_path / "gone"))
