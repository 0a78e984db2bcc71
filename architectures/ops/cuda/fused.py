"""Adapters from the layouts, units and states of this package to the fused CUDA kernels of other libraries.

Kernels of fla (flash-linear-attention) run Gated DeltaNet, RWKV-7 and Mamba-2; that of mamba_ssm runs Mamba-1. The call
that needs a library imports it, because libraries are optional and slow to import.

The values' dtype, half or single, decides in which dtype a kernel multiplies, whatever the dtype of the other inputs,
so that autocast may leave them mixed; decays, states and sums are float32. Inputs need not be contiguous.

fla's kernels add log decays over a chunk of 64 positions (RWKV-7 without a bound: 16) and subtract such sums: no decay
overflows, but rounding grows with the sum. In float32, log decays of -20 at every seventh step cost 1e-5, of -200 1e-4.

Shape letters: B batch, L positions, H heads, K key width, V value width; Mamba: D channels, P head width, N state
width, G groups of heads that share their B and C.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from architectures.ops.backend import KERNEL_DTYPES, MAX_KEYS
from architectures.ops.over_seeds import PER_SEQUENCE, fold_seeds

_TILE = 16


@fold_seeds()
def gated_delta_rule(
    q: Tensor, k: Tensor, v: Tensor, log_alpha: Tensor, beta: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run S_t = alpha_t (S_{t-1} - beta_t k_t (k_t^T S_{t-1})) + beta_t k_t v_t^T, y_t = S_t^T q_t.

    Equation 10 of arXiv 2412.06464, with S transposed.

    Args:
        q, k: (B, L, H, K), at most `MAX_KEYS` wide; k of norm 1, q already scaled.
        v: (B, L, H, V).
        log_alpha: (B, L, H), at most 0.
        beta: (B, L, H), from 0 to 1.
        state: S_0 (B, H, K, V); None is zero. It gets a gradient.

    Returns:
        y (B, L, H, V) in v's dtype and S_L (B, H, K, V) in float32; both carry gradients.

    Raises:
        ValueError: if the heads are too wide or v is neither half nor single precision.
    """
    _require_kernel_fits(v.dtype, keys_a_head=k.shape[-1])
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    y, final = chunk_gated_delta_rule(
        *(_padded(x.to(v.dtype)) for x in (q, k, v)),
        log_alpha.float(),
        beta.float(),
        scale=1.0,
        initial_state=_padded_state(state),
        output_final_state=True,
    )
    return _cut(y, v.shape[-1]), _cut(final, v.shape[-1], k.shape[-1])


@fold_seeds()
def rwkv7(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor | None,
    *,
    least_log_w: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Run S_t = diag(w_t) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T, y_t = S_t^T r_t.

    The state of RWKV-7 (arXiv 2503.14456), with S transposed.

    Args:
        r, k, a, b: (B, L, H, K), at most `MAX_KEYS` wide.
        log_w: (B, L, H, K), less than 0.
        v: (B, L, H, V).
        state: S_0 (B, H, K, V); None is zero. It gets a gradient.
        least_log_w: a lower bound of log_w, guaranteed by the caller. A bound near 0 lets the kernel take longer chunks
            as matrix products; RWKV-7's own log decay is at least -e^(-1/2). None allows any decay.

    Returns:
        y (B, L, H, V) in v's dtype and S_L (B, H, K, V) in float32; both carry gradients.

    Raises:
        ValueError: if the heads are too wide or v is neither half nor single precision.
    """
    _require_kernel_fits(v.dtype, keys_a_head=k.shape[-1])
    from fla.ops.rwkv7 import chunk_rwkv7

    r, keys, values, a, b = (_padded(x.to(v.dtype)) for x in (r, k, v, a, b))
    y, final = chunk_rwkv7(
        r,
        _padded(log_w.float()),
        keys,
        values,
        a,
        b,
        scale=1.0,
        initial_state=_padded_state(state),
        output_final_state=True,
        lower_bound=least_log_w,
    )
    return _cut(y, v.shape[-1]), _cut(final, v.shape[-1], k.shape[-1])


@fold_seeds(A=PER_SEQUENCE)
def ssd(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run h_t = exp(dt_t A) h_{t-1} + B_t (dt_t x_t)^T, y_t = h_t^T C_t, for every head, without the D skip.

    Mamba-2's recurrence (arXiv 2405.21060). It is linear attention with one decay per head: C is its query, B its key
    and dt x its value.

    Args:
        x: (B, L, H, P).
        dt: (B, L, H), after the softplus.
        A: (H,), negative; or (B, 1, H), one per sequence.
        B, C: (B, L, G, N), G a divisor of H: heads h H/G .. (h + 1) H/G - 1 share group h.
        state: h_0 (B, H, N, P); None is zero. It gets a gradient.

    Returns:
        y (B, L, H, P) in x's dtype and h_L (B, H, N, P) in float32; both carry gradients.

    Raises:
        ValueError: if x is neither half nor single precision.
    """
    dt = dt.float()
    return gated_ssd(x, dt, dt * A.float(), B, C, state)


def gated_ssd(
    x: Tensor, weight: Tensor, log_decay: Tensor, B: Tensor, C: Tensor, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run h_t = exp(log_decay_t) h_{t-1} + B_t (weight_t x_t)^T, y_t = h_t^T C_t, for every head.

    Args:
        x: (B, L, H, P).
        weight, log_decay: (B, L, H); log_decay is not positive.
        B, C, state: as for `ssd`; without its rule for a map over seeds.

    Returns:
        as `ssd`.

    Raises:
        ValueError: if x is neither half nor single precision.
    """
    _require_kernel_fits(x.dtype)
    from fla.ops.simple_gla import chunk_simple_gla

    heads_a_group = x.shape[2] // B.shape[2]
    queries, keys = (_padded(group.to(x.dtype)).repeat_interleave(heads_a_group, dim=2) for group in (C, B))
    y, final = chunk_simple_gla(
        queries,
        keys,
        _padded((x * weight.float()[..., None]).to(x.dtype)),
        log_decay.float(),
        scale=1.0,
        initial_state=_padded_state(state),
        output_final_state=True,
    )
    return _cut(y, x.shape[-1]), _cut(final, x.shape[-1], B.shape[-1])


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Run h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t, y_t = C_t h_t, for every channel, without the D skip.

    Mamba-1's recurrence (arXiv 2312.00752).

    Args:
        x, dt: (B, L, D); dt after the softplus.
        A: (D, N), negative, at most `MAX_KEYS` wide.
        B, C: (B, L, N), or (B, L, G, N): channels g D/G .. (g + 1) D/G - 1 share group g.

    Returns:
        y (B, L, D) in x's dtype and h_L (B, N, D) in float32. The kernel starts from zero and has no gradient of h_L,
        so that h_L is detached from the graph: it serves to continue reading, not to train through.

    Raises:
        ValueError: if the state is too wide or x is neither half nor single precision.
    """
    _require_kernel_fits(x.dtype, states_a_channel=A.shape[-1])
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    x_BDL, dt_BDL, B, C = (part.to(x.dtype).movedim(1, -1).contiguous() for part in (x, dt, B, C))
    y_BDL, final_BDN = selective_scan_fn(x_BDL, dt_BDL, A.float().contiguous(), B, C, return_last_state=True)
    return y_BDL.transpose(1, 2), final_BDN.detach().transpose(1, 2)


def _require_kernel_fits(dtype: torch.dtype, **widths: int) -> None:
    if dtype not in KERNEL_DTYPES:
        raise ValueError(
            f"model.backend: the fused kernel computes in half or single precision, not {dtype}; use torch"
        )
    for name, width in widths.items():
        if width > MAX_KEYS:
            raise ValueError(
                f"model.backend: the fused kernel takes at most {MAX_KEYS} {name.replace('_', ' ')}, here are {width};"
                " use model.backend = torch, or a narrower model"
            )


def _padded(x: Tensor) -> Tensor:
    """Pad the last dimension with zeros to a multiple of `_TILE`; exact, because a zero key or value adds nothing.

    Some kernels cannot be compiled for narrower heads or, in half precision, for odd ones.
    """
    missing = -x.shape[-1] % _TILE
    return F.pad(x, (0, missing)) if missing else x


def _padded_state(state: Tensor | None) -> Tensor | None:
    return None if state is None else _padded(_padded(state.float()).mT).mT


def _cut(x: Tensor, n_values: int, n_keys: int | None = None) -> Tensor:
    """Remove the columns, and the rows of a state, that padding added."""
    return x[..., :n_values] if n_keys is None else x[..., :n_keys, :n_values]
