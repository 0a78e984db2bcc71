"""A board of ten thousand records."""

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from leaderboard.commands.build import build
from tests.helpers.leaderboard.boards import CELLS, CellSpec, entry_file, suite_records

pytestmark = pytest.mark.process


@pytest.mark.long
@pytest.mark.slow
def test_ten_thousand_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """80 entries in 6 cells with 21 seeds, without curves. The time is printed: to be read on a quiet machine."""
    cells = [*CELLS, CellSpec("lm_s10_n3", 10, 3), CellSpec("lm_s12_n2", 12, 2)]
    for place in range(80):
        name = "transformer" if place == 0 else f"model{place}"
        rng = np.random.default_rng(place)
        folder = tmp_path / "results" / "lite" / name
        for record in suite_records(name, cells, range(21), rng, slowness=0.5 + place / 40, curves=None):
            path = folder / str(record.cell) / f"seed{record.seeds.init_seed}" / "record.json"
            path.parent.mkdir(parents=True)
            path.write_text(record.model_dump_json(indent=2) + "\n")
        (folder / "entry.yaml").write_text(yaml.safe_dump(entry_file("lite", name).model_dump(mode="json")))
    start, cpu = time.perf_counter(), time.process_time()
    assert build(tmp_path / "results", tmp_path / "out") == 0
    with capsys.disabled():
        wall, own = time.perf_counter() - start, time.process_time() - cpu
        print(f"\nbuild of {80 * 6 * 21:,} records: {wall:.1f} s, {own:.1f} s of them on the processor")
    assert "10,080 records of 80 entries" in capsys.readouterr().out
