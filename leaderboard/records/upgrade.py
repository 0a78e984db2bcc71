"""Records of every version of the schema, brought to the current one.

A published record is never edited, so every version that was ever current stays readable. When the schema changes in a
way that old files do not fit, `CURRENT` goes up by one and `UPGRADES` gets the step from the version before: a pure
function of a whole record as JSON holds it, which says in its docstring what it adds, renames or derives. A new field
with a default that is true of all old records needs no new version. A step that changes `task` or `protocol` computes
`protocol_hash` anew. `tests/leaderboard/records/golden/` keeps one file of each version.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from leaderboard.records.bounded import parse_json

Content = dict[str, Any]
Step = Callable[[Content], Content]

CURRENT = 1
UPGRADES: Mapping[int, Step] = {}
"""By the version that a step starts from; it ends at the next one."""


def parse(text: bytes) -> Content:
    """The JSON object in a file: UTF-8, and no key twice. It is for the record to refuse NaN and Infinity by field.

    Raises:
        ValueError: one line, "record: reason".
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"record: Invalid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"record: must be a JSON object, is {type(content).__name__}")
    return content


def upgrade(content: Content, upgrades: Mapping[int, Step] = UPGRADES, current: int = CURRENT) -> Content:
    """A record of any known version in the current one; what comes in is left as it is.

    Args:
        content: a whole record as JSON holds it.
        upgrades: the steps.
        current: the version to arrive at.

    Raises:
        ValueError: one line, "schema_version: reason", if it is missing, newer than the current one or unknown.
    """
    if "schema_version" not in content:
        raise ValueError(f"schema_version: is missing; the current version is {current}")
    version = content["schema_version"]
    if type(version) is not int:  # True is no version
        raise ValueError(f"schema_version: must be a whole number, is {str(version)[:40]!r}")
    if version > current:
        newer = "read it with a newer version of the suite"
        raise ValueError(f"schema_version: is {str(version)[:40]}, the newest known is {current}: {newer}")
    steps, known = range(version, current), ", ".join(map(str, sorted({*upgrades, current})))
    if version < 1 or not all(step in upgrades for step in steps):
        raise ValueError(f"schema_version: {str(version)[:40]} is unknown; known are {known}")
    content = copy.deepcopy(content)
    for step in steps:
        content = {**upgrades[step](content), "schema_version": step + 1}
    return content
