"""The price table: a TOML file that a user can replace. The built-in one's numbers are assumptions."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

from topology.errors import Misconfigured

BUILT_IN = Path(__file__).with_name("prices.toml")


def read_prices(place: Path | None = None) -> tuple[str, dict[str, float]]:
    """(currency, name → number): `[head] hour` is `head_hour`. Raises: Misconfigured, naming file and line's name."""
    wanted = _flat(BUILT_IN)
    found = dict(wanted) if place is None else _flat(place)
    for names, fault in ((wanted.keys() - found.keys(), "is missing"), (found.keys() - wanted.keys(), "is unknown")):
        if names:
            raise Misconfigured(f"{place}: {sorted(names)[0]} {fault}; it wants the lines of the built-in one")
    currency = found.pop("currency")
    numbers = {name: value for name, value in found.items() if _is_price(value)}
    if wrong := [name for name in wanted if name in found.keys() - numbers.keys()]:
        raise Misconfigured(f"{place}: {wrong[0]}: a number of 0 or more is wanted, not {found[wrong[0]]!r:.40}")
    if none := [name for name in numbers if not numbers[name] and not name.endswith(("hour", "month", "cross_zone"))]:
        raise Misconfigured(f"{place}: {none[0]}: a number above 0 is wanted")
    return str(currency), {name: float(value) for name, value in numbers.items()}


def _flat(place: Path) -> dict[str, float | str]:
    try:
        body = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{place}: no price table ({str(error)[:120]})") from error
    flat: dict[str, float | str] = {}
    for name, value in body.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}": one for key, one in value.items()}
        else:
            flat[name] = value
    return flat


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
