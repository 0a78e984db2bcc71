"""The run folder of a unit, after a kill at the worst moment."""

from pathlib import Path

from benchmark.sweeps.plan import Unit
from benchmark.sweeps.state import make_folder
from benchmark.training.folder.lock import LOCK, training_in

UNIT = Unit("suite", "cell", "transformer", 0, "seed: 0\nmodel: transformer\ndata: lm\n")


def test_what_a_kill_left_is_gone_once_the_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    folder.mkdir()
    (folder / ".config.yaml.tmp").write_text("seed: 0\nmod")  # killed while it wrote
    make_folder(folder, UNIT)
    with training_in(folder):  # another process may have been at the file, until the run begins
        assert {path.name for path in folder.iterdir()} == {"config.yaml", LOCK}
    assert (folder / "config.yaml").read_text() == UNIT.config
