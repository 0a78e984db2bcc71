from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules import TASKS, LinearMap, Rows, TaskDataModule

LM: Any = TASKS["lm"]
CA: Any = TASKS["ca"]


class Listener(LightningModule):
    """Keeps the batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[Tensor] = []
        self.validated: list[Tensor] = []
        self.tested: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trained.append(batch)
        return self.weight**2

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(batch)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.tested.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAtStep(Callback):
    """Writes one checkpoint, within the training loop."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *args: object) -> None:
        if trainer.global_step == self.step and not self.path.exists():
            trainer.save_checkpoint(self.path)


def trainer(max_steps: int, root: Path, **options: object) -> Trainer:
    settings: dict[str, object] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "val_check_interval": 2,
        "check_val_every_n_epoch": None,
        "default_root_dir": root,
    }
    return Trainer(max_steps=max_steps, **(settings | options))  # type: ignore[arg-type]


def data_module() -> TaskDataModule:
    return LM(8, 2, tokens_per_step=70, eval_sequences=10, task_seed=1, data_seed=2)


def same(batches: list[Tensor], expected: list[Tensor]) -> bool:
    return len(batches) == len(expected) and all(map(torch.equal, batches, expected))


def test_fit_validate_and_test_see_their_streams(tmp_path: Path) -> None:
    data, listener = data_module(), Listener()
    trainer(5, tmp_path).fit(listener, datamodule=data)
    assert same(listener.trained, [data.task.batch(step, 4) for step in range(5)])
    held_out = [data.task.rows(0, 4, "eval"), data.task.rows(4, 8, "eval"), data.task.rows(8, 10, "eval")]
    assert same(listener.validated, held_out * 2)
    trainer(5, tmp_path).test(listener, datamodule=data, verbose=False)
    assert same(
        listener.tested, [data.task.rows(0, 4, "test"), data.task.rows(4, 8, "test"), data.task.rows(8, 10, "test")]
    )
    listener.validated.clear()
    trainer(5, tmp_path).validate(listener, datamodule=data, verbose=False)
    assert same(listener.validated, held_out)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_goes_on_with_the_next_batch(tmp_path: Path, accumulate: int) -> None:
    """From a checkpoint in the middle of a run, while Lightning had already fetched the item after it."""
    data, first, second = data_module(), Listener(), Listener()
    path = tmp_path / "third.ckpt"
    run = trainer(5, tmp_path, accumulate_grad_batches=accumulate, callbacks=[SaveAtStep(3, path)])
    run.fit(first, datamodule=data)
    resumed = trainer(6, tmp_path, accumulate_grad_batches=accumulate)
    resumed.fit(second, datamodule=data_module(), ckpt_path=path)
    batches = [data.task.batch(step, 4) for step in range(6 * accumulate)]
    assert same(first.trained, batches[: 5 * accumulate])
    assert same(second.trained, batches[3 * accumulate :])


def test_ranks_share_the_global_batch() -> None:
    parts = []
    for rank in range(2):
        data = data_module()
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_step=7, accumulate_grad_batches=1, global_rank=rank, world_size=2
        )
        rows = next(iter(data.train_dataloader()))
        tokens = data.transfer_batch_to_device(rows, torch.device("cpu"), 0)
        assert isinstance(tokens, Tensor)
        parts.append(tokens)
        assert [tuple(chunk) for chunk in data.val_dataloader()] == [("eval", 0, 4), ("eval", 4, 8), ("eval", 8, 10)]
    assert torch.equal(torch.cat(parts), data.task.batch(7, 4))


def test_rows_are_handed_over_where_the_module_makes_the_tokens() -> None:
    data = TaskDataModule(LinearMap(8, 2), batch_size=4)
    rows = next(iter(data.train_dataloader()))
    made = data.transfer_batch_to_device(rows, torch.device("cpu"), 0)
    assert isinstance(made, Tensor)
    assert torch.equal(made, data.task.batch(0, 4))
    data.as_rows = True
    assert data.transfer_batch_to_device(rows, torch.device("cpu"), 0) is rows
    assert rows == Rows("train", 0, 4)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    data = data_module()
    data.trainer = SimpleNamespace(world_size=3)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="batch_size=4 does not divide among 3 processes"):
        data.train_dataloader()


def test_sizes() -> None:
    data = data_module()
    assert (data.batch_size, data.tokens_per_step, data.vocab_size, data.seq_len) == (4, 64, 2, 15)
    assert (len(data.val_dataloader()), len(data.test_dataloader())) == (3, 3)
    defaults = LM()
    assert (defaults.batch_size, defaults.tokens_per_step, defaults.eval_sequences) == (256, 8192, 512)
    automata = CA()
    assert (automata.batch_size, automata.seq_len, automata.vocab_size, automata.eval_sequences) == (32, 255, 4, 64)
    long = CA(state_size=512, batch_size=3)
    assert (long.batch_size, long.tokens_per_step, long.eval_sequences) == (3, 3 * 8192, 8)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"state_size": 4096},
            ["tokens_per_step=8192", "65536", "tokens_per_step", "batch_size"],
        ),
        ({"batch_size": 0}, ["batch_size", "1", "0"]),
        ({"eval_sequences": 0}, ["eval_sequences", "1", "0"]),
        ({"window": 2}, ["2"]),
    ],
)
def test_errors(options: dict[str, int], named: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        CA(**options)
    assert all(name in str(error.value) for name in named)


def test_command_line() -> None:
    """Short names resolve, options reach the task, and every option has its line of help."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TaskDataModule, "data")
    parsed = parser.parse_args(["--data=ca", "--data.state_size=32", "--data.n_rules=0", "--data.data_seed=5"])
    data = parser.instantiate(parsed).data
    assert type(data) is CA
    assert data.task.config == {
        "state_size": 32,
        "n_states": 16,
        "n_rules": 0,
        "rule_steps": 1,
        "n_colors": 4,
        "window": 3,
        "target_accuracy": 0.85,
    }
    assert (data.task.task_seed, data.task.data_seed) == (0, 5)


@pytest.mark.parametrize("name", TASKS)
def test_every_option_is_documented(name: str) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(TASKS[name], "data")
    options = [action for action in parser._actions if action.dest.startswith("data.")]
    assert len(options) >= 8
    assert [action.dest for action in options if not action.help] == []
