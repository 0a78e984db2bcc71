"""The site in a real browser, opened from files: it sorts, filters, draws, changes its theme, and asks nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.leaderboard.boards import HOSTILE
from tests.helpers.leaderboard.browsing import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator
    from playwright.sync_api import Page as Tab

pytestmark = [pytest.mark.browser, pytest.mark.process]
OVERVIEW = "#overview--lite"
CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.fixture
def opened(browser: Browser, site: Path) -> Iterator[Watch]:
    watch = Watch(browser, site)
    yield watch
    watch.close()


@pytest.fixture(scope="module")
def shared(browser: Browser, site: Path) -> Iterator[Watch]:
    """A page for tests that leave it as they found it."""
    watch = Watch(browser, site)
    yield watch
    watch.close()


def column(tab: Tab, place: int, table: str = OVERVIEW) -> list[str]:
    return [text.strip() for text in tab.locator(f"{table} tbody tr > :nth-child({place})").all_inner_texts()]


def sorter(tab: Tab, title: str, table: str = OVERVIEW) -> Locator:
    return tab.locator(f"{table} thead th", has_text=title).get_by_role("button")


def sorted_by(tab: Tab, title: str, order: str, table: str = OVERVIEW) -> None:
    """Wait until the table says that it is sorted: it does so a moment after the click or the key."""
    tab.locator(f"{table} thead th[aria-sort={order}]", has_text=title).wait_for()


def comes(tab: Tab, holds: Callable[[], bool]) -> bool:
    """Whether something comes true: a table sorts itself a moment after the key."""
    for _ in range(100):
        if holds():
            return True
        tab.wait_for_timeout(50)
    return holds()


def saved(tab: Tab, figure: Locator, button: str, name: str) -> bytes:
    with tab.expect_download() as download:
        figure.get_by_role("button", name=button).click()
    assert download.value.suggested_filename == name
    return Path(download.value.path()).read_bytes()


def test_sorts_by_click_and_by_keyboard_as_numbers(opened: Watch) -> None:
    tab, solved = opened.tab, "#cell--lite--lm_s16_n4"
    assert comes(tab, lambda: column(tab, 2) == ["Transformer", "Mamba", "Rwkv"])
    tab.locator(f"{OVERVIEW} thead th", has_text="Entry").click()
    sorted_by(tab, "Entry", "ascending")
    assert column(tab, 2) == ["Mamba", "Rwkv", "Transformer"]
    button = sorter(tab, "win rate on lm")
    for order, names in (
        ("ascending", ["Mamba", "Transformer", "Rwkv"]),
        ("descending", ["Rwkv", "Transformer", "Mamba"]),
    ):
        button.focus()
        tab.keyboard.press("Enter")
        sorted_by(tab, "win rate on lm", order)
        assert column(tab, 2) == names
    medians = column(tab, 4, solved)
    assert sum(text.startswith("> 1,000") for text in medians) == 2  # and "800 (450+)", which as text would come last
    for order, place in (("ascending", 0), ("descending", 2)):
        sorter(tab, "Median step", solved).click()
        sorted_by(tab, "Median step", order, solved)
        assert column(tab, 4, solved)[place].startswith("800")


def test_filters(shared: Watch) -> None:
    tab, everyone = shared.tab, ["Transformer", "Mamba", "Rwkv"]
    for typed, left in (("self-rep", ["Mamba", "Rwkv"]), ("lm_s8_n4", ["Rwkv"]), ("", everyone)):
        tab.get_by_role("searchbox", name="Filter").first.fill(typed)
        tab.wait_for_function(f"document.querySelectorAll('{OVERVIEW} tbody tr').length === {len(left)}")
        assert column(tab, 2) == left


def test_opens_an_entry_and_comes_back(opened: Watch, site: Path) -> None:
    tab = opened.tab
    tab.locator(OVERVIEW).get_by_role("link", name="Mamba").click()
    opened.ready()
    assert tab.title().startswith("Mamba on lite") and tab.locator("h1").inner_text() == "Mamba"
    tab.locator("#runs_wrapper").get_by_role("searchbox").fill("censored")
    assert set(column(tab, 3, "#runs")) == {"censored"}
    opened.draw_all()
    assert tab.locator("figure .mark-line path").count() >= 8  # two entries in four cells
    figure = tab.locator("#lite--mamba--lm_s8_n2--solved")
    assert saved(tab, figure, "PNG", "lite--mamba--lm_s8_n2--solved.png").startswith(b"\x89PNG")
    for kind, start in (("SVG", b"<svg"), ("PDF", b"%PDF-")):
        picture = figure.get_by_role("link", name=kind).get_attribute("href")
        assert picture is not None and (site / "entries" / picture).read_bytes().startswith(start)
    tab.get_by_role("link", name="All entries of lite").click()
    opened.ready()
    assert tab.url.endswith("index.html#suite--lite")


def test_draws_its_charts_and_gives_them_away(shared: Watch, site: Path) -> None:
    tab = shared.tab
    shared.draw_all()
    for figure in tab.locator("#suite--lite figure").all():
        svg = figure.locator("svg")
        assert svg.count() == 1 and figure.locator("img").count() == 0
        marks = ".mark-line path" if "--solved" in (name := figure.get_attribute("id") or "") else "path"
        assert svg.locator(f".mark-group {marks}").count() >= (2 if "lm_s8_n4" in name else 3), name
        label = figure.locator("[role=graphics-document]").get_attribute("aria-label")
        assert label is not None and len(label) > 40
    figure = tab.locator("#lite--lm_s8_n2--solved")
    assert saved(tab, figure, "PNG", "lite--lm_s8_n2--solved.png").startswith(b"\x89PNG")
    # From a server this is a download too; from a file it opens.
    picture = figure.get_by_role("link", name="SVG").get_attribute("href")
    assert picture is not None and (site / picture).read_bytes().startswith(b"<svg")


def test_keeps_the_theme_that_was_chosen(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site, color_scheme="dark")
    tab = watch.tab
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(ground)
    watch.draw_all()
    reference = tab.locator("#lite--lm_s8_n2--solved .lines_marks path, #lite--lm_s8_n2--solved .mark-line path").first
    assert reference.get_attribute("stroke") == "#e8eaed"
    tab.get_by_role("button", name="Light theme").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate(ground) != dark
    tab.wait_for_function("document.querySelector('#lite--lm_s8_n2--solved .mark-line path')"
                          "?.getAttribute('stroke') === '#1f2328'")  # fmt: skip
    tab.reload()
    watch.ready()
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    tab.get_by_role("button", name="Dark theme").click()
    assert tab.evaluate(ground) == dark
    watch.close()


@pytest.mark.parametrize("path", ["index.html", "entries/lite--mamba.html"])
def test_text_stands_out_from_its_ground(browser: Browser, site: Path, path: str) -> None:
    """In the light theme, and in the dark one once every chart has been drawn again."""
    watch = Watch(browser, site, path, color_scheme="light")
    tab = watch.tab
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    watch.draw_all()
    for theme in ("light", "dark"):
        if theme == "dark":
            tab.evaluate("document.querySelectorAll('figure svg').forEach(svg => { svg.dataset.old = 'yes'; })")
            tab.get_by_role("button", name="Dark theme").click()
            tab.wait_for_function("!document.querySelector('figure svg[data-old]')")
        assert tab.evaluate("document.documentElement.dataset.theme") == theme
        found = tab.evaluate(CONTRAST)
        assert found["checked"] > 100
        assert not found["weak"]
    watch.close()


@pytest.mark.parametrize("path", ["index.html", "entries/lite--mamba.html"])
def test_a_phone_shows_no_wider_page_than_itself(browser: Browser, site: Path, path: str) -> None:
    watch = Watch(browser, site, path, viewport={"width": 360, "height": 740})
    tab = watch.tab
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    watch.draw_all()
    assert tab.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]") == [360, 360]
    box = tab.locator("[role=region]").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")  # the table scrolls in its own box
    assert box.get_attribute("tabindex") == "0" and box.get_attribute("aria-label")
    watch.close()


def test_shows_one_suite_at_a_time(shared: Watch) -> None:
    tab = shared.tab
    lite, bad = tab.locator("#suite--lite"), tab.locator("#suite--bad")
    assert lite.is_visible() and not bad.is_visible()
    tab.get_by_role("navigation", name="Suites").get_by_role("link", name="bad").click()
    assert comes(tab, lambda: bad.is_visible() and not lite.is_visible())
    assert tab.locator("nav.suites [aria-current]").all_inner_texts() == ["bad"]
    tab.go_back()
    tab.wait_for_function("!document.getElementById('suite--lite').hidden")
    assert not bad.is_visible()


def test_hostile_text_is_shown_and_does_nothing(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site, "index.html#suite--bad")
    tab = watch.tab
    watch.draw_all()
    shown = " ".join(column(tab, 2, "#overview--bad"))
    for hostile in HOSTILE[:4]:
        assert hostile in shown
        tab.locator("#overview--bad_wrapper").get_by_role("searchbox").fill(hostile)
        assert len(column(tab, 2, "#overview--bad")) == 1
    tab.locator("#overview--bad_wrapper").get_by_role("searchbox").fill("")
    sorter(tab, "Entry", "#overview--bad").click()
    point = tab.locator("[id=bad--win-rate--lm] .mark-symbol path").nth(1)
    point.scroll_into_view_if_needed()
    point.hover()
    tab.wait_for_function("document.getElementById('vg-tooltip-element')?.classList.contains('visible')")
    assert any(hostile in tab.locator("#vg-tooltip-element").inner_text() for hostile in HOSTILE)
    for hostile in HOSTILE[:2]:
        tab.locator("#overview--bad tbody a", has_text=hostile).click()
        watch.ready()
        watch.draw_all()
        assert HOSTILE[1] in tab.locator("#runs").inner_text()
        assert tab.evaluate("typeof hacked") == "undefined"
        assert tab.locator("main img[src=x], main script, [onerror], [onload], a[href^=javascript]").count() == 0
        tab.go_back()
        watch.ready()
    assert tab.evaluate("typeof hacked") == "undefined"
    watch.close()


def test_without_scripts_everything_is_there(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site, java_script_enabled=False)
    tab = watch.tab
    assert column(tab, 2) == ["Transformer", "Mamba", "Rwkv"]
    assert tab.locator("#suite--bad").is_visible()
    picture = tab.locator("figure img").first
    picture.scroll_into_view_if_needed()
    assert picture.bounding_box()["height"] > 60  # type: ignore[index]
    assert not tab.locator("button:visible").count()
    watch.close()
