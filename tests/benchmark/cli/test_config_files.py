"""Whatever takes a configuration file refuses one that would hang it, fill the memory or be fetched, in one line."""

import os
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from benchmark.__main__ import main

BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]" for i in range(60))])
IN_QUOTES = f'out: "{{{BOMB.replace(chr(10), ", ")}}}"'
FIT = ["--model=transformer", "--data=lm"]
COMMANDS = {
    "fit": ["fit", "--config", "{}", *FIT],
    "test": ["test", "--config", "{}", *FIT],
    "model": ["fit", "--model", "{}", "--data=lm"],
    "data": ["fit", "--model=transformer", "--data", "{}"],
    "trainer": ["fit", *FIT, "--trainer", "{}"],
    "logger": ["fit", *FIT, "--trainer.logger", "{}"],
    "optimizer": ["fit", *FIT, "--optimizer", "{}"],
    "sweep": ["sweep", "--config", "{}", "--dry_run"],
    "suite": ["sweep", "--suite", "{}", "--dry_run"],
}
CONTENTS = {
    "bomb": BOMB,
    "in quotes": f"class_path: transformer\ninit_args: {{d_model: {IN_QUOTES.partition(': ')[2]}}}",
    "recursive": "&a [*a]",
    "deep": "[" * 5000 + "]" * 5000,
    "twice": "seed: 1\nseed: 2",
    "tag": "a: !!python/object/apply:os.system [touch ran]",
    "huge number": "seed: 1" + "0" * 5000,
}


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(command: str, file: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line."""
    before, began = sorted(os.listdir()), time.process_time()
    try:
        code: object = main([word.replace("{}", file) for word in COMMANDS[command]])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert len(err) < 1000
    assert time.process_time() - began < 10
    assert sorted(os.listdir()) == before
    return err


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_contents(command: str, far: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in CONTENTS.items():
        (far / "file.yaml").write_text(content)
        if (name, command) not in {("in quotes", "data"), ("in quotes", "sweep")}:
            refused(command, "file.yaml", capsys)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_kinds_of_files(command: str, far: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(far / "pipe.yaml")
    (far / "device.yaml").symlink_to("/dev/zero")
    (far / "folder.yaml").mkdir()
    (far / "large.yaml").touch()
    os.truncate(far / "large.yaml", 3 << 30)  # takes no room on the disk
    (far / "binary.yaml").write_bytes(random.Random(0).randbytes(5000))
    for name in ("pipe", "device", "folder", "large", "binary", "missing"):
        said = refused(command, f"{name}.yaml", capsys)
        if name in {"pipe", "large", "binary"}:
            assert f"{name}.yaml" in said


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and the paths that it has been asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"seed: 3\n")

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None: ...

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}/file.yaml", asked
    http.shutdown()
    http.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "trainer", "model", "sweep", "suite"])
def test_nothing_is_fetched(
    command: str, server: tuple[str, list[str]], far: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, asked = server
    refused(command, address, capsys)
    refused(command, "memory://file.yaml", capsys)
    assert asked == []
