"""The contract of a probe, and names for probes: one decorator, one dictionary.

Shape letters: B sequences, N tokens of a sequence, of which a model reads the first L = N - 1.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor

from architectures import SequenceModel
from datamodules import Task


class Measured(NamedTuple):
    """A quantity that a probe found: a row of the table of probes.

    A number without axes and without layer, whose name begins with that of its probe (`attention_mass`), is a curve
    too: loggers get it, and `Run.curves()` has it as a column.
    """

    quantity: str
    """Its name, a lower-case word that ends in the unit if there is one."""
    values: Tensor | float
    """Any shape; NaN where it is not defined. The table holds float32."""
    axes: str = ""
    """Names of the axes with a blank between, like "head query key"; empty for a number."""
    layer: int | None = None
    """Index of the block that it belongs to, None where it belongs to the whole model."""


class Probe(ABC):
    """Looks at a model without changing it, at evaluations of its training.

    A run looks at a copy of the model of each seed, on that seed's held-out sequences, without gradients and with
    torch's random state restored afterwards: what a probe does to the model is forgotten. What it returns must be a
    function of the weights and the tokens alone, so that a resumed run finds the same.

    Args:
        model: that is going to be looked at, with its initial weights.
        task: the stream that it learns.

    Raises:
        ValueError: one line, if the model or the task lacks what the probe needs.
    """

    name: ClassVar[str]
    n_sequences: int = 16
    """Held-out sequences that it looks at, the first ones of the evaluation split."""

    def __init__(self, model: SequenceModel, task: Task) -> None:
        self.task = task

    @abstractmethod
    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterable[Measured]:
        """The quantities of a model.

        Args:
            model: in evaluation mode.
            tokens_BN: (B, N) int64, whole sequences, on the device of the model.
        """

    def every(self, tokens_between: int) -> int:
        """Evaluations from one look to the next, at least 1.

        Args:
            tokens_between: tokens that the model is trained on between two evaluations.
        """
        return 1


PROBES: dict[str, type[Probe]] = {}
"""Every registered probe by its name."""

ProbeType = TypeVar("ProbeType", bound=type[Probe])


def register_probe(name: str) -> Callable[[ProbeType], ProbeType]:
    """Class decorator: give a `Probe` the name by which ``--probes`` turns it on.

    In a notebook, where a cell is run again and again, a class takes the place of the one before it.

    Raises:
        ValueError: if the name is taken or is no lower-case word, or what is decorated is no complete probe.
    """
    if not isinstance(name, str):
        raise ValueError(f'@register_probe takes a name, like @register_probe("attention"); got {name!r}')

    def decorate(cls: ProbeType) -> ProbeType:
        if not (isinstance(cls, type) and issubclass(cls, Probe)):
            raise ValueError(f"probe {name!r} must be a subclass of Probe, got {cls!r}")
        if missing := sorted(cls.__abstractmethods__):
            raise ValueError(f"probe {name!r}: {cls.__name__} lacks {', '.join(missing)}")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise ValueError(f"probe name {name!r} of {cls.__module__}: a name is a lower-case word, like attention")
        if name in PROBES and not cls.__module__ == PROBES[name].__module__ == "__main__":
            taken = PROBES[name].__module__
            raise ValueError(f"probe name {name!r} of {cls.__module__} is already taken by {taken}")
        cls.name = name
        PROBES[name] = cls
        return cls

    return decorate


def make_probes(names: Iterable[str], model: SequenceModel, task: Task) -> list[Probe]:
    """The probes of these names, for a model on a task; no random state changes.

    Raises:
        ValueError: one line that names the probe, if the model or the task lacks what it needs.
        KeyError: if there is none of a name.
    """
    made = []
    for name in names:
        with torch.random.fork_rng(_devices(model)), torch.no_grad():
            try:
                made.append(PROBES[name](model, task))
            except ValueError as error:
                raise ValueError(f"--probes {name}: {error}") from error
    return made


def measured(probe: Probe, model: SequenceModel) -> list[Measured]:
    """The quantities of a model by name and layer, their values float32 on the CPU; no random state changes.

    Args:
        probe: made for a model of this kind.
        model: is put into evaluation mode.

    Raises:
        ValueError: if a quantity does not keep the contract of `Measured`, or two are the same.
    """
    with torch.random.fork_rng(_devices(model)), torch.no_grad():
        device = next(model.parameters()).device
        tokens_BN = probe.task.rows(0, probe.n_sequences, "eval", device)
        found = [_checked(probe.name, *value) for value in probe(model.eval(), tokens_BN)]
    names = [(quantity, layer) for quantity, _, _, layer in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"probe {probe.name} returned {twice[0]} of layer {twice[1]} twice")
    return sorted(found, key=lambda value: (value.quantity, -1 if value.layer is None else value.layer))


def numbers(found: Sequence[Measured]) -> dict[str, float]:
    """Those of the quantities that are a curve, by name."""
    return {value.quantity: float(value.values) for value in found if not value.axes and value.layer is None}


def _checked(probe: str, quantity: str, values: Tensor | float, axes: str = "", layer: int | None = None) -> Measured:
    values = torch.as_tensor(values).detach().to("cpu", torch.float32).contiguous()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", quantity):
        raise ValueError(f"probe {probe}: quantity {quantity!r} must be a lower-case word")
    if values.dim() != len(axes.split()):
        raise ValueError(f"probe {probe}: {quantity} has the shape {tuple(values.shape)}, but its axes are {axes!r}")
    if not axes and layer is None and not quantity.startswith(f"{probe}_"):
        raise ValueError(f"probe {probe}: the number {quantity} is a curve, whose name must begin with {probe}_")
    return Measured(quantity, values, " ".join(axes.split()), layer)


def _devices(model: SequenceModel) -> list[torch.device]:
    return [device for device in {parameter.device for parameter in model.parameters()} if device.type == "cuda"]
