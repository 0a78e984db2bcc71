"""Registration of operators that are compiled for the CPU: schema, gradients, shapes without data and FLOPs.

An operator brings a forward pass, a backward pass and a FLOP count; everything else is the same for all of them.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.flop_counter import register_flop_formula

from architectures.ops.backend import watched

NAMESPACE = "emergence"

Pass = Callable[..., list[Tensor]]


def compiled_operator(name: str, forward: Pass, backward: Pass, flops: Callable[..., int] | None = None) -> Pass:
    """Register a differentiable operator for the CPU, whose passes hand tensors that they allocate to `loops.run`.

    `loops.run` does nothing to tensors without data, so that the passes also serve PyTorch as their own shape functions
    (fake kernels). PyTorch reads the schema from their annotations.

    Args:
        name: the operator becomes ``torch.ops.emergence.<name>``, and its backward pass ``<name>_backward``.
        forward: takes tensors, then numbers, and returns tensors.
        backward: takes, in this order, those tensors of `forward` that it needs, under the same names; `saved`, if
            the last output of `forward` exists for the backward pass only, or `result`, if that output is one like the
            others; `gradients`, those of the outputs but `saved`; and all numbers. It returns the gradients of the
            tensors of `forward`.
        flops: FLOPs of the forward pass from the shapes of its arguments; the backward pass counts twice as much, as
            for a matrix product, because recomputation is left out. None counts nothing, as usual for elementwise work.

    Returns:
        the operator: as `forward`, but computed in the dtype of the first argument, at least float32, whatever the
        other tensors' dtypes and memory layouts are.
    """
    operator = torch.library.custom_op(f"{NAMESPACE}::{name}", forward, mutates_args=(), device_types="cpu")
    gradient = torch.library.custom_op(f"{NAMESPACE}::{name}_backward", backward, mutates_args=(), device_types="cpu")
    operator.register_fake(forward)
    gradient.register_fake(backward)
    needed = inspect.signature(backward).parameters
    kept = [i for i, argument in enumerate(inspect.signature(forward).parameters) if argument in needed]

    def save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
        ctx.set_materialize_grads(False)  # the gradient of what is saved would be a large tensor of zeros
        *outputs, last = output
        saved = [last] if "saved" in needed or "result" in needed else []
        ctx.shapes = [x.shape for x in (outputs if "saved" in needed else output)]
        ctx.numbers = [x for x in inputs if not isinstance(x, Tensor)]
        ctx.save_for_backward(*(inputs[i] for i in kept if isinstance(inputs[i], Tensor)), *saved)

    def differentiate(
        ctx: Any, gradients: Sequence[Tensor | None], backward: Pass = gradient
    ) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        filled = [
            tensors[0].new_zeros(shape) if d is None else d.contiguous()
            for d, shape in zip(gradients, ctx.shapes, strict=False)
        ]
        with torch.autocast("cpu", enabled=False):  # which would turn the products to half precision
            return *backward(*tensors, filled, *ctx.numbers), *[None] * len(ctx.numbers)

    operator.register_autograd(differentiate, setup_context=save)
    if flops is not None:
        ops = getattr(torch.ops, NAMESPACE)
        register_flop_formula(getattr(ops, name))(lambda *shapes, **_: flops(*shapes))
        register_flop_formula(getattr(ops, f"{name}_backward"))(lambda *shapes, **_: 2 * flops(*shapes))

    class Direct(torch.autograd.Function):
        """The operator without PyTorch's dispatcher, which takes longer than the operator itself on small tensors."""

        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
            outputs = forward(*arguments)
            save(ctx, arguments, outputs)
            if "saved" in needed:
                ctx.mark_non_differentiable(outputs[-1])
            return tuple(outputs)

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
            return differentiate(ctx, gradients[: len(ctx.shapes)], backward)

    def run(*arguments: Any) -> list[Tensor]:
        dtype = torch.promote_types(arguments[0].dtype, torch.float32)
        prepared = [x.to(dtype).contiguous() if isinstance(x, Tensor) else x for x in arguments]
        return operator(*prepared) if _watched(prepared) else list(Direct.apply(*prepared))

    return run


def _watched(arguments: Sequence[Any]) -> bool:
    """Tell whether a tool of PyTorch must see the operator as one: those of `watched`, a map, a subclass of tensors."""
    return (
        watched()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or any(isinstance(x, Tensor) and type(x) not in (Tensor, nn.Parameter) for x in arguments)
    )
