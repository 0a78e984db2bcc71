import pickle

import pytest

from datamodules import TASKS, CellularAutomataDataModule, LinearMapDataModule, linear_map, register_task
from datamodules.data_module import TaskDataModule


def test_names() -> None:
    assert TASKS["lm"] is LinearMapDataModule
    assert TASKS["ca"] is CellularAutomataDataModule
    assert linear_map.lm is LinearMapDataModule  # type: ignore[attr-defined]
    assert LinearMapDataModule.__name__ == LinearMapDataModule.__qualname__ == "lm"


def test_a_renamed_class_can_be_pickled() -> None:
    data = pickle.loads(pickle.dumps(CellularAutomataDataModule(state_size=8)))
    assert type(data) is CellularAutomataDataModule
    assert data.task.state_size == 8


def test_a_duplicate_names_both_modules() -> None:
    with pytest.raises(ValueError) as error:

        @register_task("lm")
        class Another(TaskDataModule):
            pass

    assert str(error.value) == f"task 'lm' is defined twice: in datamodules.linear_map and in {__name__}"
    assert TASKS["lm"] is LinearMapDataModule
