"""When does a capability emerge? Hitting steps of several targets, each sustained and bracketed."""

from collections.abc import Iterable
from typing import Any

from lightning import Callback, LightningModule, Trainer

from benchmark.metrics import Evaluation
from benchmark.module import EmergenceModule
from datamodules import Target


class Hitting:
    """The hitting step of one target: the first evaluation at which it holds and still holds at the next one.

    A first hit alone is wrong in a third of runs, because the loss falls in noisy steps. What held for the first time
    at the last evaluation of a run is therefore no hit.

    Attributes:
        step: the hitting step, None so far.
        previous_step: the evaluation before it, None if the target held at the first evaluation: the emergence lies in
            (previous_step, step].
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.step: int | None = None
        self.previous_step: int | None = None
        self._last_step: int | None = None
        self._candidate: tuple[int, int | None] | None = None

    def update(self, step: int, metrics: dict[str, float]) -> None:
        """Take in the evaluation at a step; steps come in ascending order."""
        if self.step is None:
            if not self.target.holds(metrics):
                self._candidate = None
            elif self._candidate is None:
                self._candidate = (step, self._last_step)
            else:
                self.step, self.previous_step = self._candidate
        self._last_step = step

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "step": self.step,
            "previous_step": self.previous_step,
            "last_step": self._last_step,
            "candidate": None if self._candidate is None else list(self._candidate),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.step, self.previous_step = state["step"], state["previous_step"]
        self._last_step = state["last_step"]
        self._candidate = None if state["candidate"] is None else (state["candidate"][0], state["candidate"][1])


class EmergenceTracker(Callback):
    """Follows the task's targets over the evaluations of a fit, keeps the learning curves, and ends a solved run.

    Args:
        targets: what is to be reached.
        eval_every: evaluations off this grid do not count.
        stop_when_solved: ask the trainer to stop once every target holds.

    Attributes:
        curves: one row an evaluation: step, every metric, loss_by_position_nats (a float32 tensor (L,)).
    """

    def __init__(self, targets: Iterable[Target], eval_every: int, stop_when_solved: bool) -> None:
        self.hittings = {target.name: Hitting(target) for target in targets}
        self.eval_every, self.stop_when_solved = eval_every, stop_when_solved
        self.curves: list[dict[str, Any]] = []

    @property
    def all_hit(self) -> bool:
        """Whether every target has been reached."""
        return all(hitting.step is not None for hitting in self.hittings.values())

    def take(self, step: int, evaluation: Evaluation) -> None:
        """Take in the evaluation at a step, if it lies on the grid and is a new one."""
        if step % self.eval_every or (self.curves and self.curves[-1]["step"] >= step):
            return
        by_position = evaluation.loss_L.float()
        self.curves.append({"step": step, **evaluation.metrics, "loss_by_position_nats": by_position})
        for hitting in self.hittings.values():
            hitting.update(step, evaluation.metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Every evaluation during a fit, the one before the first step included."""
        assert isinstance(pl_module, EmergenceModule) and pl_module.evaluation is not None
        if trainer.state.fn == "fit":
            self.take(trainer.global_step, pl_module.evaluation)
            self._stop_if_solved(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that was cut short after it had solved the task, before it could say so, must not train on."""
        self._stop_if_solved(trainer)

    def _stop_if_solved(self, trainer: Trainer) -> None:
        if self.stop_when_solved and self.all_hit:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Targets and curves so far."""
        return {"hittings": {k: v.state_dict() for k, v in self.hittings.items()}, "curves": list(self.curves)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        for name, state in state_dict["hittings"].items():
            self.hittings[name].load_state_dict(state)
        self.curves = list(state_dict["curves"])
