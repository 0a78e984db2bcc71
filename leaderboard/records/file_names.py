"""Names of files and folders that every file system can hold, whichever one they were made on."""

from __future__ import annotations

import re
import unicodedata

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f]')


def name_problem(name: str) -> str | None:
    """The reason why Windows cannot hold a name, whose checkout would then fail or lack it; None for a good one."""
    if found := _FORBIDDEN.search(name):
        return f"holds {found[0]!r}, which Windows has in no name"
    if name.endswith((".", " ")):
        return "ends in a dot or a blank, which Windows drops"
    if _RESERVED.fullmatch(name.partition(".")[0].rstrip()):
        return "is the name of a device on Windows"
    return None


def folded(name: str) -> str:
    """A key that names share which some file system takes for the same: they differ in case or in their encoding."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
