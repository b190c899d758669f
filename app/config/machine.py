"""What this process may use of the machine: a container's limits count, not the host's size."""

import os
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(cgroup: Path = _CGROUP) -> int:
    """Whole cores, at least 1: the affinity of this process, and the quota of its cgroup (v2) rounded up."""
    found = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        found = min(found, max(1, -(-int(quota) // int(period))))
    return found


def memory(cgroup: Path = _CGROUP) -> int:
    """Bytes that may be used: the machine's, or less by the limit of the cgroup (v2)."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(cgroup / "memory.max").strip()
    return min(found, int(limit)) if limit.isdigit() else found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
