"""Ten thousand records: how long the site takes to be written, to open and to sort. Printed; `pytest -s` shows it."""

import time
from pathlib import Path

import numpy as np
import pytest

from leaderboard.board.standings import Board
from leaderboard.render.charts.colours import SHOWN
from leaderboard.render.site import write_site
from tests.helpers.leaderboard.boards import CELLS, CellSpec, suite_of, suite_records, write_curves
from tests.helpers.leaderboard.browsing import Watch, launched

ENTRIES, SEEDS = 80, 20
# Clicks the column of the win rate until its slowest entry stands first; milliseconds. A click sorts a moment later.
SORT = """async (slowest) => {
  const table = document.getElementById("overview--lite");
  const head = table.tHead.rows[0].cells[2];
  const start = performance.now();
  for (const order of ["ascending"]) {
    head.click();
    while (head.getAttribute("aria-sort") !== order) {
      if (performance.now() - start > 60_000) throw new Error("nothing is sorted after a minute");
      await new Promise((done) => setTimeout(done));
    }
  }
  const first = table.tBodies[0].rows[0].innerText;
  if (!first.includes(slowest)) throw new Error(`${first} stands first`);
  return performance.now() - start;
}"""
SLACK = 10  # a shared core stalls: the aim is 2 s to open and sort


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.process
def test_a_site_of_ten_thousand_records_opens_and_sorts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = (*CELLS, CellSpec("lm_s32_n2", 32, 2, 600), CellSpec("lm_s32_n4", 32, 4, 1500))
    rng, results = np.random.default_rng(0), tmp_path / "results"
    runs = {}
    for place in range(ENTRIES):
        name = "transformer" if place == 0 else f"entry_{place}"
        records = suite_records(name, cells, range(SEEDS), rng, slowness=1 + place / 30, curves=None)
        if place < SHOWN:
            folder = results / "lite" / name
            records = [write_curves(folder / str(r.cell) / f"seed{r.seeds.init_seed}", r) for r in records]
        runs[name] = records
    assert sum(map(len, runs.values())) == ENTRIES * SEEDS * len(cells) == 9600
    board = Board((suite_of("lite", runs, results),), ())
    start = time.perf_counter()
    write_site(board, tmp_path / "site")
    written = time.perf_counter() - start
    rates = {
        standing.title: found.win_rate.estimate
        for standing in board.suites[0].standings
        if (found := standing.task("lm"))
    }
    size = (tmp_path / "site" / "index.html").stat().st_size
    assert size < 1_000_000  # runs stand on the pages of the entries
    with launched() as browser:
        watch = Watch(browser, tmp_path / "site")
        opened = watch.tab.evaluate("performance.now()") / 1000
        sorted_s = watch.tab.evaluate(SORT, min(rates, key=rates.__getitem__)) / 1000
        watch.close()
    with capsys.disabled():
        figures = f"write {written:.1f} s, open {opened:.2f} s, sort {sorted_s:.3f} s, index.html {size / 1000:.0f} kB"
        print(f"\n9,600 records of {ENTRIES} entries: {figures}")
    assert opened + sorted_s < 2 * SLACK
