"""Cost of probes beside the training that they look at, on the CPU: `python -m benchmark.speed.probe_cost`.

At evaluations of a real run of a cell of `lite`, on its own grid, every probe looks once at the model, as it would if
``--probes`` asked for it, and the time from there to the end of the next evaluation is what the run takes without
probes. So whatever else the machine does disturbs both alike. CPU time counts, the median over evaluations, and a probe
that looks at every k-th evaluation costs a k-th of its look.
"""

import copy
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from lightning import Callback, LightningModule, Trainer

from benchmark.config.parser import parse
from benchmark.probes import PROBES, Probe
from benchmark.probes.registry import make_probes, measured
from benchmark.speed.lengths import chosen_cell
from benchmark.speed.sections import print_table
from benchmark.speed.seed_step import Content
from benchmark.training.module import EmergenceModule
from benchmark.training.run import build

SUITE, CELLS = "lite", ("lm_s16_n2", "lm_s10_n3", "lm_s8_n4", "ca_s6_r16")
MODELS = ("transformer", "mlp_mixer", "gated_deltanet", "rwkv")
N_EVALUATIONS = 6
TARGETS = {"dependency": 0.10}
"""Largest share that a probe may cost; `LARGEST` where it is not named."""
LARGEST = 0.05


@dataclass
class LookTimes(Callback):
    """Times the looks of probes and the training and evaluation between them.

    Attributes:
        between: CPU seconds from the end of the looks at one evaluation to the next evaluation's end.
        looks: CPU seconds of each look, by probe.
    """

    probes: Sequence[Probe]
    between: list[float] = field(default_factory=list)
    looks: dict[str, list[float]] = field(default_factory=dict)
    _since: float | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An evaluation is over, the run's own recorder and checkpoint included."""
        assert isinstance(pl_module, EmergenceModule)
        now = time.process_time()
        if self._since is not None:
            self.between.append(now - self._since)
        for probe in self.probes:
            start = time.process_time()
            with torch.inference_mode(False):
                measured(probe, copy.deepcopy(pl_module.model_of(pl_module.seeds[0])))
            self.looks.setdefault(probe.name, []).append(time.process_time() - start)
        self._since = time.process_time()


@dataclass(frozen=True)
class ProbeCost:
    """The cost of a probe in a run.

    Args:
        probe: its name.
        look_s: CPU seconds of a look.
        between_s: CPU seconds of training and evaluation from one evaluation to the next.
        every: evaluations from one look to the next.
    """

    probe: str
    look_s: float
    between_s: float
    every: int

    @property
    def share(self) -> float:
        """Of the time that the run takes without it."""
        return self.look_s / (self.every * self.between_s)


def probe_costs(content: Content, n_evaluations: int, names: Iterable[str] | None = None) -> list[ProbeCost]:
    """The cost of every probe that can look at a run, each in the same run.

    Args:
        content: the configuration of the run, one seed.
        n_evaluations: after the one at step 0.
        names: of probes; all that can look at it by default.
    """
    with tempfile.TemporaryDirectory() as out:
        config = parse({**content, "out": out, "picture": False, "trainer": {"accelerator": "cpu", "devices": 1}})
        every = config.protocol.eval_every
        config = config.with_options({"protocol.max_steps": n_evaluations * every, "protocol.stop_when_solved": False})
        run = build(config)
        probes = []
        for name in sorted(PROBES) if names is None else names:
            try:
                probes += make_probes([name], run.model, run.task)
            except ValueError:
                if names is not None:
                    raise
        times = LookTimes(probes)
        outcome = run.fit(progress=False, callbacks=[times])
    if outcome.error is not None:
        raise outcome.error
    tokens = every * run.data.tokens_per_step
    between = median(times.between)
    return [ProbeCost(p.name, median(times.looks[p.name][1:]), between, p.every(tokens)) for p in probes]


def main() -> None:
    """Print the table."""
    header = ("cell", "model", "probe", "look ms", "between evaluations ms", "looks at every", "share %", "at most %")
    rows = []
    for name in CELLS:
        cell = chosen_cell(SUITE, name, ",".join(MODELS))
        for model, content in cell.contents.items():
            for cost in probe_costs(content, N_EVALUATIONS):
                numbers = (f"{1e3 * cost.look_s:.1f}", f"{1e3 * cost.between_s:.0f}", f"{cost.every}")
                most = TARGETS.get(cost.probe, LARGEST)
                rows.append((cell.name, model, cost.probe, *numbers, f"{100 * cost.share:.1f}", f"{100 * most:g}"))
    print_table(header, rows, [f"CPU time, {torch.get_num_threads()} thread(s), {N_EVALUATIONS} evaluations a run."])


if __name__ == "__main__":
    main()
