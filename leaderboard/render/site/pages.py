"""HTML of the site's pages, from the templates beside this file.

Jinja escapes whatever a template prints, and `visible` comes before it: what cannot be seen becomes visible. Names
that others chose stand in a `<bdi>` (the filter `name`), and addresses lead to https only (`link`).

The Content-Security-Policy is the second lock: no inline script runs at all, and nothing connects anywhere. It must
allow `unsafe-eval`, because Vega compiles its expressions, and `blob:`, because DataTables comes as a module, which
browsers do not load from `file://`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from leaderboard.board.columns import Code, Column, EntryName, Name, Piece, Remark
from leaderboard.board.wording import count_text, typeset
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
LAST = 1e300  # sorts after every number: JavaScript has no order for what is missing
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(/[!-~]*)?")


def render(template: str, **values: Any) -> Markup:
    """A template with these values in it.

    Raises:
        jinja2.UndefinedError: the template needs a value that is not given.
    """
    return Markup(environment("leaderboard.render.site").get_template(template).render(values))


def table(table_id: str, caption: str, columns: Sequence[Column], rows: Sequence[Any], **options: Any) -> Markup:
    """A table in a box of its own that scrolls sideways where the screen is narrow.

    It is whole and readable as it stands, and made sortable and filterable by itables' DataTables. Their
    `to_html_datatable` is not used: it keeps the rows in a script, so that without one there is no table.

    Args:
        table_id: an id, unique on its page.
        options: `page_length`, rows shown at once where scripts run (25); `filtered`, whether few rows have a filter.
    """
    options = {"page_length": 25, "filtered": False, **options}
    # A template for each of a hundred thousand cells would take seconds: one makes the pattern of a row.
    pattern = str(render("row.html", columns=columns, place="%s"))
    lines = [Markup(pattern % tuple(_values(columns, row))) for row in rows]
    return render("table.html", table_id=table_id, caption=caption, columns=columns, rows=lines, **options)


def _values(columns: Sequence[Column], row: Any) -> Iterator[str]:
    """HTML for the places in the pattern of a row: of each column what it sorts by, if anything, and its text."""
    for column in columns:
        if column.number is not None:
            number = column.number(row)
            yield str(LAST if number is None else number)
        elif column.order is not None:
            yield escape(visible(column.order(row)))
        yield shown(column.pieces(row), "" if column.style is None else column.style(row))


def anchor(*parts: str) -> str:
    """An id and file name for names: letters, digits, `_`, `-`; two different lists of names never share one."""
    plain = "--".join(parts)
    if all(re.fullmatch(r"[a-z0-9]([a-z0-9_]|-(?!-))*", part) and not part.endswith("-") for part in parts):
        return plain
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:10]
    return f"{re.sub(r'[^a-z0-9_]+', '-', plain.lower()).strip('-_')[:40]}-x{digest}"


def entry_path(suite: str, entry: str) -> str:
    """Path of an entry's page within the site."""
    return f"entries/{anchor(suite, entry)}.html"


def cell_path(suite: str, cell: str) -> str:
    """Path of a cell's page within the site."""
    return f"cell--{anchor(suite, cell)}.html"


def pair_address(suite: str, first: str, second: str) -> str:
    """Address of two entries side by side, relative to the site."""
    return f"pairs.html#{'/'.join(quote(part, safe='') for part in (suite, first, second))}"


def name(value: object) -> Markup:
    """Untrusted text in an element that keeps it from turning round the direction of the text after it."""
    return Markup("<bdi>%s</bdi>") % _finalize(value)


def link(url: str | None, label: str) -> Markup:
    """A link to an https address; any other address is shown as text and leads nowhere."""
    if url is None:
        return Markup("")
    if not _LINK.fullmatch(url):
        return Markup("%s: %s") % (_finalize(label), name(url))
    return Markup('<a href="%s" rel="noopener noreferrer nofollow">%s</a>') % (_finalize(url), _finalize(label))


def json_block(content: Any, block_id: str) -> Markup:
    """JSON that a script of ours reads; nothing in it can end the element or start another."""
    plain = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return Markup('<script type="application/json" id="%s">%s</script>') % (block_id, Markup(plain))


def explained(text: str) -> Markup:
    """Text of ours with code in backticks, typeset."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>%s</code>") % typeset(part) if place % 2 else typeset(part) for place, part in enumerate(parts)
    )


def sentence(text: str) -> Markup:
    """`What it is: names and numbers`, typeset, with what comes before the colon in bold."""
    head, _, rest = text.partition(": ")
    return Markup("<strong>%s:</strong> %s") % (_finalize(typeset(head)), name(typeset(rest)))


def shown(pieces: Sequence[Piece], style: str = "") -> Markup:
    """The text of a table's cell."""
    if len(pieces) == 1 and not style:
        return _piece(pieces[0])
    main = Markup("").join(_piece(piece) for piece in pieces if not isinstance(piece, Remark))
    remarks = [_piece(piece) for piece in pieces if isinstance(piece, Remark)]
    return Markup("<br>").join([_styled(main, style) if style else main, *remarks])


@lru_cache(maxsize=10_000)
def _styled(main: Markup, style: str) -> Markup:
    return Markup('<span class="%s">%s</span>') % (style, main)


def _piece(piece: Piece) -> Markup:
    if isinstance(piece, EntryName):
        standing = piece.standing
        return Markup('<a href="%s">%s</a>') % (entry_path(standing.suite, standing.name), name(standing.title))
    return _text_piece(piece, type(piece))


@lru_cache(maxsize=10_000)  # the same names and numbers, again in every row
def _text_piece(piece: str, kind: type) -> Markup:
    if not issubclass(kind, Name):
        return escape(typeset(piece))
    frame = {Code: "<code>%s</code>", Remark: '<span class="muted">%s</span>'}.get(kind, "%s")
    return Markup(frame) % name(str(piece))


def _finalize(value: object) -> object:
    return value if hasattr(value, "__html__") else visible(str(value))


@lru_cache
def environment(package: str) -> Environment:
    """The templates of a package, with escaping and the filters that all pages share.

    Args:
        package: dotted name; the templates lie in its folder `templates`.
    """
    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "sentence": sentence,
        "name": name,
        "explained": explained,
        "shown": shown,
        "json_block": json_block,
    }
    made.globals |= {
        "POLICY": POLICY, "anchor": anchor, "cell_path": cell_path, "link": link, "count_text": count_text
    }  # fmt: skip
    return made
