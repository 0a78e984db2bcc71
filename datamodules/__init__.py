"""Tasks: deterministic streams of token sequences, and the Lightning data modules that feed them to a trainer.

A file in this folder is imported by that alone, so a task of yours needs no line here.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules

from datamodules.automata import cellular_automata
from datamodules.automata.cellular_automata import CellularAutomata
from datamodules.automata.neural_automata import NeuralAutomata
from datamodules.bigram import BigramChain
from datamodules.copy import Copying
from datamodules.data_module import Rows, TaskDataModule
from datamodules.dyck import ShuffleDyck
from datamodules.linear_map import LinearMap, dense_copy_loss_nats
from datamodules.registry import TASKS, register_task
from datamodules.states import States
from datamodules.stream import SPLITS, Split, Stream
from datamodules.task import Target, Task
from datamodules.task_ensemble import TaskEnsemble

__all__ = [
    "SPLITS",
    "TASKS",
    "BigramChain",
    "CellularAutomata",
    "Copying",
    "LinearMap",
    "NeuralAutomata",
    "Rows",
    "ShuffleDyck",
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

for _module in iter_modules(__path__):
    try:
        import_module(f"{__name__}.{_module.name}")
    except Exception as _error:  # of a file that is being written: one line, in place of a traceback from every command
        _reason = f"{type(_error).__name__}: {' '.join(str(_error).split())}"
        raise ValueError(f"{__path__[0]}/{_module.name}: cannot be imported: {_reason}") from _error

# Run folders written before the automata had a folder of their own name the class by this path.
sys.modules["datamodules.cellular_automata"] = cellular_automata
