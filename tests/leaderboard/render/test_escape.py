"""Untrusted text in Markdown, as a parser reads it back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.render.escape import markdown_code, markdown_link, markdown_text, visible
from tests.helpers.leaderboard.rendered import HOSTILE, Page

FILTERED = re.compile(r"@\w|#\d|\$.*\$|://|:[\w+-]+:|www\.", re.IGNORECASE)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_cell_shows_what_stands_in_the_record(text: str) -> None:
    page = Page(f"| a | b |\n| --- | --- |\n| {markdown_text(text)} | end |")
    assert page.tables == [[["a", "b"], [visible(text), "end"]]]
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "span"}
    assert "<" not in re.sub(r"</?span>", "", markdown_text(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_is_left_for_the_filters_of_github(text: str) -> None:
    """They look at a whole piece of text, up to the next tag."""
    assert [piece for piece in Page(markdown_text(f"x {text}")).pieces if FILTERED.search(piece)] == []


def test_what_the_filters_look_for() -> None:
    """The texts above hold every kind of it."""
    found = {found.group() for text in HOSTILE for found in FILTERED.finditer(text)}
    assert {"@o", "@e", "#1", "#2", "$x^2$ $$y$$", "://", "www.", "WWW.", ":tada:"} <= found


@given(st.text(alphabet="a1 \\|`*_[](){}<>!&;#~@$:/.w-\t\u202e\u2028é", max_size=30))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    """Apart from white space and from what cannot be seen."""
    page = Page(f"| a | b |\n| --- | --- |\n| x{markdown_text(text)}x | end |")
    [shown, end] = page.tables[0][1]
    assert end == "end"
    assert "".join(shown.split()) == "x" + "".join(text.replace("\u202e", "\N{REPLACEMENT CHARACTER}").split()) + "x"
    assert not any(FILTERED.search(piece) for piece in page.pieces)


def test_names_in_code_type() -> None:
    assert markdown_code("gated_deltanet") == "`gated_deltanet`"
    for odd in ("a`b", "a|b", "`", " a", "a\nb", "_x_", ""):
        assert "`" not in markdown_code(odd).replace("\\`", "")


@pytest.mark.parametrize(
    "url",
    [
        "https://e.com/a(b)c",
        "https://e.com/a|b",
        "https://e.com/<b>",
        "https://e.com/`x`",
        'https://e.com/"t"',
        "https://e.com/a\\b)",
    ],
)
def test_a_link_keeps_to_its_brackets(url: str) -> None:
    page = Page(f"| a | b |\n| --- | --- |\n| {markdown_link('x](y', url)} | end |")
    assert page.tables[0][1] == ["x](y", "end"]
    [link] = page.links
    assert link.startswith("https://e.com/")
    assert link == re.sub(r"[()|<>`\"\\]", lambda found: f"%{ord(found.group()):02X}", url)


@pytest.mark.parametrize("url", [None, "javascript:alert(1)", "http://e.com", "//e.com"])
def test_only_https_is_linked(url: str | None) -> None:
    assert markdown_link("x", url) == "x"
