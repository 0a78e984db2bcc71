"""The contract of an architecture: what must hold for every `SequenceModel`, checked on a tiny instance of it.

Each check takes the class and constructor options, and raises an AssertionError that says what is wrong. `CHECKS` are
for every variant and instant; `TRAINING_CHECKS` are for the default options and train for hundreds of tiny steps.
Nothing here touches the caller's random state.

Shape letters: B sequences, L positions, D width, V token values.
"""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from architectures import SequenceModel
from architectures.model import ModelState
from benchmark.contract.steps import cross_entropy, step_on
from datamodules import CellularAutomata, LinearMap, States

SMALL = {"d_model": 32, "n_layers": 2, "n_heads": 4}
Check = Callable[..., None]
Architecture = type[SequenceModel]


def small(cls: Architecture, vocab_size: int, seq_len: int, **options: Any) -> SequenceModel:
    """A tiny instance: `SMALL` sizes for those arguments that the class has, then `options`."""
    known = inspect.signature(cls).parameters
    return cls(vocab_size, seq_len, **{name: size for name, size in SMALL.items() if name in known} | options)


def variants(cls: Architecture) -> list[dict[str, Any]]:
    """Options that reach every mode: none, then every other value of each `Literal` or bool argument, one at a time."""
    arguments, found = inspect.signature(cls).parameters, [dict[str, Any]()]
    for name, hint in get_type_hints(cls.__init__).items():
        values = get_args(hint) if get_origin(hint) is Literal else (False, True) if hint is bool else ()
        if name == "backend":  # fused kernels run on a CUDA device only, where tests of their own check them
            values = tuple(value for value in values if value != "fused")
        found += [{name: value} for value in values if value != arguments[name].default]
    return found


class NotOffered(Exception):
    """A check does not apply, because the architecture does not claim the ability that it is about; says which."""


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """A fixed random state inside (as context or decorator), the caller's own one afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def require(condition: bool, message: str) -> None:
    """Raise an AssertionError; unlike the statement, python -O does not switch it off."""
    if not condition:
        raise AssertionError(message)


def require_equal(actual: Tensor, expected: Tensor, what: str, tolerance: float = 1e-9) -> None:
    """Equal up to rounding. The tolerance, relative to the largest logit, is for float64; a NaN is never equal."""
    error = ((actual - expected).abs().amax() / expected.abs().amax()).item()
    require(error <= tolerance, f"{what}: logits differ by {error:.1e} of the largest one")


def rounding_of(cls: Architecture) -> float:
    """Tolerance of `require_equal` for a float64 model; libraries compute some parts in float32 all the same."""
    return 1e-5 if cls.library else 1e-9


def random_tokens(vocab_size: int, batch_size: int, length: int) -> Tensor:
    """(B, L) uniform tokens; a view that is not contiguous, as in training, where the last token is cut off."""
    return torch.randint(vocab_size, (batch_size, length + 1))[:, :-1]


def varied(cls: Architecture, vocab_size: int, seq_len: int, **options: Any) -> SequenceModel:
    """A tiny float64 model off its initial weights: what starts at zero would hide both leaks and dead parameters."""
    model = small(cls, vocab_size, seq_len, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@seeded()
def check_shapes(cls: Architecture, **options: Any) -> None:
    """Any batch and any length up to seq_len give finite float32 logits (B, L, V); a longer input raises ValueError."""
    vocab_size, seq_len = 5, 9
    model = small(cls, vocab_size, seq_len, **options)
    for batch_size in (1, 3):
        for length in (1, 2, seq_len):
            logits = model(random_tokens(vocab_size, batch_size, length))
            expected = (batch_size, length, vocab_size)
            require(logits.shape == expected, f"logits have shape {tuple(logits.shape)}, expected {expected}")
            require(logits.dtype == torch.float32, f"logits are {logits.dtype}, expected torch.float32")
            require(bool(logits.isfinite().all()), f"logits of {length} tokens are not finite")
    try:
        model(random_tokens(vocab_size, 1, seq_len + 1))
    except ValueError:
        return
    raise AssertionError(f"seq_len + 1 = {seq_len + 1} tokens were read without a ValueError")


@seeded()
def check_gradients(cls: Architecture, **options: Any) -> None:
    """Every parameter is trained: its gradient exists, is finite and is not all zero."""
    model, tokens = varied(cls, 5, 9, **options), random_tokens(5, 8, 10)
    cross_entropy(model, tokens).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        if gradient is None or not gradient.any():
            raise AssertionError(f"parameter {name} gets no gradient")
        require(bool(gradient.isfinite().all()), f"the gradient of parameter {name} is not finite")


@seeded()
def check_causality_by_gradient(cls: Architecture, *, seq_len: int = 70, **options: Any) -> None:
    """The derivative of logits[l] by the embedding of any later token is exactly 0, in float64.

    The default length spans a chunk of 64, where chunked scans go wrong.
    """
    model, embedded = varied(cls, 5, seq_len, **options), list[Tensor]()
    with model.embedding.register_forward_hook(lambda module, args, output: embedded.append(output)):
        # L copies of one sequence: copy l asks for position l, so that one backward pass gives the whole L x L table
        logits = model(random_tokens(5, 1, seq_len).expand(seq_len, -1))
    require(len(embedded) == 1, f"forward called self.embedding {len(embedded)} times, expected once")
    asked = logits.diagonal().T
    (gradient,) = torch.autograd.grad((asked * torch.randn_like(asked)).sum(), embedded[0], materialize_grads=True)
    size_LL = gradient.abs().amax(-1)
    for query, key in (size_LL.triu(1) != 0).nonzero()[:1].tolist():
        raise AssertionError(f"not causal: the logits of position {query} depend on token {key}")
    require(bool((size_LL.diagonal() > 0).all()), "the logits of a position do not depend on its own token")


@seeded()
def check_causality_by_perturbation(cls: Architecture, *, seq_len: int = 70, **options: Any) -> None:
    """Changing or removing the tokens after l leaves logits[..l] as they were, for every l."""
    model, tokens, rounding = varied(cls, 5, seq_len, **options), random_tokens(5, 1, seq_len), rounding_of(cls)
    with torch.no_grad():
        logits = model(tokens)
        kept_LL = torch.ones(seq_len, seq_len, dtype=torch.bool).tril()
        changed = model(torch.where(kept_LL, tokens, (tokens + torch.randint(1, 5, kept_LL.shape)) % 5))[kept_LL]
        before = logits.expand(seq_len, -1, -1)[kept_LL]
        require_equal(changed, before, "not causal: later tokens were changed", rounding)
        for length in {1, 2, seq_len // 2, seq_len - 1}:
            require_equal(model(tokens[:, :length]), logits[:, :length], "later tokens were removed", rounding)


@seeded()
def check_independent_sequences(cls: Architecture, **options: Any) -> None:
    """A sequence gets the same logits alone, in a batch, and at another place of the batch."""
    model, tokens, rounding = varied(cls, 5, 9, **options), random_tokens(5, 4, 9), rounding_of(cls)
    with torch.no_grad():
        logits, order = model(tokens), torch.tensor([2, 0, 3, 1])
        require_equal(model(tokens[order]), logits[order], "the order of the sequences in the batch matters", rounding)
        alone = torch.cat([model(sequence[None]) for sequence in tokens])
    require_equal(alone, logits, "a sequence's logits depend on the others in the batch", rounding)


@seeded()
def check_streaming(cls: Architecture, *, seq_len: int = 70, **options: Any) -> None:
    """One token at a time, and in pieces, from a state of fixed size: the logits of the whole sequence at once."""
    model, tokens = varied(cls, 5, seq_len, **options), random_tokens(5, 3, seq_len)
    if not model.streams:
        raise NotOffered("no state of fixed size to stream with")
    with torch.no_grad():
        logits, state, pieces = model(tokens), model.initial_state(3), list[Tensor]()
        require(state_sizes(model.initial_state(1)) * 3 == state_sizes(state), "the state does not grow with the batch")
        for token in tokens.T:
            before = copy.deepcopy(state)
            piece, after = model.step(token, state)
            require(state_sizes(after) == state_sizes(state), f"the state changed its size at token {after.position}")
            same = all(torch.equal(x, y) for x, y in zip(state_parts(before), state_parts(state), strict=True))
            require(same, "a step changes the state that it was given")
            pieces.append(piece)
            state = after
        require_equal(torch.stack(pieces, 1), logits, "token by token", rounding_of(cls))
        half, state = model.scan(tokens[:, : seq_len // 2], model.initial_state(3))
        rest, _ = model.scan(tokens[:, seq_len // 2 :], state)
    require_equal(torch.cat([half, rest], 1), logits, "in two pieces", rounding_of(cls))


def state_parts(state: ModelState) -> list[Tensor]:
    """The tensors of all blocks."""
    return [part for block in state.blocks for part in block]


def state_sizes(state: ModelState) -> int:
    """Bytes of all tensors."""
    return sum(part.nbytes for part in state_parts(state))


@seeded()
def check_initial_scale(cls: Architecture, **options: Any) -> None:
    """Starts near a uniform guess, with token and position embeddings at one scale.

    That scale decides how soon a position-selective pattern is found, so it must not differ between entries.
    """
    if cls.library:
        raise NotOffered(f"it starts as {cls.library} starts it")
    for vocab_size in (2, 64):
        model = small(cls, vocab_size, 64, **options)
        loss = cross_entropy(model, random_tokens(vocab_size, 32, 65)).item()
        near_chance = abs(loss - math.log(vocab_size)) < 0.25
        require(near_chance, f"initial loss {loss:.3f} is not within 0.25 of ln {vocab_size}")
    if model.positions is not None:
        # 64 x 32 samples each: the ratio has a standard error of 2.2 %
        ratio = (model.positions.std() / model.embedding.weight.std()).item()
        require(abs(ratio - 1) < 0.1, f"positions start at {ratio:.2f} times the scale of the token embedding")


@seeded()
def check_reproducible(cls: Architecture, **options: Any) -> None:
    """torch.manual_seed fixes the weights; the logits depend on weights and tokens only, in both modes."""
    first, again, other = [_seeded_model(cls, seed, options) for seed in (1, 1, 2)]
    tokens = random_tokens(5, 3, 9)
    with torch.no_grad():
        logits = first(tokens)
        require(torch.equal(again(tokens), logits), "two models built under the same seed differ")
        require(not torch.equal(other(tokens), logits), "models built under different seeds are equal")
        first(random_tokens(5, 2, 7))
        require(torch.equal(first(tokens), logits), "the same tokens gave other logits the second time")
        require_equal(first.eval()(tokens), logits, "train and eval mode differ", tolerance=1e-5)  # float32


@seeded()
def check_copies(cls: Architecture, **options: Any) -> None:
    """state_dict, pickle and deepcopy carry the whole model, and a copy shares no weights with its original."""
    model, tokens = _seeded_model(cls, 1, options), random_tokens(5, 3, 9)
    loaded = _seeded_model(cls, 2, options)
    try:
        loaded.load_state_dict(model.state_dict())
        require(pickle.loads(pickle.dumps(cls)) is cls, "pickling the class gives another class")
        pickled = pickle.loads(pickle.dumps(model))
    except (pickle.PicklingError, AttributeError, TypeError, RuntimeError) as error:
        raise AssertionError(f"cannot be saved and loaded: {' '.join(str(error).split())}") from error
    with torch.no_grad():
        logits = model(tokens)
        for how, copied in {"state_dict": loaded, "pickle": pickled, "deepcopy": copy.deepcopy(model)}.items():
            require(torch.equal(copied(tokens), logits), f"a copy by {how} gives other logits")
            for parameter in copied.parameters():
                parameter.zero_()
            require(torch.equal(model(tokens), logits), f"a copy by {how} shares weights with its original")


@seeded()
def check_no_leak(cls: Architecture, *, steps: int = 200, **options: Any) -> None:
    """Trained on uniformly random tokens, the held-out loss stays at ln V: there is nothing to learn but a leak."""
    vocab_size, seq_len = 4, 12
    model = small(cls, vocab_size, seq_len, **options)
    step = step_on(model, lambda: random_tokens(vocab_size, 32, seq_len + 1))
    for _ in range(steps):
        step(0)
    with torch.no_grad():
        loss = cross_entropy(model, random_tokens(vocab_size, 1024, seq_len + 1)).item()
    floor = math.log(vocab_size) - 0.01
    require(loss >= floor, f"leak: the loss on random tokens is {loss:.3f}, below ln {vocab_size} - 0.01 = {floor:.3f}")


@seeded()
def check_overfits(cls: Architecture, *, steps: int = 1500, **options: Any) -> None:
    """Learns eight sequences of each task by heart: mean loss under 0.05 nats where the next token is determined."""
    tasks: tuple[States, ...] = (LinearMap(8, 3), CellularAutomata(6, 4, n_rules=4))
    for task in tasks:
        model, tokens = small(cls, task.vocab_size, task.seq_len, **options), task.batch(0, 8)
        step, loss = step_on(model, lambda tokens=tokens: tokens), math.inf  # type: ignore[misc]
        for _ in range(0, steps, 50):
            for _ in range(50):
                step(0)
            with torch.no_grad():
                loss = cross_entropy(model, tokens, task.scored).item()
            if loss < 0.05:
                break
        require(loss < 0.05, f"one batch of {task.name} was not learnt by heart: loss {loss:.3f} after {steps} steps")


def _seeded_model(cls: Architecture, seed: int, options: dict[str, Any]) -> SequenceModel:
    with seeded(seed):
        return small(cls, 5, 9, **options)


CHECKS: tuple[Check, ...] = (
    check_shapes,
    check_gradients,
    check_causality_by_gradient,
    check_causality_by_perturbation,
    check_independent_sequences,
    check_streaming,
    check_initial_scale,
    check_reproducible,
    check_copies,
)
TRAINING_CHECKS: tuple[Check, ...] = (check_no_leak, check_overfits)
