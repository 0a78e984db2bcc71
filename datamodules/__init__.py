"""Tasks: deterministic streams of token sequences, and the Lightning data modules that feed them to a trainer."""

import sys

from datamodules.automata import cellular_automata
from datamodules.automata.cellular_automata import CellularAutomata
from datamodules.copy import Copying
from datamodules.data_module import Rows, TaskDataModule
from datamodules.linear_map import LinearMap, dense_copy_loss_nats
from datamodules.registry import TASKS, register_task
from datamodules.states import States
from datamodules.stream import SPLITS, Split, Stream
from datamodules.task import Target, Task
from datamodules.task_ensemble import TaskEnsemble

__all__ = [
    "SPLITS",
    "TASKS",
    "CellularAutomata",
    "Copying",
    "LinearMap",
    "Rows",
    "Split",
    "States",
    "Stream",
    "Target",
    "Task",
    "TaskDataModule",
    "TaskEnsemble",
    "dense_copy_loss_nats",
    "register_task",
]

# Run folders written before the automata had a folder of their own name the class by this path.
sys.modules["datamodules.cellular_automata"] = cellular_automata
