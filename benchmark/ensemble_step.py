"""One training step of an ensemble, and its capture as a CUDA graph.

A small model's step on a GPU is bound by the launches of its many small kernels. Captured, the whole step (tokens made
on the device, forward, backward, clipping, AdamW) is one launch, and nothing in it waits for the host.

Shape letters: E seeds, B sequences.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from benchmark.ensemble import Ensemble, clip_grad_norm_per_seed_, next_token_loss_per_seed
from benchmark.protocol import OptimizerConfig
from datamodules import TaskEnsemble

WARM_UP_STEPS = 3
"""Steps made one by one before the capture: in the first ones libraries choose kernels and make their workspaces."""


class EnsembleAdamW(AdamW):
    """AdamW whose `step` is a captured training step once there is one.

    It works elementwise and all seeds are at the same step: one AdamW over stacked parameters is one for every seed.
    Lightning counts the calls of `step`, and so the steps, either way.
    """

    captured: Callable[[], None] | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update, by the captured step if there is one."""
        if self.captured is None:
            return super().step(closure)
        if closure is not None:
            closure()  # Lightning's, which calls hooks
        return self.captured()


class EnsembleStep:
    """Trains all seeds of an ensemble by one step a call.

    Args:
        ensemble: the models.
        tasks: where their tokens come from.
        config: AdamW's settings; the learning rate is set anew at every step.
        batch_size: sequences B of every seed in a step.
        max_steps: the budget, for the schedule.
        use_cuda_graph: capture the step where the parameters are on a CUDA device.

    Attributes:
        optimizer: over the stacked parameters.
        loss_E: losses of the last step, on the device.
        capture_s: wall time of the captures in seconds.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        tasks: TaskEnsemble,
        config: OptimizerConfig,
        batch_size: int,
        max_steps: int,
        use_cuda_graph: bool,
    ) -> None:
        self.ensemble, self.tasks, self.config = ensemble, tasks, config
        self.batch_size, self.factor = batch_size, config.factor(max_steps)
        self.device = next(ensemble.parameters()).device
        self.use_cuda_graph = use_cuda_graph and self.device.type == "cuda"
        self.capture_s = 0.0
        self.optimizer = EnsembleAdamW(
            list(ensemble.parameters()),
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            capturable=self._on_cuda,
            fused=True,
        )
        if self._on_cuda:
            for group in self.optimizer.param_groups:
                group["lr"] = torch.tensor(config.lr, device=self.device)  # a captured step reads it from there
        self.optimizer._warned_capturable_if_run_uncaptured = True  # the warm-up is meant
        self.start = torch.zeros((), dtype=torch.int64, device=self.device)
        self.loss_E = torch.zeros(ensemble.n_seeds, device=self.device)
        self._eager_steps = 0

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def prepare(self, step: int) -> None:
        """Set what differs from step to step; capture the step when it has been warmed up."""
        lr = self.config.lr * self.factor(step)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self.start.fill_(step * self.batch_size)
        if self.use_cuda_graph and self.optimizer.captured is None and self._eager_steps >= WARM_UP_STEPS:
            self._capture()

    def gradients(self) -> None:
        """Losses and clipped gradients of the sequences from `start` on; touches tensors on the device only."""
        tokens_EB = self.tasks.rows_at(self.start, self.batch_size)
        self.optimizer.zero_grad(set_to_none=True)
        loss_E = next_token_loss_per_seed(self.ensemble(tokens_EB[..., :-1]), tokens_EB)
        loss_E.sum().backward()  # seeds share no parameter, so each gets the gradient of its own loss
        if self.config.clip_norm > 0:
            clip_grad_norm_per_seed_(self.ensemble.parameters(), self.config.clip_norm)
        self.loss_E.copy_(loss_E.detach())
        self._eager_steps += 1

    def keep(self, indices: list[int]) -> None:
        """Go on with these seeds only: weights, moments, tokens. A captured step is captured anew, at the new size."""
        self.forget_capture()
        self.ensemble.keep(indices)
        self.tasks.keep(indices)
        self.loss_E = self.loss_E[indices]
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if name != "step":
                    state[name] = value[indices]

    def forget_capture(self) -> None:
        """Warm up and capture again before the next captured step."""
        self.optimizer.captured, self._eager_steps = None, 0

    def _capture(self) -> None:
        began = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)  # so that the gradients live in the graph's own memory
        torch.cuda.synchronize(self.device)
        try:
            with torch.cuda.graph(graph), torch.enable_grad():
                self.gradients()
                AdamW.step(self.optimizer)
        except Exception as error:  # an operator that waits for the host, or one that allocates in its own way
            self.use_cuda_graph = False
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(f"the step cannot be captured, so it is made kernel by kernel: {reason}", stacklevel=2)
        else:
            self.optimizer.captured = graph.replay
        self.capture_s += time.perf_counter() - began
