"""README's examples are run as they stand."""

import re
import shlex
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from architectures import ARCHITECTURES
from benchmark import contract
from benchmark.__main__ import main


def blocks(repository: Path, language: str) -> list[str]:
    """The fenced blocks of README in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)


def test_the_example_architecture_passes_the_contract(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = [block for block in blocks(repository, "python") if "@register" in block]
    (tmp_path / "readme_example.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        import readme_example  # type: ignore[import-not-found]

        cls = ARCHITECTURES["running_mean"]
        assert cls is readme_example.RunningMean
        for check in contract.CHECKS:
            with suppress(contract.NotOffered):
                check(cls)
    finally:
        ARCHITECTURES.pop("running_mean", None)
        sys.modules.pop("readme_example", None)


@pytest.mark.slow
def test_the_python_example_runs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = [block for block in blocks(repository, "python") if "benchmark.fit" in block]
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    out, err = capsys.readouterr()
    assert "censored" in out and "'loss_nats'" in out and out.count("mlp_mixer") == 2
    assert err == ""
    assert len(list(tmp_path.rglob("record.json"))) == 5


def test_the_fit_commands_are_understood(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(blocks(repository, ""))
    commands = re.findall(r"^python -m benchmark (fit .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main([*shlex.split(command), "--print_config"])
        assert end.value.code == 0, command
    capsys.readouterr()


def test_what_readme_points_to_is_there(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    links += re.findall(r"configs/[\w/]+\.yaml", text)
    assert links
    assert [link for link in links if not (repository / link).exists()] == []
