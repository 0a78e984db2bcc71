"""The reader of files from outside: ordinary, bounded, and at once."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboard.records import bounded
from leaderboard.records.bounded import check_yaml, parse_json, parse_yaml, read_bytes


def at_once(do: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The result or the error of a call; a failure where it is still at it after some seconds."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(do())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, "still at it"
    return found[0]


def refusal(do: Callable[[], Any]) -> str:
    """The one line of a ValueError."""
    error = at_once(do)
    assert isinstance(error, ValueError) and len(str(error).splitlines()) == 1, repr(error)
    return str(error)


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_whole_content_up_to_the_limit(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert read_bytes(path, 1000) == path.read_bytes()


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1001)
    assert refusal(lambda: read_bytes(path, 1000)) == f"{path}: is 1,001 bytes, at most 1,000 are allowed"
    os.truncate(path, 2**40)  # takes no room on the disk
    assert "is 1,099,511,627,776 bytes" in refusal(lambda: read_bytes(path, 1000))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a kernel without /proc")
def test_file_that_says_it_is_empty() -> None:
    """Those of /proc do, and hold something: the limit holds while reading, too."""
    assert read_bytes("/proc/self/status", 100_000).startswith(b"Name:")
    assert "is larger than it says, at most 10 bytes" in refusal(lambda: read_bytes("/proc/self/status", 10))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def a_socket(path: Path) -> None:
    folder = os.getcwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(folder)


def a_link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@pytest.mark.parametrize("make", [a_pipe, a_device, a_terminal, a_socket, a_link_to_a_pipe])
def test_what_is_no_ordinary_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "record.json"
    make(path)
    assert refusal(lambda: read_bytes(path, 1000)).startswith(f"{path}: is no ordinary file")
    assert refusal(lambda: read_bytes(path, 1000, links=False)).startswith(f"{path}: is ")


def test_pipe_that_takes_the_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and the opening."""
    path, real = tmp_path / "record.json", os.open
    path.touch()

    def replaced(name: Any, *arguments: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, *arguments)

    monkeypatch.setattr(os, "open", replaced)
    assert "is no ordinary file" in refusal(lambda: read_bytes(path, 1000))


def test_links(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    assert read_bytes(tmp_path / "link", 10) == b"x"
    assert "link: is a symbolic link" in refusal(lambda: read_bytes(tmp_path / "link", 10, links=False))
    assert "loop: cannot be read" in refusal(lambda: read_bytes(tmp_path / "loop", 10))


@pytest.mark.parametrize("name", ["", "gone", "a\0b", "x" * 300])
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    assert str(tmp_path) in refusal(lambda: read_bytes(f"{tmp_path}/{name}", 10))


def test_json() -> None:
    deep = b"[" * 100 + b"]" * 100
    assert parse_json(b'{"a": [1, 2.5, null, "\\u00e9"]}') == {"a": [1, 2.5, None, "é"]}
    assert isinstance(parse_json(deep), list)
    assert parse_json('{"a": 1, "a": 2}', unique=False) == {"a": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 101 + b"]" * 101, "nested deeper than 100 levels"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested deeper than 100 levels"),
        (b"[" * 1_000_000, "nested deeper than 100 levels"),
        (b"[" * 900 + b"]" * 900, "nested deeper than 100 levels"),
        (b'{"a": {"b": 1, "b": 2}}', "key 'b' stands there twice"),
        (b"9" * 5000, "Exceeds the limit"),
        (b"\xff", "'utf-8' codec can't decode"),
        (b"{", "Expecting property name"),
    ],
)
def test_json_that_is_refused(content: bytes, reason: str) -> None:
    assert refusal(lambda: parse_json(content)).startswith(reason)


def bomb(width: int, height: int) -> str:
    """Lines of lists of aliases of the line before: width to the power of height values."""
    first = "a0: &a0 [" + ", ".join(["x"] * width) + "]"
    more = [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * width) + "]" for i in range(1, height)]
    return "\n".join([first, *more]) + "\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(9, 9), "holds more than 100,000 values"),
        (bomb(2, 60), "holds more than 100,000 values"),
        ("a: &a {b: *a}", "alias *a stands for nothing that ends before it"),
        ("&a [*a]", "alias *a stands for nothing that ends before it"),
        ("a: *b", "alias *b stands for nothing that ends before it"),
        ("[" * 300, "nested deeper than 100 levels"),
        ("a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60, "nested deeper than 100 levels"),
        ("- " * 101 + "x", "nested deeper than 100 levels"),
    ],
)
def test_yaml_bombs(text: str, reason: str) -> None:
    assert refusal(lambda: check_yaml(text)).startswith(reason)
    assert refusal(lambda: parse_yaml(text, aliases=True)).startswith(reason)


def test_yaml_within_the_limits() -> None:
    """The count of values is that of the tree which a parser makes of it, each alias written out."""
    text = "base: &base {a: 1, b: [2, 3]}\nother: {<<: *base, c: 4}\nlast: [*base, *base]\n"
    check_yaml(text)
    assert parse_yaml(text, aliases=True) == yaml.safe_load(text)
    check_yaml("- " * 100)
    check_yaml("a: 1\n---\nb: 2\n")  # several documents


def test_yaml_counts_what_a_parser_would_make(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "base: &base {a: 1, b: [2, 3]}\nlast: [*base, *base]\n"

    def values(node: Any) -> int:
        if isinstance(node, yaml.MappingNode):
            return 1 + sum(values(part) for pair in node.value for part in pair)
        return 1 + sum(map(values, node.value)) if isinstance(node, yaml.SequenceNode) else 1

    n = values(yaml.compose(text, Loader=yaml.SafeLoader))
    monkeypatch.setattr(bounded, "MAX_NODES", n)
    check_yaml(text)
    monkeypatch.setattr(bounded, "MAX_NODES", n - 1)
    assert "more than" in refusal(lambda: check_yaml(text))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\na: 2", "key 'a' stands there twice"),
        (b"a: &x 1\nb: *x", "aliases are not allowed"),
        (b"\xff", "'utf-8' codec can't decode"),
        (b"a: !!python/name:os.system x", "could not determine a constructor"),
        (b"a: 2026-99-99", "month must be in 1..12"),
        (b"a: !!int x", "invalid literal"),
        (b"? [1]\n: 2", "unhashable type"),
        (b"a: \x1b", "unacceptable character"),
        (b"a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_strict_yaml(content: bytes, reason: str) -> None:
    assert refusal(lambda: parse_yaml(content)).startswith(reason)
