"""Behaviour that all commands share: help, misspelt words, a start without torch; and the names that `list` reads."""

import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from architectures import ARCHITECTURES
from benchmark.__main__ import COMMANDS, LIGHTNING, main
from benchmark.config import plugins
from benchmark.config.files.catalogue import CatalogueItem, catalogue, registered
from datamodules import TASKS

HEAVY = {"lightning", "numpy", "pandas", "torch"}


def ended(words: list[str]) -> int | str | None:
    """The exit code of a command, whichever way it ends."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]], ids=str)
def test_the_overview_has_a_line_for_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(words) == 0
    out, err = capsys.readouterr()
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    assert lines == [[name, summary] for name, summary in COMMANDS.items()]
    assert "python -m benchmark COMMAND --help" in out
    assert err == ""


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_usage_and_loads_no_plugin(
    command: str, option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: pytest.fail("looked for plugins"))
    assert ended([command, option]) == 0
    out, err = capsys.readouterr()
    assert re.match(rf"usage: python -m benchmark (\[options\] )?{command}\s", out)
    assert "--help" in out
    assert err == ""


@pytest.mark.process
def test_help_and_list_import_nothing_heavy(repository: Path, tmp_path: Path) -> None:
    light = [[], ["--help"], ["list"], ["lits"], *([name, "--help"] for name in COMMANDS if name not in LIGHTNING)]
    light += [["sweep", "--sede", "0-4"], ["sweep", "--suite", "lite", "--seeds", "4-0"]]
    code = (
        "import contextlib, io, sys\n"
        f"sys.path.insert(0, {str(repository)!r})\n"
        "from benchmark.__main__ import main\n"
        "from benchmark.config import plugins\n"
        "plugins.entry_points = lambda group: []\n"
        f"for words in {light!r}:\n"
        "    out = io.StringIO()\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):\n"
        "        main(words)\n"
        "    assert out.getvalue(), words\n"
        f"    assert not {HEAVY!r} & sys.modules.keys(), words\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MISSPELT = {  # of the others, --hlep
    "fit": (["--model=transformer", "--data=lm", "--sede=3"], "--sede", "--seed"),
    "validate": (["--cpkt_path=x"], "--cpkt_path", "--ckpt_path"),
    "resume": (["folder", "--hlep"], "--hlep", "--help"),
    "sweep": (["--sede", "0-4"], "--sede", "--seeds"),
    "check": (["transformer", "--fats"], "--fats", "--fast"),
    "new": (["my_model", "--otu=x"], "--otu", "--out"),
    "capability": (["folder", "--evry"], "--evry", "--every"),
    "head_patch": (["folder", "--frm=3"], "--frm", "--from"),
    "language_series": (["mini", "--out=x", "--seed=3"], "--seed", "--seeds"),
    "report": (["folder", "--otu=x"], "--otu", "--out"),
    "replay": (["record.json", "--plugn=x"], "--plugn", "--plugin"),
    "speed": (["--length", "128"], "--length", "--lengths"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_option_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, wrong, right = MISSPELT.get(command, (["--hlep"], "--hlep", "--help"))
    assert ended([command, *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert wrong in err and f"did you mean {right}" in err, err


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("fitt", ("'fitt'", "did you mean fit?", "fit, validate, test, ")),
        ("resum", ("'resum'", "did you mean resume?")),
        ("zzz", ("'zzz'", "fit, validate, ")),
        ("--hlep", ("--hlep", "did you mean --help?")),
        ("--seed", ("--seed", "see --help", "follow the command")),
    ],
)
def test_a_misspelt_command_is_one_line(word: str, named: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([word, "more"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ") and all(name in err for name in named), err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["resume"], ("RUN_FOLDER", "missing")),
        (["replay"], ("RECORD", "missing")),
        (["list", "tasks"], ("'tasks'",)),
        (["fit", "tasks"], ("'tasks'",)),
        (["sweep", "--lr=3"], ("--lr", "see --help")),
        (["fit", "--lr=3"], ("--lr", "--optimizer.lr")),
    ],
    ids=str,
)
def test_a_word_too_many_or_too_few(
    words: list[str], named: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ") and all(name in err for name in named), err


def first_line(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def test_list_reads_what_is_registered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    choices = catalogue()
    for kind, classes in (("architecture", ARCHITECTURES), ("task", TASKS)):
        read = {choice.name: choice.summary for choice in choices if choice.kind == kind}
        assert read == {name: first_line(cls) for name, cls in classes.items()}
    assert [choice.name for choice in choices if choice.kind == "suite"] == ["lite", "paper"]
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[choice.kind, choice.name] for choice in choices]
    assert all(len(line.split()) > 4 for line in lines)


def test_registered_names_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.py").write_text(
        '@dataclass(frozen=True)\n@register("one")\nclass A:\n    """\n    First.\n\n    More.\n    """\n\n'
        '@register(name)\nclass B: ...\n\n@register_task("two")\nclass C:\n    """Second."""\n\n'
        'if x:\n    @register("bare")\n    class D: ...\n'
    )
    assert list(registered(tmp_path, "register")) == [("one", "First."), ("bare", "")]
    assert list(registered(tmp_path, "register_task")) == [("two", "Second.")]


class Outside:
    """Of a plugin.

    More.
    """


def test_what_plugins_register_is_listed_with_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """One plugin that loads, and one that does not: it warns, and the rest is listed."""
    ours = catalogue()
    monkeypatch.setitem(ARCHITECTURES, "outside", Outside)
    monkeypatch.setitem(TASKS, "outside_task", Outside)
    declared = {"a": "no_such_module", "b": "json"}
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint(*pair, group) for pair in declared.items()])
    with pytest.warns(UserWarning, match="plugin a .* did not load: ModuleNotFoundError") as caught:
        found = catalogue()
    assert len(caught) == len(plugins.GROUPS)
    assert set(found) - set(ours) == {
        CatalogueItem("architecture", "outside", "Of a plugin.", __name__),
        CatalogueItem("task", "outside_task", "Of a plugin.", __name__),
    }
    assert set(ours) < set(found)


@pytest.mark.process
def test_a_reader_that_has_seen_enough(repository: Path) -> None:
    """As `list | head` would do it, with a reader that is gone before the first line."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "benchmark", "list"]
    done = subprocess.run(command, cwd=repository, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
