"""Paths as users write them, wherever they may write one."""

import os
import pwd
from pathlib import Path

import pytest

from benchmark.__main__ import main as benchmark
from benchmark.config.files.suite import load_suite
from benchmark.config.files.yaml_text import read_yaml
from benchmark.config.parser import parse
from benchmark.sweeps.sweep import SweepConfig
from leaderboard.__main__ import main as leaderboard
from leaderboard.paths import user_path

BAD = {
    "": "name a file or a folder",
    "  ": "name a file or a folder",
    "a\0b": "cannot be printed",
    "a\nb": "cannot be printed",
    "a\u2028b": "cannot be printed",
    "a\x1b[2Jb": "cannot be printed",
    "a\udcffb": "cannot be printed",
    "~no_such_user/runs": "no_such_user",
    "n" * 256: "too long",
    "n/" * 3000: "too long",
}
COMMANDS = {
    "benchmark": (
        ["fit", "--model=transformer", "--data=lm", "--out=PATH"],
        ["fit", "--model=transformer", "--data=lm", "--ckpt_path=PATH"],
        ["resume", "PATH"],
        ["sweep", "--suite=lite", "--out=PATH", "--dry_run"],
        ["sweep", "--config=PATH", "--dry_run"],
        ["replay", "PATH"],
        ["new", "some_model", "--out=PATH"],
        ["speed", "--part=lengths", "--models=transformer", "--out=PATH"],
    ),
    "leaderboard": (
        ["show", "PATH"],
        ["check", "PATH"],
        ["check", "runs", "--against=PATH"],
        ["validate", "PATH"],
        ["submit", "PATH", "--name=a", "--author=b"],
        ["submit", "runs", "--name=a", "--author=b", "--out=PATH"],
        ["build", "--out=PATH"],
    ),
}
EVERY = [(room, words) for room, commands in COMMANDS.items() for words in commands]


def test_home_folders_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    me = pwd.getpwuid(os.getuid())
    assert user_path("~") == Path("/home/somebody")
    assert user_path(Path("~/runs")) == Path("/home/somebody/runs")
    assert user_path(f"~{me.pw_name}/runs") == Path(me.pw_dir) / "runs"
    for plain in ("runs/~/x", "a~", "."):
        assert user_path(plain) == Path(plain)
    assert user_path("./~/x") == user_path(user_path("./~/x")) == Path.cwd() / "~" / "x"


@pytest.mark.parametrize("text", BAD, ids=repr)
def test_what_is_no_path_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--out: ") as refused:
        user_path(text, "--out")
    assert BAD[text] in str(refused.value) and "\n" not in str(refused.value)


def test_a_home_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    with pytest.raises(ValueError, match="home folder"):
        user_path("~/runs")


@pytest.mark.slow
@pytest.mark.parametrize(("room", "words"), EVERY, ids=[" ".join(words[:2] + words[-1:]) for _, words in EVERY])
def test_every_command_refuses_what_is_no_path(
    room: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("", "~no_such_user/x"):
        said = [word.replace("PATH", text) for word in words]
        try:
            code: object = {"benchmark": benchmark, "leaderboard": leaderboard}[room](said)
        except SystemExit as end:
            code = end.code
        (line,) = capsys.readouterr().err.splitlines()
        assert code == 2 and line.startswith("error: ") and (text or "''") in line
    assert not list(tmp_path.iterdir())


def test_a_home_folder_in_yaml_and_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse({"model": "transformer", "data": "lm", "out": "~/runs"}).out == f"{tmp_path}/runs"
    assert SweepConfig((0,), out=Path("~/runs")).out == tmp_path / "runs"
    (tmp_path / "a.yaml").write_text("cells: {c: {data: {class_path: lm}}}")
    assert read_yaml("~/a.yaml") == {"cells": {"c": {"data": {"class_path": "lm"}}}}
    assert load_suite("~/a.yaml")[0] == "a"
