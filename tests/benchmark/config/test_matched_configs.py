"""The pairs under configs/arch: one file has the transformer's width, the other its number of parameters."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from architectures import ARCHITECTURES
from datamodules import TASKS

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "arch"
NAMES = sorted(ARCHITECTURES.keys() - {"transformer", "hybrid"})  # no task sets the depth of a hybrid


def init_args(stem: str) -> tuple[str, dict[str, Any]]:
    """Short name and options of a file."""
    model = yaml.safe_load((CONFIGS / f"{stem}.yaml").read_text())["model"]
    return model["class_path"], model["init_args"]


def parameters(stem: str, task: str, **other: int) -> int:
    """Parameters at the task's paper setting, its depth included."""
    name, options = init_args(stem)
    options = options | other
    build: Any = ARCHITECTURES[name]
    task_class: Any = TASKS[task]
    data = task_class()
    model = build(data.vocab_size, data.seq_len, **data.model_defaults, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def advice(stem: str, task: str) -> str:
    """The width that comes nearest, for whoever has changed an architecture."""
    wanted, sizes = parameters("transformer", task), {}
    for d_model in range(16, 513, 8):
        with suppress(ValueError):  # some do not divide among the heads
            sizes[d_model] = parameters(stem, task, d_model=d_model)
    nearest = min(sizes, key=lambda d_model: abs(sizes[d_model] - wanted))
    return f"d_model {nearest} gives {sizes[nearest]:,}"


@pytest.mark.slow
def test_the_advice_names_a_width_that_fits() -> None:
    assert advice("transformer", "lm") == f"d_model 128 gives {parameters('transformer', 'lm'):,}"


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
    ours, theirs = parameters(stem, task), parameters("transformer", task)
    if ours != pytest.approx(theirs, rel=0.05):
        pytest.fail(f"{stem}.yaml: {ours:,} parameters on {task}, the transformer has {theirs:,}: {advice(stem, task)}")
