"""The pairs under configs/arch: one file has the transformer's width, the other its number of parameters."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from architectures import ARCHITECTURES
from datamodules import TASKS

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "arch"
NAMES = sorted(ARCHITECTURES.keys() - {"transformer"})


def init_args(stem: str) -> tuple[str, dict[str, Any]]:
    """Short name and options of a file."""
    model = yaml.safe_load((CONFIGS / f"{stem}.yaml").read_text())["model"]
    return model["class_path"], model["init_args"]


def parameters(stem: str, task: str) -> int:
    """Parameters at the task's paper setting, its depth included."""
    name, options = init_args(stem)
    build: Any = ARCHITECTURES[name]
    task_class: Any = TASKS[task]
    data = task_class()
    model = build(data.vocab_size, data.seq_len, **data.model_defaults, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_one_of_each_pair_has_the_transformers_width(name: str) -> None:
    class_path, options = init_args(name)
    assert class_path == name
    assert options["d_model"] == init_args("transformer")[1]["d_model"]


@pytest.mark.parametrize("task", ["lm", "ca"])
@pytest.mark.parametrize("name", NAMES)
def test_the_other_has_its_number_of_parameters(name: str, task: str) -> None:
    """A mixer's matrices have one row a position, so that no one width of its MLP serves both tasks."""
    stem = name if (name, task) == ("mlp_mixer", "ca") else f"{name}_parameters"
    assert init_args(stem)[0] == name
    assert parameters(stem, task) == pytest.approx(parameters("transformer", task), rel=0.05)
