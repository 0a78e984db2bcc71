"""Base classes of architectures: causal models from tokens to next-token logits.

Shape letters: B batch, L positions, D model width, V vocabulary, H heads, K head width.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from architectures.ops.backend import Accelerated

HEAD_STD = 0.02
"""Initial standard deviation of the head: logits of variance D * 0.02^2 on normed inputs, so that the loss starts near
ln V."""

Positions = Literal["learned", "none"]

State = tuple[Tensor, ...]
"""Memory of a recurrent block: tensors whose first dimension is the batch and whose size never grows."""


class Rule(NamedTuple):
    """How an optimizer treats a parameter."""

    decays: bool
    """Whether weight decay applies."""
    lr_factor: float
    """Multiple of the learning rate."""


def parameter_rules(model: nn.Module, n_stacked: int = 0) -> dict[str, Rule]:
    """How an optimizer treats every parameter, by its name, in the order of `parameters()`.

    Matrices decay; vectors and numbers (biases, norms, gains) do not, as in most papers' code. A module names
    exceptions among its own parameters: `no_weight_decay`, a collection of names, and `lr_factors`, multiples of the
    learning rate by name.

    Args:
        model: any module.
        n_stacked: leading dimensions of every parameter that are none of its own, such as that of seeds.
    """
    rules: dict[nn.Parameter, Rule] = {}
    for module in model.modules():
        undecayed, factors = getattr(module, "no_weight_decay", ()), getattr(module, "lr_factors", {})
        for name, parameter in module.named_parameters(recurse=False):
            decays = parameter.dim() - n_stacked > 1 and name not in undecayed
            rules.setdefault(parameter, Rule(decays, factors.get(name, 1.0)))
    return {name: rules[parameter] for name, parameter in model.named_parameters()}


def mixing_parameters(block: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters of the sublayer of a residual block that mixes positions, its norm included, by their names.

    A block names the submodules of its other sublayer in `position_wise`; one without is a mixing sublayer as a whole.
    """
    others: tuple[str, ...] = getattr(block, "position_wise", ())
    return {name: x for name, x in block.named_parameters() if name.partition(".")[0] not in others}


class RecurrentBlock(nn.Module, ABC):
    """Residual block that reads a sequence from left to right and keeps a state of fixed size.

    One method serves training and inference: it reads any number of positions from any state.
    """

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before the first token, on the device and in the dtype of the parameters."""

    @abstractmethod
    def scan(self, x_BLD: Tensor, state: State) -> tuple[Tensor, State]:
        """Read L positions.

        Args:
            x_BLD: (B, L, D), L at least 1.
            state: the state before the first of these positions; not modified.

        Returns:
            (B, L, D) and the state after the last position.
        """

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D), from the initial state."""
        return self.scan(x_BLD, self.initial_state(len(x_BLD)))[0]


class ModelState(NamedTuple):
    """Memory of a streaming model: what it keeps of the tokens read so far."""

    position: int
    """Number of tokens read."""
    blocks: tuple[State, ...]
    """State of every block."""


class SequenceModel(nn.Module, ABC):
    """Base of every architecture: owns embedding, positions, final norm and head; the architecture adds its blocks.

    An architecture is a final class, registered by name, whose ``__init__`` builds its residual blocks (each maps
    (B, L, D) to (B, L, D), causally, residual connection included) and passes them to this one.

    Token embedding and learned positions both start at N(0, embedding_std^2): their common scale decides how soon a
    position-selective pattern is found, and it must not differ between architectures that are compared.

    Args:
        vocab_size: number of token values V (set by the task).
        seq_len: longest input L in tokens (set by the task).
        d_model: width D of the residual stream.
        blocks: residual blocks, applied in order.
        positions: "learned" (absolute, added to the token embedding) or "none".
        embedding_std: standard deviation of the initial token and position embeddings.

    Raises:
        ValueError: if a size is smaller than 1, embedding_std is not positive and finite, or an option is none of its
            choices.
    """

    version: ClassVar[int] = 1
    """Version of what the architecture computes and how it is initialised; part of every record."""

    library: ClassVar[str] = ""
    """Library and version whose code the architecture is, if it is not its own; part of every record."""

    fixed_length: ClassVar[bool] = False
    """True if parameters are tied to absolute positions, so that no input longer than seq_len can be read."""

    @abstractmethod
    def __init__(
        self,
        vocab_size: int,
        seq_len: int,
        *,
        d_model: int,
        blocks: Sequence[nn.Module],
        positions: Positions = "learned",
        embedding_std: float = 0.02,
    ) -> None:
        super().__init__()
        require_positive(vocab_size=vocab_size, seq_len=seq_len, d_model=d_model, n_layers=len(blocks))
        require_choice(get_args(Positions), positions=positions)
        if not 0 < embedding_std < math.inf:  # so that NaN fails too
            raise ValueError(f"model.embedding_std must be positive and finite, got {embedding_std}")
        self.vocab_size, self.seq_len, self.d_model = vocab_size, seq_len, d_model
        self.embedding = nn.Embedding(vocab_size, d_model)
        nn.init.normal_(self.embedding.weight, std=embedding_std)
        self.positions: nn.Parameter | None = None
        if positions == "learned":
            self.positions = nn.Parameter(torch.randn(seq_len, d_model) * embedding_std)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab_size, bias=False)
        nn.init.normal_(self.head.weight, std=HEAD_STD)

    @property
    def takes_attention_bias(self) -> bool:
        """Whether `forward` has an argument `attention_bias`, added to the attention logits of every layer that has
        some, broadcastable to (B, H, L, L)."""
        return False

    @property
    def backend(self) -> str:
        """Implementation of the sequence operator that runs where the parameters are; part of every record."""
        accelerated = (module for module in self.modules() if isinstance(module, Accelerated))
        return next((module.implementation(self.embedding.weight) for module in accelerated), "torch")

    @property
    def streams(self) -> bool:
        """True if `step` works: every block is a `RecurrentBlock`, so that the state has a fixed size."""
        return all(isinstance(block, RecurrentBlock) for block in self.blocks)

    @property
    def state_bytes(self) -> int | None:
        """Size of the state of one sequence in bytes; None for a model that does not stream."""
        if not self.streams:
            return None
        return sum(part.nbytes for state in self.initial_state(1).blocks for part in state)

    def embed(self, tokens_BL: Tensor, start: int = 0) -> Tensor:
        """Add positions to the token embedding.

        Args:
            tokens_BL: (B, L) integers in 0..V-1.
            start: position of the first token.

        Returns:
            (B, L, D).

        Raises:
            ValueError: if start + L exceeds seq_len.
        """
        end = start + tokens_BL.shape[1]
        if end > self.seq_len:
            raise ValueError(f"input of {end} tokens is longer than seq_len = {self.seq_len} of this model")
        x_BLD = self.embedding(tokens_BL)
        return x_BLD if self.positions is None else x_BLD + self.positions[start:end]

    def unembed(self, x_BLD: Tensor) -> Tensor:
        """Final norm and head: (B, L, D) to next-token logits (B, L, V)."""
        return self.head(self.norm(x_BLD))

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Compute next-token logits; position l sees tokens 0..l only.

        Args:
            tokens_BL: (B, L) integers in 0..V-1, L <= seq_len.

        Returns:
            logits (B, L, V): position l predicts token l + 1.
        """
        x_BLD = self.embed(tokens_BL)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return self.unembed(x_BLD)

    def initial_state(self, batch_size: int) -> ModelState:
        """The state before the first token.

        Raises:
            TypeError: if this architecture has no state of fixed size to stream with.
        """
        return ModelState(0, tuple(block.initial_state(batch_size) for block in self._recurrent_blocks()))

    def scan(self, tokens_BL: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read L more tokens: `forward` continued from a state.

        Args:
            tokens_BL: (B, L) integers in 0..V-1.
            state: from `initial_state`, `scan` or `step`; not modified.

        Returns:
            logits (B, L, V) and the state after the last token.

        Raises:
            TypeError: if this architecture has no state of fixed size to stream with.
            ValueError: if more than seq_len tokens are read in total.
        """
        x_BLD, states = self.embed(tokens_BL, state.position), []
        for block, before in zip(self._recurrent_blocks(), state.blocks, strict=True):
            x_BLD, after = block.scan(x_BLD, before)
            states.append(after)
        return self.unembed(x_BLD), ModelState(state.position + tokens_BL.shape[1], tuple(states))

    def step(self, tokens_B: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read one token per sequence: (B,) to next-token logits (B, V) and the new state; otherwise as `scan`."""
        logits_BLV, state = self.scan(tokens_B[:, None], state)
        return logits_BLV[:, 0], state

    def _recurrent_blocks(self) -> list[RecurrentBlock]:
        blocks = [block for block in self.blocks if isinstance(block, RecurrentBlock)]
        if len(blocks) < len(self.blocks):
            raise TypeError(f"{type(self).__name__} has blocks without a state of fixed size: it cannot stream")
        return blocks


def require_positive(**sizes: int) -> None:
    """Check sizes; raises a ValueError that names the first one below 1 as the user types it (``model.NAME``)."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"model.{name} must be at least 1, got {size}")


def require_choice(choices: Sequence[str], **options: str) -> None:
    """Check options; raises a ValueError that names the first one that is none of the choices, and the choices."""
    for name, value in options.items():
        if value not in choices:
            raise ValueError(f"model.{name} must be one of {', '.join(choices)}; got {value!r}")


def require_divisor(name: str, size: int, whole_name: str, whole: int) -> None:
    """Check that `size` divides `whole`; raises a ValueError that names the option and the nearest divisor."""
    if whole % size:
        near = (n for k in range(min(size, 100_000)) for n in (size - k, size + k))
        nearest = next((n for n in near if whole % n == 0), 1)
        raise ValueError(
            f"model.{name} = {size} does not divide {whole_name} = {whole}; the nearest that does is {nearest}"
        )


class MLP(nn.Module):
    """Position-wise feed-forward network: Linear, GELU, Linear (Vaswani et al., arXiv 1706.03762, section 3.3).

    Args:
        d_model: input and output width D.
        d_hidden: hidden width.
    """

    def __init__(self, d_model: int, d_hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_hidden)
        self.down = nn.Linear(d_hidden, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        return self.down(nn.functional.gelu(self.up(x_BLD)))
