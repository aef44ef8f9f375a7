"""The head store with very many tenants: what writing, finding, listing and loading take, on this machine's disk."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.registry import RING, record
from benchmarks.report import Result
from head_worker.copies import Copies
from head_worker.store import HeadStore
from topology.heads import HeadManifest

ASKED = 300  # tenants, drawn at random


def run(sizes: Sequence[int], place: Path | None = None) -> Result:
    """`sizes`: for each count of tenants, ms of a core by what is done. Heads are of 1 KB: names are what counts."""
    with tempfile.TemporaryDirectory(prefix="headrace-store-", dir=place) as home:
        return {"sizes": [_one(Path(home), count) for count in sorted(sizes)]}


def _one(home: Path, count: int) -> dict[str, float]:
    root = home / f"store-{count}"
    began_s = time.process_time()
    for number in range(count):
        _put(root, number)
    put_s = time.process_time() - began_s
    store = HeadStore(root, Copies(home / "copies", 1 << 30))
    names = [record(number).tenant for number in random.Random(1).sample(range(count), min(ASKED, count))]
    tenants = {name: record(int(name[-8:])) for name in names}
    found = {
        "tenants": count, "files": 2 * count, "folders": 2 * count, "put_ms": put_s / count * 1e3,
        "versions_ms": _each(names, lambda name: store.versions(RING, name)),
        "manifest_ms": _each(names, lambda name: store.manifest(RING, name, tenants[name].version)),
        "folder_ms": _each(names, lambda name: store.folder(RING, name, tenants[name].version)),
        "all_names_s": _seconds(lambda: sum(1 for _ in os.scandir(root / RING))),
        "disk_mb": _blocks(root) / 1e6,
    }
    shutil.rmtree(root)
    shutil.rmtree(home / "copies", ignore_errors=True)
    return found


def _put(root: Path, number: int) -> None:
    one = record(number)
    folder = root / RING / one.tenant / one.version
    folder.mkdir(parents=True)
    made = HeadManifest(one.tenant, RING, one.version, one.space, 768, ("on", "off"), ("O",), one.sha256)
    (folder / "head.json").write_text(made.to_json())
    (folder / "head.safetensors").write_bytes(bytes(1_000))


def _each(names: Sequence[str], call: Callable[[str], object]) -> float:
    return _seconds(lambda: [call(name) for name in names]) / len(names) * 1e3


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s


def _blocks(root: Path) -> int:
    """Bytes of a sample's files and folders on the disk, for all of them."""
    some = sorted(os.scandir(root / RING), key=lambda one: one.name)[:200]
    taken = sum(place.stat().st_blocks * 512 for one in some for place in [Path(one), *Path(one).rglob("*")])
    return taken * sum(1 for _ in os.scandir(root / RING)) // len(some)


def plot(result: Result) -> Any:
    """Times by number of tenants."""
    def draw(axes: Any) -> None:
        for name in ("put_ms", "versions_ms", "manifest_ms", "folder_ms"):
            axes.plot([one["tenants"] for one in result["sizes"]], [one[name] for one in result["sizes"]], marker="o",
                      label=name.removesuffix("_ms"))
        axes.set(xlabel="tenants in the store", ylabel="ms of a core", xscale="log", yscale="log")
        axes.legend()

    return draw
