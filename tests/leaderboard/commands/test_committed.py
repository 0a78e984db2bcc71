"""The committed files: every record is valid, and table, CSV and README are made from just these records."""

import os
import re
from pathlib import Path

import pytest

from leaderboard.__main__ import main
from leaderboard.board.aggregate import build_board
from leaderboard.entries.reading import read_results
from leaderboard.render import csv_file
from leaderboard.validation import validate
from tests.helpers.leaderboard.entries import READER


@pytest.mark.slow
def test_the_committed_records_are_valid(repository: Path) -> None:
    """Every check of a submission but the replay, which a test of the harness does for some."""
    report = validate(repository / "leaderboard" / "results", replay=False, reader=READER)
    assert [str(problem) for problem in report.problems] == []
    assert "lite/transformer" in report.entries


@pytest.mark.slow
def test_what_is_shown_is_up_to_date(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are left out: their text is drawn with the machine's fonts. The CSV file has a test of its own."""
    monkeypatch.chdir(repository)
    main(["build", "--check", "--readme", "README.md"])
    stale = capsys.readouterr().out.splitlines()
    texts = ("README.md:", "LEADERBOARD.md:")
    assert [line for line in stale if any(name in line for name in texts)] == []
    assert os.path.isfile("leaderboard/figures/kaplan_meier_lite.svg")


def test_the_csv_file_is_up_to_date(repository: Path) -> None:
    """Its numbers are unrounded, and logarithms and exponentials of another machine may differ in their last bits."""

    def parts(text: str) -> tuple[list[str], list[float]]:
        """The text around the numbers with a point, and these numbers."""
        pattern = r"\b\d+\.\d+(?:e-\d+)?\b"
        return re.split(pattern, text), list(map(float, re.findall(pattern, text)))

    folder = repository / "leaderboard"
    text, numbers = parts(csv_file.render(build_board(read_results(folder / "results"))))
    committed, expected = parts((folder / "leaderboard.csv").read_bytes().decode())
    assert text == committed
    assert len(numbers) > 100
    assert numbers == pytest.approx(expected, rel=1e-12)


def test_verified_entries_exist_with_as_many_seeds(repository: Path) -> None:
    from leaderboard.entries.places import VERIFIED_FILE
    from leaderboard.entries.reading import read_verified

    entries = {(entry.suite, entry.name): entry for entry in read_results(repository / "leaderboard/results").entries}
    for line in read_verified(VERIFIED_FILE):
        cells = entries[line.suite, line.name].cells
        assert min(map(len, cells.values())) >= line.seeds, line
