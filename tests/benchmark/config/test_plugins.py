"""Plugins: packages that declare an entry point bring architectures, and a broken one does no harm."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from benchmark.config import plugins
from tests.helpers.processes import PATIENCE_S, in_process
from tests.helpers.runs import LM, fit_command, record_of, run_folder


def test_one_that_fails_warns_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> list[EntryPoint]:
        return [EntryPoint("bad", "no_such_module_here", group), EntryPoint(f"good {group}", "json", group)]

    loaded = []
    monkeypatch.setattr(plugins, "entry_points", found)
    monkeypatch.setattr(EntryPoint, "load", lambda self, load=EntryPoint.load: loaded.append((self.name, load(self))))
    with pytest.warns(UserWarning, match="plugin bad .* did not load: .*No module named 'no_such_module_here'"):
        plugins.load_plugins()
    assert [name for name, _ in loaded] == [f"good {group}" for group in plugins.GROUPS]


GOOD = '''
from torch import nn
from architectures import SequenceModel, register

@register("outsider")
class Outsider(SequenceModel):
    """From another package."""

    def __init__(self, vocab_size: int, seq_len: int, *, d_model: int = 8, depth: int = 2) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[nn.LayerNorm(d_model) for _ in range(depth)])
'''


def install(folder: Path, name: str, source: str) -> None:
    """The files that pip leaves of a package that declares one architecture."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[emergence_benchmark.architectures]\n{name} = {name}\n")


@pytest.mark.process
def test_an_installed_package_brings_an_architecture_and_a_broken_one_only_a_warning(
    tmp_path: Path, started: list[Any]
) -> None:
    site, out = tmp_path / "site", tmp_path / "runs"
    site.mkdir()
    install(site, "good_plugin", GOOD)
    install(site, "broken_plugin", "raise RuntimeError('no such\\nkernel')")
    install(site, "greedy_plugin", GOOD.replace("outsider", "transformer"))

    def benchmark(*words: str) -> tuple[list[str], list[str]]:
        """The warnings of a command, and its other lines."""
        output = tmp_path / words[0]
        process = in_process(words, output, site=site)
        started.append(process)
        process.join(PATIENCE_S)
        lines = output.read_text().splitlines()
        assert process.exitcode == 0, lines
        warnings = [line for line in lines if line.startswith("warning: ")]
        return warnings, [line for line in lines if line not in warnings]

    settings = ["--model=outsider", "--model.depth=3", *LM[4:]]
    warnings, _ = benchmark(*fit_command(settings, out, "a", 2, 1))
    assert len(warnings) == 2
    assert any("plugin broken_plugin" in line and "RuntimeError: no such kernel" in line for line in warnings)
    assert any("plugin greedy_plugin" in line and "'transformer'" in line for line in warnings)
    warnings, lines = benchmark("list")
    assert sum(line.startswith("warning: plugin ") for line in warnings) == 2
    assert [line.split(maxsplit=2) for line in lines if "[" in line] == [
        ["architecture", "outsider", "From another package. [good_plugin]"]
    ]
    assert {line.split()[1] for line in lines} >= {"outsider", "transformer", "lm", "lite"}
    record = record_of(run_folder(out, settings, "a"))
    assert (record.architecture.name, record.architecture.config) == ("outsider", {"d_model": 8, "depth": 3})
