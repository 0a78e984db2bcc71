"""``python -m benchmark speed``, the part about seeds: seed-steps per second, one seed or many at once.

A seed-step is one training step of one seed as the harness makes it: tokens, forward, backward, clipping, AdamW. On a
CPU many seeds are processes of one thread each, which is how a sweep runs them; on a GPU they are one ensemble.
Everything is wall time, and the matrix product that it is held against is measured in the same processes.
"""

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmark.config.errors import said
from benchmark.config.limits import usable_cores
from benchmark.speed.seed_step import Content, SeedStep, matrix_product_flops, rate, synchroniser
from benchmark.training.machine.environment import flops_per_token
from benchmark.training.measure import one_thread, peak_bytes
from benchmark.training.step import WARM_UP_STEPS

ENSEMBLES = (8, 32, 128)
"""Seeds at once on a GPU."""


@dataclass
class SeedSpeed:
    """Measurements of one architecture on one cell.

    Attributes:
        name: registered name.
        backend: which implementation of the sequence operator ran.
        parameters: of one seed.
        rates: seed-steps per second by column title, in the order of the table.
        utilisation: share of the matrix product's rate that the model's own operations reach, by column title.
        data_share: of a step of one seed, the share that making its tokens takes.
        harness: CPU time of the harness's step against a bare loop's; None where it was not measured.
        peak_bytes: most memory that a step of one seed holds beyond weights and optimizer state.
        error: why it could not be measured.
    """

    name: str
    backend: str = ""
    parameters: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    utilisation: dict[str, float] = field(default_factory=dict)
    data_share: float = 0.0
    harness: float | None = None
    peak_bytes: int = 0
    error: str | None = None


def measure_on_cpu(contents: Mapping[str, Content], seconds: float) -> list[SeedSpeed]:
    """Every architecture by processes: one of one thread, one of all threads, and one of one thread on every core.

    Args:
        contents: configurations by architecture.
        seconds: that each measurement takes.
    """
    cores = usable_cores()
    results = [SeedSpeed(name) for name in contents]
    many = f"{cores} processes of 1 thread"
    with _workers(cores) as workers:
        for result in results:
            content = contents[result.name]
            try:
                first = _ask(workers[:1], "describe", content, 1, seconds)[0]
                result.backend, result.parameters, result.data_share, result.peak_bytes, flops, most = first
                result.rates["1 thread"] = _ask(workers[:1], "rate", content, 1, seconds)[0]
                if cores > 1:
                    result.rates[f"{cores} threads"] = _ask(workers[:1], "rate", content, cores, seconds)[0]
                    result.rates[many] = sum(_ask(workers, "rate", content, 1, seconds))
                result.utilisation["1 thread"] = flops * result.rates["1 thread"] / most
            except Exception as error:  # one architecture that cannot run must not cost the others their measurement
                result.error = said(error)
    return results


def _ask(workers: Sequence[Connection], what: str, content: Content, threads: int, seconds: float) -> list[Any]:
    """Ask all of them at once; their answers."""
    for worker in workers:
        worker.send((what, content, threads, seconds))
    answers = [worker.recv() for worker in workers]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


@contextmanager
def _workers(count: int) -> Any:
    """Processes that measure when asked to."""
    context = get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_work, args=(theirs,), daemon=True) for _, theirs in pipes]
    try:
        for process in processes:
            process.start()
        yield [ours for ours, _ in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _work(pipe: Connection) -> None:
    """The body of such a process: until its parent ends."""
    from benchmark.config.plugins import load_plugins

    load_plugins()
    cpu = torch.device("cpu")
    while True:
        what, content, threads, seconds = pipe.recv()
        torch.set_num_threads(threads)
        try:
            step = SeedStep(content, cpu)
            for _ in range(2):  # compiles, and makes the optimizer's state
                step()
            pipe.send(rate(step, seconds, lambda: None) if what == "rate" else _description(step, seconds))
        except Exception as error:
            pipe.send(RuntimeError(said(error)))


def _description(step: SeedStep, seconds: float) -> tuple[str, int, float, int, float, float]:
    """Backend, parameters, data share, memory, operations a step, and what a matrix product reaches here."""
    share = rate(step, seconds, lambda: None) / rate(step.tokens, seconds / 2, lambda: None)
    flops = flops_per_token(step.model, step.run.task) * step.data.tokens_per_step
    parameters = sum(parameter.numel() for parameter in step.model.parameters())
    most = matrix_product_flops(step.device, seconds / 2)
    return step.model.backend, parameters, share, peak_bytes(step), flops, most


def measure_on_gpu(contents: Mapping[str, Content], seconds: float, device: torch.device) -> list[SeedSpeed]:
    """Every architecture alone, step by step, and in ensembles whose steps are captured.

    Args:
        contents: configurations by architecture.
        seconds: that each measurement takes.
        device: where to train; a CPU works too, without capture.
    """
    wait = synchroniser(device)
    most = matrix_product_flops(device, seconds)
    results = []
    for name, content in contents.items():
        result = SeedSpeed(name)
        results.append(result)
        try:
            step = SeedStep(content, device)
            for _ in range(3):
                step()
            result.backend = step.model.backend
            result.parameters = sum(parameter.numel() for parameter in step.model.parameters())
            result.rates["alone"] = rate(step, seconds, wait)
            result.data_share = result.rates["alone"] / rate(step.tokens, seconds / 2, wait)
            flops = flops_per_token(step.model, step.run.task) * step.data.tokens_per_step
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
                before = torch.cuda.memory_allocated(device)
                step()
                result.peak_bytes = torch.cuda.max_memory_allocated(device) - before
            else:
                result.peak_bytes = peak_bytes(step)
            result.utilisation["alone"] = flops * result.rates["alone"] / most
            for n_seeds in ENSEMBLES:
                title = f"{n_seeds} seeds"
                together = SeedStep(content, device, n_seeds)
                for _ in range(WARM_UP_STEPS + 1):
                    together()
                result.rates[title] = n_seeds * rate(together, seconds, wait)
                result.utilisation[title] = flops * result.rates[title] / most
        except Exception as error:
            result.error = said(error)
    return results


def harness_ratio(content: Content, seconds: float, steps_per_s: float) -> float:
    """CPU time of a step in the harness, as a sweep runs it, as a multiple of a bare loop's."""
    from benchmark.speed.overhead import BLOCK, cpu_ratio

    with one_thread():
        return cpu_ratio(content, max(1, round(seconds * steps_per_s / BLOCK)))


def measure_seeds(contents: Mapping[str, Content], seconds: float, device: torch.device) -> list[SeedSpeed]:
    """Every architecture on one cell: by processes on a CPU, in ensembles on a GPU, and what the harness costs.

    Args:
        contents: configurations by architecture.
        seconds: that each measurement takes.
        device: where to train.
    """
    on_gpu = device.type == "cuda"
    results = measure_on_gpu(contents, seconds, device) if on_gpu else measure_on_cpu(contents, seconds)
    for result in results:
        if result.error is None and not on_gpu:
            result.harness = harness_ratio(contents[result.name], seconds, result.rates["1 thread"])
    return results
