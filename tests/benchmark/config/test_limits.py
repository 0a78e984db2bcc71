"""Limits of containers, read from control groups of both versions that lie below a folder of the test."""

import os
from pathlib import Path

import pytest
import torch

from benchmark.config import limits

NO_LIMIT_V1 = "9223372036854771712"


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A folder like `/`: the groups of this process, and files below `sys/fs/cgroup`."""
    places = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in places.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "share", "memory"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n", "memory.max": "1073741824\n"}, 1.5, 2**30),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        # The narrowest of its own group and those above; a group of somebody else does not count.
        (
            "0::/a/b\n",
            {
                **{"cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n", "a/b/cpu.max": "400000 100000\n"},
                **{"a/memory.max": "max\n", "a/b/memory.max": "5000\n", "c/cpu.max": "1000 100000\n"},
            },
            2.0,
            5000,
        ),
        # In a container the place is the host's, and the mount is the group itself.
        ("0::/../../kube/pod\n", {"cpu.max": "50000 100000\n"}, 0.5, None),
        (
            "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
            {
                **{"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
                "memory/memory.limit_in_bytes": "4096\n",
            },
            3.0,
            4096,
        ),
        (
            "4:memory:/\n3:cpu,cpuacct:/\n0::/\n",
            {
                **{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
                "memory/memory.limit_in_bytes": f"{NO_LIMIT_V1}\n",
            },
            None,
            None,
        ),
        ("0::/\n", {"cpu.max": "nonsense\n", "memory.max": "\n"}, None, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None, None),
        ("nonsense", {}, None, None),
    ],
)
def test_control_groups(
    groups: str, files: dict[str, str], share: float | None, memory: int | None, tmp_path: Path
) -> None:
    root = machine(tmp_path, groups, files)
    assert limits.core_share(root) == share
    assert limits.memory_limit_bytes(root) == memory


def test_elsewhere_there_are_none(tmp_path: Path) -> None:
    assert limits.core_share(tmp_path) is None and limits.memory_limit_bytes(tmp_path) is None


@pytest.mark.parametrize(("share", "cores"), [(None, 8), (100.0, 8), (2.0, 2), (1.5, 2), (0.1, 1)])
def test_the_less_of_affinity_and_share(share: float | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(limits, "core_share", lambda: share)
    assert limits.usable_cores() == cores


def test_memory_is_the_group_s_where_that_is_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_limit_bytes", lambda: None)
    physical = limits.usable_memory_bytes()
    monkeypatch.setattr(limits, "memory_limit_bytes", lambda: physical // 2)
    assert limits.usable_memory_bytes() == physical // 2
    monkeypatch.setattr(limits, "memory_limit_bytes", lambda: 2 * physical)
    assert limits.usable_memory_bytes() == physical


def test_threads_are_as_few_as_cores_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        monkeypatch.setattr(limits, "usable_cores", lambda: 2)
        with limits.threads_within_limits():
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 4
        monkeypatch.setattr(limits, "usable_cores", lambda: 64)
        with limits.threads_within_limits():
            assert torch.get_num_threads() == 4  # what was asked for is not raised
    finally:
        torch.set_num_threads(before)
