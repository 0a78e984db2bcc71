"""Tasks: deterministic streams of token sequences, and the Lightning data modules that feed them to a trainer."""

from datamodules.cellular_automata import CellularAutomata
from datamodules.copy import Copying
from datamodules.data_module import Rows, TaskDataModule
from datamodules.ensemble import TaskEnsemble
from datamodules.linear_map import LinearMap, dense_copy_loss_nats
from datamodules.registry import TASKS, register_task
from datamodules.states import States
from datamodules.stream import SPLITS, Split, Stream
from datamodules.task import Target, Task

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
