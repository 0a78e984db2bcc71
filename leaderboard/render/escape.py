"""Untrusted text, made harmless for the place where it is shown: a name in a record may hold anything.

Markdown follows GitHub's dialect, which reads more than CommonMark does: @mentions, #references, bare links, $math$ and
:emoji:. Its filters run on whole pieces of text, so an element around one character stops them and leaves no trace on
the page.
"""

from __future__ import annotations

import re
import unicodedata

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_PLAIN_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# A bar is an entity and not an escape, so that a table's own escaping of bars cannot double it.
_STRUCTURE = {**{char: f"\\{char}" for char in "\\`*_{}[]()!~"}, "|": "&#124;", "<": "&lt;", ">": "&gt;", "&": "&amp;"}
# What GitHub's filters look for: @name, #1, $math$, ://, :emoji:, www.
_FILTERED = re.compile(r"[@#$]|:(?=//|[\w+-]+:)|(?<=www)\.", re.IGNORECASE)
_LINK_ENCODED = re.compile(r"[^A-Za-z0-9:/?#@!&=+,;.~%_-]")


def visible(text: str) -> str:
    """One line: white space becomes a blank, and what cannot be seen (controls, bidi marks) a replacement character."""
    line = " ".join(text.split())
    if line.isprintable():  # as nearly every text is
        return line
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in {"Cc", "Cf", "Cs"} else char for char in line
    )


def markdown_text(text: str) -> str:
    """Text that GitHub shows as it stands, inside a line or a table's cell."""
    line, pieces, place = visible(text), [], 0
    for found in _FILTERED.finditer(line):
        pieces += [_structure(line[place : found.start()]), f"<span>{found.group()}</span>"]
        place = found.end()
    return "".join([*pieces, _structure(line[place:])])


def markdown_code(text: str) -> str:
    """A name in code type; one that is no plain name is shown as text."""
    return f"`{text}`" if _PLAIN_CODE.fullmatch(text) else markdown_text(text)


def markdown_link(text: str, url: str | None) -> str:
    """A link, or the text alone where there is no https address."""
    if url is None or not url.startswith("https://"):
        return markdown_text(text)
    target = _LINK_ENCODED.sub(lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), url)
    return f"[{markdown_text(text)}]({target})"


def spreadsheet_text(text: str) -> str:
    """Text that a spreadsheet shows and does not compute: an apostrophe stands before what would start a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _structure(text: str) -> str:
    return "".join(_STRUCTURE.get(char, char) for char in text)
