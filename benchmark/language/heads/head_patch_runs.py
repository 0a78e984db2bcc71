"""Patching of heads in the models of a series: which checkpoints, measured once, kept with a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.errors import BenchmarkError
from benchmark.interventions.patching import Ablation
from benchmark.language.capability_charts import write_chart
from benchmark.language.capability_record import CapabilityRecord, read_capability_record, record_path
from benchmark.language.capability_runs import CapabilityQuestion
from benchmark.language.checkpoint_series import CheckpointSeries, SeriesMember
from benchmark.language.heads.head_patch_report import HeadPatchRecord, picture_of, read_head_patch_record, record_of
from benchmark.language.heads.head_patching import PatchSubject, patch_capability
from benchmark.language.hub_files import equal_files, weight_hashes
from benchmark.language.language_model import load_model, load_tokenizer, tokenized
from benchmark.language.prompts import Capability
from leaderboard.whole_files import write_whole, writing


@dataclass(frozen=True)
class PatchOptions:
    """How heads are patched; see `patch_capability`. Steps that are None are those around emergence in the record."""

    from_step: int | None
    into_step: int | None
    top: int = 3
    draws: int = 60
    ablation: Ablation = "uniform"
    pictures: bool = True


def steps_around(record: CapabilityRecord, path: Path) -> tuple[int, int]:
    """The checkpoint after emergence and the one before.

    Raises:
        ValueError: one line, if the capability did not emerge between two checkpoints.
    """
    if record.emergence_step is None or record.previous_step is None:
        words = {
            "left_censored": f"was there at the first checkpoint, step {record.first_step}",
            "right_censored": f"was not there at the last checkpoint, step {record.last_step}",
            "unfinished": "was not searched to the end: run capability again",
        }
        raise BenchmarkError(
            f"{path}: {record.capability} {words[record.status]}: name two steps with --from and --into"
        )
    return record.emergence_step, record.previous_step


def patch_member(
    series: CheckpointSeries,
    member: SeriesMember,
    capability: Capability,
    question: CapabilityQuestion,
    options: PatchOptions,
    out: Path,
) -> HeadPatchRecord:
    """The result for a model, read where it was measured before with the same options, else measured and written.

    Args:
        series: of checkpoints.
        member: the model.
        capability: which.
        question: the prompts, where both steps are given; else they are those of the capability's record.
        options: of the patching.
        out: folder of the results of the series.

    Raises:
        ValueError: one line, if there is no record of an emergence, no such checkpoint, or heads cannot be patched.
        CannotWrite: if a file cannot be written.
    """
    path = record_path(out, member.size, member.seed, capability)
    steps = (options.from_step, options.into_step)
    if None in steps:
        if not path.is_file():
            raise BenchmarkError(
                f"{path}: is not there: run capability on the series first, or name two steps with --from and --into"
            )
        record = read_capability_record(path)
        found = steps_around(record, path)
        steps = (steps[0] if steps[0] is not None else found[0], steps[1] if steps[1] is not None else found[1])
        prompts = record.prompts
        question = CapabilityQuestion((capability,), prompts.text, prompts.amount, prompts.n, prompts.seed)
        if question.choice(capability) != prompts:
            raise BenchmarkError(f"{path}: its prompts are those of another version of this program: measure anew")
    after, before = (
        series.known_step(member, int(step or 0), option)
        for step, option in zip(steps, ("--from", "--into"), strict=True)
    )
    if after == before:
        raise BenchmarkError(f"--from and --into are the same step, {after}: own patterns change nothing")
    about: dict[str, Any] = {
        "series": series.name, "size": member.size, "seed": member.seed, "repository": member.name,
        "capability": capability, "prompts": question.choice(capability), "from_step": after, "into_step": before,
        "top": options.top, "draws": options.draws, "ablation": options.ablation,
    }  # fmt: skip
    kept = path.with_name(f"{capability}.heads.json")
    old = read_head_patch_record(kept) if kept.is_file() else None
    is_same = old is not None and all(getattr(old, name) == value for name, value in about.items())
    if old is not None and is_same and not member.is_local:
        return old
    folders = [series.folder(member, step) for step in (after, before)]
    from_weights, into_weights = map(weight_hashes, folders)
    if same := equal_files(from_weights, into_weights):
        raise BenchmarkError(
            f"{member.label}: the weights of steps {after} and {before} are equal ({', '.join(same)}): nobody knows"
            " whose they are"
        )
    if old is not None and is_same and (old.from_weights, old.into_weights) == (from_weights, into_weights):
        return old
    about |= {"from_weights": from_weights, "into_weights": into_weights}
    tokenizer = load_tokenizer(series.tokenizer_folder(member, folders[0]))
    tokens = tokenized(tokenizer, question.prompts(capability))
    source, target = (
        PatchSubject(load_model(folder), tokens, f"{member.label}, step {step}")
        for folder, step in zip(folders, (after, before), strict=True)
    )
    result = patch_capability(source, target, options.top, options.draws, options.ablation)
    new = record_of(result, about)
    with writing(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
    write_whole(kept, f"{new.model_dump_json(indent=2)}\n".encode())
    if options.pictures:
        ids = tokens.ids_BL[0, : int(tokens.lengths_B[0])].tolist()
        words = [tokenizer.decode([token]).strip() or repr(tokenizer.decode([token])) for token in ids]
        write_chart(picture_of(new, result, words), kept.with_name(f"{capability}.heads"))
    return new
