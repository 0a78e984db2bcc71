import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark.config import plugins
from leaderboard.records.record import read_record


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
    """What pip leaves of a package that declares one architecture."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[emergence_benchmark.architectures]\n{name} = {name}\n")


def test_an_installed_package_brings_an_architecture_and_a_broken_one_only_a_warning(
    tmp_path: Path, repository: Path
) -> None:
    site, out = tmp_path / "site", tmp_path / "runs"
    site.mkdir()
    install(site, "good_plugin", GOOD)
    install(site, "broken_plugin", "raise RuntimeError('no such\\nkernel')")
    install(site, "greedy_plugin", GOOD.replace("outsider", "transformer"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(repository)])}

    def benchmark(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmark", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    protocol = ["--protocol.max_steps=2", "--protocol.eval_every=1", f"--out={out}", "--name=a"]
    tiny = ["--data=lm", "--data.state_size=4", "--data.n_nonzero=2", "--data.batch_size=4"]
    done = benchmark("fit", "--model=outsider", "--model.depth=3", *tiny, *protocol)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2
    assert any("plugin broken_plugin" in line and "RuntimeError: no such kernel" in line for line in warnings)
    assert any("plugin greedy_plugin" in line and "'transformer'" in line for line in warnings)
    listed = benchmark("list")
    assert listed.returncode == 0
    assert sum(line.startswith("warning: plugin ") for line in listed.stderr.splitlines()) == 2
    lines = listed.stdout.splitlines()
    assert [line.split(maxsplit=2) for line in lines if "[" in line] == [
        ["architecture", "outsider", "From another package. [good_plugin]"]
    ]
    assert {line.split()[1] for line in lines} >= {"outsider", "transformer", "lm", "lite"}
    record = read_record(out / "lm" / "outsider" / "a" / "record.json")
    assert (record.architecture.name, record.architecture.config) == ("outsider", {"d_model": 8, "depth": 3})
