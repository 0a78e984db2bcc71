"""Variables of schedulers and launchers mean nothing to a run on one device, and all to one on several."""

import signal
from typing import Any

import pytest
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

from benchmark.config.protocol import Protocol
from benchmark.training.machine.launchers import on_one_device
from benchmark.training.processes import ignore_interrupts_beside_the_first, is_rank_zero, plan_processes
from benchmark.training.trainer import make_trainer, quiet

SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_JOB_NAME": "train"}
FOREIGN: dict[str, dict[str, str]] = {
    "slurm, tasks of any place": SLURM,
    "slurm, tasks of a node": SLURM | {"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"},
    "torchrun": {"TORCHELASTIC_RUN_ID": "9", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3", "GROUP_RANK": "0"},
    "kubernetes": {"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "nowhere.invalid", "MASTER_PORT": "port"},
    "mpi": {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "PMI_SIZE": "4", "PMI_RANK": "3"},
    "lsf": {
        **{"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "/nowhere", "LSB_HOSTS": "a b"},
        **{"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1"},
    },
    "lightning": {
        **{"PL_TRAINER_DEVICES": "3", "PL_TRAINER_ACCUMULATE_GRAD_BATCHES": "4", "PL_TRAINER_FAST_DEV_RUN": "1"},
        **{"PL_TRAINER_LIMIT_TRAIN_BATCHES": "0.5", "PL_TRAINER_STRATEGY": "ddp"},
    },
}


@pytest.fixture(autouse=True)
def rank(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rank that Lightning has read off such variables when it was imported."""
    monkeypatch.setattr(rank_zero_only, "rank", 3, raising=False)


@pytest.mark.parametrize("devices", [1, "1", "auto"])
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_run_on_one_device_asks_nobody(
    foreign: dict[str, str], devices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    options = {"devices": devices, "accelerator": "cpu", "logger": False}
    with quiet():
        assert plan_processes(options) == 1 and is_rank_zero()
        trainer = make_trainer(options, Protocol(max_steps=10, eval_every=5))
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)
    assert (trainer.world_size, trainer.global_rank, trainer.num_devices) == (1, 0, 1)
    assert (trainer.accumulate_grad_batches, trainer.limit_train_batches, trainer.max_steps) == (1, 1.0, 10)


@pytest.mark.parametrize(
    "options",
    [
        {"devices": 2, "strategy": "ddp"},
        {"devices": 2},
        {"devices": 1, "num_nodes": 2},
        {"devices": 1, "strategy": "ddp"},  # one device of each process that a launcher has started
        {"devices": 1, "plugins": [SLURMEnvironment()]},
        {"devices": 1, "strategy": "no such strategy"},
    ],
)
def test_any_other_is_left_to_lightning(options: dict[str, Any]) -> None:
    options = {"accelerator": "cpu", **options}
    with quiet():
        assert on_one_device(options) is options


def test_processes_of_a_launcher_are_counted_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (FOREIGN["torchrun"] | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    with quiet():
        assert plan_processes({"devices": 4, "strategy": "ddp", "accelerator": "cpu"}) == 4 and not is_rank_zero()


def test_ctrl_c_is_heeded_by_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    before = signal.getsignal(signal.SIGINT)
    try:
        ignore_interrupts_beside_the_first()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with quiet():
            plan_processes({"devices": 1, "accelerator": "cpu"})
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_variables_are_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_TRAINER_DEVICES", "3")
    with quiet():
        make_trainer({"devices": 1, "accelerator": "cpu", "logger": False}, Protocol(max_steps=10, eval_every=5))
        assert Trainer(logger=False, accelerator="cpu").num_devices == 3
