"""Where results go: a JSON file, a picture beside it, and a line for each figure on the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.hardware import hardware
from topology.errors import Misconfigured

Result = dict[str, Any]


def finish(
    name: str, result: Result, settings: Mapping[str, object], place: Path | None, plot: Callable[[Any], None]
) -> Result:
    """Add hardware and settings, print, and where `place` is given write it there, and the picture beside it."""
    whole = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), **result,
             "hardware": hardware(), "settings": dict(settings)}
    print(json.dumps(_rounded(_valid(whole)), indent=2))
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(_valid(whole), indent=2, allow_nan=False) + "\n")
        picture = place.with_suffix(".png")
        _draw(picture, name, plot)
        print(f"written: {place}, {picture}")
    return whole


def _draw(picture: Path, name: str, plot: Callable[[Any], None]) -> None:
    try:
        import matplotlib  # here: only who wants a picture needs it

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise Misconfigured("pictures need matplotlib: pip install 'headrace[bench]'") from error
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    plot(axes)
    axes.set_title(f"headrace bench {name}")
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def _valid(value: Any) -> Any:
    """JSON has no NaN: a figure that was not reached is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _valid(item) for key, item in value.items()}
    return [_valid(item) for item in value] if isinstance(value, list) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
