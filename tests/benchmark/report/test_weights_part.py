"""Position matrices and decays, from a table made by hand."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.report.page_data import run_data, run_part
from benchmark.report.run_folder import reported_runs
from tests.helpers.planted_runs import COLUMNS, planted_run

LENGTH = 7  # of two states of four cells


def test_matrices_keep_their_signs_and_decays_their_layers(tmp_path: Path) -> None:
    planted_run(tmp_path / "run", {0: 200})
    matrix = np.tril(np.arange(LENGTH * LENGTH, dtype=np.float32).reshape(LENGTH, LENGTH))
    rows = []
    for step in (0, 500, 1000):
        scale = step / 1000
        shape = np.array([LENGTH, LENGTH], dtype=np.int32)
        rows.append(
            (
                step,
                "weights",
                "decay",
                1,
                "channel",
                np.array([2], dtype=np.int32),
                np.array([0.5, 0.9], dtype=np.float32),
            )
        )
        rows.append((step, "weights", "position_matrix", 0, "query key", shape, -scale * matrix.ravel()))
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"layer": "Int32"})
    table.to_parquet(tmp_path / "run" / "probes.parquet")
    (run,) = reported_runs([tmp_path / "run"])
    data = run_data(run_part(run))
    assert data["attention"] is None and data["dependency"] is None
    (group,) = data["maps"]
    (panel,) = group["panels"]
    assert group["steps"] == [0, 500, 1000] and panel["title"] == "Position matrix of layer 0"
    found = np.frombuffer(base64.b64decode(panel["frames"]), dtype=np.uint8).reshape(3, 4, LENGTH)
    largest = matrix[3:].max()
    assert panel["top"] == largest and panel["signed"]
    there = np.tri(LENGTH)[3:] > 0
    assert (found[:, ~there] == 255).all() and (found[0][there] == 127).all()
    values = (found[2] / 127 - 1) * panel["top"]
    assert np.abs(values - -matrix[3:])[there].max() <= largest / 254 + 1e-6
    lines = {line["name"]: line["values"] for line in data["decay"]["lines"]}
    assert lines == {"layer 1 mean": pytest.approx([0.7] * 3), "layer 1 largest": pytest.approx([0.9] * 3)}
