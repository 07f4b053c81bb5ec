"""CPU, wall time and memory: of this process from a starting point on, and of other processes from outside."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def resident_mb() -> float:
    """Return the present resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def resident_mb_of(pid: int) -> float:
    """Return another process's present resident memory in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def cpu_of(pid: int) -> float:
    """Return the CPU seconds, user and system, that another process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mb_of(pid: int) -> float:
    """Return a process's highest resident memory so far in MB.

    Of this program alone: `ru_maxrss` would begin with what the parent held when it started the process.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has ended")


class Meter:
    """Starts when made; `read` gives what happened since."""

    def __init__(self) -> None:
        self.base_mb = resident_mb()
        self._cpu = time.process_time()
        self._thread = time.thread_time()
        self._wall = time.perf_counter()

    def read(self) -> dict[str, float]:
        """Return CPU seconds, wall seconds, and MB at the peak above the starting point."""
        peak = peak_mb_of(os.getpid())
        return {
            "cpu": time.process_time() - self._cpu,
            "loop_cpu": time.thread_time() - self._thread,
            "wall": time.perf_counter() - self._wall,
            "base_mb": self.base_mb,
            "peak_mb": peak,
            "above_base_mb": peak - self.base_mb,
        }
