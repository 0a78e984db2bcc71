"""The findings of a validation, shown one line per problem, whatever characters untrusted input holds."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_SHOWN = 300  # characters of a reason: a wrong value may be as long as the file

# Control characters, lone surrogates, line ends, and what changes the direction of the text around it, so that a line
# reads differently.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def is_plain(text: str) -> bool:
    """Whether a text has no control characters, line breaks, lone surrogates or marks of writing direction."""
    return _HIDDEN.search(text) is None


def shown(text: str) -> str:
    """The text on one line, with escapes in place of what `is_plain` refuses, cut off where it is too long."""
    text = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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
        return f"{shown(self.file)}: {shown(self.field)}: {shown(self.reason)}"


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
