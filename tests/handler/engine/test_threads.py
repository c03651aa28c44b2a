from __future__ import annotations

import os
from pathlib import Path

import pytest

from handler.engine.threads import cgroup_quotas, resolve_threads, thread_limits
from handler.errors import SettingsError


def cgroup(root: Path, line: str, **files: str) -> Path:
    """A root directory whose process is in one cgroup; files are given with / as __."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line + "\n")
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


def test_what_was_asked_for_comes_first(tmp_path: Path) -> None:
    assert resolve_threads({"FIREBRICK_THREADS": "7", "OMP_NUM_THREADS": "3"}, tmp_path) == 7


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("4,2", 4)])
def test_openmps_variable_comes_second(tmp_path: Path, value: str, threads: int) -> None:
    assert resolve_threads({"OMP_NUM_THREADS": value}, tmp_path) == threads


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "100000", "²", "9" * 5000, " ", ",2"])
def test_a_bad_number_is_refused_by_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="FIREBRICK_THREADS") as refused:
        resolve_threads({"FIREBRICK_THREADS": value}, tmp_path)
    assert value in str(refused.value)


@pytest.mark.usefixtures("four_processors")
def test_without_any_limit_it_is_the_affinity_mask(tmp_path: Path) -> None:
    assert resolve_threads({}, tmp_path) == 4


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize(
    ("quota", "threads"), [("max 100000", 4), ("200000 100000", 2), ("170000 100000", 2), ("20000 100000", 1)]
)
def test_a_quota_of_cgroup_2(tmp_path: Path, quota: str, threads: int) -> None:
    assert resolve_threads({}, cgroup(tmp_path, "0::/a", a__cpu_max=quota)) == threads


@pytest.mark.usefixtures("four_processors")
def test_a_parents_quota_counts_too(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "0::/a/b", a__b__cpu_max="max 100000", a__cpu_max="100000 100000")
    assert resolve_threads({}, root) == 1


@pytest.mark.parametrize("hierarchy", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_cgroup_1(tmp_path: Path, hierarchy: str) -> None:
    root = cgroup(tmp_path, "4:cpu,cpuacct:/a")
    directory = root / "sys/fs/cgroup" / hierarchy / "a"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("150000\n")
    (directory / "cpu.cfs_period_us").write_text("100000\n")
    assert list(cgroup_quotas(root)) == [1.5]


def test_no_quota_of_cgroup_1(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "4:cpu,cpuacct:/")
    (root / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1\n")
    (root / "sys/fs/cgroup/cpu/cpu.cfs_period_us").write_text("100000\n")
    assert list(cgroup_quotas(root)) == []


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize(
    ("megabytes", "threads"), [("512", 1), ("1769", 1), ("3008", 2), ("3538", 2), ("10240", 4), ("²", 4), ("", 4)]
)
def test_lambdas_memory_size(tmp_path: Path, megabytes: str, threads: int) -> None:
    assert resolve_threads({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes}, tmp_path) == threads


@pytest.mark.usefixtures("four_processors")
def test_the_smallest_of_all_limits_counts(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "0::/a", a__cpu_max="300000 100000")
    assert resolve_threads({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538"}, root) == 2
    assert resolve_threads({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "10240"}, root) == 3


@pytest.mark.usefixtures("four_processors")
def test_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    """Docker on cgroup 1: the path is the host's, the files are at the mount."""
    root = cgroup(tmp_path, "4:cpu,cpuacct:/docker/0123")
    directory = root / "sys/fs/cgroup/cpu,cpuacct"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("200000\n")
    (directory / "cpu.cfs_period_us").write_text("100000\n")
    assert resolve_threads({}, root) == 2


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize("content", ["", "max", "x y", "100000", "0 0", "\xff", "² ³"])
def test_a_quota_that_is_none_limits_nothing(tmp_path: Path, content: str) -> None:
    assert resolve_threads({}, cgroup(tmp_path, "0::/a", a__cpu_max=content)) == 4


@pytest.mark.usefixtures("four_processors")
def test_every_limit_is_named(tmp_path: Path) -> None:
    root = cgroup(tmp_path, "0::/a", a__cpu_max="300000 100000")
    limits = thread_limits({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538"}, root)
    assert limits == {"affinity mask": 4, "cgroup quota": 3, "Lambda memory size": 2}


def test_what_was_asked_for_stands_alone(tmp_path: Path) -> None:
    assert thread_limits({"OMP_NUM_THREADS": "3"}, tmp_path) == {"OMP_NUM_THREADS": 3}
