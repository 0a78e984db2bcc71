"""Hybrid: a stack of blocks of other architectures in the order of a pattern, as Jamba (arXiv 2403.19887), Samba (arXiv
2406.07522) and their like have them.

    pattern "mamba mamba attention", repeats 2:   mamba, mamba, attention, mamba, mamba, attention

A word is the name of an architecture, with options of its own in parentheses: "mamba(d_state=8) attention(n_heads=2)".
"attention" is a block of the transformer, whose MLP is part of it.

The k-th block of an architecture is what the k-th block would be in a model of that architecture alone as deep as the
whole stack: its initial values and their scale by depth are its authors'. Embedding, final norm and head are those of
every architecture here.

Departures: RWKV-7's norm before the first block is there only if the stack begins with RWKV; the values of its first
block go to its later ones, whatever lies between.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from architectures.model import ModelState, Positions, RecurrentBlock, SequenceModel, State, require_positive
from architectures.registry import ARCHITECTURES, register
from architectures.rwkv import RWKVBlock
from architectures.transformer import TransformerBlock

ALIASES = {"attention": "transformer"}

MAX_BLOCKS = 256
"""Of a stack; each kind of block is taken from a whole model of that depth."""

_WORD = re.compile(r"(\w+)(?:\(([^()]*)\))?(?:\s+|$)")
_OWN = {"vocab_size", "seq_len", "d_model", "n_layers", "positions", "embedding_std"}
"""Options that the whole stack decides."""


def parse_pattern(pattern: str) -> list[tuple[str, dict[str, Any]]]:
    """The blocks of a pattern in order: registered name and options.

    Raises:
        ValueError: if a word cannot be read, or a name or an option does not exist.
    """
    found, text = [], pattern.strip()
    while text:
        word = _WORD.match(text)
        if word is None:
            raise ValueError(f"model.pattern must be names like 'mamba attention(n_heads=4)'; cannot read {text!r}")
        name = ALIASES.get(word[1], word[1])
        if name not in ARCHITECTURES.keys() - {Hybrid.__name__}:
            known = ", ".join(sorted({*ALIASES, *ARCHITECTURES} - {Hybrid.__name__}))
            raise ValueError(f"model.pattern: no block {word[1]!r}; known names are {known}")
        found.append((name, _options(word[1], name, word[2] or "")))
        text = text[word.end() :]
    if not found:
        raise ValueError("model.pattern is empty: name at least one block, like 'mamba attention'")
    return found


def _options(word: str, name: str, text: str) -> dict[str, Any]:
    """The options in the parentheses after a name."""
    allowed = inspect.signature(ARCHITECTURES[name]).parameters.keys() - _OWN
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or option not in allowed:
            raise ValueError(
                f"model.pattern: {part!r} of {word} is no NAME=VALUE of its options, which are"
                f" {', '.join(sorted(allowed)) or '(none)'}"
            )
        options[option] = _value(value)
    return options


@register("hybrid")
class Hybrid(SequenceModel):
    """Hybrid: blocks of registered architectures in the order of a pattern.

    Args:
        pattern: names of architectures, or attention, with blanks between and options in parentheses, like
            "mamba mamba attention(n_heads=4)".
        repeats: how often the pattern comes; at most `MAX_BLOCKS` blocks in all.

    Raises:
        ValueError: as `SequenceModel` and the architectures named, or if the pattern names none.
    """

    def __init__(
        self, vocab_size: int, seq_len: int, *, d_model: int = 128, pattern: str = "mamba attention", repeats: int = 1,
        positions: Positions = "learned", embedding_std: float = 0.02,
    ) -> None:  # fmt: skip
        require_positive(vocab_size=vocab_size, seq_len=seq_len, d_model=d_model, repeats=repeats)
        words = parse_pattern(pattern)
        if len(words) * repeats > MAX_BLOCKS:
            raise ValueError(
                f"model.repeats = {repeats} makes {len(words) * repeats:,} blocks, at most {MAX_BLOCKS} can be"
            )
        words *= repeats
        blocks: list[nn.Module] = []
        models: dict[str, SequenceModel] = {}
        taken: Counter[str] = Counter()
        for place, (name, options) in enumerate(words):
            if (word := f"{name}{sorted(options.items())}") not in models:
                models[word] = _whole(name, options, vocab_size, seq_len, d_model, len(words))
            block = models[word].blocks[taken[name]]
            taken[name] += 1
            if isinstance(block, RWKVBlock) and place > 0:
                block.input_norm = nn.Identity()
            blocks.append(block)
        super().__init__(
            vocab_size, seq_len, d_model=d_model, blocks=blocks, positions=positions, embedding_std=embedding_std
        )
        self.fixed_length = any(ARCHITECTURES[name].fixed_length for name, _ in words)  # type: ignore[misc]

    @property
    def takes_attention_bias(self) -> bool:
        """Whether the pattern has attention."""
        return any(isinstance(block, TransformerBlock) for block in self.blocks)

    def forward(self, tokens_BL: Tensor, attention_bias: Tensor | None = None) -> Tensor:
        """Next-token logits: (B, L) integers, L <= seq_len, to (B, L, V); the bias is that of `Transformer.forward`."""
        x_BLD, v_first = self.embed(tokens_BL), None
        for block in self.blocks:
            x_BLD, _, v_first = _read(block, x_BLD, None, v_first, attention_bias)
        return self.unembed(x_BLD)

    def scan(self, tokens_BL: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read L more tokens; see `SequenceModel.scan`."""
        x_BLD, states, v_first = self.embed(tokens_BL, state.position), [], None
        for block, before in zip(self._recurrent_blocks(), state.blocks, strict=True):
            x_BLD, after, v_first = _read(block, x_BLD, before, v_first)
            states.append(after)
        return self.unembed(x_BLD), ModelState(state.position + tokens_BL.shape[1], tuple(states))

    def attention_maps(self, tokens_BL: Tensor, attention_bias: Tensor | None = None) -> list[Tensor]:
        """Attention probabilities of every attention block, in order: (B, H, L, L), rows are queries."""
        x_BLD, maps, v_first = self.embed(tokens_BL), [], None
        for block in self.blocks:
            if isinstance(block, TransformerBlock):
                maps.append(block.attention.maps(block.attention_norm(x_BLD), attention_bias))
            x_BLD, _, v_first = _read(block, x_BLD, None, v_first, attention_bias)
        return maps


def _whole(
    name: str, options: dict[str, Any], vocab_size: int, seq_len: int, d_model: int, n_layers: int
) -> SequenceModel:
    """A model of one architecture as deep as the stack, so that none needs a second way to make its blocks."""
    build: Callable[..., SequenceModel] = ARCHITECTURES[name]
    try:
        return build(vocab_size, seq_len, d_model=d_model, n_layers=n_layers, **options)
    except TypeError as error:  # an option of another kind
        raise ValueError(f"model.pattern: {name}: {error}") from error


def _value(text: str) -> Any:
    """The number, truth value, nothing or text that an option is written as."""
    known = {"true": True, "false": False, "null": None}
    if text in known:
        return known[text]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _read(
    block: nn.Module, x_BLD: Tensor, state: State | None, v_first: Tensor | None, bias: Tensor | None = None
) -> tuple[Tensor, State, Tensor | None]:
    """Output (B, L, D) of a block, its state after the last position (nothing, if none is given), RWKV's first v."""
    if isinstance(block, RWKVBlock):
        return block.read(x_BLD, block.initial_state(len(x_BLD)) if state is None else state, v_first)
    if isinstance(block, TransformerBlock):
        return block(x_BLD, bias), (), v_first
    if state is None:
        return block(x_BLD), (), v_first
    assert isinstance(block, RecurrentBlock)
    return *block.scan(x_BLD, state), v_first
