"""The picture of a run: drawn after the record, of any number of evaluations, and never a reason to lose a run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.training.display import picture
from tests.helpers.runs import LM, curves_of, fit, record_of

PNG = b"\x89PNG\r\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a tiny run with evaluations at 0, 2 and 4."""
    _, folder = fit(LM, tmp_path, "a", 4, 2)
    return folder


def many(curves: pd.DataFrame, n_rows: int) -> pd.DataFrame:
    """So many evaluations, one per step."""
    repeated = curves.iloc[np.arange(n_rows) % len(curves)].reset_index(drop=True)
    return repeated.assign(step=np.arange(n_rows))


@pytest.mark.slow
def test_more_points_than_altair_allows_by_default_are_drawn(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "_MOST_POINTS", 2_000)  # x 4 cells: more than 5,000 rows
    picture.write_curves_plot(tmp_path / "a.png", record_of(run), many(curves_of(run), 2_000))
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_lines_are_thinned_evenly_with_both_ends(run: Path) -> None:
    thinned = picture._thinned(many(curves_of(run), 10_001))
    steps = thinned["step"].to_numpy()
    assert (len(steps), steps[0], steps[-1]) == (640, 0, 10_000)
    assert set(np.diff(steps)) <= {15, 16}
    assert len(picture._thinned(many(curves_of(run), 640))) == 640


@pytest.mark.slow
@pytest.mark.filterwarnings("default:.*the picture was not drawn")
@pytest.mark.parametrize("obstacle", ["folder", "library"])
def test_a_picture_that_cannot_be_drawn_costs_no_record(
    obstacle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(path: Path, *args: object) -> None:
        assert (path.parent / "record.json").exists(), "the record comes first"
        if obstacle == "folder":
            path.mkdir()
            path.write_bytes(b"")
        raise RuntimeError("no room\nfor it")

    monkeypatch.setattr(picture, "write_curves_plot", write)
    said = "Is a directory" if obstacle == "folder" else "RuntimeError: no room for it"
    code, folder = fit(LM, tmp_path, "a", 4, 2, "--picture=true")
    assert code == 0
    assert record_of(folder).status == "censored"
    warning = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: "))
    assert f"{folder / 'curves.png'}: the picture was not drawn" in warning and said in warning
