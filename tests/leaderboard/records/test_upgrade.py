"""Records of every version stay readable, and nothing that is not strictly one is read."""

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from leaderboard.records import record as record_module
from leaderboard.records.record import Record, read_record, write_record
from leaderboard.records.upgrade import CURRENT, UPGRADES, Content, parse, upgrade
from tests.helpers.leaderboard.records import make_record

GOLDEN = Path(__file__).parent / "golden"
FROZEN = {1: "ecf38315e62689bddc580c5f80d49eaa35538858edd9b2a42696b2d4cb4ccda7"}
"""SHA-256 of the golden files. A new version adds one; none is ever changed, because records like it are published."""


def golden(version: int) -> Path:
    return GOLDEN / f"record.v{version}.json"


def test_a_golden_file_for_each_known_version() -> None:
    assert set(FROZEN) == {*UPGRADES, CURRENT} == set(range(1, CURRENT + 1))
    assert sorted(GOLDEN.iterdir()) == sorted(golden(version) for version in FROZEN)
    assert get_args(Record.model_fields["schema_version"].annotation) == (CURRENT,)


@pytest.mark.parametrize("version", FROZEN)
def test_golden_files_are_frozen(version: int) -> None:
    assert hashlib.sha256(golden(version).read_bytes()).hexdigest() == FROZEN[version]
    assert json.loads(golden(version).read_bytes())["schema_version"] == version


@pytest.mark.parametrize("version", FROZEN)
def test_golden_files_read_to_the_same_record(version: int) -> None:
    """All of them are of one run. Some fields came within version 1, with a default."""
    said = json.loads(golden(1).read_bytes())
    assert not {"ensemble_size", "init_hash", "resumed", "callbacks"} & said.keys()
    assert read_record(golden(version)).model_dump(mode="json") == said | {"ensemble_size": 1}


def _to_2(content: Content) -> Content:
    """Renames `colour`."""
    return {**{name: value for name, value in content.items() if name != "colour"}, "color": content["colour"]}


def _to_3(content: Content) -> Content:
    """Splits `size`, and changes what it was given in place."""
    content["parts"]["width"], content["parts"]["height"] = content["parts"].pop("size")
    return content


CHAIN = {1: _to_2, 2: _to_3}
FIRST: Content = {"schema_version": 1, "colour": "red", "parts": {"size": [3, 4]}}
SECOND: Content = {"schema_version": 2, "color": "red", "parts": {"size": [3, 4]}}
THIRD: Content = {"schema_version": 3, "color": "red", "parts": {"width": 3, "height": 4}}


@pytest.mark.parametrize("old", [FIRST, SECOND, THIRD])
def test_a_chain_of_upgrades(old: Content) -> None:
    before = copy.deepcopy(old)
    assert upgrade(old, CHAIN, 3) == THIRD
    assert old == before


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (4, "schema_version: is 4, the newest known is 3: read it with a newer version of the suite"),
        (10**60, "schema_version: is 1000"),
        (0, "schema_version: 0 is unknown; known are 1, 2, 3"),
        (-(10**30), "schema_version: -1000"),
        (True, "schema_version: must be a whole number, is 'True'"),
        (1.0, "schema_version: must be a whole number, is '1.0'"),
        ("1", "schema_version: must be a whole number, is '1'"),
        (None, "schema_version: must be a whole number, is 'None'"),
        (["\n" * 99], "schema_version: must be a whole number, is "),
    ],
)
def test_other_versions_are_refused(version: object, line: str) -> None:
    with pytest.raises(ValueError) as caught:
        upgrade({**FIRST, "schema_version": version}, CHAIN, 3)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 150


def test_a_gap_in_the_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="^schema_version: 1 is unknown; known are 2, 3$"):
        upgrade(FIRST, {2: _to_3}, 3)
    with pytest.raises(ValueError, match="^schema_version: is missing; the current version is 3$"):
        upgrade({"colour": "red"}, CHAIN, 3)


def test_read_record_takes_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if version 0 had called `steps` `n_steps`."""

    def from_0(content: Content) -> Content:
        content["steps"] = content.pop("n_steps")
        return content

    def upgrade_from_0(content: Content) -> Content:
        shifted = {**content, "schema_version": content["schema_version"] + 1}
        return {**upgrade(shifted, {1: from_0}, 2), "schema_version": 1}

    monkeypatch.setattr(record_module, "upgrade", upgrade_from_0)
    old = json.loads(make_record().model_dump_json())
    old |= {"schema_version": 0, "n_steps": old.pop("steps")}
    (tmp_path / "record.json").write_text(json.dumps(old))
    assert read_record(tmp_path / "record.json") == make_record()


BROKEN: list[tuple[str | bytes, str]] = [
    ('"status":"solved"', "record: Invalid JSON: key 'status' stands there twice"),
    ('"n_heads":8', "record: Invalid JSON: key 'n_heads' stands there twice"),
    ('"schema_version":1', "record: Invalid JSON: key 'schema_version' stands there twice"),
]


@pytest.mark.parametrize("written", [True, False], ids=["as written", "compact"])
@pytest.mark.parametrize(("text", "line"), BROKEN)
def test_a_key_that_comes_twice_is_refused(text: str, line: str, written: bool, tmp_path: Path) -> None:
    """Also in a file that is otherwise just as it was written, which is read the short way."""
    path = tmp_path / "record.json"
    write_record(path, make_record())
    if written:
        text = text.replace(":", ": ")
    else:
        path.write_text(make_record().model_dump_json())
    whole = path.read_text()
    assert read_record(path) == make_record()
    assert whole.count(text) == 1
    path.write_text(whole.replace(text, f"{text},{text}"))
    assert _refusal(path) == f"{path}: {line}"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("0.71", "NaN", "first_loss_nats: Input should be a finite number"),
        ("0.71", "-Infinity", "first_loss_nats: Input should be a finite number"),
        ("0.71", "1e999", "first_loss_nats: "),
        ("0.71", "9" * 5000, "record: Invalid JSON: "),
        ('"schema_version":1', '"schema_version":2', "schema_version: is 2, the newest known is 1"),
        ('"schema_version":1', '"schema_version":true', "schema_version: "),
        ('"schema_version":1', '"schema_version":1.0', "schema_version: "),
        ('"schema_version":1,', "", "schema_version: is missing"),
        ('"status"', '"\\u0000"', "status: Field required"),
    ],
)
def test_values_that_are_refused(old: str, new: str, line: str, tmp_path: Path) -> None:
    path, whole = tmp_path / "record.json", make_record().model_dump_json()
    assert whole.count(old) == 1
    path.write_text(whole.replace(old, new))
    assert _refusal(path).startswith(f"{path}: {line}")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "record: Invalid JSON: Expecting value"),
        (b"[1]", "record: must be a JSON object, is list"),
        (b"null", "record: must be a JSON object, is NoneType"),
        (b"{}{}", "record: Invalid JSON: Extra data"),
        (b"\xff\xfe{\x00}\x00", "record: Invalid JSON: 'utf-8' codec"),
        (b"\xef\xbb\xbf{}", "record: Invalid JSON: "),
        (b"[" * 200_000, "record: Invalid JSON: nested deeper than 100 levels"),
        (b'{"a":' * 200_000, "record: Invalid JSON: nested deeper than 100 levels"),
        (b"{'a': 1}", "record: Invalid JSON: "),
    ],
)
def test_what_is_no_record_at_all(content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert _refusal(path).startswith(f"{path}: {line}")


def _refusal(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_record(path)
    assert re.fullmatch(r"[^\r\n]+", str(caught.value))
    return str(caught.value)


def test_strict_parsing_changes_nothing_of_a_whole_record() -> None:
    text = golden(CURRENT).read_bytes()
    expected: Any = json.loads(text)
    assert parse(text) == expected
