"""No file of curves can break the reader, eat the memory or hold the validation up."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leaderboard.records.record import read_record
from leaderboard.validation import curves, curves_reader, learning_curves
from leaderboard.validation.curves import CurvesReader
from tests.helpers.leaderboard.entries import SCHEMA, make_run, parquet, write_entry


@pytest.fixture
def real_reader() -> CurvesReader:
    return CurvesReader()


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    return write_entry(tmp_path / "results")


def bomb(n_values: int) -> pa.Table:
    """One evaluation with very many positions, all alike, which packs into 3 kB."""
    lists = pa.ListArray.from_arrays(pa.array([0, n_values], pa.int32()), pa.array(np.zeros(n_values, np.float32)))
    return pa.table([pa.array([0]), *[pa.array([0.5])] * 5, lists], schema=SCHEMA)


def thrift(number: int, length: int | None = None) -> bytes:
    """A number as the description of a Parquet file holds it, in 7 bits a byte; longer than need be if asked."""
    number <<= 1
    out: list[int] = []
    while number >= 128 or (length is not None and len(out) < length - 1):
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def lying(content: bytes, number: int, told: int) -> bytes:
    """The file with another number in its description, wherever the first one stands there."""
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    true = thrift(number)
    assert true in content[start:]
    return content[:start] + content[start:].replace(true, thrift(told, len(true)))


def test_many_values_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb").write_bytes(parquet(bomb(3_000_000)))
    assert (tmp_path / "bomb").stat().st_size < 10_000
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    answer = curves_reader.read_curves(str(tmp_path / "bomb"), 10)
    assert answer == {"problem": ["curves", "has 3,000,006 values, at most 2,000,000 are allowed"]}


@pytest.mark.slow
def test_many_bytes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few values, but long ones: a text of 60 MB that packs into 60 kB."""
    content = parquet(pa.table({"step": [0], "text": ["a" * 60_000_000]}), compression="zstd", use_dictionary=False)
    (tmp_path / "bomb").write_bytes(content)
    assert len(content) < 100_000
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    [field, reason] = curves_reader.read_curves(str(tmp_path / "bomb"), 10)["problem"]
    assert reason.startswith("unpacks to 60,0") and reason.endswith("at most 50,000,000 are allowed")


@pytest.mark.process
def test_file_that_lies_about_its_size(tmp_path: Path) -> None:
    """Its description says 31 values, its pages hold 10 million: that is found out under a limit of memory only."""
    (tmp_path / "lie").write_bytes(lying(parquet(bomb(10_000_000), data_page_size=1 << 30), 10_000_000, 31))
    assert pq.read_metadata(tmp_path / "lie").row_group(0).column(6).num_values == 31
    answer = curves_reader.read_curves(str(tmp_path / "lie"), 10)
    assert answer == {"problem": ["curves", "has more than 2,000,000 values, unlike its own description says"]}
    program = (
        f"import runpy, sys; names = runpy.run_path({curves_reader.__file__!r});"
        "names['main'].__globals__['MEMORY'] = 20_000_000; names['main']()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([[str(tmp_path / "lie"), 10]]),
        capture_output=True,
        text=True,
        env={"ARROW_DEFAULT_MEMORY_POOL": "system"},
        check=False,
    )
    assert "takes more than 20,000,000 bytes of memory" in done.stdout or done.returncode < 0


@pytest.mark.process
def test_garbage_is_refused_by_the_real_reader(entry: Path, tmp_path: Path, real_reader: CurvesReader) -> None:
    """Random bytes changed, cut off, put in: the process may die over one of them, and goes on with the next."""
    rng = random.Random(0)
    folder = entry / "lm-a" / "seed0"
    record, good = read_record(folder / "record.json"), (folder / "curves.parquet").read_bytes()
    files = [b"", b"PAR1", good[:-4], good[:100], good[100:], b"PAR1" + b"\xff" * 100 + b"PAR1"]
    for _ in range(60):
        spoiled = bytearray(good)
        for _ in range(rng.choice([1, 5, 50])):
            spoiled[rng.randrange(len(good))] = rng.randrange(256)
        files.append(bytes(spoiled))
    files.append(good)
    requests = []
    for number, content in enumerate(files):
        (tmp_path / str(number)).write_bytes(content)
        requests.append((tmp_path / str(number), str(number), record))
    found = real_reader.read(requests)
    assert all(isinstance(answer, tuple) for answer in found[:6])
    assert isinstance(found[-1], learning_curves.Curves) and list(curves.curve_problems(record, found[-1])) == []
    for answer in found:
        if isinstance(answer, learning_curves.Curves):
            list(curves.curve_problems(record, answer))  # what could be read can be compared


@pytest.mark.process
def test_reader_that_dies(tmp_path: Path, real_reader: CurvesReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that ends the reading process is refused, the ones around it are read; after three deaths it is over."""
    record, good = make_run("my_model", "lm-a", 0, "solved")
    program = tmp_path / "reader.py"
    source = Path(curves_reader.__file__).read_text(encoding="utf-8")
    deadly = "        if path.endswith('x'): os.kill(os.getpid(), 9)\n        print(json.dumps(read_curves("
    program.write_text(source.replace("        print(json.dumps(read_curves(", deadly), encoding="utf-8")
    monkeypatch.setattr(curves_reader, "__file__", str(program))
    requests = []
    for name in ("a", "1x", "b", "2x", "c", "3x", "d"):
        (tmp_path / name).write_bytes(good)
        requests.append((tmp_path / name, name, record))
    found = real_reader.read(requests)
    assert [isinstance(answer, learning_curves.Curves) for answer in found] == [
        True,
        False,
        True,
        False,
        True,
        False,
        False,
    ]
    assert found[1] == ("curves", "broke the reader, or took too much time or memory to read")


@pytest.mark.process
def test_reader_that_hangs(tmp_path: Path, real_reader: CurvesReader, monkeypatch: pytest.MonkeyPatch) -> None:
    record, good = make_run("my_model", "lm-a", 0, "solved")
    (tmp_path / "file").write_bytes(good)
    (tmp_path / "reader.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr(curves_reader, "__file__", str(tmp_path / "reader.py"))
    monkeypatch.setattr(curves, "_START_S", 0)
    monkeypatch.setattr(curves, "_FILE_S", 0.3)
    assert real_reader.read([(tmp_path / "file", "a", record)]) == [
        ("curves", "broke the reader, or took too much time or memory to read")
    ]
