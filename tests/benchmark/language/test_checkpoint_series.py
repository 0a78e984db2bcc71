"""Series by their YAML file or folder, and what is said of those that are none."""

import re
from pathlib import Path

import pytest

from benchmark.language.checkpoint_series import load_series, parse_steps
from benchmark.language.hub_files import Missing, equal_files, hub_checkpoint, local_checkpoint, weight_files
from tests.helpers.planted_models import Plant


def test_the_polypythias() -> None:
    """Names and steps as in the model cards: 154 checkpoints of ten seeds in five sizes."""
    series = load_series("polypythia")
    assert series.sizes == ("14m", "31m", "70m", "160m", "410m")
    names = {member.repository for member in series.members}
    assert len(series.members) == len(names) == 50
    assert {"EleutherAI/pythia-14m-seed1", "EleutherAI/pythia-410m-seed9", "EleutherAI/pythia-31m"} <= names
    for steps in series.steps.values():
        assert steps == (0, *(2**i for i in range(10)), *range(1000, 143001, 1000))
        assert len(steps) == 154
    assert [member.label for member in series.chosen("70m", "9,1234")] == ["70m seed 9", "70m seed 1234"]
    assert series.text == "english"


def test_steps() -> None:
    assert parse_steps("0, 4,10-20/5") == (0, 4, 10, 15, 20)
    for text in ("", "1,1", "5,4", "1-5", "4-8/0", "a", "8-4/1"):
        with pytest.raises(ValueError, match="steps: "):
            parse_steps(text)


def test_a_folder(tmp_path: Path) -> None:
    for name in ("seed10/step0", "seed10/step125", "seed10/step25", "seed2/step0", "seed2/.step5.1.tmp", "other/step3"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    series = load_series(str(tmp_path / "mine"))
    assert [(m.size, m.seed, series.steps[m]) for m in series.members] == [
        ("mine", 2, (0,)),
        ("mine", 10, (0, 25, 125)),
    ]
    assert series.text == "english"
    (tmp_path / "mine" / "series.yaml").write_text("text: documents\n")
    assert load_series(str(tmp_path / "mine")).text == "documents"
    outer = load_series(str(tmp_path))  # sizes, each a folder of seeds
    assert (outer.name, outer.sizes) == (tmp_path.name, ("mine",))


def said(text: str | Path) -> str:
    with pytest.raises(ValueError) as error:
        load_series(str(text))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_series(tmp_path: Path) -> None:
    assert "did you mean polypythia?" in said("polypithia")
    assert "python -m benchmark language_series mini" in said("mini")
    assert "seed0/step125" in said(tmp_path)
    (tmp_path / "seed0").mkdir()
    assert "holds no checkpoints" in said(tmp_path)
    (tmp_path / "seed0" / "step1").mkdir()
    (tmp_path / "series.yaml").write_text("txt: documents\n")
    assert "did you mean text?" in said(tmp_path)
    (tmp_path / "series.yaml").write_text("text: german\n")
    assert "series.yaml" in said(tmp_path) and "english" in said(tmp_path)
    file = tmp_path / "mine.yaml"
    good = "repository: a/b-{size}-seed{seed}\nsizes: [s]\nseeds: 0-1\nsteps: 0,1\n"
    file.write_text(good)
    assert [member.name for member in load_series(str(file)).members] == ["a/b-s-seed0", "a/b-s-seed1"]
    for old, new, words in (
        ("seeds: 0-1", "seeds: 1-0", "runs backwards"),
        ("steps: 0,1", "steps: 1,0", "must ascend"),
        ("sizes: [s]", "sizes: []", "sizes"),
        ("steps", "stepz", "did you mean steps?"),
        ("{seed}", "{sed}", "{size}, {seed} and {step}"),
    ):
        file.write_text(good.replace(old, new))
        assert words in said(file)


def test_members_that_are_not_there(tmp_path: Path) -> None:
    series = load_series("polypythia")
    with pytest.raises(ValueError, match="unknown size '14' in the series polypythia: did you mean 14m?"):
        series.chosen("14", None)
    with pytest.raises(ValueError, match="no seed 0: it has 1-9, 1234"):
        series.chosen(None, "0-3")
    with pytest.raises(
        ValueError, match="--from 500: 14m seed 1 of polypythia has no such step: the nearest are 256 and 512"
    ):
        series.known_step(series.members[0], 500, "--from")


def test_a_checkpoint_that_is_not_whole(tmp_path: Path, plant: Plant) -> None:
    plant.write(tmp_path / "whole", None)
    assert local_checkpoint(tmp_path / "whole") == tmp_path / "whole"
    with pytest.raises(Missing, match="no such folder"):
        local_checkpoint(tmp_path / "absent")
    (tmp_path / "whole" / "model.safetensors").rename(tmp_path / "whole" / "optimizer.safetensors")
    with pytest.raises(Missing, match="holds no weights"):
        local_checkpoint(tmp_path / "whole")
    (tmp_path / "whole" / "config.json").unlink()
    with pytest.raises(Missing, match=r"no config\.json"):
        local_checkpoint(tmp_path / "whole")


def test_weights_of_both_kinds(tmp_path: Path) -> None:
    for name in ("pytorch_model-00001-of-00002.bin", "training_args.bin", "pytorch_model-00002-of-00002.bin"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name[14:19] for path in weight_files(tmp_path)] == ["00001", "00002"]
    (tmp_path / "model.safetensors").write_bytes(b"y")
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_one_shard_is_enough_to_be_equal() -> None:
    """As in EleutherAI/pythia issue 206: the first of three files of step 50000 is that of the last step."""
    assert equal_files({"1": "a", "2": "b"}, {"1": "c", "2": "b"}) == ["2"]
    assert equal_files({"1": "a"}, {"1": "b"}) == []


class TestHub:
    """The hub's cache, made by hand, and a hub that cannot be reached: nothing here asks the network."""

    @pytest.fixture(autouse=True)
    def offline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(self, tmp_path: Path, plant: Plant, repository: str, revision: str, predicts: str | None = None) -> Path:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        commit = f"{plant.n:040x}"
        (folder / "refs" / revision).write_text(commit)
        plant.write(folder / "snapshots" / commit, predicts)
        return folder / "snapshots" / commit

    def test_what_is_in_the_cache_is_found(self, tmp_path: Path, plant: Plant) -> None:
        folder = self.put(tmp_path, plant, "EleutherAI/pythia-14m-seed1", "step1000")
        assert hub_checkpoint("EleutherAI/pythia-14m-seed1", "step1000") == folder
        (folder / "model.safetensors").unlink()
        with pytest.raises(Missing, match="EleutherAI/pythia-14m-seed1: revision step1000 holds no weights"):
            hub_checkpoint("EleutherAI/pythia-14m-seed1", "step1000")

    def test_what_is_not_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError) as error:
            hub_checkpoint("EleutherAI/pythia-14m-seed1", "step2000")
        line = str(error.value)
        assert not isinstance(error.value, Missing) and "\n" not in line
        assert re.match("EleutherAI/pythia-14m-seed1 at revision step2000: offline mode is on", line)

    @pytest.mark.parametrize(
        ("kind", "missing", "words"),
        [
            ("RevisionNotFoundError", True, "a/b: there is no revision step5"),
            ("RepositoryNotFoundError", False, "a/b: there is no such repository"),
        ],
    )
    def test_what_the_hub_does_not_have(
        self, kind: str, missing: bool, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub
        from huggingface_hub import errors

        def refuse(*args: object, **kwargs: object) -> None:
            error = getattr(errors, kind).__new__(getattr(errors, kind))
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
        with pytest.raises(ValueError, match=words) as error:
            hub_checkpoint("a/b", "step5")
        assert isinstance(error.value, Missing) == missing

    def test_a_hub_that_cannot_be_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub
        from huggingface_hub import constants, errors

        def refuse(*args: object, **kwargs: object) -> None:
            raise errors.LocalEntryNotFoundError("Got: x\nA long story") from ConnectionError("no route")

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
        with pytest.raises(ValueError) as error:
            hub_checkpoint("a/b", "step5")
        assert re.match(
            r"a/b at revision step5: the hub cannot be reached \(ConnectionError: no route\), and it is not in the",
            str(error.value),
        )
        assert not isinstance(error.value, Missing)

    def test_a_series_on_the_hub_is_searched(self, tmp_path: Path, plant: Plant, loads: list[Path]) -> None:
        """The code that would fetch the PolyPythias, on a cache of a repository of that name."""
        from benchmark.language.capability_runs import CapabilityQuestion, ModelScan

        file = tmp_path / "two.yaml"
        file.write_text(
            "repository: EleutherAI/pythia-{size}-seed{seed}\nsizes: [14m]\nseeds: 1-1\nsteps: 0,1,2,4,8\n"
            "tokenizer: EleutherAI/pythia-{size}\ntext: documents\n"
        )
        for step in (0, 1, 2, 4, 8):
            self.put(tmp_path, plant, "EleutherAI/pythia-14m-seed1", f"step{step}", "4" if step > 2 else None)
        self.put(tmp_path, plant, "EleutherAI/pythia-14m", "main")
        series = load_series(str(file))
        question = CapabilityQuestion(("pattern",), series.text, "single")
        (record,) = ModelScan(series, series.members[0], question, tmp_path / "out").run()
        assert (record.emergence_step, record.previous_step) == (4, 2)
        assert record.repository == "EleutherAI/pythia-14m-seed1"
        assert len(loads) == 4  # 0, 8, 2, 4, after which comes 8
