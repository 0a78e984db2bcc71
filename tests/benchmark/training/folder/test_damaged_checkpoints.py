"""A damaged checkpoint is refused in one line, or the one before it is taken: no run goes on from other numbers."""

import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmark
from benchmark.__main__ import main
from benchmark.config.errors import Damaged
from benchmark.training.display.summary import resume_and_print
from benchmark.training.folder.checkpoint import (
    CHECKPOINT,
    DAMAGED,
    PREVIOUS,
    newest_checkpoint,
    read_checkpoint,
)
from benchmark.training.folder.layout import CONFIG, RECORD, kept_checkpoint
from benchmark.training.folder.sealed import read_sealed, write_sealed
from tests.helpers.runs import LM, assert_same, assert_same_run, fit, record_of, resume, send_at

GOLDEN = Path(__file__).parent / "golden" / "one" / CHECKPOINT
QUICK, WHOLE = 40, 400


def flip_bit(content: bytearray, chance: random.Random) -> bytearray:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def overwrite(content: bytearray, chance: random.Random) -> bytearray:
    start, n = chance.randrange(len(content)), chance.choice([4, 16, 512])
    content[start : start + n] = chance.randbytes(len(content[start : start + n]))
    return content


def truncate(content: bytearray, chance: random.Random) -> bytearray:
    return content[: chance.choice([chance.randrange(len(content)), len(content) - chance.randrange(1, 200)])]


def fill_with_zeros(content: bytearray, chance: random.Random) -> bytearray:
    """As after a power failure: blocks that never reached the disk."""
    start = chance.randrange(len(content)) // 512 * 512
    end = chance.choice([start + 512, len(content)])
    content[start:end] = bytes(len(content[start:end]))
    return content


def swap(content: bytearray, chance: random.Random) -> bytearray:
    n = chance.choice([4, 64, 512])
    a, b = sorted(chance.sample(range(0, len(content) - n, n), 2))
    content[a : a + n], content[b : b + n] = content[b : b + n], content[a : a + n]
    return content


def lose_a_block(content: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(content))
    del content[start : start + chance.choice([1, 64])]
    return content


DAMAGES = [flip_bit, overwrite, truncate, fill_with_zeros, swap, lose_a_block]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was cut short, with two checkpoints and weights kept after two steps."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        send_at(patch, 7)
        code, folder = fit(LM, out, "stopped", 12, 3, "--checkpoint_interval_s=0", "--keep_every=3")
    assert code == 130
    assert (read_checkpoint(folder / CHECKPOINT)["global_step"], read_checkpoint(folder / PREVIOUS)["global_step"]) == (
        8,
        6,
    )
    return folder


@pytest.mark.parametrize("n", [QUICK, pytest.param(WHOLE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("version", ["sealed", "0.1"])
def test_whatever_happens_to_its_bytes(n: int, version: str, tmp_path: Path) -> None:
    """Refused, or read as it was written: where a change hits what nobody reads, in a file without our checksum."""
    path = tmp_path / CHECKPOINT
    if version == "sealed":
        write_sealed(path, torch.load(GOLDEN, weights_only=True))
    else:
        shutil.copy(GOLDEN, path)
    whole, content = path.read_bytes(), read_checkpoint(path)
    chance, refused = random.Random(0), 0
    for i in range(n):
        damage = DAMAGES[i % len(DAMAGES)]
        damaged = damage(bytearray(whole), chance)
        if damaged == whole:
            continue
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except Damaged as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert_same(found, content, f"{damage.__name__} {i}")
    assert refused > 0.8 * n


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_one_before_is_taken(damage: Callable[..., bytearray], stopped: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stopped, tmp_path / "run")
    content, chance = (folder / CHECKPOINT).read_bytes(), random.Random(1)
    for _ in range(3):
        (folder / CHECKPOINT).write_bytes(damage(bytearray(content), chance))
        if (folder / CHECKPOINT).read_bytes() == content:
            continue  # two blocks of zeros
        with pytest.warns(UserWarning, match=rf"{CHECKPOINT}: .*{PREVIOUS}, of step 6"):
            assert benchmark.load(folder).step == 6


@pytest.mark.train
def test_a_run_goes_on_from_the_one_before(stopped: Path, tmp_path: Path) -> None:
    """To the same end, to the last bit; the damaged file never becomes the one before, and neither stays at the end."""
    _, whole = fit(LM, tmp_path, "whole", 12, 3, "--keep_every=3")
    folder = shutil.copytree(stopped, tmp_path / "run")
    (folder / CHECKPOINT).write_bytes((folder / CHECKPOINT).read_bytes()[:-5000])
    saved: list[int] = []

    def look(*_: Any) -> None:
        saved.append(read_checkpoint(folder / PREVIOUS)["global_step"])

    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="of step 6"):
        patch.setattr("benchmark.training.module.EmergenceModule.on_train_batch_start", look)
        benchmark.resume(folder)
    assert saved[:2] == [6, 6]
    assert_same_run(folder, whole)
    assert not (folder / PREVIOUS).exists() and not (folder / DAMAGED).exists()


@pytest.mark.train
def test_a_run_without_one_before(stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`resume` says what to do; a sweep begins the run anew."""
    _, whole = fit(LM, tmp_path, "whole", 12, 3, "--keep_every=3")
    folder = shutil.copytree(stopped, tmp_path / "run")
    (folder / PREVIOUS).write_bytes(b"")
    content = bytearray((folder / CHECKPOINT).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / CHECKPOINT).write_bytes(content)
    before = record_of(folder)
    capsys.readouterr()
    assert resume(folder) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder / CHECKPOINT}: is damaged" in line and "delete it" in line
    assert record_of(folder) == before
    with pytest.warns(UserWarning, match=f"{CHECKPOINT}: is damaged.*begins anew"):
        assert resume_and_print(folder, begin_anew=True) == 0
    assert_same_run(folder, whole)


KINDS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "empty": lambda path, own: path.touch(),
    "text": lambda path, own: path.write_text("weights\n" * 1000),
    "zip of zeros": lambda path, own: path.write_bytes(b"PK\x03\x04" + bytes(5000)),
    "folder": lambda path, own: path.mkdir(),
    "pipe": lambda path, own: os.mkfifo(path),
    "link to nothing": lambda path, own: path.symlink_to(path.with_name("nothing")),
    "device": lambda path, own: path.symlink_to("/dev/zero"),
    "a list": lambda path, own: torch.save([1, 2, 3], path),
    "weights of something": lambda path, own: torch.save(torch.nn.Linear(2, 2).state_dict(), path),
    "a whole module": lambda path, own: torch.save(torch.nn.Linear(2, 2), path),
    "of Lightning": lambda path, own: torch.save({"state_dict": {}, "global_step": 3, "loops": {}}, path),
    "legacy format": lambda path, own: torch.save(own, path, _use_new_zipfile_serialization=False),
    "no keys": lambda path, own: torch.save({**own, "state_dict": {}, "loops": {}}, path),
    "other shapes": lambda path, own: torch.save(
        {**own, "state_dict": {name: torch.ones(3) for name in own["state_dict"]}}, path
    ),
    "no tensors": lambda path, own: torch.save({**own, "state_dict": dict.fromkeys(own["state_dict"], "x")}, path),
}
"""Things that lie where a checkpoint should be, by the function that puts them there."""


def put(kind: str, path: Path, own: dict[str, Any]) -> Path:
    path.unlink(missing_ok=True)
    KINDS[kind](path, own)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_something_else(kind: str, stopped: Path, tmp_path: Path) -> None:
    """One line that names the file, and nothing in it is executed."""
    folder = shutil.copytree(stopped, tmp_path / "run")
    own = torch.load(folder / CHECKPOINT, weights_only=True)
    (folder / PREVIOUS).unlink()
    path = put(kind, folder / CHECKPOINT, own)
    kept = put(kind, kept_checkpoint(folder, 6), own)
    for step, file in ((None, path), (6, kept)):
        with pytest.raises(ValueError, match=str(file if kind != "link to nothing" else folder)) as error:
            benchmark.load(folder, step=step)
        assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "folder", "of Lightning", "no keys", "no tensors"])
def test_something_else_by_every_command(
    kind: str, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, whichever way it is reached; no record changes and no folder comes into being."""
    folder = shutil.copytree(stopped, tmp_path / "run")
    own = torch.load(folder / CHECKPOINT, weights_only=True)
    (folder / PREVIOUS).unlink()
    record = (folder / RECORD).read_bytes()
    path = put(kind, folder / CHECKPOINT, own)
    capsys.readouterr()
    settings, named = f"--config={folder / CONFIG}", f"--ckpt_path={path}"
    elsewhere = [f"--out={tmp_path / 'new'}", "--name=new"]
    for words, code in (
        (["resume", str(folder)], 1),
        (["fit", settings, named, *elsewhere], 2),
        (["validate", settings, named], 2),
        (["test", settings, named], 2),
    ):
        assert main(words) == code, words
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and str(path) in said[0], (words, said)
    assert not list(tmp_path.glob("new/**/*.yaml"))
    assert (folder / RECORD).read_bytes() == record


def test_kept_weights_under_another_name(stopped: Path, tmp_path: Path) -> None:
    """Nothing is wrong with the file, but these are not the weights of that step."""
    folder = shutil.copytree(stopped, tmp_path / "run")
    assert benchmark.load(folder, step=3).step == 3
    shutil.copy(kept_checkpoint(folder, 3), kept_checkpoint(folder, 6))
    with pytest.raises(ValueError, match="is the checkpoint of step 3 under another name"):
        benchmark.load(folder, step=6)


def test_what_is_written_passes_through_no_other_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither through TMPDIR, which may be full or on another disk, nor is anything left beside it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    path = tmp_path / "a.ckpt"
    for value in (1.0, 2.0):
        write_sealed(path, {"x": torch.tensor(value)})
        assert read_sealed(path)["x"] == value
        assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]
    assert torch.load(path, weights_only=True)["x"] == 2.0, "anybody can read it"


def test_nothing_to_go_on_from(stopped: Path, tmp_path: Path) -> None:
    """A last checkpoint that is gone is told from one that was never there."""
    assert newest_checkpoint(tmp_path) is None
    folder = shutil.copytree(stopped, tmp_path / "run")
    (folder / CHECKPOINT).unlink()
    with pytest.warns(UserWarning, match="No such file.*of step 6"):
        assert newest_checkpoint(folder) == folder / PREVIOUS
    shutil.copy(stopped / CHECKPOINT, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest_checkpoint(folder) == folder / CHECKPOINT
