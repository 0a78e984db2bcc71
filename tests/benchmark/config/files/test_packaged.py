"""Configuration files of the package are found by name in whatever folder a command is started."""

from pathlib import Path

import pytest

from benchmark import configure
from benchmark.__main__ import main
from benchmark.config.files.packaged import CONFIGS, config_file, with_config_files
from benchmark.config.files.suite import load_suite


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("configs/quickstart.yaml", "quickstart.yaml"),
        ("quickstart", "quickstart.yaml"),
        ("configs/task/lm.yaml", "task/lm.yaml"),
        ("task/lm.yaml", "task/lm.yaml"),
        ("task/lm", "task/lm.yaml"),
        ("configs/tuning/lite_tuning", "tuning/lite_tuning.yaml"),
    ],
)
def test_a_file_of_the_package_has_names(name: str, found: str) -> None:
    assert config_file(name) == CONFIGS / found


@pytest.mark.parametrize(
    "name",
    [
        "nothing.yaml",
        "configs",
        "configs/..",
        "../quickstart.yaml",
        "/quickstart.yaml",
        "",
        "lite",
        "x" * 5000,
        "model: a",
    ],
)
def test_any_other_name_stays_as_it_is(name: str) -> None:
    assert config_file(name) == Path(name)


def test_a_file_that_is_here_comes_first(empty_folder: Path) -> None:
    here = empty_folder / "configs" / "quickstart.yaml"
    here.parent.mkdir()
    here.write_text("model: mamba\n")
    assert config_file("configs/quickstart.yaml").samefile(here)
    assert config_file("quickstart") == CONFIGS / "quickstart.yaml"


def test_words_of_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--config", "task/lm", "-c=quickstart", "--name", "quickstart", "--config=own.yaml", "--config"]
    lm, quickstart = CONFIGS / "task" / "lm.yaml", CONFIGS / "quickstart.yaml"
    assert with_config_files(words) == [
        *("fit", "--config", str(lm), f"-c={quickstart}", "--name", "quickstart", "--config=own.yaml", "--config")
    ]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "task/lm" in said[0] and str(quickstart) in said[1]


def test_fit_takes_the_package_s_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "configs/quickstart.yaml", "--print_config"])
    assert end.value.code in (0, None)
    printed = capsys.readouterr()
    assert "class_path: architectures.transformer" in printed.out
    assert printed.err.count(str(CONFIGS / "quickstart.yaml")) == 1


def test_suites_and_python_take_them_too(empty_folder: Path) -> None:
    assert [load_suite(name)[0] for name in ("lite", "configs/tuning/lite_tuning.yaml")] == ["lite", "lite_tuning"]
    assert configure(config="configs/task/lm.yaml", model="transformer").data.name == "lm"
    assert list(empty_folder.iterdir()) == []
