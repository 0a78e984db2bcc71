"""Runs with probes: the same run as without, a table that survives interruptions and failures, and what is refused."""

import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import benchmark
from architectures import SequenceModel
from benchmark.probes import PROBES, Measured, Probe, array, look, read, register_probe
from benchmark.probes.table import MOST_VALUES, ProbeTable, is_kept
from benchmark.training.folder.layout import PROBES_TABLE
from datamodules import Task
from tests.helpers.runs import LM, assert_same_run, curves_of, fit, record_of, resume, send_at

ALL = ["attention", "dependency"]
WITH = f"--probes={','.join(ALL)}"


def assert_same_table(ours: Path, theirs: Path, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Equal in every row: to the bit, or values within a tolerance."""
    one, other = (read(folder / PROBES_TABLE) for folder in (ours, theirs))
    names = ["step", "probe", "quantity", "layer", "axes"]
    pd.testing.assert_frame_equal(one[names], other[names])
    for here, there in zip(one.itertuples(), other.itertuples(), strict=True):
        np.testing.assert_allclose(array(here), array(there), rtol=rtol, atol=atol, err_msg=str(here.quantity))


@register_probe("noisy")
class Noisy(Probe):
    """Draws, scales the weights and leaves a hook: nothing of this may reach the run."""

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        torch.randn(100)
        with torch.enable_grad():  # what evaluations in inference mode do not allow
            model(tokens_BN[:, :-1]).sum().backward()
        for parameter in model.parameters():
            parameter.data.mul_(2)
        model.register_forward_hook(lambda *_: pytest.fail("the run's own model has been touched"))
        yield Measured("noisy_length", float(tokens_BN.shape[1]))


NOISY = PROBES.pop("noisy")


class Failing(Probe):
    """Works once."""

    looks = 0

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        self.looks += 1
        yield Measured("first", torch.zeros(2, 3), "head query", 0)
        if self.looks > 1:
            raise ZeroDivisionError("on purpose")


class Keyed(Probe):
    """Needs a task that it is not given."""

    def __init__(self, model: SequenceModel, task: Task) -> None:
        raise ValueError(f"task {task.name} has no chapters")

    def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> Iterator[Measured]:
        yield Measured("never", 0.0)


@pytest.mark.slow
def test_a_run_with_probes_is_the_run_without(tmp_path: Path) -> None:
    PROBES["noisy"] = NOISY
    code, plain = fit(LM, tmp_path, "plain", 6, 2)
    assert code == 0
    code, probed = fit(LM, tmp_path, "probed", 6, 2, f"{WITH},noisy")
    assert code == 0
    assert_same_run(probed, plain)
    table = read(probed / PROBES_TABLE)
    assert sorted(table["step"].unique()) == [0, 2, 4, 6]
    assert not (plain / PROBES_TABLE).exists()
    assert "probes" not in torch.load(plain / "last.ckpt", weights_only=True)["callbacks"]["Recorder"]["seeds"][3]


@pytest.mark.slow
def test_the_table_is_sorted_and_typed_and_joins_the_curves(tmp_path: Path) -> None:
    _, folder = fit(LM, tmp_path, "a", 4, 2, WITH)
    table = read(folder / PROBES_TABLE)
    keys = table.assign(layer=table["layer"].fillna(-1))[["step", "probe", "quantity", "layer"]]
    assert keys.equals(keys.sort_values(list(keys.columns), ignore_index=True)) and not keys.duplicated().any()
    assert table["step"].dtype == "int64" and table["layer"].dtype == "Int32"
    for row in table.itertuples():
        assert row.values.dtype == np.float32 and row.shape.dtype == np.int32
        assert len(row.shape) == len(row.axes.split()) and len(row.values) == math.prod(row.shape)
    run = benchmark.load(folder)
    assert run.probes().equals(table)
    curves = run.curves()
    assert "attention_mass" not in curves_of(folder)  # the file is what the record vouches for
    expected = [float(array(row)) for row in table[table["quantity"] == "attention_mass"].itertuples()]
    assert curves["attention_mass"].tolist() == expected and curves["attention_mass"].between(0, 1).all()


@pytest.mark.slow
def test_an_interrupted_run_has_the_table_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = fit(LM, tmp_path, "whole", 8, 2, WITH)
    send_at(monkeypatch, 4)
    code, folder = fit(LM, tmp_path, "cut", 8, 2, WITH)
    assert code == 128 + signal.SIGINT
    assert sorted(read(folder / PROBES_TABLE)["step"].unique()) == [0, 2, 4]
    assert resume(folder) == 0
    assert_same_table(folder, whole)
    assert_same_run(folder, whole)


@pytest.mark.slow
def test_seeds_of_one_process_have_the_tables_that_they_have_alone(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "model": {"class_path": "transformer", "init_args": {"d_model": 16, "n_heads": 2, "n_layers": 1}},
        "data": {"class_path": "lm", "init_args": {"state_size": 4, "n_nonzero": 2, "batch_size": 8}},
        "protocol": {"max_steps": 4, "eval_every": 2},
        "trainer": {"accelerator": "cpu"},
        "picture": False,
        "probes": ALL,
        "out": str(tmp_path),
    }
    together = benchmark.fit(config=config, seeds=[3, 5], name="many", progress=False)
    for seed in (3, 5):
        alone = benchmark.fit(config=config, seed=seed, name=f"alone{seed}", progress=False)
        assert alone.folder is not None
        assert_same_table(together.seed_folder(seed), alone.folder, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_tensorboard_has_the_numbers(tmp_path: Path, tiny: dict[str, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    config = {**tiny, "trainer": {"accelerator": "cpu"}}
    run = benchmark.fit(config=config, probes=ALL, out=tmp_path, name="a", progress=False)
    events = EventAccumulator(str(run.folder)).Reload()
    found = [(event.step, event.value) for event in events.Scalars("probes/attention_mass")]
    curves = run.curves()
    assert found == list(zip(curves["step"], curves["attention_mass"].astype("float32"), strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("default:probe failing:UserWarning")
def test_a_probe_that_fails_is_dropped_once_and_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register_probe("failing")(Failing)
    send_at(monkeypatch, 5)
    _, folder = fit(LM, tmp_path, "a", 8, 2, f"{WITH},failing")
    assert resume(folder) == 0  # where a fresh one would work again
    said = [line for line in capsys.readouterr().err.splitlines() if "failing" in line]
    assert len(said) == 1
    assert "probe failing has failed at step 2, and the run goes on without it: ZeroDivisionError" in said[0]
    record, table = record_of(folder), read(folder / PROBES_TABLE)
    assert record.status in {"solved", "censored"} and record.steps == 8
    assert table[table["probe"] == "failing"]["step"].tolist() == [0]
    assert sorted(table[table["probe"] == "attention"]["step"].unique()) == [0, 2, 4, 6, 8]


@pytest.mark.slow
def test_a_table_that_cannot_be_written_is_a_warning(
    tmp_path: Path, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: ProbeTable) -> None:
        raise OSError("no room")

    monkeypatch.setattr(ProbeTable, "frame", fails)
    with pytest.warns(UserWarning, match="probes.parquet.*no room"):
        run = benchmark.fit(config=tiny, probes=ALL, out=tmp_path, name="a", progress=False)
    assert run.record is not None and run.record.status in {"solved", "censored"}


@pytest.mark.slow
def test_a_run_goes_on_with_the_probes_that_its_table_has(tmp_path: Path, tiny: dict[str, Any]) -> None:
    run = benchmark.fit(config=tiny, probes=ALL, out=tmp_path, name="a", progress=False)
    other = benchmark.build(benchmark.configure(config=tiny, out=tmp_path, name="b"))
    assert run.folder is not None
    with pytest.raises(benchmark.BenchmarkError, match=r"table has the probes \['attention', 'dependency'\]"):
        other.fit(resume_from=run.folder / "last.ckpt")
    assert not (tmp_path / "lm" / "transformer" / "b").exists()


@pytest.mark.parametrize(
    ("probes", "named"),
    [
        (["atention"], ["unknown probe 'atention' for --probes", "did you mean attention?"]),
        ("attention,attention", ["--probes names attention twice"]),
        (3, ["--probes", "list"]),
    ],
)
def test_a_choice_that_cannot_be(probes: Any, named: list[str], tiny: dict[str, Any]) -> None:
    with pytest.raises(benchmark.BenchmarkError) as error:
        benchmark.configure(config=tiny, probes=probes)
    assert all(name in str(error.value) for name in named)


def test_what_a_probe_lacks_is_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_probe("keyed")(Keyed)
    mixer = [word.replace("transformer", "mlp_mixer") for word in LM if "n_heads" not in word]
    for settings, probe, reason in (
        (mixer, "attention", "model mlp_mixer has no attention"),
        (LM, "keyed", "task lm has no chapters"),
    ):
        code, folder = fit(settings, tmp_path, "a", 2, 2, f"--probes={probe}")
        lines = capsys.readouterr().err.splitlines()
        assert code == 2 and len(lines) == 1 and f"--probes {probe}: {reason}" in lines[0]
        assert not folder.exists()


@pytest.mark.slow
def test_a_run_loads_without_a_probe_that_is_gone(tmp_path: Path, tiny: dict[str, Any]) -> None:
    PROBES["noisy"] = NOISY
    run = benchmark.fit(config=tiny, probes=["noisy"], out=tmp_path, name="a", progress=False)
    assert run.folder is not None
    del PROBES["noisy"]
    with pytest.warns(UserWarning, match="probes that are not registered here are left out: noisy"):
        again = benchmark.load(run.folder)
    assert again.probes()["quantity"].unique().tolist() == ["noisy_length"]


@pytest.mark.slow
def test_a_run_without_a_table_says_so(tmp_path: Path, tiny: dict[str, Any]) -> None:
    run = benchmark.fit(config=tiny, out=tmp_path, name="a", progress=False)
    with pytest.raises(benchmark.BenchmarkError, match="--probes"):
        run.probes()


def returning(*values: Measured) -> type[Probe]:
    class Planted(Probe):
        def __call__(self, model: SequenceModel, tokens_BN: Tensor) -> list[Measured]:
            return list(values)

    return Planted


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([Measured("a", torch.zeros(2), "head query")], r"a has the shape \(2,\), but its axes are 'head query'"),
        ([Measured("a", 1.0)], "must begin with planted_"),
        ([Measured("A b", torch.zeros(1), "head")], "'A b' must be a lower-case word"),
        ([Measured("a", torch.zeros(1), "head", 0)] * 2, "returned a of layer 0 twice"),
    ],
)
def test_a_probe_that_does_not_keep_the_contract_is_named(
    values: list[Measured], reason: str, tiny: dict[str, Any]
) -> None:
    register_probe("planted")(returning(*values))
    run = benchmark.build(benchmark.configure(config=tiny))
    with pytest.raises(ValueError, match=f"probe planted.*{reason}"):
        look("planted", run.model, run.task)


@pytest.mark.parametrize("name", ["attention", "Attention", "", "a b", 3])
def test_a_name_that_cannot_be(name: Any) -> None:
    with pytest.raises(ValueError):
        register_probe(name)(returning())


def test_what_is_no_probe_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a subclass of Probe"):
        register_probe("planted")(int)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="lacks __call__"):
        register_probe("planted")(type("Empty", (Probe,), {}))


def test_large_quantities_are_thinned_out_and_never_exceed_the_limit() -> None:
    for size in (1, 1000, MOST_VALUES // 4, MOST_VALUES, MOST_VALUES + 1):
        for n_looks in (1, 3, 100, 10_000):
            kept = [number for number in range(n_looks) if is_kept(size, number, n_looks)]
            assert len(kept) * size <= MOST_VALUES
            assert bool(kept) == (size <= MOST_VALUES) and (not kept or kept[0] == 0)
            if size * n_looks <= MOST_VALUES:
                assert len(kept) == n_looks


def test_a_table_goes_through_a_checkpoint() -> None:
    table, again = ProbeTable(), ProbeTable()
    again.load_state_dict(table.state_dict())
    assert again.rows == []
    table.add(0, "a", [Measured("a_number", torch.tensor(2.0)), Measured("x", torch.rand(2, 3), "head query", 1)])
    table.add(5, "a", [Measured("x", torch.full((0, 3), math.nan), "head query", 0)])
    again.load_state_dict(table.state_dict())
    for mine, theirs in zip(again.rows, table.rows, strict=True):
        assert mine[:-1] == theirs[:-1] and torch.equal(mine.values, theirs.values)


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (path := tmp_path / "probes.parquet").write_text("no")
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)
    pd.DataFrame({"step": [1]}).to_parquet(path)
    with pytest.raises(ValueError, match="is no table of probes: its columns are step"):
        read(path)
