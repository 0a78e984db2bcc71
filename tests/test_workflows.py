"""The workflows: what strangers send is never executed with any right, and the commands in them work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.leaderboard.entries import edit, write_entry, write_results
from tests.helpers.leaderboard.records import START
from tests.test_rooms import ROOMS, imports

NAMES = ("ci", "pages", "submission")
DISTRIBUTIONS = {"yaml": "pyyaml", "vl_convert": "vl-convert-python"}
READ_ONLY: tuple[dict[str, str], ...] = ({}, {"contents": "read"})
BASE_REF = "${{ github.event.pull_request.base.ref }}"


@pytest.fixture(params=NAMES)
def any_workflow(request: pytest.FixtureRequest, repository: Path) -> dict[Any, Any]:
    return workflow(repository, request.param)


def workflow(repository: Path, name: str) -> dict[Any, Any]:
    """A workflow as GitHub reads it; YAML takes the key `on` for true."""
    content = yaml.safe_load((repository / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def steps(content: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in content["jobs"].values() for step in job["steps"]]


def runs(content: dict[Any, Any]) -> list[str]:
    return [step["run"] for step in steps(content) if "run" in step]


def checkouts(content: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step.get("with", {}) for step in steps(content) if step.get("uses", "").startswith("actions/checkout@")]


def test_all_workflows_are_looked_at(repository: Path) -> None:
    assert sorted(path.name for path in (repository / ".github" / "workflows").iterdir()) == [
        f"{name}.yml" for name in NAMES
    ]


def test_no_workflow_runs_with_rights_on_what_a_stranger_sends(any_workflow: dict[Any, Any]) -> None:
    assert set(any_workflow[True]) <= {"push", "pull_request"}  # pull_request_target, workflow_run, ... have rights
    assert any_workflow["permissions"] == {"contents": "read"}
    if "pull_request" in any_workflow[True]:
        assert all(job.get("permissions", {}) in READ_ONLY for job in any_workflow["jobs"].values())
    assert "secrets" not in yaml.safe_dump(any_workflow)
    assert "github.token" not in yaml.safe_dump(any_workflow)


def test_no_command_is_put_together_from_what_a_stranger_writes(any_workflow: dict[Any, Any]) -> None:
    """A branch or a title inside `run` would be executed; from the environment it is a word."""
    assert [run for run in runs(any_workflow) if "${{" in run] == []


def test_actions_are_github_s_own_by_the_hash_of_a_version(repository: Path) -> None:
    """A tag can be moved to other code; a comment says which version the hash is, and one version has one hash."""
    versions: dict[tuple[str, str], set[str]] = {}
    for path in (repository / ".github" / "workflows").iterdir():
        used = [line for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
        for line in used:
            match = re.fullmatch(r"[ -]+uses: (actions/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
            assert match is not None, f"{path.name}: {line.strip()}"
            versions.setdefault((match[1], match[3]), set()).add(match[2])
        assert used
    assert all(len(hashes) == 1 for hashes in versions.values())


def test_every_job_has_a_time_limit(any_workflow: dict[Any, Any]) -> None:
    assert all(0 < job["timeout-minutes"] <= 60 for job in any_workflow["jobs"].values())


@pytest.mark.parametrize("name", NAMES)
def test_no_token_is_left_on_disk(name: str, repository: Path) -> None:
    assert checkouts(content := workflow(repository, name))
    assert all(options["persist-credentials"] is False for options in checkouts(content))


def test_a_submission_is_data(repository: Path) -> None:
    """Both jobs have two checkouts; every command starts in the base branch's, and only reads from the other."""
    content = workflow(repository, "submission")
    assert set(content[True]) == {"pull_request"}
    assert content[True]["pull_request"]["paths"] == ["leaderboard/results/**", "leaderboard/verified.yaml"]
    assert content["defaults"]["run"]["working-directory"] == "base"
    for job in content["jobs"].values():
        base, pr = (options for options in checkouts({"jobs": {"": job}}))
        assert (base["path"], base["ref"]) == ("base", BASE_REF)
        assert pr["path"] == "pr" and "ref" not in pr and "repository" not in pr  # as the event names it
    for step in steps(content):
        assert not {"working-directory", "shell"} & step.keys()
    for run in runs(content):
        before, found, _ = run.partition("../pr/")
        assert not found or re.fullmatch(r"python -m leaderboard (validate|check) ", before)
        assert "cd " not in run and "PYTHONPATH" not in run
    assert [run for run in runs(content) if "pip install" in run and re.search(r"\bpr\b", run)] == []
    checked = content["jobs"]["validate"]["steps"]
    assert checked[1]["with"]["fetch-depth"] == 0  # else the base branch is not there to compare with


def test_the_replay_stands_apart_without_any_right(repository: Path) -> None:
    jobs = workflow(repository, "submission")["jobs"]
    assert jobs["replay"]["permissions"] == {}
    installs = {name: [run for run in runs({"jobs": {"": job}}) if "pip" in run] for name, job in jobs.items()}
    assert not any(word in run for run in installs["validate"] for word in ("torch", "-e", " ."))
    assert [run.split()[-2:] for run in installs["replay"]] == [["-e", "."]]


def test_only_the_job_that_publishes_may_and_runs_nothing_of_ours(repository: Path) -> None:
    content = workflow(repository, "pages")
    assert content[True]["push"]["branches"] == ["main"] and "leaderboard/**" in content[True]["push"]["paths"]
    build, deploy = content["jobs"]["build"], content["jobs"]["deploy"]
    assert "permissions" not in build
    assert deploy["permissions"] == {"pages": "write", "id-token": "write"} and deploy["needs"] == "build"
    assert [step["uses"].split("@")[0] for step in deploy["steps"]] == ["actions/deploy-pages"]
    (upload,) = [step for step in build["steps"] if step.get("uses", "").startswith("actions/upload-pages-artifact@")]
    assert upload["with"] == {"path": "leaderboard/site"}


@pytest.mark.parametrize("name", ["pages", "submission"])
def test_what_is_installed_is_what_the_leaderboard_imports(name: str, repository: Path) -> None:
    install = next(run for run in runs(workflow(repository, name)) if "pip install" in run).split()
    found = {
        module.partition(".")[0]
        for path in (repository / "leaderboard").rglob("*.py")
        for _, module in imports(path.read_text(encoding="utf-8"), "leaderboard")
    }
    found.add("itables")  # whose files the site takes without importing it
    needed = found - set(sys.stdlib_module_names) - set(ROOMS)
    assert {DISTRIBUTIONS.get(module, module) for module in needed} == set(
        install[install.index("constraints.txt") + 1 :]
    )


@pytest.fixture
def two_checkouts(tmp_path: Path, repository: Path) -> Path:
    """`base/` with the code and results so far, `pr/` with those and a new entry, as the workflow has them."""
    ignored = shutil.ignore_patterns("results", "__pycache__")
    shutil.copytree(repository / "leaderboard", tmp_path / "base" / "leaderboard", ignore=ignored)
    write_results(tmp_path / "base" / "leaderboard")
    shutil.copytree(tmp_path / "base" / "leaderboard" / "results", tmp_path / "pr" / "leaderboard" / "results")

    def git(*words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path / "pr", check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    date = f"{START:%Y-%m-%d %H:%M:%S} +0000"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", date)
        git("commit", "-qm", "base", f"--date={date}")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    newcomer = write_entry(tmp_path / "pr" / "leaderboard" / "results", "newcomer")
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path / "pr", text=True).strip()
    for folder in newcomer.glob("*/seed*"):
        edit(folder, **{"git.commit": commit})
    # It would be imported if a command started there.
    (tmp_path / "pr" / "leaderboard" / "__init__.py").write_text("raise SystemExit('a stranger was executed')")
    (tmp_path / "pr" / "sitecustomize.py").write_text("raise SystemExit('a stranger was executed')")
    return tmp_path


def execute(run: str, checkouts: Path) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it, with this Python and without replay, which has a job of its own."""
    summary = checkouts / "summary.md"
    environment = os.environ | {"BASE": "origin/main", "GITHUB_STEP_SUMMARY": str(summary)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", run.replace("--base", "--no_replay --base")]
    return subprocess.run(command, cwd=checkouts / "base", env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_commands_of_a_submission(two_checkouts: Path, repository: Path) -> None:
    validate, check = runs({"jobs": {"": workflow(repository, "submission")["jobs"]["validate"]}})[1:]
    done = execute(validate, two_checkouts)
    assert done.returncode == 0, done.stdout + done.stderr
    done = execute(check, two_checkouts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (two_checkouts / "summary.md").read_text() == done.stdout
    assert "newcomer" in done.stdout
    record = next((two_checkouts / "pr" / "leaderboard" / "results").rglob("transformer/*/seed0/record.json"))
    record.write_text(record.read_text() + " ")
    done = execute(validate, two_checkouts)
    assert done.returncode == 1
    assert "has changed since origin/main" in done.stdout
    for file in (two_checkouts / "pr" / "leaderboard" / "results").rglob("newcomer/*/seed0/record.json"):
        file.write_text("{")
    assert execute(check, two_checkouts).returncode == 2  # not hidden by the pipe
