"""The findings of a validation, shown one line per problem, whatever characters untrusted input holds."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.records.plain_text import shown

MAX_SHOWN = 300  # characters of a reason: a wrong value may be as long as the file


@dataclass(frozen=True)
class Problem:
    """A reason to refuse what was handed in.

    Attributes:
        file: path of the file or folder.
        field: name of the field of the file, with dots; of a file itself "file", "size" or "name".
        reason: what is wrong, and what would be right.
    """

    file: str
    field: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(shown(part, MAX_SHOWN) for part in (self.file, self.field, self.reason))


@dataclass(frozen=True)
class Report:
    """The findings of a validation.

    Attributes:
        problems: reasons to refuse; nothing is wrong if there are none.
        notes: what was not checked, or is worth a look.
        entries: "suite/name" of the entries, sorted.
        n_records: records that were read, broken ones not counted.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    entries: tuple[str, ...]
    n_records: int
