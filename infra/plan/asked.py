"""What a plan is asked for, and what it assumes where nothing was said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

from topology.errors import Misconfigured
from topology.rings import primary

MOST = {"tenants": 1e9, "tps": 1e8}
SHARES = ("active_share", "replays_share", "asked_later_share", "fetch_share")


@dataclass(frozen=True)
class Asked:
    """`languages`: language → its part of tenants and traffic. `fetch_share`: of what is fetched, the part that comes
    from another zone; -1 where nobody says, then what chance gives. All else as the command's help says."""

    tenants: int
    tps: float
    languages: tuple[tuple[str, float], ...] = (("en", 1.0),)
    tokens: float = 15.0
    active_share: float = 0.1
    zones: int = 3
    objective_ms: float = 35.0
    replays_share: float = 0.0
    embeddings_hours: float = 1.0
    retention_hours: float = 168.0
    asked_later_share: float = 0.1
    fetch_share: float = -1.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not math.isfinite(value):
                raise _wrong(one.name, value, "a finite number")
        for name in ("tenants", "tps", "tokens", "objective_ms"):
            if not 0 < getattr(self, name) <= MOST.get(name, 1e6):
                raise _wrong(name, getattr(self, name), f"a number above 0, up to {MOST.get(name, 1e6):,.0f},")
        for name in SHARES:
            value = getattr(self, name)
            unsaid = name == "fetch_share" and value == -1
            if not unsaid and not 0 <= value <= (10 if name == "replays_share" else 1):
                raise _wrong(name, value, "a share of 1, as 0.1,")
        if not self.active_share:  # a fleet that nobody asks needs no plan
            raise _wrong("active_share", self.active_share, "a share above 0")
        for name in ("embeddings_hours", "retention_hours"):
            if not 0 < getattr(self, name) <= 24 * 366:
                raise _wrong(name, getattr(self, name), "hours, up to a year,")
        if not 1 <= self.zones <= 9:
            raise _wrong("zones", self.zones, "1 to 9")


def _wrong(name: str, value: object, wanted: str) -> Misconfigured:
    return Misconfigured(f"--{name.replace('_', '-')} {value}: {wanted} is wanted")


def read_languages(text: str) -> tuple[tuple[str, float], ...]:
    """`en:3,de,fr` → language and its part of all; without a number 1. Variants of one language share its ring.

    Raises: Misconfigured.
    """
    parts: Counter[str] = Counter()
    for one in filter(None, (piece.strip() for piece in text.split(","))):
        name, colon, part = one.partition(":")
        try:
            weight = float(part) if colon else 1.0
        except ValueError:
            weight = 0.0
        if not primary(name).isalpha() or not 0 < weight < 1e9:
            raise Misconfigured(f"--languages {one!r}: a language is wanted, as en, or en:3 for three parts of all")
        parts[primary(name)] += weight  # type: ignore[assignment]  # floats add up as well
    if not parts:
        raise Misconfigured("--languages: at least one is wanted, as en,de,fr")
    whole = sum(parts.values())
    return tuple((name, weight / whole) for name, weight in parts.items())


def alike(languages: Sequence[tuple[str, float]]) -> list[tuple[float, list[str]]]:
    """Rings of the same share together, the largest first: their lines are the same."""
    found: dict[float, list[str]] = {}
    for name, share in languages:
        found.setdefault(round(share, 9), []).append(name)
    return sorted(found.items(), reverse=True)
