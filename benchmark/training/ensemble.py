"""E >= 1 seeds of one architecture: alone a model is called plainly; many are stacked, with a map over them.

Seeds share nothing: the gradient of the sum of their losses is the gradient of each one's own. Loss, clipping and
forward pass never wait for the device, so that a training step can be captured as a CUDA graph.

Whatever is computed per seed goes through `logits_of`, `loss_of_each_seed` and `clip_per_seed_`, which cost a single
seed nothing: it has the bits and the time that it would have without a seed dimension.

Shape letters: E seeds, B sequences, L positions, V token values.
"""

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from architectures import SequenceModel
from architectures.ops.over_seeds import AttentionOverSeeds
from benchmark.metrics.held_out import next_token_loss

TRIAL_LENGTH = 8
"""Tokens per sequence in the trial of mapping."""

TRIAL_TOLERANCE = 1e-2
"""Relative error that the trial allows: far above rounding, TF32's included, far below what a mistaken map makes."""


class Ensemble(nn.Module):
    """E models of one architecture, run by one call a layer where that is possible, otherwise one after another.

    What a model changes of itself when it is called must be a buffer; any other change is forgotten after the call.

    Args:
        models: at least one, of the same class and options; they are copied.

    Raises:
        ValueError: if there is no model, or one differs in class, or in a tensor's name, shape, dtype or device.

    Attributes:
        template: a copy of the first model in which every parameter and buffer is stacked, (E, ...). Its names are
            those of the architecture. It cannot be called by itself.
        mapped: whether all seeds run in one call.
        reason: why not, in one line.
    """

    mapped: bool
    reason: str | None

    def __init__(self, models: Sequence[SequenceModel]) -> None:
        super().__init__()
        if not models:
            raise ValueError("an ensemble needs at least one model")
        for number, model in enumerate(models):
            _require_alike(number, model, models[0])
        named = [_tensors(model) for model in models]
        self._n_seeds = len(models)
        stacked = {
            name: _like(x, torch.stack([tensors[name].detach() for tensors in named])) for name, x in named[0].items()
        }
        self.template = _copy_with(models[0], stacked)
        self.try_mapping()

    @property
    def n_seeds(self) -> int:
        """Number of seeds that are left."""
        return self._n_seeds

    def forward(self, tokens_EBL: Tensor, bias: Tensor | None = None) -> Tensor:
        """Next-token logits (E, B, L, V) of (E, B, L) tokens: each seed's model on its own sequences, and with its own
        attention bias (E, ...) if there is one."""
        return self._run(_tensors(self.template), tokens_EBL, *(() if bias is None else (bias,)))

    def model(self, e: int) -> SequenceModel:
        """Seed e by itself: a copy with its present weights."""
        return _copy_with(
            self.template, {name: _like(x, x.detach()[e].clone()) for name, x in _tensors(self.template).items()}
        )

    def keep(self, indices: Sequence[int]) -> None:
        """Go on with these seeds only, in this order. Parameters stay the same objects, without gradients.

        Raises:
            ValueError: if there is none, one does not exist, or one comes twice.
        """
        if not indices or len(set(indices)) < len(indices) or not set(indices) <= set(range(self.n_seeds)):
            raise ValueError(
                f"keep takes at least one of the seeds 0..{self.n_seeds - 1}, each once; got {list(indices)}"
            )
        for tensor in _tensors(self.template).values():
            kept = tensor.detach()[list(indices)]
            if tensor.is_floating_point():
                # A loss that is still held keeps the node alive that adds up this tensor's gradients, which expects the
                # old shape. PyTorch makes a new one when the dtype changes, not when the shape does.
                other = torch.float32 if tensor.dtype == torch.float16 else torch.float16
                tensor.grad, tensor.data = None, kept.new_empty(0, dtype=other)
            tensor.data = kept
        self._n_seeds = len(indices)

    def try_mapping(self) -> None:
        """Set `mapped` and `reason` by a trial on two sequences; weights, buffers, gradients and random state stay.

        The constructor does it. Do it again after moving to another kind of device, where other implementations run.
        """
        device = next(self.template.parameters()).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
            self.mapped = True
            self.reason = self._why_not()
        self.mapped = self.reason is None

    def _run(self, tensors: dict[str, Tensor], tokens_EBL: Tensor, *bias: Tensor) -> Tensor:
        """Logits of stacked parameters and buffers; the buffers change as the architecture changes them."""
        if self.mapped:
            with AttentionOverSeeds():
                logits_EBLV, assigned = vmap(self._run_one)(tensors, tokens_EBL, *bias)
        else:
            seeds = ({name: x[e] for name, x in tensors.items()} for e in range(self.n_seeds))
            runs = [self._run_one(*one) for one in zip(seeds, tokens_EBL, *bias, strict=True)]
            logits_EBLV = torch.stack([logits_BLV for logits_BLV, _ in runs])
            assigned = {name: torch.stack([changed[name] for _, changed in runs]) for name in runs[0][1]}
        for name, x in assigned.items():
            tensors[name].copy_(x)
        return logits_EBLV

    def _run_one(
        self, tensors: dict[str, Tensor], tokens_BL: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and the buffers to which the architecture assigned new tensors; changes in place need nothing.

        The model is a copy of its own: `functional_call` would take its weights away before a checkpoint of the
        architecture's own computes something again, and what a model keeps of a call must not stay in the template.
        """
        model = _copy_with(self.template, tensors)
        logits_BLV = model(tokens_BL) if bias is None else model(tokens_BL, attention_bias=bias)
        return logits_BLV, {name: x.detach() for name, x in _tensors(model).items() if x is not tensors[name]}

    def _why_not(self) -> str | None:
        """The reason why mapping goes wrong, or None: logits, gradients and buffers of two seeds must be their own."""
        tensors = {name: _like(x, x.detach().clone()) for name, x in _tensors(self.template).items()}
        device = next(iter(tensors.values())).device
        length = min(self.template.seq_len, TRIAL_LENGTH)
        tokens_EBL = torch.arange(self.n_seeds * 2 * length, device=device).view(self.n_seeds, 2, length)
        tokens_EBL = tokens_EBL * tokens_EBL % self.template.vocab_size
        try:
            logits_EBLV = self._run(tensors, tokens_EBL)
            gradients = _gradients(logits_EBLV, tensors)
        except Exception as error:  # of any kind: the architecture is not ours
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        for e in {0, self.n_seeds - 1}:
            model = self.model(e)
            logits_BLV = model(tokens_EBL[e])
            if _differ(logits_EBLV[e], logits_BLV):
                return f"the logits of seed {e} are not those that it has alone"
            alone = _tensors(model)
            expected = _gradients(logits_BLV, alone)
            scale = torch.stack([torch.linalg.vector_norm(x) for x in expected.values()]).norm().item()
            for name, gradient in expected.items():
                if _differ(gradients[name][e], gradient, 1e-4 * scale):  # some are 0 but for rounding
                    return f"the gradient of {name} of seed {e} is not the one that it has alone"
            for name, _ in model.named_buffers():
                if _differ(tensors[name][e], alone[name]):
                    return f"the buffer {name} of seed {e} becomes another than it becomes alone"
        return None


def logits_of(model: nn.Module, tokens_EBL: Tensor, bias: Tensor | None = None) -> Tensor:
    """Next-token logits (E, B, L, V) of a stack of seeds, or of a model that is one seed alone.

    Args:
        model: an `Ensemble`, or one seed's model.
        tokens_EBL: of every seed.
        bias: added to the attention logits, (E, B, H, L, L), or 1 in the place of B and H; None adds nothing.
    """
    if isinstance(model, Ensemble):
        return model(tokens_EBL, bias)
    return (model(tokens_EBL[0]) if bias is None else model(tokens_EBL[0], attention_bias=bias[0]))[None]


def loss_of_each_seed(logits_EBLV: Tensor, tokens_EB: Tensor) -> Tensor:
    """Mean cross-entropy in nats of every seed, (E,): `next_token_loss` of each.

    Not mapped over seeds: below a map autocast would leave the loss in 16 bits.

    Args:
        logits_EBLV: (E, B, L, V) for the first L tokens.
        tokens_EB: (E, B, L + 1), the whole sequences.
    """
    if len(tokens_EB) == 1:
        return next_token_loss(logits_EBLV[0], tokens_EB[0])[None]
    loss = F.cross_entropy(logits_EBLV.flatten(0, 2), tokens_EB[..., 1:].flatten(), reduction="none")
    return loss.view(len(tokens_EB), -1).mean(1)


@torch.no_grad()
def clip_per_seed_(parameters: Iterable[Tensor], n_seeds: int, max_norm: float) -> Tensor:
    """Clip the gradients of every seed by itself, in place, as `torch.nn.utils.clip_grad_norm_` does for one.

    Args:
        parameters: of a model, or stacked (E, ...); those without a gradient are left out.
        n_seeds: E.
        max_norm: largest Euclidean norm of a seed's gradient over all parameters.

    Returns:
        the norms before clipping, (E,).

    Raises:
        ValueError: if no parameter has a gradient.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    if not trained:
        raise ValueError("no parameter has a gradient to clip")
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    norms_PE = torch.stack([torch.linalg.vector_norm(g.reshape(n_seeds, -1), dim=1) for g in gradients])
    norms_E = torch.linalg.vector_norm(norms_PE, dim=0)
    if n_seeds == 1:
        torch.nn.utils.clip_grads_with_norm_(trained, max_norm, norms_E[0])
        return norms_E
    factors_E = (max_norm / (norms_E + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors_E.view(-1, *[1] * (gradient.dim() - 1)))
    return norms_E


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; one that has several names comes once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _like(tensor: Tensor, data: Tensor) -> Tensor:
    """A parameter if `tensor` is one, else a buffer."""
    return nn.Parameter(data, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else data


def _copy_with(model: SequenceModel, tensors: dict[str, Tensor]) -> SequenceModel:
    """A copy of a model with other parameters and buffers, by name; what was one tensor under two names still is."""
    return copy.deepcopy(model, {id(x): tensors[name] for name, x in _tensors(model).items()})


def _require_alike(number: int, model: SequenceModel, first: SequenceModel) -> None:
    if type(model) is not type(first):
        raise ValueError(
            f"model {number} of the ensemble is a {type(model).__name__}, model 0 a {type(first).__name__}"
        )
    here, there = ({name: (*x.shape, x.dtype, x.device) for name, x in _tensors(m).items()} for m in (model, first))
    for name in [*there, *here]:
        if here.get(name) != there.get(name):
            raise ValueError(
                f"model {number} of the ensemble has {name} {here.get(name, 'not at all')}, model 0"
                f" {there.get(name, 'not at all')}: all must have the same options"
            )


def _gradients(logits: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a loss with another slope at every logit of a seed; zeros where a parameter has no part in it."""
    trained = {name: x for name, x in tensors.items() if x.requires_grad}
    sizes = logits.shape[-3:]
    slopes_BLV = torch.arange(sizes.numel(), device=logits.device).cos().view(sizes)
    loss = (logits * slopes_BLV).sum()
    gradients = torch.autograd.grad(loss, list(trained.values()), materialize_grads=True)
    return dict(zip(trained, gradients, strict=True))


def _differ(actual: Tensor, expected: Tensor, least: float = 1e-6) -> bool:
    """By more than rounding, and by more than `least` in the Euclidean norm; a NaN differs."""
    if not expected.is_floating_point():
        return not torch.equal(actual, expected)
    error = torch.linalg.vector_norm(actual.detach() - expected.detach())
    return not error <= TRIAL_TOLERANCE * torch.linalg.vector_norm(expected.detach()) + least
