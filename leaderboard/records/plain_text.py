"""Text from outside on one line of a terminal: nothing that moves the cursor, breaks the line or turns the text."""

from __future__ import annotations

import re

# Control characters, line ends, and what changes the direction of the text around it, so that a line reads differently.
HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""A range of characters in regular expressions of Python, of Rust and of JSON Schema."""

_HIDDEN = re.compile(f"[{HIDDEN}\ud800-\udfff]")  # and halves of a pair, which no file can hold


def is_plain(text: str) -> bool:
    """Whether a text has no control characters, line breaks, lone surrogates or marks of writing direction."""
    return _HIDDEN.search(text) is None


def shown(text: str, most: int | None = None) -> str:
    """The text on one line, with escapes in place of what `is_plain` refuses, cut off after `most` characters."""
    text = text if most is None or len(text) <= most else f"{text[:most]}..."
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
