"""Reads the comparisons of versions in the shadow with the predictions that were given, and says how far they agree."""

from __future__ import annotations

import json
from collections import Counter

from infra.counted import counted
from topology import topics
from topology.settings import Settings
from topology.stream.kafka import TopicReader

SHOWN = 5


async def report(settings: Settings, tenant: str) -> str:
    """A few lines on the newest pair of versions that were compared for a tenant. Raises: Unavailable."""
    reader = TopicReader(settings.broker, topics.shadows(settings.prefix))
    await reader.start()
    try:
        records = [json.loads(r.value) for r in await reader.read_to_end() if r.value and r.key == tenant.encode()]
    finally:
        await reader.stop()
    if not records:
        return f"nothing was compared for {tenant!r} yet: headrace head shadow starts it"
    pair = [records[-1][side]["version"] for side in ("current", "shadow")]
    seen = [r for r in records if [r[side]["version"] for side in ("current", "shadow")] == pair]
    lines = [
        f"{pair[1]} beside {pair[0]}: {counted(len(seen), 'utterance')}, same intent "
        f"{_share(seen, 'same_intent')}, same entities {_share(seen, 'same_entities')}"
    ]
    changes = Counter(
        (r["current"]["intent"], r["shadow"]["intent"]) for r in seen if not r["same_intent"]
    )
    lines += [f"  {before} -> {after}: {count}" for (before, after), count in changes.most_common(SHOWN)]
    lines += [f"  differs on: {r['text']}" for r in seen if not r["same_intent"]][:SHOWN]
    return "\n".join(lines)


def _share(seen: list[dict[str, bool]], name: str) -> str:
    return f"{sum(r[name] for r in seen) / len(seen):.1%}"
