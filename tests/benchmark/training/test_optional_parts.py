"""Everything that a run could do without is broken in turn: the record is written, and the exit code is 0."""

import io
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.training.display import picture
from benchmark.training.display.progress_bar import EmergenceProgressBar
from benchmark.training.folder.layout import CURVES, PICTURE
from benchmark.training.machine import environment
from benchmark.training.module import EmergenceModule
from tests.helpers.runs import LM, fit, record_of, run_folder

Patch = pytest.MonkeyPatch


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


FULL = OSError(28, "No space left on device")


class Unwritable(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


def writer_thread(patch: Patch, folder: Path) -> None:
    patch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", failing(FULL))


def writer_flush(patch: Patch, folder: Path) -> None:
    patch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.flush", failing(FULL))


def writer_start(patch: Patch, folder: Path) -> None:
    patch.setattr("torch.utils.tensorboard.SummaryWriter.__init__", failing(PermissionError(13, "Permission denied")))


def hyperparameters(patch: Patch, folder: Path) -> None:
    patch.setattr("lightning.pytorch.loggers.tensorboard.save_hparams_to_yaml", failing(FULL))


def bar_of_a_closed_terminal(patch: Patch, folder: Path) -> None:
    patch.setattr(sys, "stderr", Unwritable(BrokenPipeError(32, "Broken pipe")))


def bar_without_standard_error(patch: Patch, folder: Path) -> None:
    patch.setattr(sys, "stderr", None)


def bar_that_cannot_be_made(patch: Patch, folder: Path) -> None:
    patch.setattr(EmergenceProgressBar, "make_console", failing(ValueError("no such terminal")))


def headline(patch: Patch, folder: Path) -> None:
    patch.setattr(EmergenceProgressBar, "_headline", failing(KeyError("accuracy")))


def no_columns(patch: Patch, folder: Path) -> None:
    patch.setenv("COLUMNS", "0")


def many_columns(patch: Patch, folder: Path) -> None:
    patch.setenv("COLUMNS", "99999999999")
    patch.setenv("LINES", "²")


def unknown_terminal(patch: Patch, folder: Path) -> None:
    patch.setenv("TERM", "no-such-terminal")
    patch.setenv("FORCE_COLOR", "1")


def output_on_a_full_disk(patch: Patch, folder: Path) -> None:
    patch.setattr(sys, "stdout", Unwritable(FULL))


def ascii_output(patch: Patch, folder: Path) -> None:
    patch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))


def no_git(patch: Patch, folder: Path) -> None:
    patch.setattr(subprocess, "run", failing(PermissionError(13, "Permission denied")))


def strange_git(patch: Patch, folder: Path) -> None:
    patch.setattr(subprocess, "run", failing(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")))


def no_memory_figures(patch: Patch, folder: Path) -> None:
    patch.setattr(os, "sysconf", failing(ValueError("unrecognized configuration name")))
    patch.setattr(resource, "getrusage", failing(OSError(38, "Function not implemented")))


def no_processor_name(patch: Patch, folder: Path) -> None:
    patch.setattr(environment, "_processor", failing(PermissionError(13, "Permission denied")))


def no_operations(patch: Patch, folder: Path) -> None:
    patch.setattr(environment, "flops_per_token", failing(RuntimeError("cannot be copied")))


def picture_that_kills(patch: Patch, folder: Path) -> None:
    patch.setattr(picture, "_CONVERT", f"import os; os.kill(os.getpid(), {int(signal.SIGTRAP)})")


def picture_in_little_memory(patch: Patch, folder: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))"
    patch.setattr(picture, "_CONVERT", limit + picture._CONVERT)


def picture_that_never_ends(patch: Patch, folder: Path) -> None:
    patch.setattr(picture, "_CONVERT", "import time; time.sleep(1000)")
    patch.setattr(picture, "_PATIENCE_S", 0.2)


def picture_without_library(patch: Patch, folder: Path) -> None:
    patch.setattr(picture, "_CONVERT", "import no_such_library")


def picture_where_a_folder_is(patch: Patch, folder: Path) -> None:
    put_folders(patch, folder, PICTURE)
    patch.setattr(picture, "png_of", lambda chart: b"a picture")


def event_file_where_a_folder_is(patch: Patch, folder: Path) -> None:
    put_folders(patch, folder, "hparams.yaml", "metrics", "log.txt")


def put_folders(patch: Patch, folder: Path, *names: str) -> None:
    """Folders in the place of files, as soon as training has begun."""

    def on_train_batch_start(module: EmergenceModule, batch: object, batch_idx: int) -> None:
        for name in names:
            (folder / name).unlink() if (folder / name).is_file() else None
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "content").touch()

    patch.setattr(EmergenceModule, "on_train_batch_start", on_train_batch_start)


BREAKS: dict[Callable[[Patch, Path], None], str] = {
    writer_thread: "TensorBoardLogger",
    writer_flush: "TensorBoardLogger",
    writer_start: "TensorBoardLogger",
    hyperparameters: "TensorBoardLogger",
    bar_of_a_closed_terminal: "",
    bar_without_standard_error: "",
    bar_that_cannot_be_made: "no progress",
    headline: "no progress",
    no_columns: "",
    many_columns: "",
    unknown_terminal: "",
    output_on_a_full_disk: "summary",
    ascii_output: "",
    no_git: "",
    strange_git: "",
    no_memory_figures: "",
    no_processor_name: "device's name",
    no_operations: "operations",
    picture_that_kills: "signal 5",
    picture_in_little_memory: PICTURE,
    picture_that_never_ends: PICTURE,
    picture_without_library: "no_such_library",
    picture_where_a_folder_is: PICTURE,
    event_file_where_a_folder_is: "hparams.yaml",
}
"""Each break, and a part of the warning that it leads to; none where nothing is lost that would be missed."""


@pytest.mark.process
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("break_it", BREAKS, ids=lambda each: each.__name__)
def test_a_run_does_without(
    break_it: Callable[[Patch, Path], None], tmp_path: Path, monkeypatch: Patch, capfd: pytest.CaptureFixture[str]
) -> None:
    draws = "picture" in break_it.__name__
    options = ["--trainer.enable_progress_bar=true", f"--picture={str(draws).lower()}", "--trainer.log_every_n_steps=1"]
    with monkeypatch.context() as patch:
        break_it(patch, run_folder(tmp_path, LM, "a"))
        code, folder = fit(LM, tmp_path, "a", 10, 2, *options)
    record = record_of(folder)
    said = capfd.readouterr().err
    assert (code, record.status, record.curves is not None) == (0, "censored", True), said
    warned = [line for line in said.splitlines() if line.startswith("warning: ")]
    expected = BREAKS[break_it]
    assert len(warned) == bool(expected) and expected in "".join(warned), said
    assert "Traceback" not in said and "Error in" not in said
    assert (folder / CURVES).exists()
