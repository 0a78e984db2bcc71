"""Files from outside, read within limits: of size, of depth, of the aliases in YAML; and ordinary files only.

    parse_json(read_bytes(path, MAX_RECORD_BYTES))
    parse_yaml(read_bytes(path, 20_000))
    check_yaml(text)  # before another parser reads it

Whoever made a file may mean ill: a pipe that nobody writes to makes a reader wait for ever, a link to a device that has
no end fills the memory, and so do nine lines of YAML; brackets nested a thousand deep end a parser in a RecursionError.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

MAX_RECORD_BYTES = 1_000_000  # a record has 4,000
MAX_CURVES_BYTES = 2_000_000  # curves have 20,000
MAX_DEPTH = 100  # levels of JSON or YAML; a record has 4
MAX_NODES = 100_000  # values of a YAML file, each alias counted as everything that it stands for

_BLOCK = 1 << 20


class TooLarge(ValueError):
    """A file has more bytes than are allowed."""


def read_bytes(path: str | Path, max_bytes: int, *, links: bool = True) -> bytes:
    """The content of an ordinary file.

    Nothing else is opened, for opening alone can block or have an effect; nor is a file that is too large, and reading
    stops where one turns out longer than it said.

    Args:
        path: of the file.
        max_bytes: the largest size allowed.
        links: follow a symbolic link to the file.

    Raises:
        TooLarge: the file has more bytes.
        ValueError: it is no ordinary file or cannot be read. One line with the file and the reason, both times.
    """
    try:
        _require_ordinary(path, os.stat(path, follow_symlinks=links), max_bytes)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
        try:
            found = os.fstat(descriptor)
            _require_ordinary(path, found, max_bytes)  # it may have been replaced
            content = os.read(descriptor, found.st_size + 1)
            while len(content) <= max_bytes and (block := os.read(descriptor, _BLOCK)):
                content += block
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise ValueError(f"{path}: {error}") from error
    except ValueError as error:  # a null byte in the name, or one of those below
        raise type(error)(f"{path}: {error}") from error
    if len(content) > max_bytes:
        raise TooLarge(f"{path}: is larger than it says, at most {max_bytes:,} bytes are allowed")
    return content


def _require_ordinary(path: str | Path, found: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(0, "Is a directory")
    if stat.S_ISLNK(found.st_mode):
        raise ValueError("is a symbolic link: only files are allowed")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("is no ordinary file (a device, a pipe or a socket)")
    if found.st_size > max_bytes:
        raise TooLarge(f"is {found.st_size:,} bytes, at most {max_bytes:,} are allowed")


def parse_json(content: bytes | str, *, unique: bool = True) -> Any:
    """The value in a JSON text: UTF-8, nested at most `MAX_DEPTH` deep; NaN and Infinity are for others to refuse.

    Args:
        content: the text.
        unique: refuse an object that has a key twice.

    Raises:
        ValueError: one line, the reason alone.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique if unique else None)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # of the decoder, of the parser, of a number with too many digits
        raise ValueError(" ".join(str(error).split())) from error
    level, depth = [value], 0
    while level := [outer for outer in level if isinstance(outer, list | dict)]:
        depth += 1
        _require_shallow(depth)
        level = [inside for outer in level for inside in (outer if isinstance(outer, list) else outer.values())]
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"key {repeated[:80]!r} stands there twice")
    return content


def check_yaml(text: str, *, aliases: bool = True) -> None:
    """Look through a YAML text, whichever parser reads it afterwards: time and memory are in proportion to its length.

    With its aliases written out it may hold `MAX_NODES` values, nested at most `MAX_DEPTH` deep; so no alias stands
    within what it stands for.

    Args:
        text: one or more documents.
        aliases: whether there may be any.

    Raises:
        ValueError: one line, the reason alone.
        yaml.YAMLError: it is no YAML.
    """
    known: dict[str, tuple[int, int]] = {}  # values and levels of what has an anchor
    around: list[tuple[str | None, int, int]] = []  # anchor, values and levels so far of what is not closed yet
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            around.append((event.anchor, 1, 1))
            _require_shallow(len(around))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, values, levels = around.pop()
            _note(anchor, values, levels, known, around)
        elif isinstance(event, yaml.ScalarEvent):
            _note(event.anchor, 1, 0, known, around)
        elif isinstance(event, yaml.AliasEvent):
            if not aliases:
                raise ValueError("aliases are not allowed")
            if event.anchor not in known:
                raise ValueError(f"alias *{event.anchor} stands for nothing that ends before it")
            _note(None, *known[event.anchor], known, around)


def _note(
    anchor: str | None,
    values: int,
    levels: int,
    known: dict[str, tuple[int, int]],
    around: list[tuple[str | None, int, int]],
) -> None:
    """Count what has just ended as a part of what is around it."""
    if anchor is not None:
        known[anchor] = values, levels
    if around:
        outer, so_far, deepest = around.pop()
        _require_shallow(len(around) + 1 + levels)
        values += so_far
        around.append((outer, values, max(deepest, levels + 1)))
    if values > MAX_NODES:
        raise ValueError(f"holds more than {MAX_NODES:,} values once its aliases are written out")


def _require_shallow(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")


class _Unique(yaml.SafeLoader):
    """Safe YAML in which no mapping has a key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
        repeated = [key for key, count in Counter(keys).items() if count > 1]
        if repeated:
            raise ValueError(f"key {str(repeated[0])[:80]!r} stands there twice")
        return super().construct_mapping(node, deep)


def parse_yaml(content: bytes | str, *, aliases: bool = False) -> Any:
    """The value in a YAML text: UTF-8, plain values only, no key twice, within the limits of `check_yaml`.

    Args:
        content: the text, one document.
        aliases: whether there may be any.

    Raises:
        ValueError: one line, the reason alone.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        check_yaml(text, aliases=aliases)
        return yaml.load(text, Loader=_Unique)
    # PyYAML lets some of these through for a value that its tag does not fit.
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
        yaml.YAMLError,
    ) as error:
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error
