"""An architecture, a task, a metric, a probe and a column of the leaderboard are one file each: all are added here."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.probes import read
from leaderboard.records.record import read_record

FILES = {
    "architectures/one_back.py": '''
"""A token and the one before it."""

import torch
from torch import Tensor, nn

from architectures.model import SequenceModel
from architectures.registry import register


class Shift(nn.Module):
    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * d_model, d_model)

    def forward(self, x_BLD: Tensor) -> Tensor:
        before_BLD = torch.nn.functional.pad(x_BLD, (0, 0, 1, 0))[:, :-1]
        return x_BLD + self.mix(torch.cat([x_BLD, before_BLD], -1))


@register("one_back")
class OneBack(SequenceModel):
    """Sees a token and the one before it."""

    def __init__(self, vocab_size: int, seq_len: int, d_model: int = 16, n_layers: int = 1) -> None:
        super().__init__(vocab_size, seq_len, d_model=d_model, blocks=[Shift(d_model) for _ in range(n_layers)])
''',
    "datamodules/alternating.py": '''
"""Two random bits, repeated to the end."""

from functools import cached_property

import torch
from torch import Tensor

from datamodules.registry import register_task
from datamodules.stream import Split
from datamodules.task import Target, Task


@register_task("alternating")
class Alternating(Task):
    """Two random bits, repeated to the end.

    Args:
        n_tokens: tokens in a sequence.
    """

    version = 1
    vectorised = True
    primary = "right"
    targets = (Target("right", "accuracy", ">=", 0.99),)

    def __init__(self, n_tokens: int = 8, *, task_seed: int = 0, data_seed: int = 0) -> None:
        super().__init__(n_tokens=n_tokens, vocab_size=2, task_seed=task_seed, data_seed=data_seed)

    @property
    def words_per_sequence(self) -> int:
        return 1

    @cached_property
    def scored(self) -> Tensor:
        return torch.arange(self.seq_len) > 0

    def _generate(self, index_B: Tensor, split: Split, constant: Tensor) -> Tensor:
        bits = self.data_stream.sequence_words(index_B, 1, split)
        return (bits >> torch.arange(self.n_tokens, device=bits.device) % 2) & 1
''',
    "benchmark/metrics/certainty.py": '''
"""How sure a model is of its first guess."""

from torch import Tensor

from benchmark.metrics.registry import register_metric


@register_metric("certainty")
def certainty(logits_EBLV: Tensor, tokens_EB: Tensor, scored_EBL: Tensor) -> Tensor:
    """Probability of the likeliest token, averaged over all positions."""
    return logits_EBLV.softmax(-1).amax(-1).mean(-1)
''',
    "benchmark/probes/embeddings.py": '''
"""How long the embedding of every token is."""

from benchmark.probes import Measured, Probe, register_probe


@register_probe("embeddings")
class EmbeddingsProbe(Probe):
    """Length of the embedding of every token."""

    def __call__(self, model, tokens_BN):
        yield Measured("length", model.embedding.weight.norm(dim=1), "token")
''',
    "leaderboard/board/columns/letters.py": '''
"""A column that counts letters."""

from leaderboard.board.columns.column import Table, define

define("letters", lambda row: str(len(row.architecture)), {Table.OTHERS: 2.5}, explanation="Of the name.")
''',
}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.train
def test_each_is_one_file(repository: Path, tmp_path: Path) -> None:
    for room in ("architectures", "benchmark", "configs", "datamodules", "leaderboard"):
        ignored = shutil.ignore_patterns("__pycache__", "results", "site-packages")
        shutil.copytree(repository / room, tmp_path / room, ignore=ignored)
    for name, content in FILES.items():
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(content.lstrip())

    def python(*words: str) -> str:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = python("benchmark", "list")
    for kind, name in (
        ("architecture", "one_back"),
        ("task", "alternating"),
        ("metric", "certainty"),
        ("probe", "embeddings"),
    ):
        assert [kind, name] in [line.split()[:2] for line in listed.splitlines()]
    python(
        "benchmark", "fit", "--model=one_back", "--data=alternating", "--data.batch_size=32", "--metrics=[certainty]",
        "--probes=[embeddings]",
        "--protocol.max_steps=200", "--protocol.eval_every=25", "--optimizer.lr=1e-2", "--optimizer.warmup_steps=5",
        "--trainer.accelerator=cpu", "--picture=false", "--name=a",
    )  # fmt: skip
    run = tmp_path / "runs" / "alternating" / "one_back" / "a"
    record = read_record(run / "record.json")
    assert set(read(run / "probes.parquet")["quantity"]) == {"length"}
    assert record.status == "solved" and record.final is not None
    assert 0.5 < record.final.task_metrics["certainty"] <= 1
    header, row = python("leaderboard", "show", "runs").splitlines()
    assert header.split()[:3] == ["task", "architecture", "letters"] and row.split()[2:4] == ["one_back", "8"]
    assert json.loads(python("leaderboard", "show", "runs", "--format", "json"))[0]["architecture"] == "one_back"

    for folder, command in (("datamodules", "benchmark"), ("leaderboard/board/columns", "leaderboard")):
        (tmp_path / folder / "broken.py").write_text("def broken(:\n")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
        words = {"benchmark": ["fit", "--model=one_back", "--data=lm"], "leaderboard": ["show", "runs"]}[command]
        called = [sys.executable, "-m", command, *words]
        done = subprocess.run(called, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert f"{folder}/broken: cannot be imported: SyntaxError" in done.stderr
