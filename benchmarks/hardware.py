"""What a figure was measured on, and what the processes of a stack cost."""

from __future__ import annotations

import os
import platform
import timeit
from collections.abc import Mapping
from pathlib import Path

from topology.native.kernels import kernels

TICKS = os.sysconf("SC_CLK_TCK")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def hardware() -> dict[str, object]:
    """Processor, cores, memory, instruction sets and versions, for every result file."""
    info = dict(line.split(":", 1) for line in _lines("/proc/cpuinfo") if ":" in line)
    fields = {key.strip(): value.strip() for key, value in info.items()}
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    found = kernels()
    return {
        "processor": fields.get("model name", platform.processor()), "cores": os.cpu_count(),
        "family": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "instruction_sets": [flag for flag in FLAGS if flag in fields.get("flags", "").split()],
        "kernels": found.name if found else "none", "memory_gb": round(memory / 1e6, 1),
        "python": platform.python_version(), "python_loop_ms": python_loop_ms(), "system": platform.system(),
    }


def python_loop_ms() -> float:
    """The best of 20 runs of a fixed piece of Python: builds of one version differ by a quarter (with profiles or
    without), and with them what messages cost."""

    def piece() -> int:
        found: dict[str, list[int]] = {}
        for number in range(3_000):
            found.setdefault(str(number % 100), []).append(number)
        return sum(len(some) for some in found.values())

    return min(timeit.repeat(piece, number=1, repeat=20)) * 1e3


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processor time that each process has used so far, all its threads together."""
    found = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / TICKS
    return found


def resident_bytes(pid: int) -> int:
    """Bytes of a process that are in memory now, file pages included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _lines(place: str) -> list[str]:
    try:
        return Path(place).read_text().splitlines()
    except OSError:
        return []
