"""Any causal language model of the transformers library by its model type: `--model hf:llama`, `--model hf:mamba2`.

The model is built from its configuration class and initialised at random by the library's own code; nothing is
downloaded, and no code but the installed library's runs. Our options become the fields that mean the same:

    d_model      width of the residual stream (hidden_size, n_embd, d_model, ...)
    n_layers     number of blocks (num_hidden_layers, n_layer, ...)
    n_heads      heads, of keys and values too unless `config` says otherwise; those of state-space models have
                 d_model * expand / n_heads channels
    mlp_ratio    every *intermediate_size and ffn_dim, as a multiple of d_model
    vocab_size, seq_len   from the task; seq_len is the largest position where the library wants to know it

Fixed: dropout 0, no weights shared by embedding and head, no cache, no special tokens, a decoder where there is a
choice. Other fields keep the library's defaults, meant for much larger models (experts, ranks, state sizes), unless
`config` sets them.

Departures from the architectures written here: embeddings, positions and head start as the library starts them, so
that the common scale of token and position embeddings is not ours; which parameters decay follows our rule: matrices,
but for decay rates (A_log) and what the library marks.
"""

import dataclasses
import inspect
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from architectures.families.adapter import (
    adapter_class,
    exempt_from_decay,
    identifier,
    one_line,
    parsed_arguments,
    quiet,
)
from architectures.model import ModelState, SequenceModel, State, require_divisor, require_positive
from architectures.registry import UnknownInFamily, family

FIELDS = {
    "vocab_size": ("vocab_size",),
    "seq_len": ("max_position_embeddings", "n_positions", "context_length", "max_seq_len", "seq_length"),
    "d_model": ("hidden_size", "d_model", "n_embd", "dim", "embed_dim"),
    "n_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"),
    "n_heads": (
        "num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads", "mamba_n_heads",
    ),
}  # fmt: skip
"""Names that the library's configurations have for the same thing."""

Layout = tuple[tuple[tuple[str, int, tuple[int, ...]], ...], ...]
"""Of every block the tensors of its state: attribute and index in the library's cache, and shape without the batch."""

_HIDDEN = re.compile(r"(\w+_)?intermediate_size|(decoder_)?ffn_dim|ffn_hidden_size|d_ff")
_FIXED = {"tie_word_embeddings": False, "use_cache": False, "is_decoder": True, "n_groups": 1, "mamba_n_groups": 1}


class HuggingFaceModel(SequenceModel):
    """A causal language model of the transformers library, behind the interface of the architectures written here.

    Attributes:
        lm: the library's model.
    """

    model_type: ClassVar[str]
    """The library's name of the architecture."""

    positions = None  # the library's own, of whatever kind
    _layout: Layout = ()
    lm: nn.Module

    def _build(self, vocab_size: int, seq_len: int, config: str = "", **sizes: int) -> None:
        require_positive(vocab_size=vocab_size, seq_len=seq_len, **sizes)
        if "n_heads" in sizes:
            require_divisor("n_heads", sizes["n_heads"], "model.d_model", sizes["d_model"])
        nn.Module.__init__(self)
        self.vocab_size, self.seq_len, self.d_model = vocab_size, seq_len, sizes["d_model"]
        self.n_layers = sizes["n_layers"]
        fields = _fields(self.model_type, {"vocab_size": vocab_size, "seq_len": seq_len, **sizes})
        fields |= _asked(self.model_type, config)
        with one_line(f"hf:{self.model_type} cannot be built with these options"), quiet():
            from transformers import AutoModelForCausalLM

            self.lm = AutoModelForCausalLM.from_config(
                _configuration_class(self.model_type)(**fields), experts_implementation="eager", trust_remote_code=False
            )
            for module in self.lm.modules():
                if isinstance(module, nn.Embedding):
                    module.padding_idx = None  # its row would get no gradient, and here every token is a token
            exempt_from_decay(self.lm)
            weight = self.embedding.weight
            if not (weight.is_meta or isinstance(weight, FakeTensor)):  # tensors without values, for an estimate
                if seq_len > 1:
                    self._require_causal()
                self._layout = self._layout_of_state()

    def _require_causal(self) -> None:
        """Raise a ValueError if the logits of a position change with a later token."""
        length = min(self.seq_len, 8)
        tokens_L = torch.arange(length, device=self.embedding.weight.device) % self.vocab_size
        later_L = (torch.arange(length, device=tokens_L.device) >= length // 2).long()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            first, other = self(torch.stack([tokens_L, (tokens_L + later_L) % self.vocab_size]))[:, : length // 2]
        if (first - other).abs().amax() > 1e-5 * first.abs().amax():
            raise ValueError("it is not causal: the logits of a position change with later tokens")

    @property
    def embedding(self) -> nn.Embedding:  # type: ignore[override]
        """The token embedding."""
        return self.lm.get_input_embeddings()  # type: ignore[operator]

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The library's blocks; none where they are not a list."""
        lists = (module for module in self.lm.modules() if isinstance(module, nn.ModuleList))
        return next((each for each in lists if len(each) == self.n_layers), nn.ModuleList())

    @property
    def streams(self) -> bool:
        """True if every block keeps nothing but states of fixed size in the library's cache of linear attention."""
        return bool(self._layout)

    def initial_state(self, batch_size: int) -> ModelState:
        """Zeros: the inputs of convolutions and the recurrent states of every block.

        Raises:
            TypeError: if the model has no state of fixed size to stream with.
        """
        if not self.streams:
            raise TypeError(f"{type(self).__name__} keeps more than states of fixed size: it cannot stream")
        new = self.embedding.weight.new_zeros
        return ModelState(0, tuple(tuple(new(batch_size, *shape) for *_, shape in parts) for parts in self._layout))

    def scan(self, tokens_BL: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """Read L more tokens one by one, as the library's caches are made for.

        Args:
            tokens_BL: (B, L) integers in 0..V-1.
            state: from `initial_state`, `scan` or `step`; not modified.

        Returns:
            logits (B, L, V) and the state after the last token.

        Raises:
            ValueError: if more than seq_len tokens are read in total.
        """
        end, cache, outputs = state.position + tokens_BL.shape[1], self._cache_of(state.blocks), []
        if end > self.seq_len:
            raise ValueError(f"input of {end} tokens is longer than seq_len = {self.seq_len} of this model")
        for tokens_B in tokens_BL.unbind(1):
            output = self.lm(input_ids=tokens_B[:, None], use_cache=True, **{self._cache_argument: cache})
            outputs.append(output.logits)
        return torch.cat(outputs, dim=1), ModelState(end, self._state_of(cache))

    @property
    def _cache_argument(self) -> str:
        names = inspect.signature(self.lm.forward).parameters
        return "cache_params" if "cache_params" in names else "past_key_values"

    def _layout_of_state(self) -> Layout:
        """The tensors that every block keeps; empty if one of them keeps something else than states of fixed size."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.lm.config)
        if {type(layer).__name__ for layer in cache.layers} != {"LinearAttentionLayer"}:
            return ()
        token = torch.zeros(1, 1, dtype=torch.long, device=self.embedding.weight.device)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                self.lm(input_ids=token, use_cache=True, **{self._cache_argument: cache})
        except Exception:  # a model that also asks for the number of tokens before, for positions
            return ()
        layout = tuple(
            tuple(
                (kind, index, tuple(part.shape[1:]))
                for kind in ("conv_states", "recurrent_states")
                for index, part in getattr(layer, kind).items()
                if part is not None
            )
            for layer in cache.layers
        )
        return layout if all(layout) else ()

    def _cache_of(self, blocks: tuple[State, ...]) -> Any:
        """The library's cache with copies of these states, because it writes into them."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.lm.config)
        for layer, parts, tensors in zip(cache.layers, self._layout, blocks, strict=True):
            for (kind, index, _), tensor in zip(parts, tensors, strict=True):
                getattr(layer, kind)[index] = tensor.clone()
                getattr(layer, f"is_{kind}_initialized")[index] = layer.has_previous_state[index] = True
                if kind == "conv_states":
                    layer.conv_kernel_size[index] = tensor.shape[-1]
                layer.device, layer.dtype = tensor.device, tensor.dtype
        return cache

    def _state_of(self, cache: Any) -> tuple[State, ...]:
        return tuple(
            tuple(getattr(layer, kind)[index] for kind, index, _ in parts)
            for layer, parts in zip(cache.layers, self._layout, strict=True)
        )

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Compute next-token logits; position l sees tokens 0..l only.

        Args:
            tokens_BL: (B, L) integers in 0..V-1, L <= seq_len.

        Returns:
            logits (B, L, V).

        Raises:
            ValueError: if L exceeds seq_len.
        """
        if tokens_BL.shape[1] > self.seq_len:
            raise ValueError(f"input of {tokens_BL.shape[1]} tokens is longer than seq_len = {self.seq_len}")
        return self.lm(input_ids=tokens_BL).logits


def _fields(model_type: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Values of the configuration's fields that follow from our options, or are the same for every model."""
    known, fields = _known_fields(model_type), dict[str, Any]()
    for option, names in FIELDS.items():
        fields |= {name: sizes[option] for name in _meant(model_type, names) if option in sizes}
    for name, field in known.items():
        if _HIDDEN.fullmatch(name):
            fields[name] = sizes.get("mlp_ratio", 4) * sizes["d_model"]
        elif "dropout" in name or "jitter" in name or name.endswith(("pdrop", "_drop")):
            fields[name] = 0.0
        elif name.endswith("token_id") and "None" in str(field.type):
            fields[name] = None
        elif name in _FIXED:
            fields[name] = _FIXED[name]
        elif name == "num_key_value_heads" and "n_heads" in sizes:
            fields[name] = sizes["n_heads"]
        elif name == "rotary_dim" and "n_heads" in sizes:
            fields[name] = sizes["d_model"] // sizes["n_heads"]
        elif name.endswith("chunk_size") and isinstance(field.default, int):  # of scans, which pad a sequence to one
            fields[name] = min(field.default, 1 << (sizes["seq_len"] - 1).bit_length())
    if "head_dim" in known and "n_heads" in sizes:
        expand: Any = known["expand"].default if "expand" in known else 1
        fields["head_dim"] = int(expand * sizes["d_model"]) // sizes["n_heads"]
    return fields | {"tie_word_embeddings": False, "use_cache": False}


def _meant(model_type: str, names: Iterable[str]) -> list[str]:
    """Those names that the configuration has, under the one that it keeps them by."""
    renamed, known = _configuration_class(model_type).attribute_map, _known_fields(model_type)
    return [name for name in (renamed.get(name, name) for name in names) if name in known]


def _asked(model_type: str, config: str) -> dict[str, Any]:
    """The fields in the option `config`."""
    options = {name: option for option, names in FIELDS.items() for name in _meant(model_type, names)}
    return parsed_arguments(config, _known_fields(model_type).keys() - _FIXED.keys(), options)


@cache
def _known_fields(model_type: str) -> dict[str, "dataclasses.Field[Any]"]:
    """The fields of a configuration beyond those that every configuration has."""
    from transformers import PreTrainedConfig

    every = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = dataclasses.fields(_configuration_class(model_type))
    return {field.name: field for field in own if field.name not in every}


def _configuration_class(model_type: str) -> Any:
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type]


def model_types() -> list[str]:
    """The library's causal language models by name, sorted; those that read images or sound too are left out.

    Raises:
        ValueError: one line, if the library is not installed.
    """
    if find_spec("transformers") is None:
        raise ValueError("hf:NAME needs the transformers library, which is not installed: pip install transformers")
    os.environ.setdefault("USE_HUB_KERNELS", "0")  # where the package kernels is installed, it would fetch and run code
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@family("hf")
def architecture_of(name: str) -> Any:
    """Any causal language model of the transformers library: `--model hf:llama`.

    Args:
        name: the library's model type, or this with underscores for all that a name of Python's cannot have.

    Returns:
        a subclass of `SequenceModel`, the same one every time.

    Raises:
        UnknownInFamily: one line, if there is no such type.
        ValueError: one line, if the library is not installed, or the model is not one of text alone.
    """
    known = model_types()
    found = [model_type for model_type in known if name in (model_type, identifier(model_type))]
    if not found:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean hf:{near[0]}?" if near else "such are hf:gpt2, hf:llama and hf:mamba2"
        raise UnknownInFamily(f"unknown architecture 'hf:{name}': {hint} (the installed transformers has {len(known)})")
    return _adapter(found[0])


@cache
def _adapter(model_type: str) -> Any:
    """A class of its own for each model type, with the options that its configuration has."""
    import transformers

    parts = [name for name in _configuration_class(model_type).sub_configs if not name.startswith(("attn", "ffn"))]
    if parts:
        text = f"{model_type}_text"
        hint = f"name the one for text, hf:{text}" if text in model_types() else "only those of text alone can be built"
        raise ValueError(f"the model 'hf:{model_type}' is made of several ({', '.join(parts)}): {hint}")
    defaults = {"d_model": 128, "n_layers": 1, "n_heads": 8, "mlp_ratio": 4}
    if not _meant(model_type, FIELDS["n_heads"]):
        del defaults["n_heads"]
    if not any(map(_HIDDEN.fullmatch, _known_fields(model_type))):
        del defaults["mlp_ratio"]
    return adapter_class(
        HuggingFaceModel,
        f"hf_{identifier(model_type)}",
        f"{model_type} of the transformers library, initialised at random by the library's own code.",
        defaults,
        model_type=model_type,
        library=f"transformers {transformers.__version__}",
    )


def __getattr__(name: str) -> Any:
    """The class of an import path, as configurations and pickles have it."""
    if name.startswith("hf_"):
        with suppress(UnknownInFamily):
            return architecture_of(name.removeprefix("hf_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
