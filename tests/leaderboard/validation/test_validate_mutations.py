"""A thousand spoiled entries: none crashes the validation, none passes that breaks a rule, none alters another's."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leaderboard.entries.entry_file import read_entry
from leaderboard.records.record import parse_record
from leaderboard.validation import entry_rules, run_rules, validator
from tests.helpers.leaderboard import mutations_of_files
from tests.helpers.leaderboard.entries import checked, write_results
from tests.helpers.leaderboard.mutations import MUTATIONS

N = 1000


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every ordinary file below a folder, and None for whatever else there is but folders."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if path.is_symlink() or not path.is_dir():
                ordinary = path.is_file() and not path.is_symlink()
                found[str(path.relative_to(folder))] = path.read_bytes() if ordinary else None
    return found


def restore(folder: Path, pristine: dict[str, bytes | None]) -> None:
    """Make the files of a folder what they were: making all of them anew takes longer than validating them."""
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in (*folders, *files)):
            name = str(path.relative_to(folder))
            if path.is_symlink() or not path.is_dir():
                if name not in pristine or path.is_symlink() or not path.is_file():
                    path.unlink()
            elif not any(known.startswith(f"{name}/") for known in pristine):
                path.rmdir()
    for name, content in pristine.items():
        assert content is not None
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def remembered(read: Callable[[Any], Any], content_of: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    """A reader that knows a content once it could be read: most files of a spoiled entry are not spoiled."""
    known: dict[bytes, Any] = {}

    def reading(source: Any) -> Any:
        content = content_of(source)
        if content not in known:
            known[content] = read(source)
        return known[content]

    return reading


@pytest.mark.long
@pytest.mark.slow
def test_a_thousand_mutations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "RESULTS", tmp_path / "elsewhere")
    for module in (entry_rules, run_rules):
        monkeypatch.setattr(module, "parse_record", remembered(parse_record, bytes))
    monkeypatch.setattr(entry_rules, "read_entry", remembered(read_entry, Path.read_bytes))
    results = write_results(tmp_path)
    assert checked(results).problems == ()
    assert mutations_of_files  # it adds to the list
    pristine = contents(results)
    seen: Counter[tuple[str, bool]] = Counter()
    for number in range(N):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        refuse = mutate(random.Random(number), results / "tiny" / "my_model")
        before = contents(results)
        report = checked(results)
        about = f"mutation {number}, {mutate.__name__}: {[str(problem) for problem in report.problems[:3]]}"
        assert bool(report.problems) == refuse, about
        assert contents(results) == before, about
        for problem in report.problems:
            assert problem.file.startswith(str(results)) and problem.field and problem.reason, about
            assert len(str(problem).splitlines()) == 1 and len(str(problem)) < 1000, about
            # What another entry holds is blamed for nothing; only for being where a copy of it was found second.
            copied = "the same run in two places" in problem.reason
            assert "/tiny/transformer/" not in problem.file or copied, about
        other = {name for name in pristine if name.startswith("tiny/transformer/")}
        assert {name: before[name] for name in other} == {name: pristine[name] for name in other}, about
        seen[mutate.__name__, refuse] += 1
        restore(results, pristine)
    assert len({name for name, _ in seen}) == len(MUTATIONS)
    assert sum(count for (_, refuse), count in seen.items() if not refuse) >= 100
