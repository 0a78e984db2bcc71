"""HTML by hand: escaping, links, JSON inside a page, and the skeleton that every page shares.

Whatever comes from records or `entry.yaml` goes through `text`, `link`, `anchor` or `json_block`, and nothing else of
it reaches a page. The Content-Security-Policy is the second lock: no inline script runs at all, and nothing connects
anywhere. It must allow `unsafe-eval`, because Vega compiles its expressions, and `blob:`, because DataTables comes as a
module, which browsers do not load from `file://`.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from leaderboard.render.escape import visible

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' blob: 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(/[!-~]*)?")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="description" content="{description}">
<title>{title}</title>
<script src="{root}assets/theme.js"></script>
<link rel="stylesheet" href="{root}assets/tables.css">
<link rel="stylesheet" href="{root}assets/site.css">
<script defer src="{root}assets/vega.js"></script>
<script defer src="{root}assets/tables.js"></script>
<script defer src="{root}assets/site.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the results</a>
<header class="top"><div class="wide">
<a class="brand" href="{root}index.html">Emergence Benchmark</a>
<button type="button" id="theme" hidden>Dark</button>
</div></header>
<main id="main" class="wide" tabindex="-1">
{body}
</main>
<footer class="wide"><p>Made from the committed records by <code>python -m leaderboard build</code>. The same records
give the same page.</p></footer>
{data}
</body>
</html>
"""


def text(value: object) -> str:
    """`value` as HTML text, safe between tags and inside a quoted attribute; what cannot be seen becomes visible."""
    return _text(str(value))


@lru_cache(maxsize=10_000)  # the same names, again in every row
def _text(plain: str) -> str:
    return html.escape(visible(plain), quote=True)


def name(value: object) -> str:
    """Text of a stranger's choosing, kept from turning round the direction of what follows it."""
    return f"<bdi>{text(value)}</bdi>"


def link(url: str | None, label: str) -> str:
    """A link to an https address; any other address is shown as text and leads nowhere."""
    if url is None:
        return ""
    if not _LINK.fullmatch(url):
        return f"{text(label)}: {name(url)}"
    return f'<a href="{text(url)}" rel="noopener noreferrer nofollow">{text(label)}</a>'


def anchor(*parts: str) -> str:
    """An id and file name for names: letters, digits, `_`, `-`; two different lists of names never share one."""
    plain = "--".join(parts)
    if all(re.fullmatch(r"[a-z0-9]([a-z0-9_]|-(?!-))*", part) and not part.endswith("-") for part in parts):
        return plain
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:10]
    return f"{re.sub(r'[^a-z0-9_]+', '-', plain.lower()).strip('-_')[:40]}-x{digest}"


def entry_page(suite: str, entry: str) -> str:
    """Path of an entry's page within the site."""
    return f"entries/{anchor(suite, entry)}.html"


def json_block(content: Any, block_id: str) -> str:
    """JSON that a script of ours reads; nothing in it can end the element or start another."""
    plain = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{text(block_id)}">{plain}</script>'


def items(pairs: Sequence[tuple[str, str]]) -> str:
    """A description list; the second of each pair is HTML, and a pair without it is left out."""
    rows = "".join(f"<div><dt>{text(term)}</dt><dd>{value}</dd></div>" for term, value in pairs if value)
    return f'<dl class="facts">{rows}</dl>'


def page(title: str, description: str, body: str, data: Any, root: str = "") -> str:
    """A whole page.

    Args:
        title, description: plain text.
        body: HTML of the main part.
        data: what the scripts read: charts and the colours of the dark theme.
        root: path from the page to the site's folder, "" or "../".
    """
    return _PAGE.format(
        policy=text(POLICY),
        title=text(title),
        description=text(description),
        body=body,
        data=json_block(data, "page-data"),
        root=root,
    )
