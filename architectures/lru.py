"""Linear Recurrent Unit (Orvieto et al., arXiv 2303.06349): a diagonal complex recurrence with constant decays.

Glossary: d_model = D (the paper's H), d_state = N complex states, lambda = `nu_log` and `theta_log`, gamma =
exp(`gamma_log`), B = `B` (N, D) and C = `C` (D, N), complex, as pairs of real matrices. Shape letters: B sequences, L
positions.

    lambda = exp(-exp(nu_log) + i exp(theta_log))                          stable for any parameters, section 3.3
    h_t = lambda h_{t-1} + gamma B u_t,      gamma = sqrt(1 - |lambda|^2) at first      equation 5 and section 3.4
    y_t = Re(C h_t) + D u_t
    block:  x <- x + W1 g * sigmoid(W2 g),   g = gelu(y(norm(x)))                       section 2.2 and table 8

Initial values are the paper's (lemma 3.2 and appendix A): |lambda|^2 uniform in [r_min^2, r_max^2], so that lambda is
uniform on a ring, phases uniform in [0, max_phase], B ~ N(0, 1 / (2 D)), C ~ N(0, 1 / N), D ~ N(0, 1), the rest
PyTorch's own.

Departures: learned positions by default, as for every architecture here, because the tasks ask for tokens by position;
LayerNorm instead of BatchNorm, which would leak across positions; no dropout; the encoder, the final norm and the head
are those of every architecture here.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from architectures.model import Positions, RecurrentBlock, SequenceModel, State, require_positive
from architectures.ops.backend import Accelerated, Backend, require_backend
from architectures.ops.diagonal import diagonal_scan
from architectures.registry import register

RECURRENT = ("nu_log", "theta_log", "gamma_log", "B")
"""Parameters of the recurrence, which learn more slowly than the others and do not decay (section 3.3, table 8)."""


class LRUBlock(Accelerated, RecurrentBlock):
    """Pre-norm residual block: LRU, GELU, GLU.

    The state is h (B, 2 N), real parts first.

    Args:
        d_model: width D.
        d_state: complex states N.
        r_min, r_max: smallest and largest initial |lambda|.
        max_phase: largest initial phase in radians.
        lr_factor: multiple of the learning rate of the recurrence: lambda, gamma and B.
        backend: of the recurrence.
    """

    library = None
    no_weight_decay = RECURRENT
    decay_axes: ClassVar[str] = "channel"

    def __init__(
        self, d_model: int, *, d_state: int, r_min: float, r_max: float, max_phase: float, lr_factor: float,
        backend: Backend,
    ) -> None:  # fmt: skip
        super().__init__(backend, d_state)
        self.lr_factors = dict.fromkeys(RECURRENT, lr_factor)
        self.norm = nn.LayerNorm(d_model)
        radius2 = torch.empty(d_state).uniform_(r_min**2, r_max**2)
        # log 0 would be a decay of 0 that no gradient moves.
        radius2 = radius2.clamp(torch.finfo(radius2.dtype).tiny, 1 - torch.finfo(radius2.dtype).eps)
        self.nu_log = nn.Parameter((-0.5 * radius2.log()).log())
        phase = torch.empty(d_state).uniform_(0, max_phase).clamp_min(torch.finfo(radius2.dtype).tiny)
        self.theta_log = nn.Parameter(phase.log())
        self.gamma_log = nn.Parameter(0.5 * torch.log1p(-radius2))
        self.B = nn.Parameter(torch.randn(2 * d_state, d_model) / math.sqrt(2 * d_model))
        self.C = nn.Parameter(torch.randn(d_model, 2 * d_state) / math.sqrt(d_state))
        self.D = nn.Parameter(torch.randn(d_model))
        self.value, self.gate = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, in the shape that the class names."""
        return (self.B.new_zeros(batch_size, len(self.B)),)

    def decay(self, x_BLD: Tensor) -> Tensor:
        """|lambda|: the share of each state that is left after a token, (1, 1, N), whatever the input."""
        return torch.exp(-self.nu_log.exp())[None, None]

    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions; see `RecurrentBlock.scan`."""
        u_BLD = self.norm(x_BLD)
        radius, phase = torch.exp(-self.nu_log.exp()), self.theta_log.exp()
        decay = torch.cat([radius * phase.cos(), radius * phase.sin()])
        inputs = F.linear(u_BLD, self.B * self.gamma_log.exp().repeat(2)[:, None])
        h_BLN, after = diagonal_scan(inputs, decay, state[0], implementation=self.implementation(inputs))
        # Re(C h) = Re C Re h - Im C Im h: the pairs of C are Re C and -Im C.
        y_BLD = F.gelu(F.linear(h_BLN, self.C) + self.D * u_BLD)
        return x_BLD + self.value(y_BLD) * torch.sigmoid(self.gate(y_BLD)), (after,)


@register("lru")
class LRU(SequenceModel):
    """Linear Recurrent Unit: a diagonal complex recurrence (arXiv 2303.06349).

    Args:
        d_state: complex states N per block.
        r_min: smallest initial |lambda|, in [0, r_max).
        r_max: largest initial |lambda|, in (r_min, 1].
        max_phase: largest initial phase of lambda in radians, in (0, 2 pi].
        lr_factor: multiple of the learning rate of lambda, gamma and B, positive; the paper takes 1/4 or 1/2.

    Raises:
        ValueError: as `SequenceModel`, or if r_min, r_max, max_phase or lr_factor is out of its range.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, n_layers: int = 1, d_state: int = 128,
        r_min: float = 0.0, r_max: float = 1.0, max_phase: float = 6.28, lr_factor: float = 0.25,
        positions: Positions = "learned", embedding_std: float = 0.02, backend: Backend = "auto",
    ) -> None:  # fmt: skip
        require_positive(d_model=d_model, n_layers=n_layers, d_state=d_state)
        require_backend(backend, LRUBlock.library)
        if not 0 <= r_min < r_max <= 1:
            raise ValueError(f"model.r_min and model.r_max must be 0 <= r_min < r_max <= 1, got {r_min} and {r_max}")
        if not 0 < max_phase <= 2 * math.pi:
            raise ValueError(f"model.max_phase must be above 0 and at most 2 pi, got {max_phase}")
        if not 0 < lr_factor < math.inf:
            raise ValueError(f"model.lr_factor must be positive, got {lr_factor}")
        super().__init__(
            vocab_size, seq_len, d_model=d_model,
            blocks=[
                LRUBlock(
                    d_model, d_state=d_state, r_min=r_min, r_max=r_max, max_phase=max_phase, lr_factor=lr_factor,
                    backend=backend,
                )
                for _ in range(n_layers)
            ],
            positions=positions, embedding_std=embedding_std,
        )  # fmt: skip
