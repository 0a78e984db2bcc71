"""The page in Chromium: the slider moves every panel, the address brings everything back, and axe has no complaint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmark.report.report_files import write_report
from tests.helpers.leaderboard.browsing import WAIT_MS, Watch
from tests.helpers.planted_runs import planted_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "preload": False}
HEADS = {0: (1, 200), 1: (2, 400), 2: (1, 600), 3: (0, 800)}


class Report(Watch):
    """A report, and everything that it asked for or complained about."""

    def ready(self) -> None:
        self.tab.wait_for_function("document.documentElement.dataset.report === 'drawn'", timeout=WAIT_MS)

    def pixels(self, run: int, which: int = 0, group: int = 0) -> str:
        """The content of a canvas."""
        found: str = self.tab.evaluate(
            "([run, which, group]) => [...document.querySelectorAll(`.maps[data-run='${run}'] .group`)][group]"
            ".querySelectorAll('canvas')[which].toDataURL()",
            [run, which, group],
        )
        return found

    def shade(self, run: int, row: int, column: int) -> list[int]:
        """The colour of an entry of the first map of a run."""
        found: list[int] = self.tab.evaluate(
            "([run, row, column]) => {"
            " const copy = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});"
            " copy.drawImage(document.querySelector(`.maps[data-run='${run}'] canvas`), -column, -row);"
            " return [...copy.getImageData(0, 0, 1, 1).data]; }",
            [run, row, column],
        )
        return found

    def said(self, run: int) -> str:
        return self.tab.locator(f".maps[data-run='{run}'] .said").first.inner_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of one run (one.html) and of three (three.html), of which the second emerges later and the third never."""
    root = tmp_path_factory.mktemp("report")
    learned = {row: step for row, (_, step) in HEADS.items()}
    planted_run(root / "a", learned, HEADS)
    later = {row: step + 100 for row, step in learned.items()}
    planted_run(root / "b", later, {row: (head, step + 100) for row, (head, step) in HEADS.items()}, seed=1)
    planted_run(root / "c", {0: 300}, seed=2)
    write_report([root / "a"], root / "one.html", pictures=False)
    write_report([root / name for name in "abc"], root / "three.html", pictures=False)
    return root


def test_the_slider_moves_every_panel(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "one.html")
    slider = page.tab.get_by_role("slider", name="Time")
    end = [page.pixels(0, which) for which in range(3)], page.pixels(0, 0, 1)
    slider.focus()
    page.tab.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "step 0"
    start = [page.pixels(0, which) for which in range(3)], page.pixels(0, 0, 1)
    assert start[0][0] != end[0][0] and start[0][2] != end[0][2] and start[1] != end[1]
    assert start[0][1] == end[0][1], "the true pattern stays"
    assert "Step 0: all tokens 0.693" in page.tab.locator("[data-chart=loss] .readout").inner_text()
    page.tab.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "step 50"
    assert page.tab.evaluate("location.hash") == "#t=50"
    page.close()


def test_the_jumps_are_marked(browser: "Browser", folder: Path) -> None:
    """Each row is one fourth of the loss; the first of these equal jumps counts, 150 to 200 of 1,000 steps."""
    page = Report(browser, folder, "one.html")
    assert page.tab.locator("[data-chart=loss] .jump title").text_content() == (
        "largest jump, between steps 150 and 200"
    )
    assert page.tab.locator("[data-chart=loss] .mark").count() == 2, "rows_50 and rows_100"
    parts = page.tab.locator("[data-chart=rows] .part title").all_text_contents()
    assert parts == [f"part {row} solved: step {step}" for row, (_, step) in HEADS.items()]
    jump, axis = (page.tab.locator(f"[data-chart=loss] .{name}").bounding_box() for name in ("jump", "axis"))
    assert jump is not None and axis is not None
    assert (jump["x"] - axis["x"]) / axis["width"] == pytest.approx(0.15, abs=0.01)
    assert jump["width"] / axis["width"] == pytest.approx(0.05, abs=0.01)
    page.close()


def test_maps_show_the_planted_attention(browser: "Browser", folder: Path) -> None:
    """Row 0 is learned at 200: spread over the four cells of the state before, then half on each of its two keys."""
    page = Report(browser, folder, "one.html#t=150", color_scheme="light")
    colours = {tuple(page.shade(0, 0, column)) for column in range(4)}
    assert len(colours) == 1
    page.tab.evaluate("location.hash = 't=200'")
    page.tab.wait_for_function("document.querySelector('#time output').textContent === 'step 200'")
    shades = [tuple(page.shade(0, 0, column)) for column in range(4)]
    assert shades.count((8, 48, 107, 255)) == 2 and shades.count((247, 249, 252, 255)) == 2
    page.close()


def test_the_address_brings_back_time_and_row(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "one.html")
    page.tab.get_by_role("button", name="After the jump").click()
    page.tab.get_by_role("button", name="2", exact=True).click()
    address = page.tab.evaluate("location.hash")
    assert address == "#t=200&row=2"
    again = Report(browser, folder, f"one.html{address}")
    assert again.tab.get_by_role("button", name="2", exact=True).get_attribute("aria-pressed") == "true"
    assert again.tab.locator("[data-chart=rows] path.picked").count() == 1
    assert again.tab.locator("[data-chart=rows] path.dim").count() == 3
    assert again.pixels(0) == page.pixels(0)
    again.tab.get_by_role("button", name="2", exact=True).press("Enter")
    assert again.tab.evaluate("location.hash") == "#t=200"
    page.close()
    again.close()


@pytest.mark.parametrize("address", ["#t=x&row=99&runs=7,8&times=,,", "#row=-1", "#%%%", "#t=1e99", "#align=1&lock=0"])
def test_an_address_that_means_nothing_is_no_obstacle(browser: "Browser", folder: Path, address: str) -> None:
    page = Report(browser, folder, f"three.html{address}")
    assert page.tab.locator("section.run:visible").count() == 2
    page.close()


def test_runs_share_a_time_or_have_their_own(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "three.html#t=200")
    assert "step 200" in page.said(0) and "step 200" in page.said(1)
    page.tab.get_by_label("One time for all runs").uncheck()
    own = page.tab.get_by_role("slider", name="Time of transformer, seed 1")
    own.focus()
    own.press("End")
    assert "step 200" in page.said(0) and "step 1,000" in page.said(1)
    address = page.tab.evaluate("location.hash")
    again = Report(browser, folder, f"three.html{address}")
    assert "step 200" in again.said(0) and "step 1,000" in again.said(1)
    page.close()
    again.close()


def test_aligned_runs_are_at_the_same_time_from_emergence(browser: "Browser", folder: Path) -> None:
    """The second run emerges 100 steps later."""
    page = Report(browser, folder, "three.html#t=600")
    page.tab.get_by_label("Aligned at emergence").check()
    assert "step 600" in page.said(0) and "step 700" in page.said(1)
    assert page.tab.get_by_role("slider", name="Time").get_attribute("aria-valuetext") == "\u2212200 steps"
    page.close()


def test_other_runs_can_be_chosen(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "three.html")
    headings = page.tab.locator("section.run:visible h2")
    assert headings.all_inner_texts() == ["transformer, seed 0", "transformer, seed 1"]
    page.tab.get_by_label("show the panels of transformer, seed 2").check()
    page.tab.get_by_label("show the panels of transformer, seed 0").uncheck()
    assert headings.all_inner_texts() == ["transformer, seed 1", "transformer, seed 2"]
    assert "runs=1,2" in page.tab.evaluate("location.hash")
    page.close()


def test_data_can_be_downloaded(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "three.html")
    content = {}
    for name in ("curves.csv", "summary.csv"):
        with page.tab.expect_download() as found:
            page.tab.get_by_role("button", name=name).click()
        assert found.value.suggested_filename == name
        content[name] = Path(found.value.path()).read_text().splitlines()
    assert content["summary.csv"][0].startswith("run,status,emergence_step")
    assert [line.split(",")[:4] for line in content["summary.csv"][1:]] == [
        ['"transformer', ' seed 0"', "solved", "800"],
        ['"transformer', ' seed 1"', "solved", "900"],
        ['"transformer', ' seed 2"', "censored", ""],
    ]
    assert len(content["curves.csv"]) == 1 + 3 * 21
    page.close()


def test_without_scripts_sentences_and_tables_are_there(browser: "Browser", folder: Path) -> None:
    page = Report(browser, folder, "one.html", java_script_enabled=False)
    assert "Which head learned which cell" in page.tab.locator("main").inner_text()
    assert page.tab.get_by_role("row").count() == 2 * 5
    assert page.tab.locator("figure:visible").count() == 0, "no empty boxes"
    page.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["one.html#t=400&row=1", "three.html#lock=0"])
def test_axe_finds_no_violation_and_nothing_scrolls_sideways(
    browser: "Browser", folder: Path, path: str, width: int
) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = Report(browser, folder, path, color_scheme="light", viewport={"width": width, "height": 844})
    page.tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    for theme in ("light", "dark"):
        if theme == "dark":
            page.tab.get_by_role("button", name="Dark theme").click()
            page.tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        found = axe.run(page.tab, options=RULES).response
        assert len(found["passes"]) > 10
        broken = [
            (rule["id"], node["html"][:120], node["failureSummary"])
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        assert not broken, theme
    assert page.tab.evaluate("document.documentElement.scrollWidth") == width
    page.close()
