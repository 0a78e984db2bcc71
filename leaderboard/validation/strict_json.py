"""Untrusted JSON, checked before it is read as a record: whatever parsers read differently, or choke on, is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from leaderboard.records.plain_text import is_plain

MAX_DEPTH = 20  # a record has 4
MAX_INTEGER = 2**63 - 1
MAX_TEXT = 1000  # characters: a table has to show it


def json_problems(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield (field, reason) if the bytes are not one plain JSON object: UTF-8, finite numbers, integers of 64 bits, no
    repeated key, nesting of at most 20, texts of at most 1,000 characters without control characters."""
    try:
        parsed = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
        if not isinstance(parsed, dict):
            raise ValueError(f"must be an object, is {type(parsed).__name__}")
        yield from _inside(parsed, "", 1)
    except RecursionError:
        yield "record", f"is nested deeper than {MAX_DEPTH} levels"
    except ValueError as error:  # of json, of UTF-8 and of the functions below
        yield "record", f"is no valid JSON: {error}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        repeated = next(key for position, key in enumerate(keys) if key in keys[:position])
        raise ValueError(f"key {repeated!r} stands there twice")
    return dict(pairs)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f"integer {text[:30]} does not fit into 64 bits")
    return int(text)


def _float(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"number {text[:30]} is not finite")
    return number


def _inside(value: Any, field: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            yield field, f"has {len(value):,} characters, at most {MAX_TEXT:,} are allowed"
        elif not is_plain(value):
            yield field, f"holds a control character: {value!r}"
    elif isinstance(value, list):
        for item in value:
            yield from _inside(item, field, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{field}.{key}" if field else key
            if len(key) > MAX_TEXT or not is_plain(key):
                yield inner, f"is a name with a control character or of more than {MAX_TEXT:,} characters"
            yield from _inside(item, inner, depth + 1)
