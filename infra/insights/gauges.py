"""Drift, shift and shares of each tenant, from the newest hour that has enough of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.insights.baselines import Baselines
from infra.insights.ledger import is_tenant
from infra.insights.measures import (
    confidence,
    confidence_drift,
    expected_intents,
    label_shift,
    out_of_scope_share,
)
from infra.insights.windows import Key, Window, summed
from topology.pacing import PACING


@dataclass(frozen=True)
class Gauges:
    """Of a tenant's newest hour with enough predictions; None where it cannot be told. `hour_s`: its start."""

    hour_s: int
    out_of_scope_share: float | None
    confidence: float | None
    confidence_drift: float | None
    label_shift_before: float | None
    label_shift_evaluation: float | None


def hours_of(windows: Iterable[tuple[Key, Window]]) -> Mapping[str, Mapping[int, Window]]:
    """Tenant → start of an hour → what its partitions counted together."""
    parts: dict[str, dict[int, list[Window]]] = defaultdict(lambda: defaultdict(list))
    for key, window in windows:
        if key.grain == "hour" and is_tenant(key.tenant):
            parts[key.tenant][key.start_s].append(window)
    return {tenant: {start: summed(some) for start, some in hours.items()} for tenant, hours in parts.items()}


async def gauges(
    windows: Iterable[tuple[Key, Window]], baselines: Baselines, least: int = PACING.insights_least
) -> dict[str, Gauges]:
    """Tenant → its gauges; tenants without an hour of `least` predictions are left out."""
    found: dict[str, Gauges] = {}
    for tenant, hours in hours_of(windows).items():
        full = sorted((start for start, one in hours.items() if one.predictions >= least), reverse=True)
        if not full:
            continue
        now, before = hours[full[0]], hours[full[1]] if len(full) > 1 else Window()
        known = await baselines.of(tenant, list(now.sure))
        expected = {name: round(share * 1_000) for name, share in expected_intents(now, known).items()}
        found[tenant] = Gauges(
            full[0], out_of_scope_share(now), confidence(now), confidence_drift(now, known),
            label_shift(now.intents, before.intents), label_shift(now.intents, expected),
        )
    return found
