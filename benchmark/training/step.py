"""One training step of E >= 1 seeds, and its capture as a CUDA graph: the only one that is written down.

A small model's step on a GPU is bound by the launches of its many small kernels. Captured, the whole step (tokens made
on the device, forward, backward, clipping, AdamW) is one launch, and nothing in it waits for the host.

Shape letters: E seeds, B sequences, L positions.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from architectures.model import parameter_rules
from benchmark.config.protocol import OptimizerConfig
from benchmark.training.biasing import Biasing
from benchmark.training.ensemble import Ensemble, clip_per_seed_, logits_of, loss_of_each_seed

WARM_UP_STEPS = 3
"""Steps made one by one before the capture: in the first ones libraries choose kernels and make their workspaces."""


class SeedAdamW(AdamW):
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


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """AdamW's groups by the architecture's rules, in the order of the parameters; one group where nothing differs.

    Args:
        model: one seed's model, or an `Ensemble`, whose parameters have a dimension of seeds.
        config: AdamW's settings.
    """
    parameters = dict(model.named_parameters())
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, rule in parameter_rules(model, n_stacked=int(isinstance(model, Ensemble))).items():
        decay = config.weight_decay if rule.decays else 0.0
        group = groups.setdefault(
            (decay, rule.lr_factor),
            {"params": [], "weight_decay": decay, "lr_factor": rule.lr_factor, "lr": config.lr * rule.lr_factor},
        )
        group["params"].append(parameters[name])
    return list(groups.values())


class Step:
    """Trains E seeds by one step per call: next-token loss, backward pass, clipping, AdamW on its schedule.

    Args:
        model: one seed's model, or an `Ensemble`.
        tokens: makes the sequences of every seed, (E, B, L + 1), from the number of the first one, which is a
            0-dimensional int64 tensor on the device of the parameters.
        batch_size: sequences of every seed in a step, over all processes.
        config: AdamW's settings; the learning rate is set anew at every step.
        max_steps: the budget, for the schedule.
        backward: computes gradients; Lightning's where processes must average theirs.
        biasing: makes a bias of the attention, in the steps where there is one.
        use_cuda_graph: capture the step where the parameters are on a CUDA device.

    Attributes:
        optimizer: over the parameters, stacked for many seeds.
        loss_E: losses of the last step in nats, on the device.
        capture_s: wall time of the captures in seconds.
    """

    def __init__(
        self,
        model: nn.Module,
        tokens: Callable[[Tensor], Tensor],
        batch_size: int,
        config: OptimizerConfig,
        max_steps: int,
        *,
        backward: Callable[[Tensor], None] = Tensor.backward,
        biasing: Biasing | None = None,
        use_cuda_graph: bool = False,
    ) -> None:
        self.model, self.tokens, self.batch_size, self.config = model, tokens, batch_size, config
        self.factor, self.backward = config.factor(max_steps), backward
        self.biasing, self._at = biasing, 0
        self.parameters = list(model.parameters())
        self.device = self.parameters[0].device
        self.use_cuda_graph = use_cuda_graph and self._on_cuda
        self.capture_s = 0.0
        # One call updates all parameters: on small models a Python loop over them costs as much as the step itself.
        self.optimizer = SeedAdamW(
            parameter_groups(model, config),
            lr=config.lr,
            betas=config.betas,
            capturable=self.use_cuda_graph,
            fused=True,
        )
        if self.use_cuda_graph:
            for group in self.optimizer.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=self.device)  # a captured step reads it from there
        self.optimizer._warned_capturable_if_run_uncaptured = True  # the warm-up is meant
        self.start = torch.zeros((), dtype=torch.int64, device=self.device)
        self.loss_E = torch.zeros(self.n_seeds, device=self.device, dtype=self.parameters[0].dtype)
        self._eager_steps = 0

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def n_seeds(self) -> int:
        """Number of seeds that train."""
        return self.model.n_seeds if isinstance(self.model, Ensemble) else 1

    def __call__(self, step: int) -> None:
        """Make a step, numbered from 0, outside of a trainer."""
        self.prepare(step)
        self.optimizer.step(None if self.optimizer.captured else self.gradients)

    def prepare(self, step: int, start: int | None = None) -> None:
        """Set what differs from step to step; capture the step when it has been warmed up.

        Args:
            step: number of the step, from 0.
            start: number of the first sequence; by default those of earlier steps are not repeated.
        """
        for group in self.optimizer.param_groups:
            lr = self.config.lr * self.factor(step) * group.get("lr_factor", 1.0)  # unknown to checkpoints of old
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self.start.fill_(step * self.batch_size if start is None else start)
        if self.biasing is not None and self.biasing.bias.holds(step) != self.biasing.bias.holds(self._at):
            self.optimizer.captured, self._eager_steps = None, 0  # what was captured has the bias, or has it not
        self._at = step
        if self.use_cuda_graph and self.optimizer.captured is None and self._eager_steps >= WARM_UP_STEPS:
            self._capture()

    @torch.enable_grad()
    def gradients(self) -> None:
        """Losses and clipped gradients of the sequences from `start` on; touches tensors on the device only."""
        tokens_EB = self.tokens(self.start)
        self.optimizer.zero_grad(set_to_none=True)
        bias = None if self.biasing is None else self.biasing(tokens_EB, self._at)
        loss_E = loss_of_each_seed(logits_of(self.model, tokens_EB[..., :-1], bias), tokens_EB)
        self.backward(loss_E.sum())  # seeds share no parameter, so each gets the gradient of its own loss
        if self.config.clip_norm > 0:
            clip_per_seed_(self.parameters, self.n_seeds, self.config.clip_norm)
        self.loss_E.copy_(loss_E.detach())
        self._eager_steps += 1

    def keep(self, indices: list[int]) -> None:
        """Go on with these seeds of an ensemble: weights and moments. A captured step is captured anew."""
        assert isinstance(self.model, Ensemble)
        self.optimizer.captured, self._eager_steps = None, 0
        self.model.keep(indices)
        self.loss_E = self.loss_E[indices]
        for state in self.optimizer.state.values():
            for name, value in state.items():
                if name != "step":
                    state[name] = value[indices]

    def _capture(self) -> None:
        began = time.perf_counter()
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)  # so that the gradients live in the graph's own memory
        torch.cuda.synchronize(self.device)
        try:
            with torch.cuda.graph(graph):
                self.gradients()
                AdamW.step(self.optimizer)
        except Exception as error:  # an operator that waits for the host, or one that allocates in its own way
            self.use_cuda_graph = False
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(f"the step cannot be captured, so it is made kernel by kernel: {reason}", stacklevel=2)
        else:
            self.optimizer.captured = graph.replay
        self.capture_s += time.perf_counter() - began
