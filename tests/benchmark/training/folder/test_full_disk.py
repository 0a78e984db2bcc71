"""A file that cannot be written: one line, exit code 1, nothing half written, a run that goes on when there is room."""

import errno
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.training.folder.layout import CONFIG, CURVES, RECORD
from benchmark.training.folder.lock import LOCK
from benchmark.training.module import EmergenceModule
from leaderboard.whole_files import CannotWrite, require_room, write_whole, writing
from tests.helpers.processes import in_process, main_process
from tests.helpers.runs import LM, assert_same_run, fit, fit_command, resume, run_folder

STEPS = (20, 10)
ERRORS = {
    CONFIG: errno.ENOSPC,
    CURVES: errno.EDQUOT,
    RECORD: errno.EMFILE,
}
OTHERS = (errno.EROFS, errno.EFBIG, errno.EIO)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run."""
    code, folder = fit(LM, tmp_path_factory.mktemp("whole"), "a", *STEPS)
    assert code == 0
    return folder


def no_room(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let nothing be written that is to become a file of this name."""
    open_file = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if name in path.name and set(mode) & set("wax"):
            raise OSError(number, os.strerror(number), str(path))
        return open_file(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.train
@pytest.mark.parametrize("name", ERRORS)
def test_a_run_without_room_for_a_file(
    name: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        no_room(patch, name, ERRORS[name])
        code, folder = fit(LM, tmp_path, "a", *STEPS)
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1 and line.startswith("error: ")
    named = str(folder) if name == CONFIG else str(folder / name)
    assert named in line and os.strerror(ERRORS[name]) in line
    assert ("bytes are free" in line) == (name != RECORD), "too many open files are no lack of room"
    assert not (folder / RECORD).exists()
    assert {path.name for path in tmp_path.rglob(".*")} <= {LOCK}
    if name == CONFIG:
        assert not folder.exists()
    else:
        assert resume(folder) == 0
        assert_same_run(folder, whole)


@pytest.mark.train
@pytest.mark.parametrize("at", [3, 15])
def test_a_run_folder_that_is_removed_does_not_come_back(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither its checkpoints, nor its record, nor what TensorBoard writes."""
    folder = run_folder(tmp_path, LM, "a")

    def on_train_batch_start(module: EmergenceModule, batch: object, batch_idx: int) -> None:
        while module.global_step == at and folder.exists():  # TensorBoard's thread may be writing
            shutil.rmtree(folder, ignore_errors=True)

    monkeypatch.setattr(EmergenceModule, "on_train_batch_start", on_train_batch_start)
    code, _ = fit(LM, tmp_path, "a", *STEPS, "--checkpoint_interval_s=0", "--trainer.log_every_n_steps=1")
    (line,) = capsys.readouterr().err.splitlines()
    assert code == 1 and line.startswith("error: ") and f"{folder} is gone" in line
    assert not folder.exists()


@pytest.mark.train
def test_a_run_needs_no_room_in_the_temporary_folder(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's own checkpoints pass through it."""

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile", "gettempdir"):
        monkeypatch.setattr(tempfile, name, full)
    code, folder = fit(LM, tmp_path, "a", *STEPS, "--checkpoint_interval_s=0")
    assert code == 0
    assert_same_run(folder, whole)


def small_files(words: list[str], output: Path) -> None:
    """A process whose files may have 20,000 bytes: room for all but the checkpoint."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    main_process(words, output)


@pytest.mark.process
def test_the_kernel_refuses_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    folder, output = run_folder(tmp_path, LM, "a"), tmp_path / "output"
    process = in_process([*fit_command(LM, tmp_path, "a", *STEPS), "--checkpoint_interval_s=0"], output, small_files)
    process.join()
    lines = output.read_text().splitlines()
    assert process.exitcode == 1, lines
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert str(folder / "last.ckpt") in lines[-1] and os.strerror(errno.EFBIG) in lines[-1]
    assert "Traceback" not in output.read_text()
    assert {path.name for path in folder.glob(".*")} <= {LOCK}
    assert resume(folder) == 0
    assert_same_run(folder, whole)


@pytest.mark.parametrize("number", OTHERS)
def test_a_file_is_whole_or_as_it_was(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")

    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CannotWrite) as refused:
        write_whole(path, b"123456")
    assert all(part in str(refused.value) for part in (str(path), os.strerror(number)))
    assert ("the file has 6" in str(refused.value)) == (number == errno.EFBIG)
    assert refused.value.errno == number
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(CannotWrite):
        require_room(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_that_a_library_has_hidden(tmp_path: Path) -> None:
    """PyTorch's writer raises a RuntimeError of its own while it handles that of the disk."""
    with pytest.raises(CannotWrite, match=r"a\.ckpt: cannot be written: No space left"), writing(tmp_path / "a.ckpt"):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 768 vs 662")  # noqa: B904
    with pytest.raises(RuntimeError, match="of the model"), writing(tmp_path / "a.ckpt"):
        raise RuntimeError("of the model")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=f"the folder {tmp_path / 'a'} is gone"):
        write_whole(tmp_path / "a" / "b" / "c.json", b"")


def test_a_folder_that_cannot_be_made_is_not_gone(tmp_path: Path) -> None:
    error = CannotWrite(tmp_path / "a" / "b", OSError(errno.EROFS, "Read-only file system"))
    assert str(error) == f"{tmp_path / 'a' / 'b'}: cannot be written: Read-only file system"


def test_a_relative_path_whose_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotWrite, match="/a is gone"):
        write_whole(Path("a/b/c.json"), b"")


def test_signals_of_too_large_files_are_errors() -> None:
    """Python leaves SIGXFSZ ignored, which would otherwise end the process."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
