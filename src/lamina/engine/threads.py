"""How many threads this process may use: its affinity mask, bounded by the cgroup's CPU quota.

OpenVINO's own default ignores the quota (openvinotoolkit/openvino#37838), and in a container then starts a thread
for each core of the host.
"""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def available_threads() -> int:
    """Threads that can run at once, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, affinity if quota is None else min(affinity, ceil(quota)))


def cgroup_quota(v2: Path = CGROUP_V2, v1: Path = CGROUP_V1) -> float | None:
    """The CPU quota of this control group in CPUs, None where there is none."""
    try:
        if v2.is_file():
            quota, period = v2.read_text().split()
        else:
            quota, period = ((v1 / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return float(quota) / float(period) if quota not in ("max", "-1") else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
