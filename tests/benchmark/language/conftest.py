"""Fixtures of the tests of language models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.planted_models import Plant


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """A writer of planted checkpoints."""
    return Plant(tmp_path_factory.mktemp("plant"))


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Folders of the checkpoints that are loaded."""
    from benchmark.language import language_model
    from benchmark.language.heads import head_patch_runs

    found: list[Path] = []
    load = language_model.load_model

    def counted(folder: Path) -> object:
        found.append(folder)
        return load(folder)

    for module in (language_model, head_patch_runs):
        monkeypatch.setattr(module, "load_model", counted)
    yield found
