"""Proves that a container's CPU quota is honoured, as control groups of both versions write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lamina.engine.threads
from lamina.engine.threads import available_threads, cgroup_quota


def v2(folder: Path, content: str) -> float | None:
    (folder / "cpu.max").write_text(content)
    return cgroup_quota(folder / "cpu.max", folder / "cpu")


def v1(folder: Path, quota: str, period: str) -> float | None:
    (folder / "cpu").mkdir()
    (folder / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu" / "cpu.cfs_period_us").write_text(period)
    return cgroup_quota(folder / "cpu.max", folder / "cpu")


@pytest.mark.parametrize(
    ("content", "quota"),
    [("max 100000\n", None), ("200000 100000\n", 2.0), ("150000 100000", 1.5), ("5000 100000\n", 0.05)],
)
def test_version_2_is_read(tmp_path: Path, content: str, quota: float | None) -> None:
    assert v2(tmp_path, content) == quota


@pytest.mark.parametrize("content", ["", "max", "100000", "a b", "1 2 3", "100000 0", "max max max"])
def test_a_malformed_file_of_version_2_is_no_quota(tmp_path: Path, content: str) -> None:
    assert v2(tmp_path, content) is None


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [("-1\n", "100000\n", None), ("400000\n", "100000\n", 4.0), ("50000", "100000", 0.5), ("max", "100000", None)],
)
def test_version_1_is_read(tmp_path: Path, quota: str, period: str, expected: float | None) -> None:
    assert v1(tmp_path, quota, period) == expected


@pytest.mark.parametrize(("quota", "period"), [("", "100000"), ("x", "100000"), ("100000", ""), ("100000", "0")])
def test_malformed_files_of_version_1_are_no_quota(tmp_path: Path, quota: str, period: str) -> None:
    assert v1(tmp_path, quota, period) is None


def test_version_2_wins_where_both_are_there(tmp_path: Path) -> None:
    assert v1(tmp_path, "400000", "100000") == 4.0
    assert v2(tmp_path, "100000 100000") == 1.0


def test_no_control_group_is_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "cpu.max", tmp_path / "cpu") is None


@pytest.mark.parametrize(
    ("quota", "n_affinity", "threads"),
    [(None, 8, 8), (2.0, 8, 2), (1.5, 8, 2), (0.05, 8, 1), (16.0, 8, 8), (None, 1, 1), (0.0, 4, 1)],
)
def test_threads_are_what_affinity_and_quota_both_allow(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, n_affinity: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(n_affinity)), raising=False)
    monkeypatch.setattr(lamina.engine.threads, "cgroup_quota", lambda: quota)
    assert available_threads() == threads
