"""The configuration that all seeds of an entry share within a cell, and the first place where two records differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from leaderboard.records.record import Record

CONFIGURATION = ("architecture", "optimizer", "precision", "intervention", "protocol_hash")
"""Fields of a record that all seeds of one entry share in a cell."""


def differences(ours: Record, theirs: Record, fields: Sequence[str] = CONFIGURATION) -> Iterator[tuple[str, Any, Any]]:
    """Yield for each field in which two records differ the first dotted path that does, with both values."""
    for field in fields:
        if getattr(ours, field) != getattr(theirs, field):
            mine, other = (record.model_dump(include={field}).get(field) for record in (ours, theirs))
            yield _first_difference(field, mine, other)


def _first_difference(field: str, ours: Any, theirs: Any) -> tuple[str, Any, Any]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key) or (key in ours) != (key in theirs):
                return _first_difference(f"{field}.{key}", ours.get(key), theirs.get(key))
    return field, ours, theirs
