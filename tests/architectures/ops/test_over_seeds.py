"""Operators inside a map over seeds: values and all gradients are those of one call a seed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from architectures.ops.convolution import short_convolution
from architectures.ops.delta_rule import delta_rule
from architectures.ops.over_seeds import AttentionOverSeeds
from architectures.ops.pointwise.rwkv_keys import keys
from architectures.ops.pointwise.rwkv_readout import readout
from architectures.ops.pointwise.squared_relu import squared_relu
from architectures.ops.pointwise.token_shift import token_shift
from architectures.ops.selective import selective_scan
from architectures.ops.ssd import ssd

E, B, L, D, H, K, V, G, N, M, W = 3, 2, 19, 8, 4, 2, 3, 2, 5, 6, 4
"""Seeds, sequences, positions, channels, heads, keys, values, groups, states, mixes, filter width; L passes a chunk."""

CHANNELS, VECTOR = (B, L, D), (D,)
OPERATORS: dict[str, tuple[Callable[..., Any], dict[str, tuple[int, ...]], dict[str, Any]]] = {
    "delta_rule": (
        delta_rule,
        {
            **dict.fromkeys(("q", "k", "a", "b", "log_w"), (B, L, H, K)),
            "v": (B, L, H, V),
            "state": (B, H, K, V),
        },
        {},
    ),
    "ssd": (
        ssd,
        {
            "x": (B, L, H, V), "dt": (B, L, H), "A": (H,), "B": (B, L, G, N), "C": (B, L, G, N), "D": (H,),
            "state": (B, H, N, V),
        },
        {},
    ),
    "selective_scan": (
        selective_scan,
        {
            **dict.fromkeys(("x", "dt", "z"), CHANNELS),
            "A": (D, N), "B": (B, L, N), "C": (B, L, N), "D": VECTOR, "state": (B, N, D),
        },
        {},
    ),
    "short_convolution": (
        short_convolution,
        {"x": CHANNELS, "weight": (D, W), "bias": VECTOR, "state": (B, W - 1, D)},
        {},
    ),
    "token_shift": (token_shift, {"x": CHANNELS, "before": (B, D), "mu": (M, D)}, {}),
    "keys": (
        keys,
        {**dict.fromkeys(("k", "decay", "rate"), CHANNELS), **dict.fromkeys(("w0", "a0", "k_k", "k_a"), VECTOR)},
        {"n_heads": 2},
    ),
    "readout": (
        readout,
        {**dict.fromkeys(("y", "r", "k", "v", "g"), CHANNELS), "r_k": (2, 4), "weight": VECTOR, "bias": VECTOR},
        {"eps": 1e-5},
    ),
    "squared_relu": (squared_relu, {"x": CHANNELS}, {}),
}  # fmt: skip
PARAMETERS = {"A", "D", "weight", "bias", "mu", "w0", "a0", "k_k", "k_a", "r_k"}
NOTHING: set[str] = set()


def cases() -> Iterator[Any]:
    """(operator, what all seeds share, what is not given)."""
    for name, (_, shapes, _) in OPERATORS.items():
        parameters = shapes.keys() & PARAMETERS
        yield pytest.param(name, NOTHING, NOTHING, id=name)
        if parameters:  # many starting points on the same tokens, or the same one on the tokens of many seeds
            yield pytest.param(name, parameters, NOTHING, id=f"{name}-shared-parameters")
            yield pytest.param(name, shapes.keys() - parameters, NOTHING, id=f"{name}-shared-inputs")
        if "state" in shapes:
            yield pytest.param(name, NOTHING, {"state"}, id=f"{name}-no-state")
    yield pytest.param("short_convolution", NOTHING, {"bias"}, id="short_convolution-no-bias")


operators = pytest.mark.parametrize("operator", OPERATORS)
implementations = pytest.mark.parametrize("implementation", ["torch", "numba"])


def value(name: str, shape: tuple[int, ...]) -> Tensor:
    """Decays and A at most 0, step sizes at least 0."""
    x = torch.randn(shape)
    return -x.abs() if name in ("A", "log_w") else x.abs() if name == "dt" else x


def example(operator: str, shared: Iterable[str] = (), missing: Iterable[str] = ()) -> dict[str, Tensor]:
    """Random arguments, with the seeds as the first dimension of all that are not shared."""
    torch.manual_seed(0)
    shapes = OPERATORS[operator][1]
    return {
        name: value(name, shape if name in shared else (E, *shape)).requires_grad_()
        for name, shape in shapes.items()
        if name not in missing
    }


def tensors(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def with_gradients(outputs: list[Tensor], arguments: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(1)
    gradients = torch.autograd.grad(outputs, list(arguments.values()), [torch.randn(y.shape) for y in outputs])
    named = {f"d{name}": gradient for name, gradient in zip(arguments, gradients, strict=True)}
    return {f"output {i}": y for i, y in enumerate(outputs)} | named


def mapped(function: Callable[..., Any], arguments: dict[str, Tensor], shared: Iterable[str] = ()) -> dict[str, Tensor]:
    dims = {name: None if name in shared else 0 for name in arguments}
    outputs = vmap(lambda each: tuple(tensors(function(**each))), in_dims=(dims,))(arguments)
    return with_gradients(list(outputs), arguments)


def one_by_one(
    function: Callable[..., Any], arguments: dict[str, Tensor], shared: Iterable[str] = ()
) -> dict[str, Tensor]:
    runs = [
        tensors(function(**{name: x if name in shared else x[e] for name, x in arguments.items()})) for e in range(E)
    ]
    return with_gradients([torch.stack(parts) for parts in zip(*runs, strict=True)], arguments)


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """In float32, where sums may run in another order: to 1e-5 of each tensor's largest value."""
    assert actual.keys() == expected.keys()
    for name, reference in expected.items():
        assert actual[name].shape == reference.shape, name
        error = ((actual[name] - reference).abs().amax() / reference.abs().amax().clamp_min(1e-30)).item()
        assert error < 1e-5, f"{name}: relative error {error:.1e}"


@implementations
@pytest.mark.parametrize(("operator", "shared", "missing"), list(cases()))
def test_every_seed_its_own(operator: str, shared: set[str], missing: set[str], implementation: str) -> None:
    function, _, options = OPERATORS[operator]

    def run(**arguments: Tensor) -> Any:
        return function(**arguments, **options, implementation=implementation)

    arguments = example(operator, shared, missing)
    assert_same(mapped(run, arguments, shared), one_by_one(run, arguments, shared))


def test_another_dimension_than_the_first() -> None:
    """The seeds as the last dimension of one argument and the second of another."""
    x, weight = torch.randn(B, L, D, E), torch.randn(D, E, W)
    actual = vmap(lambda x, weight: short_convolution(x, weight)[0], in_dims=(3, 1))(x, weight)
    expected = [short_convolution(x[..., e], weight[:, e])[0] for e in range(E)]
    torch.testing.assert_close(actual, torch.stack(expected))


class Calls(TorchDispatchMode):
    """Counts the compiled operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "emergence":
            self.count[func.__name__.removesuffix(".default")] += 1
        return func(*args, **(kwargs or {}))


@operators
def test_one_call_for_all_seeds(operator: str) -> None:
    """Of the compiled operator; `selective_scan` alone goes seed by seed."""
    function, _, options = OPERATORS[operator]
    with Calls() as calls:
        mapped(lambda **each: function(**each, **options, implementation="numba"), example(operator))
    assert len(calls.count) == 2  # forward and backward
    assert set(calls.count.values()) == {E if operator == "selective_scan" else 1}


def test_outside_a_map_nothing_changes() -> None:
    """Not even where other tensors are being mapped at that moment."""
    x = torch.randn(B, L, D)
    expected = squared_relu(x, implementation="numba")
    with Calls() as calls:
        assert torch.equal(
            vmap(lambda _: squared_relu(x, implementation="numba"), out_dims=None)(torch.ones(E)), expected
        )
    assert calls.count == {"squared_relu": 1}


Q, CAUSAL = (B, H, L, K), torch.ones(L, L).tril().log()
ATTENTION: dict[str, tuple[dict[str, tuple[int, ...]], dict[str, Any], set[str]]] = {
    "causal": ({"query": Q, "key": Q, "value": (B, H, L, V)}, {"is_causal": True, "scale": 0.3}, set()),
    "other lengths": ({"query": (B, H, 7, K), "key": Q, "value": (B, H, L, V)}, {}, set()),
    "grouped heads": ({"query": Q, "key": (B, G, L, K), "value": (B, G, L, V)}, {"enable_gqa": True}, set()),
    "shared queries": ({"query": Q, "key": Q, "value": Q}, {}, {"query"}),
    "mask of all": ({"query": Q, "key": Q, "value": Q, "attn_mask": (L, L)}, {}, {"attn_mask"}),
    "mask of a sequence": ({"query": Q, "key": Q, "value": Q, "attn_mask": (B, 1, L, L)}, {}, {"attn_mask"}),
    "mask of a seed": ({"query": Q, "key": Q, "value": Q, "attn_mask": (L, L)}, {}, set()),
    "mask of a seed's heads": ({"query": Q, "key": Q, "value": Q, "attn_mask": (1, H, L, L)}, {}, set()),
    "mask of everything": ({"query": Q, "key": Q, "value": Q, "attn_mask": (B, H, L, L)}, {}, set()),
    "one head": (dict.fromkeys(("query", "key", "value"), (B, L, K)) | {"attn_mask": (L, L)}, {}, set()),
    "one sequence": (dict.fromkeys(("query", "key", "value"), (L, K)), {"is_causal": True}, set()),
}


@pytest.mark.parametrize("case", ATTENTION)
def test_attention(case: str) -> None:
    """PyTorch's function, called as an architecture calls it; without folding there is a warning, an error in tests."""
    shapes, options, shared = ATTENTION[case]
    torch.manual_seed(0)
    arguments = {
        name: torch.randn(shape if name in shared else (E, *shape), requires_grad=True)
        for name, shape in shapes.items()
    }

    def run(**each: Any) -> Tensor:
        if "attn_mask" in each:
            each["attn_mask"] = each["attn_mask"] + CAUSAL
        return F.scaled_dot_product_attention(**each, **options)

    with AttentionOverSeeds():
        actual = mapped(run, arguments, shared)
    assert_same(actual, one_by_one(run, arguments, shared))


def test_attention_with_positional_arguments() -> None:
    """The mask fourth, as PyTorch allows."""
    q, mask = torch.randn(E, B, H, L, K), torch.randn(E, L, L)
    with AttentionOverSeeds():
        actual = vmap(lambda q, mask: F.scaled_dot_product_attention(q, q, q, mask))(q, mask)
    expected = [F.scaled_dot_product_attention(x, x, x, m) for x, m in zip(q, mask, strict=True)]
    torch.testing.assert_close(actual, torch.stack(expected))
