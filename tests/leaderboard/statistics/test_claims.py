"""The gate's verdicts on real runs whose answer is known: the reference against itself, and against a slowed copy."""

import json
import shutil
from pathlib import Path

import pytest

from leaderboard.__main__ import main
from leaderboard.commands.check import EXIT


def test_the_reference_against_itself(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds 0-9 of the transformer in lite against its seeds 10-19: no difference may be claimed."""
    for cell in (repository / "leaderboard" / "results" / "lite" / "transformer").glob("*/"):
        for seed in range(20):
            half = tmp_path / ("old" if seed < 10 else "new") / cell.name
            shutil.copytree(cell / f"seed{seed}", half / f"seed{seed}")
    code = main(["check", str(tmp_path / "new"), "--against", str(tmp_path / "old")])
    assert code in {EXIT["same"], EXIT["needs-seeds"]}, capsys.readouterr().out


@pytest.mark.slow
def test_a_slowed_copy(repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The transformer at a quarter of its learning rates, seeds 0-19 of every cell of lite: `regressed`.

    The records, one per line, are as `sweep --suite lite --models transformer --seeds 0-19 --config FILE --cells CELLS`
    left them, with `model: transformer` and `optimizer: {lr: 2.5e-4}` in the file (7.5e-4 for the automaton).
    """
    lines = (Path(__file__).parent / "slowed_copy.jsonl").read_text().splitlines()
    for line in lines:
        record = json.loads(line)
        place = tmp_path / record["cell"] / f"seed{record['seeds']['init_seed']}" / "record.json"
        place.parent.mkdir(parents=True)
        place.write_text(line)
    assert len(lines) == 80
    code = main(["check", str(tmp_path), "--against", str(repository / "leaderboard" / "results")])
    said = capsys.readouterr().out
    assert code == EXIT["regressed"], said
    assert said.startswith("lite/transformer against transformer: regressed;")
