"""The elementwise parts of RWKV-7 (arXiv 2503.14456) around its recurrence, each in one pass over memory on a CPU.

In PyTorch they are some forty passes forward and backward, together more than the matrix products cost.

    token shift:  y_m = x_t + (x_{t-1} - x_t) * mu_m
    keys:         kk = k * k_k / |k * k_k| head by head,  a = sigmoid(a0 + rate),  k <- k * (1 + (a - 1) * k_a),
                  log w = -exp(-0.5) sigmoid(w0 + decay)
    readout:      (GroupNorm(y) + (sum over a head of r * r_k * k) v) * g
    squared ReLU: relu(x)^2

Shape letters: B batch, L positions, D channels, H heads of width K (D = H K), M mixes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.over_seeds import fold_seeds

LOG_DECAY = -math.exp(-0.5)
"""The fastest decay a position, as a logarithm."""


@fold_seeds(x=2, before=1, mu=1, outputs=2, only="numba")
def token_shift(x: Tensor, before: Tensor, mu: Tensor, *, implementation: str = "torch") -> Sequence[Tensor]:
    """Mix every position with the one before it, in M ways.

    Args:
        x: (B, L, D).
        before: x before the first position, (B, D).
        mu: (M, D): 0 takes the position itself, 1 the one before.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        M tensors (B, L, D).
    """
    if implementation == "numba":
        return [y.to(torch.result_type(x, mu)) for y in _shift(*_floats(x, before, mu))]
    change = torch.cat([before.to(x.dtype)[:, None], x[:, :-1]], dim=1) - x
    return tuple(torch.addcmul(x, change, mu_D) for mu_D in mu)


@fold_seeds(k=2, decay=2, rate=2, outputs=2, multiplied="n_heads", only="numba")
def keys(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor,
    *, n_heads: int, implementation: str = "torch",
) -> Sequence[Tensor]:  # fmt: skip
    """What the recurrence needs from keys, decay and in-context rate.

    Args:
        k, decay, rate: (B, L, D), the last two before their sigmoids and without w0 and a0.
        w0, a0, k_k, k_a: (D,).
        n_heads: H.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        log w, k, -kk and kk * a, (B, L, D) each.
    """
    if implementation == "numba":
        outputs = _keys(*_floats(k, decay, rate, w0, a0, k_k, k_a), n_heads)
        return [y.to(torch.result_type(k, w0)) for y in outputs]
    a = torch.sigmoid(rate + a0)
    kk = F.normalize((k * k_k).unflatten(-1, (n_heads, -1)), dim=-1).flatten(-2)
    return LOG_DECAY * torch.sigmoid(decay + w0), k * (1 + (a - 1) * k_a), -kk, kk * a


@fold_seeds(y=2, r=2, k=2, v=2, g=2, outputs=2, only="numba")
def readout(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor,
    *, eps: float, implementation: str = "torch",
) -> Tensor:  # fmt: skip
    """What the time mixing hands to its output projection.

    Args:
        y: what the recurrence gave, (B, L, D).
        r, k, v, g: (B, L, D).
        r_k: (H, K).
        weight, bias: of the group norm, (D,).
        eps: of the group norm.
        implementation: "numba" for tensors on the CPU; any other is plain PyTorch.

    Returns:
        (B, L, D).
    """
    if implementation == "numba":
        return _readout(*_floats(y, r, k, v, g, r_k, weight, bias), eps).to(torch.result_type(y, weight))
    normed = F.layer_norm(y.unflatten(-1, r_k.shape), r_k.shape[1:], eps=eps).flatten(-2)
    share = ((r * k).unflatten(-1, r_k.shape) * r_k).sum(-1, keepdim=True)
    return (torch.addcmul(bias, normed, weight) + (share * v.unflatten(-1, r_k.shape)).flatten(-2)) * g


@fold_seeds(only="numba")
def squared_relu(x: Tensor, *, implementation: str = "torch") -> Tensor:
    """relu(x)^2, elementwise; `implementation` as above."""
    return _squared_relu(*_floats(x)).to(x.dtype) if implementation == "numba" else F.relu(x).square()


def _floats(*tensors: Tensor) -> list[Tensor]:
    """Contiguous, all in the first one's dtype but at least float32."""
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    return [x.to(dtype).contiguous() for x in tensors]


@torch.library.custom_op("emergence::rwkv_shift", mutates_args=(), device_types="cpu")
def _shift(x: Tensor, before: Tensor, mu: Tensor) -> list[Tensor]:
    from architectures.ops.cpu import loops, rwkv_loops

    mixed = [torch.empty_like(x) for _ in mu]
    for mu_D, y in zip(mu, mixed, strict=True):
        loops.run(rwkv_loops.shift, len(x), x, before, mu_D, y)
    return mixed


@torch.library.custom_op("emergence::rwkv_shift_backward", mutates_args=(), device_types="cpu")
def _shift_backward(x: Tensor, before: Tensor, mu: Tensor, dmixed: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    from architectures.ops.cpu import loops, rwkv_loops

    dx, dbefore, dmu = torch.zeros_like(x), torch.zeros_like(before), x.new_zeros((len(mu), len(x), mu.shape[1]))
    for mu_D, dy, dmu_BD in zip(mu, dmixed, dmu, strict=True):
        loops.run(rwkv_loops.shift_backward, len(x), x, before, mu_D, dy, dx, dbefore, dmu_BD)
    return dx, dbefore, dmu.sum(1)


@torch.library.custom_op("emergence::rwkv_keys", mutates_args=(), device_types="cpu")
def _keys(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor, n_heads: int
) -> list[Tensor]:
    from architectures.ops.cpu import loops, rwkv_loops

    outputs = [torch.empty_like(k) for _ in range(4)]
    loops.run(rwkv_loops.keys, len(k), k, decay, rate, w0, a0, k_k, k_a, *outputs, n_heads)
    return outputs


@torch.library.custom_op("emergence::rwkv_keys_backward", mutates_args=(), device_types="cpu")
def _keys_backward(
    k: Tensor, decay: Tensor, rate: Tensor, w0: Tensor, a0: Tensor, k_k: Tensor, k_a: Tensor, doutputs: list[Tensor],
    n_heads: int,
) -> list[Tensor]:  # fmt: skip
    from architectures.ops.cpu import loops, rwkv_loops

    dk, ddecay, drate = (torch.empty_like(k) for _ in range(3))
    dparameters = k.new_zeros((len(k), 4, k.shape[-1]))
    inputs = (k, decay, rate, w0, a0, k_k, k_a)
    loops.run(rwkv_loops.keys_backward, len(k), *inputs, *doutputs, dk, ddecay, drate, dparameters, n_heads)
    return [dk, ddecay, drate, dparameters.sum(0)]


@torch.library.custom_op("emergence::rwkv_readout", mutates_args=(), device_types="cpu")
def _readout(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    from architectures.ops.cpu import loops, rwkv_loops

    out = torch.empty_like(y)
    loops.run(rwkv_loops.readout, len(y), y, r, k, v, g, r_k, weight, bias, out, eps)
    return out


@torch.library.custom_op("emergence::rwkv_readout_backward", mutates_args=(), device_types="cpu")
def _readout_backward(
    y: Tensor, r: Tensor, k: Tensor, v: Tensor, g: Tensor, r_k: Tensor, weight: Tensor, bias: Tensor, dout: Tensor,
    eps: float,
) -> list[Tensor]:  # fmt: skip
    from architectures.ops.cpu import loops, rwkv_loops

    gradients = [torch.empty_like(x) for x in (y, r, k, v, g)]
    dparameters = y.new_zeros((len(y), 3, y.shape[-1]))
    inputs = (y, r, k, v, g, r_k, weight, bias, dout)
    loops.run(rwkv_loops.readout_backward, len(y), *inputs, *gradients, dparameters, eps)
    return [*gradients, dparameters.sum(0)]


@torch.library.custom_op("emergence::squared_relu", mutates_args=(), device_types="cpu")
def _squared_relu(x: Tensor) -> Tensor:
    from architectures.ops.cpu import loops, rwkv_loops

    y = torch.empty_like(x)
    loops.run(rwkv_loops.squared_relu, len(x), x.flatten(1), y.flatten(1))
    return y


@torch.library.custom_op("emergence::squared_relu_backward", mutates_args=(), device_types="cpu")
def _squared_relu_backward(x: Tensor, dy: Tensor) -> Tensor:
    from architectures.ops.cpu import loops, rwkv_loops

    dx = torch.empty_like(x)
    loops.run(rwkv_loops.squared_relu_backward, len(x), x.flatten(1), dy.flatten(1), dx.flatten(1))
    return dx


@_shift.register_fake
def _(x: Tensor, before: Tensor, mu: Tensor) -> list[Tensor]:
    return [torch.empty_like(x) for _ in mu]


@_shift_backward.register_fake
def _(x: Tensor, before: Tensor, mu: Tensor, dmixed: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(z) for z in (x, before, mu))


@_keys.register_fake
def _(k: Tensor, *_: Any) -> list[Tensor]:
    return [torch.empty_like(k) for _ in range(4)]


@_keys_backward.register_fake
def _(k: Tensor, *_: Any) -> list[Tensor]:
    return [*(torch.empty_like(k) for _ in range(3)), k.new_empty((4, k.shape[-1]))]


@_readout.register_fake
@_squared_relu.register_fake
@_squared_relu_backward.register_fake
def _(y: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(y)


@_readout_backward.register_fake
def _(y: Tensor, *_: Any) -> list[Tensor]:
    return [*(torch.empty_like(y) for _ in range(5)), y.new_empty((3, y.shape[-1]))]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keeps the tensors, and the number that follows them if there is one."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    ctx.save_for_backward(*tensors)
    ctx.numbers = inputs[len(tensors) :]


def _contiguous(gradients: Any) -> list[Tensor]:
    return [d.contiguous() for d in gradients]


def _shift_gradients(ctx: Any, dmixed: list[Tensor]) -> tuple[Tensor, ...]:
    return _shift_backward(*ctx.saved_tensors, _contiguous(dmixed))


def _keys_gradients(ctx: Any, doutputs: list[Tensor]) -> tuple[Tensor | None, ...]:
    *dinputs, dparameters = _keys_backward(*ctx.saved_tensors, _contiguous(doutputs), *ctx.numbers)
    return *dinputs, *dparameters, None


def _readout_gradients(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    *dinputs, (dr_k, dweight, dbias) = _readout_backward(*ctx.saved_tensors, dout.contiguous(), *ctx.numbers)
    return *dinputs, dr_k.view_as(ctx.saved_tensors[5]), dweight, dbias, None


def _squared_relu_gradient(ctx: Any, dy: Tensor) -> Tensor:
    return _squared_relu_backward(*ctx.saved_tensors, dy.contiguous())


_squared_relu.register_autograd(_squared_relu_gradient, setup_context=_save)
_shift.register_autograd(_shift_gradients, setup_context=_save)
_keys.register_autograd(_keys_gradients, setup_context=_save)
_readout.register_autograd(_readout_gradients, setup_context=_save)
