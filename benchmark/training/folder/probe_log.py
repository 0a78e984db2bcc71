"""The findings of one seed's probes so far: they may fail, but the run goes on as it would without them."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from architectures import SequenceModel
from benchmark.config.errors import said
from benchmark.probes.registry import Probe, measured, numbers
from benchmark.probes.table import ProbeTable
from leaderboard.records.record import RecordedProtocol


class ProbeLog:
    """Looks at one seed's model at those evaluations that lie on the grids of its probes.

    Args:
        probes: made for the model and the task of the seed.
        protocol: budget and evaluation grid.

    Attributes:
        table: of everything they found.
        dropped: names of those that failed.
    """

    def __init__(self, probes: Sequence[Probe], protocol: RecordedProtocol) -> None:
        self.probes = sorted(probes, key=lambda probe: probe.name)
        self.table = ProbeTable()
        self.dropped: list[str] = []
        self._every = {
            probe.name: protocol.eval_every * probe.every(protocol.eval_every * protocol.tokens_per_step)
            for probe in self.probes
        }
        self._max_steps = protocol.max_steps

    def look(self, step: int, model: Callable[[], SequenceModel]) -> dict[str, float]:
        """Look at a copy of a model at an evaluation's step; returns the curves' values by name.

        A probe that raises is dropped with a warning; what it had found is kept.
        """
        found: dict[str, float] = {}
        due = [p for p in self.probes if step % self._every[p.name] == 0 and p.name not in self.dropped]
        if not due:
            return found
        with torch.inference_mode(False):  # in which evaluations take place, and where a probe could take no gradient
            copied = copy.deepcopy(model())
            for probe in due:
                try:
                    values = measured(probe, copied)
                except Exception as error:  # of whatever kind: a probe is optional
                    self.dropped.append(probe.name)
                    reason = f"probe {probe.name} has failed at step {step}, and the run goes on without it"
                    warnings.warn(f"{reason}: {said(error)}", stacklevel=2)
                    continue
                every = self._every[probe.name]
                self.table.add(step, probe.name, values, step // every, self._max_steps // every + 1)
                found |= numbers(values)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs to go on with the table."""
        return {"names": [probe.name for probe in self.probes], "dropped": list(self.dropped)} | self.table.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.dropped = list(state["dropped"])
        self.table.load_state_dict(state)
