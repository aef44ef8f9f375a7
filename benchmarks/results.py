"""The result files of docs/benchmarks, and how a figure of one is written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[1] / "docs" / "benchmarks"

# Settings that the command has by itself: they are left out of the command that repeats a run.
USUAL: dict[str, tuple[object, ...]] = {
    "seconds": (10.0,), "repeated": (0.0,), "head_workers": (1,), "encoders": (1,), "p90_ms": (35.0,), "seeds": (3,),
    "device": ("cpu",), "size": ("standard",), "encoder": ("mpnet-6",), "epochs": (16,), "dropout": (0.35,),
    "precision": ("int8", "float16"), "heads": (1_000,), "room": (1_000,), "tenants": (10_000,), "cold_rate": (10.0,),
    "workers": (3,), "utterances": (1_000_000,), "part": (120.0,), "knee": (0.0,), "replies": (100_000,),
}
USUAL_SIZES = {"registry": [10_000, 100_000, 1_000_000], "store": [1_000, 10_000, 100_000]}
USUAL_RATE = {"cliff": 60.0, "fairness": 30.0, "lifecycle": 60.0, "accuracy": 5e-4, "zones": 15.0}
OF_KIND: dict[str, Mapping[str, object]] = {"rate": USUAL_RATE, "sizes": USUAL_SIZES}


class Results:
    """Every result file by its name without `.json`, and the figures in them by path."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.files: dict[str, dict[str, Any]] = {
            place.stem: json.loads(place.read_text(encoding="utf-8")) for place in sorted(directory.glob("*.json"))
        }

    def get(self, path: str) -> Any:
        """What stands at `file/key/key`; None where a key is missing, as a figure that was not reached is."""
        found: Any = self.files
        for key in path.split("/"):
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def number(self, path: str) -> float | None:
        """The figure at `file/key/key`, or None."""
        found = self.get(path)
        return float(found) if isinstance(found, int | float) else None

    def machine(self, name: str) -> str:
        """The processor or GPU that a file was measured on, in words."""
        hardware = self.get(f"{name}/hardware") or {}
        device = self.get(f"{name}/device")
        if device not in (None, "cpu"):
            return str(device)
        processor = str(hardware.get("processor", "?")).replace("(R)", "").replace(" Processor", "")
        kernels = f", {hardware['kernels']}" if hardware.get("kernels") else ""
        return f"{processor} {hardware.get('family', '')}{kernels}, {hardware.get('cores', '?')} cores"

    def command(self, name: str) -> str:
        """What to type to measure a file again."""
        file = self.files[name]
        kind, words = file["benchmark"], []
        for key, value in file.get("settings", {}).items():
            usual = (OF_KIND[key].get(kind),) if key in OF_KIND else USUAL.get(key, ())
            if value in (None, False) or value in usual:
                continue
            if isinstance(value, list):
                words += [f"{one:g}" for one in value]
                continue
            words.append("--" + key.replace("_", "-"))
            if value is not True:
                words.append(f"{value:g}" if isinstance(value, float) else str(value))
        return " ".join(["headrace bench", kind, *words])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(value: float | None, digits: int = 0) -> str:
    """A figure with so many digits after the point, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


def several(values: Iterable[float | None], digits: int = 0) -> str:
    """Figures with slashes between."""
    return " / ".join(show(value, digits) for value in values)


def ratio(above: float | None, below: float | None) -> float | None:
    """One figure over another; None where one is missing."""
    return above / below if above is not None and below else None
