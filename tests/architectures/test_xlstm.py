"""xLSTM: both of its layers against the authors' package, initial values, sizes, errors."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures.ops.backend import Backend
from architectures.xlstm import XLSTM, MLSTMBlock, SLSTMBlock

D_MODEL, N_HEADS = 16, 2


def build(kind: type[Any], backend: Backend = "auto") -> Any:
    torch.manual_seed(0)
    own = {"expand": 4} if kind is MLSTMBlock else {"index": 0}  # the package rounds widths up to a multiple of 64
    block = kind(D_MODEL, n_layers=1, n_heads=N_HEADS, d_conv=4, backend=backend, **own)
    with torch.no_grad():
        for parameter in block.parameters():  # off their initial values, where zeros and ones would hide mistakes
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return block.double()


def their_mlstm(block: MLSTMBlock, length: int) -> nn.Module:
    """The package's layer with the weights of ours, without the 1e-6 that it adds to the normaliser."""
    from xlstm.blocks.mlstm.backends import parallel_stabilized_simple
    from xlstm.blocks.mlstm.layer import mLSTMLayer, mLSTMLayerConfig

    config = mLSTMLayerConfig(
        embedding_dim=D_MODEL, num_heads=N_HEADS, proj_factor=4.0, conv1d_kernel_size=4, context_length=length
    )
    layer = mLSTMLayer(config).double()
    layer.mlstm_cell.backend_fn = partial(parallel_stabilized_simple, eps=0.0)
    ours = {name: parameter.detach() for name, parameter in block.named_parameters()}
    layer.load_state_dict(
        {
            "proj_up.weight": ours["up"],
            "proj_down.weight": ours["down"],
            "learnable_skip": ours["skip"],
            "conv1d.conv.weight": ours["conv_weight"][:, None],
            "conv1d.conv.bias": ours["conv_bias"],
            "q_proj.weight": ours["query"],
            "k_proj.weight": ours["key"],
            "v_proj.weight": ours["value"],
            "mlstm_cell.igate.weight": ours["input_gate.weight"],
            "mlstm_cell.igate.bias": ours["input_gate.bias"],
            "mlstm_cell.fgate.weight": ours["forget_gate.weight"],
            "mlstm_cell.fgate.bias": ours["forget_gate.bias"],
            "mlstm_cell.outnorm.weight": ours["head_norm_weight"] - 1,
        }
    )
    return layer


def their_slstm(block: SLSTMBlock) -> nn.Module:
    """The package's layer with the weights of ours; it calls the input gate's map "fgate" and the other way round."""
    from xlstm.blocks.slstm.layer import sLSTMLayer, sLSTMLayerConfig

    config = sLSTMLayerConfig(
        embedding_dim=D_MODEL, num_heads=N_HEADS, conv1d_kernel_size=4, backend="vanilla", dtype="float32"
    )
    layer = sLSTMLayer(config).double()
    ours = {name: parameter.detach() for name, parameter in block.named_parameters()}
    cell = layer.slstm_cell
    layer.load_state_dict(
        {
            "conv1d.conv.weight": ours["conv_weight"][:, None],
            "conv1d.conv.bias": ours["conv_bias"],
            "fgate.weight": ours["input_gate"],
            "igate.weight": ours["forget_gate"],
            "zgate.weight": ours["cell"],
            "ogate.weight": ours["output_gate"],
            "group_norm.weight": ours["head_norm_weight"] - 1,
            "slstm_cell._recurrent_kernel_": cell._recurrent_kernel_ext2int(
                ours["recurrent"].unflatten(-1, (4, -1)).double()
            ),
            "slstm_cell._bias_": cell._bias_ext2int(ours["bias"].unflatten(-1, (4, -1)).double()),
        }
    )
    return layer


def gradients(y: Tensor, x: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Of a fixed random functional of the output, by the input and by every parameter that it depends on."""
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    named = {"x": x, **dict(module.named_parameters())}
    found = torch.autograd.grad((y * weight).sum(), list(named.values()), allow_unused=True)
    return {name: z for name, z in zip(named, found, strict=True) if z is not None}


def assert_equal(one: Tensor, other: Tensor, name: str) -> None:
    torch.testing.assert_close(one, other.reshape(one.shape), rtol=1e-7, atol=1e-9, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("length", [1, 2, 31, 100])
def test_mlstm_equals_the_authors(length: int, backend: Backend) -> None:
    """Forward and gradients, float64."""
    block = build(MLSTMBlock, backend)
    theirs = their_mlstm(block, length)
    x = torch.randn(2, length, D_MODEL, dtype=torch.float64, requires_grad=True)
    ours_y, theirs_y = block(x), x + theirs(block.norm(x))
    assert_equal(ours_y, theirs_y, "y")
    ours, other = gradients(ours_y, x, block), gradients(theirs_y, x, theirs)
    names = {
        "x": "x", "up": "proj_up.weight", "down": "proj_down.weight", "skip": "learnable_skip",
        "conv_weight": "conv1d.conv.weight", "query": "q_proj.weight", "key": "k_proj.weight",
        "value": "v_proj.weight", "input_gate.weight": "mlstm_cell.igate.weight",
        "input_gate.bias": "mlstm_cell.igate.bias", "head_norm_weight": "mlstm_cell.outnorm.weight",
    } | ({"forget_gate.weight": "mlstm_cell.fgate.weight"} if length > 1 else {})  # fmt: skip
    for mine, their in names.items():
        assert_equal(ours[mine], other[their], mine)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("length", [1, 2, 31, 100])
def test_slstm_equals_the_authors(length: int, backend: Backend) -> None:
    """Forward and gradients, float64, of the layer without the feed-forward network."""
    block = build(SLSTMBlock, backend)
    with torch.no_grad():
        block.down.zero_()
    theirs = their_slstm(block)
    x = torch.randn(2, length, D_MODEL, dtype=torch.float64, requires_grad=True)
    ours_y, theirs_y = block(x), x + theirs(block.norm(x))
    assert_equal(ours_y, theirs_y, "y")
    ours, other = gradients(ours_y, x, block), gradients(theirs_y, x, theirs)
    names = {
        "x": "x", "conv_weight": "conv1d.conv.weight", "input_gate": "fgate.weight", "cell": "zgate.weight",
        "output_gate": "ogate.weight", "head_norm_weight": "group_norm.weight",
    } | ({"forget_gate": "igate.weight"} if length > 1 else {})  # fmt: skip
    for mine, their in names.items():
        assert_equal(ours[mine], other[their], mine)


def test_feed_forward_equals_the_authors() -> None:
    """Both have a width of 64 here: 4/3 of 48."""
    from xlstm.components.feedforward import FeedForwardConfig, GatedFeedForward

    torch.manual_seed(0)
    block = SLSTMBlock(48, n_layers=1, index=0, n_heads=2, d_conv=4, backend="torch")
    theirs = GatedFeedForward(FeedForwardConfig(embedding_dim=48))
    theirs.load_state_dict({"proj_up.weight": block.up, "proj_down.weight": block.down})
    with torch.no_grad():
        block.head_norm_weight.zero_()
    x = torch.randn(2, 3, 48)
    torch.testing.assert_close(block(x), x + theirs(block.mlp_norm(x)))


def test_initial_values_are_those_of_the_authors() -> None:
    """Standard deviations, biases and zeros, parameter by parameter."""
    from xlstm import (
        mLSTMBlockConfig,
        mLSTMLayerConfig,
        sLSTMBlockConfig,
        sLSTMLayerConfig,
        xLSTMBlockStack,
        xLSTMBlockStackConfig,
    )

    torch.manual_seed(0)
    theirs = xLSTMBlockStack(
        xLSTMBlockStackConfig(
            mlstm_block=mLSTMBlockConfig(mlstm=mLSTMLayerConfig(num_heads=4)),
            slstm_block=sLSTMBlockConfig(slstm=sLSTMLayerConfig(num_heads=4, backend="vanilla")),
            num_blocks=4, embedding_dim=192, context_length=8, slstm_at=[1, 3],
        )
    )  # fmt: skip
    ours = XLSTM(4, 8, d_model=192, n_layers=4).blocks
    for i, (mine, their) in enumerate(zip(ours, theirs.blocks, strict=True)):
        layer = their.xlstm
        pairs: dict[str, tuple[Tensor, Tensor]]
        if i % 2 == 0:
            assert isinstance(mine, MLSTMBlock)
            pairs = {
                "up": (mine.up, layer.proj_up.weight), "down": (mine.down, layer.proj_down.weight),
                "query": (mine.query, layer.q_proj.weight), "value": (mine.value, layer.v_proj.weight),
                "conv": (mine.conv_weight, layer.conv1d.conv.weight),
            }  # fmt: skip
            torch.testing.assert_close(mine.forget_gate.bias, layer.mlstm_cell.fgate.bias)
            assert not mine.forget_gate.weight.any()
            assert not mine.input_gate.weight.any()
        else:
            assert isinstance(mine, SLSTMBlock)
            pairs = {
                "gate": (mine.output_gate, layer.ogate.weight), "conv": (mine.conv_weight, layer.conv1d.conv.weight),
                "up": (mine.up, their.ffn.proj_up.weight), "down": (mine.down, their.ffn.proj_down.weight),
            }  # fmt: skip
            bias = layer.slstm_cell._bias_int2ext(layer.slstm_cell._bias_)
            torch.testing.assert_close(mine.bias.unflatten(-1, (4, -1)), bias)
            assert not mine.recurrent.any()
        for name, (one, other) in pairs.items():
            assert one.std().item() == pytest.approx(other.std().item(), rel=0.1), (i, name)


@pytest.mark.parametrize(
    ("n_layers", "every", "kinds"), [(1, 2, "m"), (2, 2, "ms"), (3, 1, "sss"), (4, 0, "mmmm"), (8, 8, "mmmmmmms")]
)
def test_ratio_of_blocks(n_layers: int, every: int, kinds: str) -> None:
    blocks = XLSTM(4, 8, d_model=8, n_layers=n_layers, slstm_every=every).blocks
    assert "".join("s" if isinstance(block, SLSTMBlock) else "m" for block in blocks) == kinds


def test_large_gates_neither_overflow_nor_vanish() -> None:
    """Input gates of 300 overflow float32 and even float64 when they are not scaled."""
    block = build(MLSTMBlock).float()
    with torch.no_grad():
        block.input_gate.bias.fill_(300.0)
    x = torch.randn(2, 40, D_MODEL, requires_grad=True)
    block(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_heads": 3}, "model.n_heads"),
        ({"slstm_every": -1}, "model.slstm_every"),
        ({"expand": 0}, "model.expand"),
        ({"d_conv": 0}, "model.d_conv"),
        ({"backend": "fused"}, "model.backend = fused"),
    ],
)
def test_mistakes_name_the_option(options: dict[str, Any], named: str) -> None:
    if named.endswith("fused") and torch.cuda.is_available():
        pytest.skip("a device is here")
    with pytest.raises(ValueError, match=named):
        XLSTM(4, 8, **options)


def test_state_bytes() -> None:
    """By hand: convolution, memory with its normaliser, scale; convolution, four numbers per unit."""
    model = XLSTM(4, 8, d_model=16, n_layers=2, n_heads=2)
    matrix = 3 * 32 + 2 * 16 * 17 + 2
    scalar = 3 * 16 + 4 * 16
    assert model.state_bytes == 4 * (matrix + scalar)
