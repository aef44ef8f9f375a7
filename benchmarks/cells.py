"""How long an encoder worker takes to find a tenant's cell, by the number of cells: the first time, and again."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.report import Result
from topology.placement import Placement
from topology.settings import parse

SIZES = (1, 10, 100, 1_000, 10_000)
LOOKS = 2_000_000  # at single cells, for each size


def run() -> Result:
    """`sizes`: µs a tenant by number of cells."""
    found = []
    for count in SIZES:
        ring = '[rings.en]\nlanguages = ["en"]\nencoder = "any"\n'
        ring += "".join(f"[rings.en.cells.cell-{n:05}]\n" for n in range(count))
        placement = Placement(parse(ring).rings["en"])
        tenants = [f"customer-{n:08}" for n in range(max(50, min(20_000, LOOKS // count)))]
        times_us = []
        for _ in range(2):
            began_s = time.process_time()
            for tenant in tenants:
                placement.cell_of(tenant)
            times_us.append((time.process_time() - began_s) / len(tenants) * 1e6)
        found.append({"cells": count, "first_us": times_us[0], "again_us": times_us[1]})
    return {"sizes": found}


def plot(result: Result) -> Any:
    """µs by number of cells."""
    def draw(axes: Any) -> None:
        for name, label in (("first_us", "the first time"), ("again_us", "again")):
            axes.plot([one["cells"] for one in result["sizes"]], [one[name] for one in result["sizes"]], marker="o",
                      label=label)
        axes.set(xlabel="cells of a ring", ylabel="µs to find a tenant's cell", xscale="log", yscale="log")
        axes.legend()

    return draw
