"""Parts of a model that its weights belong to, by their names."""

import re
from collections.abc import Collection, Sequence

from architectures.model import SequenceModel

WEIGHT_PARTS = ("attention", "mlp", "norms", "positions", "embeddings", "head")
"""Sublayers that mix positions, whatever they do it by; those that mix channels; the gains and biases of all norms,
within sublayers too; learned positions; the token embedding; the head."""

_WHOLE = {"positions": "positions", "embedding": "embeddings", "head": "head"}
_NORM = re.compile(r"(^|_)norm(_|$)|^ln_")


def part_of(name: str, position_wise: Sequence[Collection[str]]) -> str:
    """The one of `WEIGHT_PARTS` that a tensor belongs to.

    Args:
        name: in the state dict of a `SequenceModel`, like ``blocks.0.attention.qkv.weight``.
        position_wise: of each block, the names of its submodules and parameters that mix channels.

    Raises:
        ValueError: if a `SequenceModel` has no tensor of this name.
    """
    first, *rest = name.split(".")
    if first in _WHOLE:
        return _WHOLE[first]
    if any(_NORM.search(word) for word in (first, *rest)):
        return "norms"
    if first == "blocks" and len(rest) > 1 and int(rest[0]) < len(position_wise):
        return "mlp" if rest[1] in position_wise[int(rest[0])] else "attention"
    raise ValueError(f"the weights {name} belong to none of the parts {', '.join(WEIGHT_PARTS)}")


def parts_of(model: SequenceModel) -> dict[str, str]:
    """The part of every tensor in a model's state dict, in its order.

    A block names its channel-mixing submodules in `position_wise`; one without, like Mamba's, is a mixing sublayer as a
    whole.

    Raises:
        ValueError: if a tensor belongs to none, or the model is a library's, which names its weights in its own way.
    """
    if not hasattr(model, "blocks"):
        raise ValueError(f"{type(model).__name__} keeps its weights under a library's names: their parts are not known")
    position_wise = [getattr(block, "position_wise", ()) for block in model.blocks]
    return {name: part_of(name, position_wise) for name in model.state_dict()}
