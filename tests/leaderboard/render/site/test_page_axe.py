"""The pages held against WCAG 2.2 AA by axe-core, in Chromium: both themes, a wide screen and a phone's."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.leaderboard.browsing import Watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.slow]

# preload: it would fetch style sheets, which a page opened from a file may not
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "preload": False}
PAGES = ("index.html", "entries/lite--mamba.html", "cell--lite--lm_s8_n2.html", "pairs.html#lite/mamba/transformer")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_violation(browser: "Browser", site: Path, path: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    watch = Watch(browser, site, path, color_scheme="light", viewport={"width": width, "height": 844})
    tab = watch.tab
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    watch.draw_all()
    for theme in ("light", "dark"):
        if theme == "dark":
            tab.get_by_role("button", name="Dark theme").click()
            tab.wait_for_function("document.documentElement.dataset.theme === 'dark'")
        found = axe.run(tab, options=RULES).response
        assert len(found["passes"]) > 10
        broken = [
            (rule["id"], node["html"][:120], node["failureSummary"])
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
        assert not broken, theme
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    watch.close()
