"""A page as an independent Markdown parser reads it, and texts that try to be more than text."""

from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = (
    "a|b",
    "a\\|b\\",
    "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>",
    "`code` **bold** _it_ ~~gone~~",
    "[x](javascript:alert(1)) ![y](https://e.com/y.png)",
    "<!-- leaderboard:end -->",
    "&lt;b&gt; &amp; &#64;all",
    "@octocat and @org/team, me@e.com",
    "#1 owner/repo#2 GH $x^2$ $$y$$",
    "https://e.com/?q=1 www.e.com WWW.E.COM ftp://e.com mailto:a@e.com :tada:",
    "# heading",
    "- item",
    "--- | ---",
    "bidi \u202etxt\u2066 zero\u200bwidth nul\x00 bell\x07",
    "line\u2028separator\u2029 next\x85 tab\t form\x0cfeed",
)


class Page(HTMLParser):
    """Tables (rows of cell texts), pieces of text, and the tags of rendered Markdown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.pieces: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self._cell = False
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        assert {name for name, _ in attrs} <= {"href", "src", "alt", "style"}
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)
        if self._cell:
            self.tables[-1][-1][-1] += data
