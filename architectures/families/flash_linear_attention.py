"""A stack of any layer of the flash-linear-attention library by its name: `--model fla:gla`, `--model fla:delta_net`.

Only the sequence mixer is the library's, with its initial weights and its Triton kernels, which run on a CUDA device.
Around it is what the architectures written here share: embedding and learned positions at one scale, pre-norm, an MLP
of width mlp_ratio * d_model, head.

    x <- x + mixer(LN(x));  x <- x + MLP(LN(x))

Our options become the arguments that mean the same: d_model is hidden_size, n_heads num_heads, d_model / n_heads
head_dim. Other arguments keep the library's defaults unless `config` sets them.
"""

import ast
import inspect
import os
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from architectures.families.adapter import (
    adapter_class,
    exempt_from_decay,
    identifier,
    one_line,
    parsed_arguments,
    quiet,
)
from architectures.model import MLP, SequenceModel, require_divisor, require_positive
from architectures.registry import UnknownInFamily, family

OPTIONS = {"hidden_size": "d_model", "num_heads": "n_heads", "head_dim": "n_heads", "num_hidden_layers": "n_layers"}
"""Arguments of the library's layers, and the options that they follow from."""

_GIVEN = {"layer_idx", "max_position_embeddings", "d_model"}


class FLABlock(nn.Module):
    """A layer of the library and an MLP, each pre-norm and residual.

    Args:
        d_model: width D.
        d_hidden: width of the MLP.
        mixer: the library's layer.
    """

    position_wise = ("mlp_norm", "mlp")

    def __init__(self, d_model: int, d_hidden: int, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer_norm, self.mixer = nn.LayerNorm(d_model), mixer
        self.mlp_norm, self.mlp = nn.LayerNorm(d_model), MLP(d_model, d_hidden)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        mixed = self.mixer(self.mixer_norm(x_BLD))
        x_BLD = x_BLD + (mixed[0] if isinstance(mixed, tuple) else mixed)
        return x_BLD + self.mlp(self.mlp_norm(x_BLD))


class FLAModel(SequenceModel):
    """A stack of blocks around one of the library's layers."""

    layer: ClassVar[type[nn.Module]]
    """The library's layer."""

    def _build(self, vocab_size: int, seq_len: int, config: str = "", mlp_ratio: int = 4, **sizes: int) -> None:
        require_positive(vocab_size=vocab_size, seq_len=seq_len, mlp_ratio=mlp_ratio, **sizes)
        width, n_heads, known = sizes["d_model"], sizes.get("n_heads", 1), inspect.signature(self.layer).parameters
        require_divisor("n_heads", n_heads, "model.d_model", width)
        given = {
            "hidden_size": width, "num_heads": n_heads, "head_dim": width // n_heads,
            "num_hidden_layers": sizes["n_layers"], "max_position_embeddings": seq_len,
        }  # fmt: skip
        given = {name: value for name, value in given.items() if name in known}
        options = {name: option for name, option in OPTIONS.items() if name in known}
        given |= parsed_arguments(config, known.keys() - _GIVEN, options)
        with one_line(f"fla:{type(self).__name__.partition('_')[2]} cannot be built with these options"), quiet():
            mixers = [
                self.layer(**given, **({"layer_idx": i} if "layer_idx" in known else {}))
                for i in range(sizes["n_layers"])
            ]
        blocks = [FLABlock(width, mlp_ratio * width, mixer) for mixer in mixers]
        SequenceModel.__init__(self, vocab_size, seq_len, d_model=width, blocks=blocks)
        exempt_from_decay(self)

    @property
    def backend(self) -> str:
        """The library's kernels are all there is."""
        return "fla"


def _layers() -> dict[str, str]:
    """Names of the library's layers, which are those of its files, and of their classes.

    Raises:
        ValueError: one line, if the library is not installed, or there is no device for its kernels.
    """
    spec = find_spec("fla")
    places = [Path(place) / "layers" for place in (spec.submodule_search_locations or ())] if spec else []
    files = sorted(file for place in places for file in place.glob("*.py") if file.stem not in {"__init__", "utils"})
    if not files:
        raise ValueError("fla:NAME needs the library flash-linear-attention: pip install flash-linear-attention")
    if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError("fla:NAME needs a CUDA device: the kernels of flash-linear-attention run nowhere else")
    return {file.stem: name for file in files for name in _first_layer(file)}


def _first_layer(file: Path) -> list[str]:
    """The class of a file that is a layer by its arguments: it has a hidden_size and a forward of hidden_states."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            arguments = {
                method.name: [argument.arg for argument in method.args.args]
                for method in node.body
                if isinstance(method, ast.FunctionDef)
            }
            reads = arguments.get("forward", [])[1:2]
            if "hidden_size" in arguments.get("__init__", ()) and reads == ["hidden_states"]:
                return [node.name]
    return []


@family("fla")
def architecture_of(name: str) -> Any:
    """A stack of any layer of the flash-linear-attention library, on a CUDA device: `--model fla:gla`.

    Args:
        name: of the file of the layer in the library, such as `gla`, `delta_net`, `rwkv6`.

    Returns:
        a subclass of `SequenceModel`, the same one every time.

    Raises:
        UnknownInFamily: one line, if there is no such layer.
        ValueError: one line, if the library is not installed, or there is no device for its kernels.
    """
    known = _layers()
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean fla:{near[0]}? " if near else ""
        names = ", ".join(f"fla:{each}" for each in known)
        raise UnknownInFamily(f"unknown architecture 'fla:{name}': {hint}known names are {names}")
    return _adapter(name, known[name])


@cache
def _adapter(name: str, layer: str) -> Any:
    """A class of its own for each layer, with the options that it has."""
    with one_line(f"fla:{name} cannot be imported"), quiet():
        cls = getattr(import_module(f"fla.layers.{name}"), layer)
    defaults = {"d_model": 128, "n_layers": 1, "n_heads": 8, "mlp_ratio": 4}
    if "num_heads" not in inspect.signature(cls).parameters:
        del defaults["n_heads"]
    try:
        library = f"flash-linear-attention {version('flash-linear-attention')}"
    except PackageNotFoundError:  # its files alone
        library = "flash-linear-attention"
    summary = f"{layer} of the flash-linear-attention library, between pre-norms and MLPs."
    return adapter_class(FLAModel, f"fla_{identifier(name)}", summary, defaults, layer=cls, library=library)


def __getattr__(name: str) -> Any:
    """The class of an import path, as configurations and pickles have it."""
    if name.startswith("fla_"):
        with suppress(UnknownInFamily):
            return architecture_of(name.removeprefix("fla_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
