"""A configuration can name any class. Of a stranger's, none is imported; of one's own, a line says so."""

import sys
from pathlib import Path
from typing import Any

import pytest

import benchmark
from benchmark.__main__ import main
from benchmark.config.files.yaml_text import from_text, to_text
from benchmark.config.parser import parse, to_yaml
from benchmark.sweeps.sources import bases
from benchmark.training.folder.layout import CONFIG

EVIL = """
import pathlib
import lightning
import architectures
pathlib.Path(__file__).with_suffix(".ran").touch()

class Watcher(lightning.Callback):
    pass

transformer = lm = Watcher
"""
OWN = {"model": "transformer", "data": "lm"}


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once the module `evil_module` has been imported."""
    (tmp_path / "evil_module.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evil_module", raising=False)
    return tmp_path / "evil_module.ran"


def folder_with(tmp_path: Path, **changes: Any) -> Path:
    """A run folder whose configuration was changed."""
    content = from_text(to_yaml(parse({**OWN, "trainer": {"accelerator": "cpu", "devices": 1}})))
    trainer = {**content["trainer"], **changes.pop("trainer", {})}
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / CONFIG).write_text(to_text({**content, **changes, "trainer": trainer}), encoding="utf-8")
    return folder


WATCHER = "evil_module.Watcher"


@pytest.mark.parametrize(
    "trainer",
    [
        {"callbacks": [{"class_path": WATCHER}]},
        {"callbacks": [WATCHER]},
        {"callbacks": WATCHER},
        {"logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"name": [WATCHER]}}},
        {"profiler": WATCHER},
        {"plugins": [{"class_path": WATCHER, "dict_kwargs": {}}]},
    ],
)  # fmt: skip
def test_a_run_folder_imports_nothing_from_elsewhere(trainer: dict[str, Any], evil: Path, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, trainer=trainer)
    for read in (benchmark.load, benchmark.resume):
        with pytest.raises(benchmark.BenchmarkError, match=r"config\.yaml: names evil_module\.Watcher") as error:
            read(folder)
        assert "--trust" in str(error.value)
    assert not evil.exists()


@pytest.mark.parametrize(("key", "name"), [("model", "transformer"), ("data", "lm")])
def test_architecture_and_task_are_looked_up_by_name(key: str, name: str, evil: Path, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, **{key: {"class_path": f"evil_module.{name}"}})
    run = benchmark.load(folder, weights=False)
    assert getattr(run.config, key).name == name
    assert not evil.exists()


def test_options_of_an_architecture_name_no_class(evil: Path, tmp_path: Path) -> None:
    options = {"class_path": "transformer", "init_args": {"d_model": {"class_path": WATCHER}}}
    with pytest.raises(benchmark.BenchmarkError, match=WATCHER):
        benchmark.load(folder_with(tmp_path, model=options), weights=False)
    assert not evil.exists()


def test_a_suite_imports_nothing(evil: Path, tmp_path: Path) -> None:
    suite = tmp_path / "theirs.yaml"
    suite.write_text("cells: {a: {data: {class_path: evil_module.lm}}}\n")
    (base,) = bases(str(suite), (), ("transformer",), ())
    assert parse(base.content).data.name == "lm"
    assert not evil.exists()


def test_trust_imports(evil: Path, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, trainer={"callbacks": [{"class_path": WATCHER}]})
    with pytest.warns(UserWarning, match="evil_module.Watcher, from outside"):
        assert benchmark.load(folder, weights=False, trust=True).task.name == "lm"
    assert evil.exists()


def test_of_ones_own_configuration_a_line_says_so(evil: Path) -> None:
    with pytest.warns(UserWarning, match="evil_module.Watcher, from outside of the suite"):
        parse({**OWN, "trainer": {"callbacks": [{"class_path": WATCHER}]}})
    parse({**OWN, "trainer": {"callbacks": [{"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}]}})


def test_nothing_runs_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("callbacks", "logger", "profiler", "strategy"):
        file = tmp_path / "theirs.yaml"
        call = {"class_path": "os.system", "init_args": {"command": f"touch {tmp_path / 'ran'}"}}
        file.write_text(to_text({**OWN, "trainer": {option: call}, "out": str(tmp_path / "runs")}))
        try:
            code: object = main(["fit", f"--config={file}"])
        except SystemExit as end:
            code = end.code
        assert code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.yaml"]
