"""The page of pairs in a real browser: it shows what `compare` says, and its address can be shared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leaderboard.board.wording import typeset, win_rate_text
from leaderboard.statistics.head_to_head import head_to_head
from tests.helpers.leaderboard.boards import HOSTILE, hostile_board
from tests.helpers.leaderboard.browsing import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = [pytest.mark.browser, pytest.mark.process]


def said(tab: Tab) -> str:
    return tab.locator("#pair-said").inner_text()


def test_an_address_shows_what_compare_says(browser: Browser, site: Path, root: Path) -> None:
    """Every number of the comparison, in either direction, and a chart for each cell that both ran."""
    standings = {each.name: each for each in hostile_board(root).suites[0].standings}
    arms = {name: {result.cell: result.records for result in standing.measured} for name, standing in standings.items()}
    for first, second in (("rwkv", "mamba"), ("mamba", "rwkv")):
        watch = Watch(browser, site, f"pairs.html#lite/{first}/{second}")
        found = head_to_head(arms[first], arms[second])
        verdict = found.tasks["lm"]
        titles = [standings[name].title for name in (first, second)]
        assert f"{titles[0]} is ahead of {titles[1]} in {typeset(win_rate_text(verdict.win_rate))}" in said(watch.tab)
        assert f"python -m leaderboard compare {first} {second} --suite lite --chart pair.pdf" in said(watch.tab)
        rows = watch.tab.locator("#pair-cells tbody tr").all_inner_texts()
        assert [row.split("\t")[1] for row in rows] == [cell.cell for cell in found.cells]
        for row, cell in zip(rows, found.cells, strict=True):
            assert typeset(win_rate_text(cell.verdict.win_rate)) in row
            assert f"{cell.solved_entry}/{cell.n_entry}" in row
        watch.draw_all()
        assert watch.tab.locator("#pair-charts figure").count() == 4
        figure = watch.tab.locator("#pair-charts figure >> nth=0")
        assert figure.locator(".mark-line path").count() == 2
        with watch.tab.expect_download() as download:
            figure.get_by_role("button", name="SVG").click()
        assert download.value.path().read_bytes().startswith(b"<svg")
        watch.close()


def test_choosing_changes_the_address_and_back_goes_back(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site, "pairs.html")
    tab = watch.tab
    assert "Transformer is ahead of Mamba" in said(tab)
    tab.get_by_label("Second entry").select_option("Rwkv")
    tab.wait_for_function("location.hash === '#lite/transformer/rwkv'")
    assert "Transformer is ahead of Rwkv" in said(tab)
    tab.get_by_role("button", name="Swap").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("location.hash === '#lite/rwkv/transformer'")
    assert "Rwkv is ahead of Transformer" in said(tab)
    tab.go_back()
    tab.wait_for_function("document.querySelector('[name=first]').selectedOptions[0].text === 'Transformer'")
    assert "Transformer is ahead of Rwkv" in said(tab)
    tab.get_by_label("Second entry").select_option("Transformer")
    tab.wait_for_function("document.documentElement.dataset.pair === 'none'")
    assert "Choose two different entries." in said(tab)
    watch.close()


def test_names_of_others_are_text_here_too(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site, "pairs.html")
    tab = watch.tab
    tab.get_by_label("Suite").select_option("bad")
    tab.wait_for_function("location.hash.startsWith('#bad/')")
    options = tab.get_by_label("First entry").locator("option").all_inner_texts()
    assert len(options) == 5 and all(any(hostile in option for option in options) for hostile in HOSTILE[:2])
    for index in range(1, len(options)):
        tab.get_by_label("First entry").select_option(index=index)
        tab.wait_for_function(f"document.querySelector('[name=first]').value === '{index}'")
        assert index == 1 or options[index] in said(tab)
    assert tab.evaluate("typeof hacked") == "undefined"
    assert tab.locator("main img[src=x], main script, [onerror], [onload]").count() == 0
    watch.close()


def test_a_cell_has_a_page_with_every_run(browser: Browser, site: Path) -> None:
    watch = Watch(browser, site)
    tab = watch.tab
    tab.get_by_role("link", name="every run of lm S=8 s=2 T=2").click()
    watch.ready()
    assert tab.url.endswith("cell--lite--lm_s8_n2.html") and tab.locator("h1").inner_text() == "lm S=8 s=2 T=2"
    watch.draw_all()
    figure = tab.locator("#lite--lm_s8_n2--runs")
    assert figure.locator(".mark-line path").count() >= 15  # five runs of three entries
    tab.get_by_role("link", name="All cells of lite").click()
    watch.ready()
    watch.close()
