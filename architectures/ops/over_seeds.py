"""Sequence operators under a map over seeds.

An ensemble runs many seeds of one model by `torch.func.vmap` over their stacked parameters. Inside the map, compiled
loops and fused kernels cannot read the tensors, and PyTorch's checkpointing does not work. Every operator here works on
independent sequences, heads or channels already, and seeds are more of those. A decorated operator that is called
inside the map therefore runs once outside of it, on plain tensors with the seeds folded into another dimension.

`torch.library.register_vmap` serves custom operators only; the plain functions around them, checkpoints and other
libraries' kernels need the same. Nested maps are not supported.

Shape letters: E seeds, B batch, L positions, H heads, K head width.
"""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Operator = TypeVar("Operator", bound=Callable[..., Any])

PER_SEQUENCE: Literal["per sequence"] = "per sequence"
"""Value for `fold_seeds` in place of a dimension: a parameter shared by all sequences becomes one per sequence."""


class _OutsideTheMap(torch.autograd.Function):
    """Call of a function one level below vmap, where its operations are differentiated as usual."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing; PyTorch requires this method of functions that have a rule for vmap."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Call the function on tensors with the seeds as their first dimension, which its results have too."""
        stacked = [
            x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(tensors, in_dims[1:], strict=True)
        ]
        return function(info.batch_size, *stacked), 0


def _mapped(x: Any) -> bool:
    return isinstance(x, Tensor) and torch._C._functorch.is_batchedtensor(x)  # PyTorch has no public function for it


def over_seeds(rule: Callable[..., Any], only: str | None = None) -> Callable[[Operator], Operator]:
    """Give an operator a rule for a map over seeds; outside of a map the operator is called unchanged.

    Args:
        rule: called as ``rule(operator, n_seeds, **arguments)``, where every tensor among the arguments has the seeds
            as its first dimension (E, ...); returns what the operator returns, with the seeds first in every tensor.
        only: the value of the argument `implementation` for which the rule is needed; with other values the operator
            consists of operations that PyTorch maps itself. None means every value.
    """

    def decorate(operator: Operator) -> Operator:
        signature = inspect.signature(operator)

        @wraps(operator)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not any(map(_mapped, (*args, *kwargs.values()))):
                return operator(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            arguments = bound.arguments
            if only is not None and arguments["implementation"] != only:
                return operator(*args, **kwargs)
            tensors = {name: x for name, x in arguments.items() if isinstance(x, Tensor)}

            def run(n_seeds: int, *stacked: Tensor) -> Any:
                return rule(operator, n_seeds, **{**arguments, **dict(zip(tensors, stacked, strict=True))})

            return _OutsideTheMap.apply(run, *tensors.values())

        return call  # type: ignore[return-value]

    return decorate


def fold_seeds(
    *, outputs: int = 0, multiplied: str | None = None, only: str | None = None, **dims: int | Literal["per sequence"]
) -> Callable[[Operator], Operator]:
    """Apply `over_seeds` with the rule: fold the seeds into a dimension of every argument, call once, unfold.

    Args:
        outputs: the dimension into which the seeds are folded in all results.
        multiplied: name of an integer argument to multiply by the number of seeds, such as a number of heads.
        only: as in `over_seeds`.
        dims: by name of the argument, the dimension into which the seeds are folded, or `PER_SEQUENCE`; by default
            the first, mostly the batch.
    """

    def rule(operator: Callable[..., Any], n_seeds: int, **arguments: Any) -> Any:
        if multiplied is not None:
            arguments[multiplied] *= n_seeds
        batch = next(x.shape[1] for x in arguments.values() if isinstance(x, Tensor))
        for name, x in arguments.items():
            if isinstance(x, Tensor):
                dim = dims.get(name, 0)
                arguments[name] = each_sequence(x, batch) if dim == PER_SEQUENCE else fold(x, dim)
        results = operator(**arguments)
        unfold_all = partial(unfold, n_seeds=n_seeds, dim=outputs)
        return unfold_all(results) if isinstance(results, Tensor) else tuple(map(unfold_all, results))

    return over_seeds(rule, only)


def fold(x: Tensor, dim: int) -> Tensor:
    """(E, ...) to (...) with dimension `dim` E times as long, seed by seed."""
    return x.movedim(0, dim).flatten(dim, dim + 1)


def unfold(x: Tensor, n_seeds: int, dim: int) -> Tensor:
    """Undo `fold`."""
    return x.unflatten(dim, (n_seeds, -1)).movedim(dim, 0)


def each_sequence(parameter: Tensor, batch: int) -> Tensor:
    """(E, ...) to (E B, 1, ...), which broadcasts over positions: every sequence gets the parameter of its seed."""
    return parameter[:, None, None].expand(-1, batch, 1, *parameter.shape[1:]).flatten(0, 1)


def _attention_over_seeds(attention: Callable[..., Tensor], n_seeds: int, **arguments: Any) -> Tensor:
    """Fold seeds into the batch; a mask may have fewer dimensions than the queries, or ones, and broadcasts."""
    query, mask = arguments["query"], arguments["attn_mask"]
    n_dims = query.dim()
    if mask is not None and mask.dim() < n_dims:
        mask = mask.view(n_seeds, *[1] * (n_dims - mask.dim()), *mask.shape[1:])
    if n_dims <= 4:  # a single sequence (with or without heads): the seeds are the batch
        return attention(**{**arguments, "attn_mask": mask})
    if mask is not None:
        mask = mask.expand(-1, query.shape[1], *mask.shape[2:]).flatten(0, 1)
    folded = {name: fold(arguments[name], 0) for name in ("query", "key", "value")}
    return unfold(attention(**{**arguments, **folded, "attn_mask": mask}), n_seeds, 0)


@over_seeds(_attention_over_seeds)
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )


class AttentionOverSeeds(TorchFunctionMode):
    """Context in which `torch.nn.functional.scaled_dot_product_attention` folds mapped seeds into the batch.

    PyTorch's kernel for CPUs has no rule for vmap: it would run seed by seed and warn about it.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Replace the attention; call any other function unchanged."""
        if func is F.scaled_dot_product_attention:
            func = _attention
        return func(*args, **(kwargs or {}))
