"""What tenants used, read from the insights' tables: their changelogs hold every window that is kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from infra.insights.measures import confidence, out_of_scope_share, quantile_ms
from infra.insights.windows import GRAINS, STAGES, Grain, Key, Window, rank_of, summed
from infra.times import iso
from topology import topics
from topology.settings import Settings
from topology.stream.kafka import TopicReader


@dataclass(frozen=True)
class Span:
    """From when until before when, in seconds of the epoch, in windows of which grain."""

    grain: Grain
    from_s: int
    to_s: int


def span_of(from_s: float, to_s: float, now_s: float, grain: str = "") -> Span:
    """The windows that cover a time. Without a grain: the largest that fits both ends; where none does, the smallest
    that is kept so far back, its windows taken whole."""
    if grain:
        return _whole(GRAINS[grain], from_s, to_s)
    for one in sorted(GRAINS.values(), key=lambda one: -one.seconds):
        if from_s % one.seconds == 0 and (to_s % one.seconds == 0 or to_s >= now_s):
            return _whole(one, from_s, to_s)
    kept = [one for one in GRAINS.values() if not one.is_over(int(from_s) // one.seconds * one.seconds, now_s)]
    return _whole(kept[0] if kept else GRAINS["day"], from_s, to_s)


def _whole(grain: Grain, from_s: float, to_s: float) -> Span:
    size = grain.seconds
    return Span(grain, int(from_s // size) * size, -int(-to_s // size) * size)


@dataclass(frozen=True)
class Usage:
    """Of a tenant in a time. `start_s` is None where all of it is one row."""

    ring: str
    tenant: str
    start_s: int | None
    window: Window

    def as_dict(self) -> dict[str, Any]:
        """As `--json` shows it."""
        w = self.window
        start = None if self.start_s is None else iso(self.start_s * 1_000)
        return {
            "ring": self.ring, "tenant": self.tenant, "start": start,
            "utterances": w.utterances, "predictions": w.predictions, "errors": dict(sorted(w.errors.items())),
            "out_of_scope": w.out_of_scope, "out_of_scope_share": out_of_scope_share(w), "confidence": confidence(w),
            "intents": dict(sorted(w.intents.items())),
            "latency_ms": {stage: _quantiles(w.latency[stage]) for stage in STAGES if stage in w.latency},
            "partial": w.partial,
        }


def _quantiles(counts: list[int]) -> dict[str, float | None]:
    """JSON knows no infinity: above the last limit a quantile is not told."""
    found = {f"p{round(share * 100)}": quantile_ms(counts, share) for share in (0.5, 0.9, 0.99)}
    return {name: None if value == float("inf") else value for name, value in found.items()}


async def usage(
    settings: Settings, rings: Iterable[str], span: Span, tenant: str = "", each: bool = False
) -> list[Usage]:
    """By ring and tenant, by window too where `each`. Raises: Unavailable."""
    parts: dict[tuple[str, str, int | None], list[Window]] = defaultdict(list)
    for ring in rings:
        for cell in settings.rings[ring].cells:
            for key, window in await _windows(settings, topics.insights(settings.prefix, ring, cell), span):
                if not tenant or key.tenant == tenant:
                    parts[ring, key.tenant, key.start_s if each else None].append(window)
    rows = [Usage(ring, name, start, summed(some)) for (ring, name, start), some in parts.items()]
    return sorted(rows, key=lambda row: (row.ring, row.start_s or 0, -row.window.utterances, row.tenant))


async def _windows(settings: Settings, topic: str, span: Span) -> list[tuple[Key, Window]]:
    """Those of a changelog. As in recovery, of two values under a key the one that counts more is right."""
    found: dict[bytes, bytes] = {}
    reader = TopicReader(settings.broker, topic)
    await reader.start()
    try:
        async with aclosing(reader.batches_to_end()) as batches:
            async for records in batches:
                for record in records:
                    _apply(found, record.key or b"", record.value, span)
    finally:
        await reader.stop()
    return [(Key.from_bytes(key), Window.from_bytes(value)) for key, value in found.items()]


def _apply(found: dict[bytes, bytes], data: bytes, value: bytes | None, span: Span) -> None:
    key = Key.from_bytes(data)
    if key.grain != span.grain.name or not span.from_s <= key.start_s < span.to_s:
        return
    if value is None:
        found.pop(data, None)
    elif data not in found or rank_of(found[data]) <= rank_of(value):
        found[data] = value
